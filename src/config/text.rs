//! Bytes → sections and keys, each with its line. Owns the syntax: encoding, comments, headers, spelling of
//! keys, duplicates. Called by `parse` alone; ends with every section whose kind is known.
//!
//! The `ini` crate splits lines; it is given one line at a time, because over a whole file it merges
//! duplicate sections, lets the last key win, forgets order and lines, and loses what follows a BOM. Its
//! inline comments are switched off: they would cut `http://host/#part` in two. Here `;` and `#` begin a
//! comment only at the start of a line, at the start of a value, and after white space.

use super::error::{Place, Report, did_you_mean, quoted, wrong};
use ini::configparser::ini::{Ini, IniDefault};

/// A file longer than this is no configuration: 64 nodes and 256 services need a twentieth of it.
const MAX_BYTES: usize = 1 << 20;

/// What a section is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cluster,
    Node,
    Service,
    Check,
    Part,
    Notify,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Cluster, Kind::Node, Kind::Service, Kind::Part, Kind::Check, Kind::Notify];

    /// The word in the header.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Cluster => "cluster",
            Kind::Node => "node",
            Kind::Service => "service",
            Kind::Check => "check",
            Kind::Part => "part",
            Kind::Notify => "notify",
        }
    }

    /// The whole header, as a message shows it.
    fn header(self) -> &'static str {
        match self {
            Kind::Cluster => "[cluster]",
            Kind::Node => "[node NAME]",
            Kind::Service => "[service NAME]",
            Kind::Check => "[check NAME]",
            Kind::Part => "[part NAME]",
            Kind::Notify => "[notify NAME]",
        }
    }

    /// Every key that may stand in it.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Cluster => &[
                "name",
                "key_file",
                "port",
                "hello_interval",
                "hello_misses",
                "probe_interval",
                "quorum",
                "arbiter",
                "failback",
                "failback_delay",
                "startup_wait",
                "script_timeout",
                "stop_timeout",
                "forget",
                "valid_lft",
                "arp_refresh",
                "on_conflict",
                "force_interval",
                "allow_reboot",
                "load",
                "load_script",
                "damping",
                "log_level",
                "notify",
            ],
            Kind::Node => &["priority", "capacity", "internal", "external"],
            Kind::Service => &["home", "address", "weight", "start", "stop", "status", "route"],
            Kind::Check => &[
                "service",
                "type",
                "target",
                "interval",
                "timeout",
                "fail",
                "rise",
                "policy",
                "start_grace",
                "expect",
                "expect_regex",
                "send",
                "status",
                "host",
                "redirect",
                "verify",
                "ca_file",
                "certificate_days",
                "certificate_warning",
                "speed",
                "errors",
                "speaks",
                "hosts",
            ],
            Kind::Part => &["service", "start", "stop", "status"],
            Kind::Notify => &[
                "type", "target", "events", "services", "level", "timeout", "retries", "queue", "sendmail",
                "ca_file",
            ],
        }
    }
}

/// One section with its keys, each at most once.
#[derive(Debug)]
pub(super) struct Section {
    pub kind: Kind,
    pub name: String,
    pub line: u32,
    /// The same header stood before: its keys are still checked, but nothing is missing from it.
    pub duplicate: bool,
    pub entries: Vec<Entry>,
}

/// `key = value`
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub value: String,
    pub line: u32,
}

impl Section {
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The header.
    pub fn place(&self) -> Place {
        Place { line: Some(self.line), section: Some(self.label()), key: None }
    }

    /// The key, in the line where it stands, or else in the header's.
    pub fn place_of(&self, key: &str) -> Place {
        let line = self.entry(key).map_or(self.line, |entry| entry.line);
        Place { line: Some(line), key: Some(key.to_owned()), ..self.place() }
    }

    fn label(&self) -> String {
        if self.name.is_empty() {
            return self.kind.word().to_owned();
        }
        format!("{} {}", self.kind.word(), self.name)
    }
}

/// Every section of the file whose kind is known, in order.
pub(super) fn sections(bytes: &[u8], report: &mut Report) -> Vec<Section> {
    if bytes.len() > MAX_BYTES {
        let got = format!("expected at most {MAX_BYTES} bytes, got {}", bytes.len());
        report.problem(&Place::default(), got);
        return Vec::new();
    }
    let mut ini = tokenizer();
    let mut sections: Vec<Section> = Vec::new();
    let mut current = Current::Outside;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (line, bytes) in (1_u32..).zip(bytes.split(|byte| *byte == b'\n')) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let Some(text) = readable(bytes, line, report) else {
            // A header that cannot be read still ends the section before it.
            if bytes.trim_ascii_start().starts_with(b"[") {
                current = Current::Unknown;
            }
            continue;
        };
        match token(&mut ini, without_comment(text)) {
            Token::Nothing => {}
            Token::Header(header) => current = open(header.trim(), line, &mut sections, report),
            Token::BadHeader(got) => {
                report.problem(&Place::line(line), wrong("`[SECTION]`", got));
                current = Current::Unknown;
            }
            Token::Pair(key, value) => match current {
                Current::Known(index) => enter(&mut sections[index], key, value, line, report),
                // Its header was the mistake; a message for each of its lines would hide that.
                Current::Unknown => {}
                Current::Outside => {
                    let place = Place { line: Some(line), section: None, key: Some(key) };
                    report.problem(&place, "expected a section before it, such as `[cluster]`");
                }
            },
            Token::BadPair(got) => {
                let section = match current {
                    Current::Known(index) => sections[index].place().section,
                    Current::Unknown | Current::Outside => None,
                };
                let place = Place { line: Some(line), section, key: None };
                report.problem(&place, wrong("`KEY = VALUE`", got));
            }
        }
    }
    sections
}

/// To which section the next key belongs.
#[derive(Clone, Copy)]
enum Current {
    Outside,
    Unknown,
    Known(usize),
}

enum Token<'a> {
    Nothing,
    Header(String),
    BadHeader(&'a str),
    Pair(String, String),
    BadPair(&'a str),
}

fn tokenizer() -> Ini {
    let mut rules = IniDefault::default();
    rules.case_sensitive = true;
    rules.enable_inline_comments = false;
    rules.delimiters = vec!['='];
    Ini::new_from_defaults(rules)
}

/// What this one line says.
fn token<'a>(ini: &mut Ini, line: &'a str) -> Token<'a> {
    if line.is_empty() {
        return Token::Nothing;
    }
    if line.starts_with('[') && !line.ends_with(']') {
        return Token::BadHeader(line);
    }
    let Ok(map) = ini.read(line.to_owned()) else { return Token::BadPair(line) };
    let Some((section, pairs)) = map.into_iter().next() else { return Token::Nothing };
    match pairs.into_iter().next() {
        None => Token::Header(section),
        Some((_, None)) => Token::BadPair(line),
        // `key =#comment`: no space stands before it, but no value does either.
        Some((key, Some(value))) if value.starts_with([';', '#']) => Token::Pair(key, String::new()),
        Some((key, Some(value))) => Token::Pair(key, value),
    }
}

/// The line as text, or the reason why not.
fn readable<'a>(bytes: &'a [u8], line: u32, report: &mut Report) -> Option<&'a str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let byte = bytes[error.valid_up_to()];
            report.problem(&Place::line(line), format!("expected UTF-8, got the byte 0x{byte:02x}"));
            return None;
        }
    };
    let control = text.chars().find(|c| c.is_control() && *c != '\t');
    if let Some(control) = control {
        let message = format!("expected printable text, got the control character U+{:04X}", control as u32);
        report.problem(&Place::line(line), message);
        return None;
    }
    Some(text)
}

/// The line up to its comment, trimmed.
fn without_comment(line: &str) -> &str {
    let mut before = None;
    for (at, c) in line.char_indices() {
        if matches!(c, ';' | '#') && before.is_none_or(char::is_whitespace) {
            return line[..at].trim();
        }
        before = Some(c);
    }
    line.trim()
}

/// A header: which section the following keys belong to.
fn open(header: &str, line: u32, sections: &mut Vec<Section>, report: &mut Report) -> Current {
    let (word, name) = header.split_once(char::is_whitespace).unwrap_or((header, ""));
    let name = name.trim();
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.word() == word) else {
        let expected = "[cluster], [node NAME], [service NAME], [part NAME], [check NAME] or [notify NAME]";
        let near = did_you_mean(word, Kind::ALL.map(Kind::word));
        let message = format!("expected {expected}, got `[{header}]`{near}");
        report.problem(&Place::line(line), message);
        return Current::Unknown;
    };
    if (kind == Kind::Cluster) != name.is_empty() {
        let message = format!("expected {}, got `[{header}]`", kind.header());
        report.problem(&Place::line(line), message);
        return Current::Unknown;
    }
    let mut section = Section { kind, name: name.to_owned(), line, duplicate: false, entries: Vec::new() };
    if let Some(first) = sections.iter().find(|first| first.kind == kind && first.name == name) {
        report.problem(&section.place(), format!("this section stands twice, first in line {}", first.line));
        section.duplicate = true;
    }
    sections.push(section);
    Current::Known(sections.len() - 1)
}

/// A key: known, and only once.
fn enter(section: &mut Section, key: String, value: String, line: u32, report: &mut Report) {
    let place = Place { line: Some(line), key: Some(key.clone()), ..section.place() };
    if !section.kind.keys().contains(&key.as_str()) {
        report.problem(&place, unknown_key(section.kind, &key));
    } else if let Some(first) = section.entry(&key) {
        report.problem(&place, format!("this key stands twice, first in line {}", first.line));
    } else {
        section.entries.push(Entry { key, value, line });
    }
}

fn unknown_key(kind: Kind, key: &str) -> String {
    let near = did_you_mean(key, kind.keys().iter().copied());
    if !near.is_empty() {
        return format!("expected a known key, got {}{near}", quoted(key));
    }
    match Kind::ALL.into_iter().find(|other| other.keys().contains(&key)) {
        Some(other) => {
            format!("expected a key of {}, got `{key}`, which belongs in {}", kind.header(), other.header())
        }
        None => wrong(&format!("one of {}", kind.keys().join(", ")), key),
    }
}
