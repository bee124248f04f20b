//! `start`, `stop` and `status` of a service: a command line, or one of the three kinds of agents that others have
//! written. PURE; called by `values` to check what the file says, and by the threads that run it.
//!
//! ```text
//! lsb:NAME                                    an init script with the exit codes of the Linux Standard Base
//! ocf:PROVIDER:AGENT [PARAMETER=VALUE ...]    a resource agent of the Open Cluster Framework
//! systemd:UNIT                                a unit of systemd
//! ```
//! Two services whose texts are the same have one server between them; so the parameters are a part of the text.

use super::error::wrong;

/// Who starts, stops and looks at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// A command line, for the shell.
    Command(String),
    /// The name of an init script.
    Lsb(String),
    /// A resource agent.
    Ocf {
        /// The directory that it is in, such as `heartbeat`.
        provider: String,
        /// Its own name.
        name: String,
        /// What it is told, in the order of the file.
        parameters: Vec<(String, String)>,
    },
    /// The name of a unit; without a suffix it is a service.
    Systemd(String),
}

impl Agent {
    /// What this text means. A text that begins like none of the agents is a command line.
    ///
    /// # Errors
    /// It begins like one and does not go on like it: what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("lsb:") {
            return if is_file_name(name) {
                Ok(Agent::Lsb(name.to_owned()))
            } else {
                Err(wrong("`lsb:NAME`, the name of a script in /etc/init.d", text))
            };
        }
        if let Some(unit) = text.strip_prefix("systemd:") {
            return if is_unit(unit) {
                Ok(Agent::Systemd(unit.to_owned()))
            } else {
                Err(wrong("`systemd:UNIT`, the name of a unit", text))
            };
        }
        match text.strip_prefix("ocf:") {
            Some(rest) => ocf(rest).map_err(|expected| wrong(expected, text)),
            None if text.is_empty() => {
                Err(wrong("a command line, lsb:NAME, ocf:PROVIDER:AGENT or systemd:UNIT", ""))
            }
            None => Ok(Agent::Command(text.to_owned())),
        }
    }

    /// Does it know by itself how to stop and to look, so that one text says all three?
    pub fn is_whole(&self) -> bool {
        !matches!(self, Agent::Command(_))
    }
}

const OCF: &str = "`ocf:PROVIDER:AGENT [PARAMETER=VALUE ...]`";
const PARAMETER: &str = "`PARAMETER=VALUE` after the agent, with quotes around a value that has spaces";

fn ocf(rest: &str) -> Result<Agent, &'static str> {
    let (head, parameters) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (provider, name) = head.split_once(':').ok_or(OCF)?;
    if !is_file_name(provider) || !is_file_name(name) {
        return Err(OCF);
    }
    let mut list: Vec<(String, String)> = Vec::new();
    for word in words(parameters).ok_or(PARAMETER)? {
        let (key, value) = word.split_once('=').ok_or(PARAMETER)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // They become names of environment variables.
        if key.is_empty() || !key.chars().all(plain) || list.iter().any(|(known, _)| known == key) {
            return Err("each parameter once, its name of letters, digits and `_`");
        }
        list.push((key.to_owned(), value.to_owned()));
    }
    Ok(Agent::Ocf { provider: provider.to_owned(), name: name.to_owned(), parameters: list })
}

/// Split at white space, except within quotes, which are taken away. `None`: a quote has no end.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// One that leads into no other directory, and that no program takes for an option.
fn is_file_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@');
    !text.is_empty() && text.len() <= 64 && !text.starts_with(['.', '-']) && text.chars().all(plain)
}

fn is_unit(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@' | ':' | '\\');
    !text.is_empty() && text.len() <= 255 && !text.starts_with(['.', '-']) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_first_word() {
        let command = |text: &str| Ok(Agent::Command(text.to_owned()));
        assert_eq!(Agent::parse("/etc/init.d/nginx start"), command("/etc/init.d/nginx start"));
        assert_eq!(Agent::parse("echo lsb:nginx"), command("echo lsb:nginx"));
        assert_eq!(Agent::parse("lsb:nginx"), Ok(Agent::Lsb("nginx".to_owned())));
        assert_eq!(
            Agent::parse("systemd:php8.2-fpm@a.service"),
            Ok(Agent::Systemd("php8.2-fpm@a.service".into()))
        );
        let ocf = |parameters: &[(&str, &str)]| {
            let parameters =
                parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Ok(Agent::Ocf { provider: "heartbeat".to_owned(), name: "nginx".to_owned(), parameters })
        };
        assert_eq!(Agent::parse("ocf:heartbeat:nginx"), ocf(&[]));
        let text =
            "ocf:heartbeat:nginx  configfile=/etc/nginx/x.conf options=\"-q -g 'a b'\" port=80 empty=''";
        let expected =
            [("configfile", "/etc/nginx/x.conf"), ("options", "-q -g 'a b'"), ("port", "80"), ("empty", "")];
        assert_eq!(Agent::parse(text), ocf(&expected));
    }

    #[test]
    fn what_begins_like_an_agent_must_be_one() {
        for text in [
            "lsb:",
            "lsb:../x",
            "lsb:-x",
            "lsb:nginx start",
            "systemd:",
            "systemd:a b",
            "systemd:--now",
            "ocf:nginx",
            "ocf::nginx",
            "ocf:heartbeat:",
            "ocf:heartbeat:../x",
            "ocf:heartbeat:nginx port",
            "ocf:heartbeat:nginx a=1 a=2",
            "ocf:heartbeat:nginx a-b=1",
            "ocf:heartbeat:nginx =1",
            "ocf:heartbeat:nginx a='1",
            "",
        ] {
            assert!(Agent::parse(text).is_err(), "{text}");
        }
    }
}
