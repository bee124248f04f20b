//! man/diehard.conf.5 says what the parser does: every key, every default, an example that parses.

use super::*;

const MANUAL: &str = include_str!("../../../man/diehard.conf.5");

/// What stands below the heading of this kind of section.
fn chapter(kind: Kind) -> &'static str {
    let (_, rest) =
        MANUAL.split_once(&format!("\n.Ss Section {}", kind.word())).expect("every kind has a chapter");
    rest.split("\n.Ss ").next().and_then(|rest| rest.split("\n.Sh ").next()).unwrap_or(rest)
}

/// The paragraph of this key.
fn entry(kind: Kind, key: &str) -> &'static str {
    let head = format!("\n.It Ic {key} No = ");
    let (_, rest) = chapter(kind)
        .split_once(&head)
        .unwrap_or_else(|| panic!("{key} is missing from the chapter of [{}]", kind.word()));
    rest.split("\n.It Ic ").next().unwrap_or(rest)
}

#[test]
fn every_key_has_its_paragraph_and_no_other_has_one() {
    for kind in Kind::ALL {
        for key in kind.keys() {
            assert!(!entry(kind, key).is_empty());
        }
        let paragraphs = chapter(kind).matches("\n.It Ic ").count();
        assert_eq!(paragraphs, kind.keys().len(), "[{}]", kind.word());
    }
}

#[test]
fn every_default_is_the_parsers_own() {
    for (kind, target) in [
        ("tcp", "203.0.113.21:80"),
        ("http", "http://203.0.113.21/"),
        ("link", "eth0"),
        ("script", "true"),
        ("dns", "a.example"),
    ] {
        defaults_of(&format!("[check c]\nservice = www\ntype = {kind}\ntarget = {target}\n"));
    }
}

fn defaults_of(check: &str) {
    let more = "[part p]\nservice = www\nstart = /bin/true\n[notify n]\ntype = mail\ntarget = root\n";
    let smallest = with("", &format!("{check}{more}"));
    let printed = print(&parsed(&smallest).config);
    let given = |kind: Kind, key: &str| {
        let (_, rest) = smallest.split_once(&format!("[{}", kind.word())).expect("every kind is there");
        let section = rest.split("\n[").next().unwrap_or(rest);
        section.lines().any(|line| line.starts_with(&format!("{key} =")))
    };
    for kind in Kind::ALL {
        let (_, rest) = printed.split_once(&format!("[{}", kind.word())).expect("every kind is printed");
        let section = rest.split("\n[").next().unwrap_or(rest);
        for line in section.lines().skip(1).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=').expect("KEY = VALUE");
            let (key, value) = (key.trim(), value.trim());
            let text = entry(kind, key);
            let said = text.lines().find_map(|line| line.strip_prefix("Default: "));
            if given(kind, key) {
                assert!(said.is_none() && text.contains("Required"), "{key}: {text}");
            } else {
                let said = said.unwrap_or_else(|| panic!("{key} has no default in the manual"));
                assert_eq!(said.split(',').next(), Some(value), "{key}");
            }
        }
    }
}

#[test]
fn example_parses_without_a_warning() {
    let (_, rest) = MANUAL.split_once("only votes:\n.Bd -literal -offset indent\n").expect("the example");
    let (example, _) = rest.split_once(".Ed").expect("its end");
    assert_eq!(parsed(example).warnings, []);
}
