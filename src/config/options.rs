//! Keys of a check that only some types have: what they are, one value → its type, and how they are printed. Called by
//! `parse` and `print`; ends with `CheckOptions` that fit the check's type.

use super::error::{Report, wrong};
use super::parse::Fields;
use super::print::Printer;
use super::text::Section;
use super::types::{Check, CheckKind};
use super::values::{self, Value, Words, duration_or_zero, number, or_none, spelled, word, written};
use regex_lite::Regex;
use std::path::PathBuf;
use std::time::Duration;

/// Keys that not every type of check has; for types that have not: the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOptions {
    /// How long a started service has until its first good result; `None`: interval × fail.
    pub start_grace: Option<Duration>,
    /// What the answer must hold; default nothing. (`http`, `tcp`; for `dns` an address)
    pub expect: Option<String>,
    /// What the answer must match; default nothing. (`http`, `tcp`)
    pub expect_regex: Option<String>,
    /// What is said first, escapes resolved; default nothing. (`tcp`)
    pub send: Option<String>,
    /// Status codes that are well, each range with both ends; default 200 to 399. (`http`)
    pub status: Vec<(u16, u16)>,
    /// The name in the request and of the certificate; default that of the target. (`http`)
    pub host: Option<String>,
    /// What a redirect is; default an answer. (`http`)
    pub redirect: Redirect,
    /// Must the certificate be right? Default yes. (`http`)
    pub verify: bool,
    /// Who signs certificates; default whom this machine trusts. (`http`)
    pub ca_file: Option<PathBuf>,
    /// Days that a certificate must have left; default 1. (`http`)
    pub certificate_days: u32,
    /// With fewer days left there is a warning; default 14. (`http`)
    pub certificate_warning: u32,
    /// Mbit/s that a card must have; default any. (`link`)
    pub speed: Option<u32>,
    /// Packets with errors between two runs that are borne; default any number. (`link`)
    pub errors: Option<u32>,
    /// Whose conventions a script keeps; default those of Nagios plugins. (`script`)
    pub speaks: Speaks,
    /// Arguments of a monitor of `mon`; default the service's addresses. (`script`)
    pub hosts: Vec<String>,
}

/// `redirect`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// An answer, judged by its status.
    Answer,
    /// Followed, five times at most; the last answer is judged.
    Follow,
}

/// `speaks`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// 0 well, 1 a warning, else bad.
    Nagios,
    /// 0 well, else bad; hosts as arguments.
    Mon,
}

impl Default for CheckOptions {
    fn default() -> Self {
        CheckOptions {
            start_grace: None,
            expect: None,
            expect_regex: None,
            send: None,
            status: vec![(200, 399)],
            host: None,
            redirect: Redirect::Answer,
            verify: true,
            ca_file: None,
            certificate_days: 1,
            certificate_warning: 14,
            speed: None,
            errors: None,
            speaks: Speaks::Nagios,
            hosts: Vec::new(),
        }
    }
}

const REDIRECT: Words<Redirect> = &[("answer", Redirect::Answer), ("follow", Redirect::Follow)];
const SPEAKS: Words<Speaks> = &[("nagios", Speaks::Nagios), ("mon", Speaks::Mon)];
/// A longer expectation is no line of a configuration.
const MOST_HOSTS: usize = 64;
/// Twenty years: longer than any certificate that is right.
const MOST_DAYS: u32 = 7_300;

/// Which types have a key.
const OWNERS: &[(&str, &[CheckKind])] = &[
    ("expect", &[CheckKind::Http, CheckKind::Tcp, CheckKind::Dns]),
    ("expect_regex", &[CheckKind::Http, CheckKind::Tcp]),
    ("send", &[CheckKind::Tcp]),
    ("status", &[CheckKind::Http]),
    ("host", &[CheckKind::Http]),
    ("redirect", &[CheckKind::Http]),
    ("verify", &[CheckKind::Http]),
    ("ca_file", &[CheckKind::Http]),
    ("certificate_days", &[CheckKind::Http]),
    ("certificate_warning", &[CheckKind::Http]),
    ("speed", &[CheckKind::Link]),
    ("errors", &[CheckKind::Link]),
    ("speaks", &[CheckKind::Script]),
    ("hosts", &[CheckKind::Script]),
];

/// What the section says; a key that its type has not is a problem.
pub(super) fn read(fields: &mut Fields, kind: Option<CheckKind>) -> CheckOptions {
    for (key, owners) in OWNERS {
        let Some(kind) = kind.filter(|kind| !owners.contains(kind)) else { continue };
        if fields.section.entry(key).is_some() {
            let words = owners.iter().map(|owner| format!("`{}`", spelled(values::CHECK_KIND, owner)));
            let message = format!(
                "a check of type `{}` does not have this key; it belongs to {}",
                spelled(values::CHECK_KIND, &kind),
                words.collect::<Vec<_>>().join(" and ")
            );
            fields.report.problem(&fields.section.place_of(key), message);
        }
    }
    let or = CheckOptions::default();
    let hour = Duration::from_secs(3_600);
    let grace = |text: &str| match text {
        "auto" => Ok(None),
        text => duration_or_zero(Duration::from_millis(1), hour)(text)
            .map(Some)
            .map_err(|message| message.replacen("expected 0", "expected `auto`, 0", 1)),
    };
    let expected = |text: &str| match kind {
        Some(CheckKind::Dns) => address(text),
        _ => some_text(text),
    };
    let options = CheckOptions {
        start_grace: fields.or("start_grace", None, grace),
        expect: fields.or("expect", None, or_none(expected)),
        expect_regex: fields.or("expect_regex", None, or_none(pattern)),
        send: fields.or("send", None, or_none(unescaped)),
        status: fields.or("status", or.status, values::list(16, status)),
        host: fields.or("host", None, or_none(host)),
        redirect: fields.or("redirect", or.redirect, word(REDIRECT)),
        verify: fields.or("verify", or.verify, word(values::YES_NO)),
        ca_file: fields.or("ca_file", None, or_none(values::path)),
        certificate_days: fields.or("certificate_days", or.certificate_days, number(0, MOST_DAYS)),
        certificate_warning: fields.or("certificate_warning", or.certificate_warning, number(0, MOST_DAYS)),
        speed: fields.or("speed", None, or_none(number(1, 10_000_000))),
        errors: fields.or("errors", None, or_none(number(0, 1_000_000_000))),
        speaks: fields.or("speaks", or.speaks, word(SPEAKS)),
        hosts: fields.or("hosts", None, or_none(values::list(MOST_HOSTS, host))).unwrap_or_default(),
    };
    judge(fields.section, fields.report, &options, kind);
    options
}

/// What only two of them together can get wrong.
fn judge(section: &Section, report: &mut Report, options: &CheckOptions, kind: Option<CheckKind>) {
    if options.host.is_some() && options.redirect == Redirect::Follow {
        let message =
            "expected `answer` with `host`: a redirect leads to another host than the one named there";
        report.problem(&section.place_of("redirect"), message);
    }
    let script = kind == Some(CheckKind::Script);
    if script && !options.hosts.is_empty() && options.speaks == Speaks::Nagios {
        let message = "hosts are arguments of a monitor of mon: expected `speaks = mon` with it";
        report.problem(&section.place_of("hosts"), message);
    }
}

/// The keys that this type has, defaults included.
pub(super) fn print(out: &mut Printer, check: &Check) {
    let options = &check.options;
    let none = || "none".to_owned();
    let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
    let number = |value: Option<u32>| value.map_or_else(none, |value| value.to_string());
    out.key("start_grace", options.start_grace.map_or_else(|| "auto".to_owned(), written));
    for (key, owners) in OWNERS {
        if !owners.contains(&check.kind) {
            continue;
        }
        let value = match *key {
            "expect" => text(&options.expect),
            "expect_regex" => text(&options.expect_regex),
            "send" => options.send.as_deref().map_or_else(none, escaped),
            "status" => options.status.iter().map(range).collect::<Vec<_>>().join(", "),
            "host" => text(&options.host),
            "redirect" => spelled(REDIRECT, &options.redirect).to_owned(),
            "verify" => spelled(values::YES_NO, &options.verify).to_owned(),
            "ca_file" => options.ca_file.as_ref().map_or_else(none, |path| path.display().to_string()),
            "certificate_days" => options.certificate_days.to_string(),
            "certificate_warning" => options.certificate_warning.to_string(),
            "speed" => number(options.speed),
            "errors" => number(options.errors),
            "speaks" => spelled(SPEAKS, &options.speaks).to_owned(),
            _ if options.hosts.is_empty() => none(),
            _ => options.hosts.join(", "),
        };
        out.key(key, value);
    }
}

fn range((low, high): &(u16, u16)) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

/// `200` or `200-299`
fn status(text: &str) -> Value<(u16, u16)> {
    let code = |text: &str| {
        let number = values::digits(text).filter(|_| text.len() == 3)?;
        u16::try_from(number).ok().filter(|number| (100..=599).contains(number))
    };
    let range = match text.split_once('-') {
        Some((low, high)) => code(low.trim()).zip(code(high.trim())),
        None => code(text).map(|code| (code, code)),
    };
    let good = range.filter(|(low, high)| low <= high);
    good.ok_or_else(|| wrong("HTTP status codes from 100 to 599, such as `200` or `200-299`", text))
}

/// A host's name or address; a name in a request may have a port.
fn host(text: &str) -> Value<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '[' | ']');
    if (1..=255).contains(&text.len()) && text.chars().all(good) && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    Err(wrong("the name or address of a host", text))
}

fn address(text: &str) -> Value<String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(wrong("an IP address that is among the answers", text)),
    }
}

fn some_text(text: &str) -> Value<String> {
    if text.is_empty() { Err(wrong("what must be in the answer", text)) } else { Ok(text.to_owned()) }
}

fn pattern(text: &str) -> Value<String> {
    match Regex::new(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        Ok(_) => Err(wrong("a regular expression", text)),
        Err(error) => Err(format!("{}: {error}", wrong("a regular expression", text))),
    }
}

/// `QUIT\r\n` → what is sent.
fn unescaped(text: &str) -> Value<String> {
    let expected = || wrong(r"text, with `\r`, `\n`, `\t`, `\s` (a space) and `\\` alone as escapes", text);
    let mut sent = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            sent.push(letter);
            continue;
        }
        sent.push(match letters.next() {
            Some('r') => '\r',
            Some('n') => '\n',
            Some('t') => '\t',
            Some('s') => ' ',
            Some('\\') => '\\',
            _ => return Err(expected()),
        });
    }
    if sent.is_empty() { Err(expected()) } else { Ok(sent) }
}

/// The opposite. A space is always escaped: at the ends it would be lost, before `;` it would begin a comment.
fn escaped(sent: &str) -> String {
    let letters = sent.chars().map(|letter| match letter {
        '\\' => "\\\\".to_owned(),
        '\r' => "\\r".to_owned(),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        ' ' => "\\s".to_owned(),
        letter => letter.to_string(),
    });
    letters.collect()
}
