//! `notify` and `[notify NAME]`: who is told what. PURE; made by `parse`, read by the threads that tell.

use super::error::{did_you_mean, wrong};
use super::values::{Value, Words};
use crate::vocabulary::ServiceId;
use std::path::PathBuf;
use std::time::Duration;

/// Sections of one cluster: each is a thread of its own.
pub const MAX_NOTIFY: usize = 16;
/// The target that `notify` in `[cluster]` makes.
pub const PLAIN_TARGET: &str = "notify";

pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// With a wait that doubles from 1 s to 1 min between them: over five minutes, in which a machine has restarted.
pub(super) const RETRIES: u32 = 10;
pub(super) const QUEUE: u32 = 1000;
pub(super) const SENDMAIL: &str = "/usr/sbin/sendmail";

/// `[notify NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// 1–32 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// How it is told.
    pub way: NotifyWay,
    /// A command line, addresses, or a URL.
    pub target: String,
    /// Only these; none: all.
    pub events: Vec<&'static str>,
    /// Only what concerns these; none: all.
    pub services: Vec<ServiceId>,
    /// Only what is so grave, or graver.
    pub level: Severity,
    /// Of one attempt.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// How many may wait.
    pub queue: u32,
    /// The program that takes mail.
    pub sendmail: PathBuf,
    /// Signers of a webhook's certificate; `None`: whom this machine trusts.
    pub ca_file: Option<PathBuf>,
}

/// `type` of a `[notify]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyWay {
    /// A command line, with JSON on its standard input.
    Command,
    /// By the local sendmail.
    Mail,
    /// POST of the same JSON, over HTTP or HTTPS.
    Webhook,
}

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody may want to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Something that was promised cannot be kept.
    Error,
}

impl Severity {
    /// As the file has it.
    pub fn word(self) -> &'static str {
        super::values::spelled(LEVEL, &self)
    }
}

pub(super) const NOTIFY_WAY: Words<NotifyWay> =
    &[("command", NotifyWay::Command), ("mail", NotifyWay::Mail), ("webhook", NotifyWay::Webhook)];
pub(super) const LEVEL: Words<Severity> =
    &[("info", Severity::Info), ("warning", Severity::Warning), ("error", Severity::Error)];

/// Every event by the word that programs know it by, and how grave it is.
pub const EVENTS: &[(&str, Severity)] = &[
    ("assigned", Severity::Info),
    ("blocked", Severity::Warning),
    ("booted", Severity::Info),
    ("check-exhausted", Severity::Warning),
    ("check-failing", Severity::Warning),
    ("check-hangs", Severity::Warning),
    ("check-recovered", Severity::Info),
    ("check-refused", Severity::Warning),
    ("check-restart-failed", Severity::Warning),
    ("check-restarted", Severity::Info),
    ("check-stays", Severity::Warning),
    ("check-step", Severity::Warning),
    ("check-suspected", Severity::Warning),
    ("check-warning", Severity::Warning),
    ("check-warning-over", Severity::Info),
    ("cleared", Severity::Info),
    ("committed", Severity::Info),
    ("config-agrees", Severity::Info),
    ("config-differs", Severity::Warning),
    ("config-edited", Severity::Warning),
    ("config-not-taken", Severity::Warning),
    ("config-taken", Severity::Info),
    ("confirmed", Severity::Info),
    ("doubted", Severity::Warning),
    ("down", Severity::Warning),
    ("elected", Severity::Info),
    ("following", Severity::Info),
    ("forced", Severity::Error),
    ("gateway-suspected", Severity::Warning),
    ("gave-up", Severity::Error),
    ("hears-nobody", Severity::Warning),
    ("joined", Severity::Info),
    ("key-forgotten", Severity::Info),
    ("key-offered", Severity::Info),
    ("key-stuck", Severity::Warning),
    ("key-switched", Severity::Info),
    ("late", Severity::Warning),
    ("lease-gained", Severity::Info),
    ("lease-lost", Severity::Warning),
    ("leaving", Severity::Info),
    ("left", Severity::Info),
    ("link", Severity::Info),
    ("load-measured", Severity::Info),
    ("load-unmeasured", Severity::Warning),
    ("merged", Severity::Info),
    ("move-aborted", Severity::Info),
    ("move-began", Severity::Info),
    ("move-done", Severity::Info),
    ("node-adopted", Severity::Info),
    ("node-not-adopted", Severity::Warning),
    ("path-fault", Severity::Info),
    ("quorum-lost", Severity::Warning),
    ("reborn", Severity::Info),
    ("released", Severity::Info),
    ("reloaded", Severity::Info),
    ("rival", Severity::Warning),
    ("rival-gone", Severity::Info),
    ("sends-fail", Severity::Warning),
    ("sends-work", Severity::Info),
    ("start-failed", Severity::Warning),
    ("store-failed", Severity::Warning),
    ("suspected", Severity::Info),
    ("taken", Severity::Info),
    ("tampered", Severity::Warning),
    ("went-alone", Severity::Info),
];

/// How grave the event with this word is.
pub fn severity(word: &str) -> Severity {
    EVENTS.iter().find(|(known, _)| *known == word).map_or(Severity::Info, |(_, severity)| *severity)
}

impl Notify {
    /// What `notify = COMMAND` means: everything, with the defaults.
    pub fn plain(command: &str) -> Self {
        Notify {
            name: PLAIN_TARGET.to_owned(),
            way: NotifyWay::Command,
            target: command.to_owned(),
            events: Vec::new(),
            services: Vec::new(),
            level: Severity::Info,
            timeout: TIMEOUT,
            retries: RETRIES,
            queue: QUEUE,
            sendmail: PathBuf::from(SENDMAIL),
            ca_file: None,
        }
    }

    /// Shall it be told of such an event?
    pub fn wants(&self, word: &str, severity: Severity, service: Option<ServiceId>) -> bool {
        let service = self.services.is_empty() || service.is_some_and(|id| self.services.contains(&id));
        severity >= self.level && service && (self.events.is_empty() || self.events.contains(&word))
    }
}

/// One word of `events`.
pub(super) fn event(text: &str) -> Value<&'static str> {
    if let Some((word, _)) = EVENTS.iter().find(|(word, _)| *word == text) {
        return Ok(word);
    }
    let near = did_you_mean(text, EVENTS.iter().map(|(word, _)| *word));
    Err(format!("{}{near}", wrong("`all` or events by their words, such as `down, quorum-lost`", text)))
}

/// `target`, as the way wants it.
pub(super) fn target(way: NotifyWay, text: &str) -> Value<String> {
    let (good, expected) = match way {
        NotifyWay::Command => (!text.is_empty(), "a command line"),
        NotifyWay::Mail => {
            (text.split(',').all(|one| is_mailbox(one.trim())), "mail addresses, comma separated")
        }
        NotifyWay::Webhook => (is_url(text), "`http://HOST[:PORT]/PATH` or `https://HOST[:PORT]/PATH`"),
    };
    if good { Ok(text.to_owned()) } else { Err(wrong(expected, text)) }
}

/// A bare address or a local name: what can stand in a header without quotes.
fn is_mailbox(text: &str) -> bool {
    let plain = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '"' | '(' | ')' | '<' | '>' | '[' | ']' | ':' | ';' | '\\')
    };
    let (local, domain) = text.split_once('@').unwrap_or((text, "localhost"));
    text.chars().all(plain) && !local.is_empty() && !domain.is_empty() && !domain.contains('@')
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    !host.is_empty() && !host.contains('@') && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_in_order_and_each_once() {
        assert!(EVENTS.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn what_is_wanted_passes_every_filter() {
        let all = Notify::plain("true");
        assert!(all.wants("committed", Severity::Info, None));
        let (one, two) = (ServiceId::of("one"), ServiceId::of("two"));
        let some = Notify {
            events: vec!["down", "taken"],
            services: vec![one],
            level: Severity::Info,
            ..Notify::plain("true")
        };
        assert!(some.wants("taken", Severity::Info, Some(one)));
        assert!(!some.wants("taken", Severity::Info, Some(two)));
        assert!(!some.wants("down", Severity::Warning, None), "it names no service");
        assert!(!some.wants("released", Severity::Info, Some(one)));
        let grave = Notify { level: Severity::Warning, ..Notify::plain("true") };
        assert!(!grave.wants("taken", Severity::Info, None) && grave.wants("down", Severity::Warning, None));
        assert!(grave.wants("forced", Severity::Error, Some(two)));
    }

    #[test]
    fn addresses_are_bare() {
        for (text, good) in [
            ("root", true),
            ("a.b+c@example.org, root", true),
            ("", false),
            ("a@", false),
            ("@b", false),
            ("a b@c", false),
            ("A <a@b>", false),
            ("a@b,", false),
            ("a\u{e9}@b", false),
        ] {
            assert_eq!(target(NotifyWay::Mail, text).is_ok(), good, "{text}");
        }
    }
}
