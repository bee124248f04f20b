//! `diehard config push|confirm|rollback|history|diff` and `diehard key rotate`: asked of the daemon, told to
//! people.

use super::{Client, End, Look, refused, table};
use crate::control::protocol::Question;
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// Longest file that is pushed, in bytes: the daemons refuse a longer one.
const LONGEST: u64 = 256 << 10;

/// The question that pushes this file.
///
/// # Errors
/// It cannot be read, is too long, or is no text.
pub fn push_question(file: &Path, confirm: Option<&str>) -> Result<Question, End> {
    let name = std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string();
    let told = |error: std::io::Error| refused(format!("cannot read {name}: {error}"));
    let length = std::fs::metadata(file).map_err(told)?.len();
    if length > LONGEST {
        return Err(refused(format!("{name}: expected at most {LONGEST} bytes, got {length}")));
    }
    let text = std::fs::read_to_string(file).map_err(told)?;
    Ok(Question::ConfigPush { name, text, confirm_s: confirm_s(confirm)? })
}

/// What is unwise in what is pushed. Its errors are for the daemon to tell.
pub fn warnings(question: &Question) -> Vec<String> {
    let Question::ConfigPush { name, text, .. } = question else { return Vec::new() };
    let parsed = crate::config::parse(name, text.as_bytes());
    parsed.map_or_else(|_| Vec::new(), |parsed| parsed.warnings.iter().map(ToString::to_string).collect())
}

/// `60s`, `5m`, `1h` in seconds.
///
/// # Errors
/// It is none, or not from 10 s to a day.
pub fn confirm_s(text: Option<&str>) -> Result<Option<u64>, End> {
    let Some(text) = text else { return Ok(None) };
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => 0,
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds.filter(|seconds| (10..=86_400).contains(seconds)) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(End::Usage(format!("--confirm wants 10s to 24h, as in 60s or 5m, not {text}"))),
    }
}

/// What a push, a rollback or a confirmation has done.
pub fn pushed_text(value: &Value) -> String {
    let names = |list: &Value| {
        let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    let version = value["version"].as_str().unwrap_or("?");
    let mut text = format!("configuration version {version} is in force on {}", names(&value["nodes"]));
    for late in value["late"].as_array().into_iter().flatten() {
        let why = late["why"].as_str().unwrap_or_default();
        let _ = write!(text, "\nwas ready, and takes it when it answers again: {why}");
    }
    let away = names(&value["away"]);
    if !away.is_empty() {
        let _ = write!(text, "\naway, and takes it on joining: {away}");
    }
    if let Some(milliseconds) = value["confirm_ms"].as_u64() {
        let seconds = milliseconds / 1000;
        let _ = write!(text, "\nTHE VERSION BEFORE COMES BACK IN {seconds} s unless: diehard config confirm");
    }
    text
}

/// Newest first, the one in force marked.
pub fn history_text(value: &Value) -> String {
    let mut text = format!("  {:<8} {:<24}  {:<16}  ORIGIN\n", "VERSION", "SINCE", "DIGEST");
    for line in value.as_array().into_iter().flatten() {
        let word = |key: &str| line[key].as_str().unwrap_or_default();
        let mark = if line["current"] == true { '*' } else { ' ' };
        let (version, time) = (word("version"), word("time"));
        let _ =
            write!(text, "{mark} {version:<8} {time:<24}  {:<16}  {}", word("config_digest"), word("origin"));
        if let Some(milliseconds) = line["confirm_ms"].as_u64() {
            let _ = write!(text, " (GOES in {} s unless confirmed)", milliseconds / 1000);
        }
        text.push('\n');
    }
    text
}

/// What differs between two effective configurations, each line below the head of its section.
pub fn diff_text(value: &Value, look: Look) -> String {
    let part = |side: &str, key: &str| value[side][key].as_str().unwrap_or_default().to_owned();
    let (from, to) = (part("from", "text"), part("to", "text"));
    let (from, to): (Vec<&str>, Vec<&str>) = (from.lines().collect(), to.lines().collect());
    let changes = changes(&from, &to);
    let (here, there) = (part("from", "name"), part("to", "name"));
    if changes.is_empty() {
        return format!("no difference: {there} means the same as what is in force on {here}\n");
    }
    let mut text = format!("--- in force on {here}\n+++ {there}\n");
    let mut shown = "";
    for Change { section, sign, line } in changes {
        if section != shown && !line.starts_with('[') {
            let _ = writeln!(text, "  {section}");
        }
        shown = section;
        let paint = if sign == '-' { table::Paint::Red } else { table::Paint::Green };
        let _ = writeln!(text, "{}", look.paint(paint, &format!("{sign} {line}")));
    }
    text
}

/// A line that only one side has.
#[derive(Debug, PartialEq, Eq)]
struct Change<'a> {
    section: &'a str,
    sign: char,
    line: &'a str,
}

/// By the longest common subsequence: of what is the same at both ends, which is mostly all, nothing is compared.
fn changes<'a>(from: &[&'a str], to: &[&'a str]) -> Vec<Change<'a>> {
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = from.iter().zip(to).take_while(same).count();
    let left = from.len().min(to.len()) - head;
    let tail = from.iter().rev().zip(to.iter().rev()).take(left).take_while(same).count();
    let (a, b) = (&from[head..from.len() - tail], &to[head..to.len() - tail]);
    // `common[i][j]`: the length for what is left of a from i and of b from j.
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let mut section = from[..head].iter().rfind(|line| line.starts_with('[')).copied().unwrap_or_default();
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        let (sign, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            (' ', a[i - 1])
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        if line.starts_with('[') {
            section = line;
        }
        if sign != ' ' && !line.is_empty() {
            found.push(Change { section, sign, line });
        }
    }
    found
}

/// What a new key waits for.
pub fn rotated_text(value: &Value) -> String {
    let absent = value["waits_for_absent"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let absent = absent.collect::<Vec<_>>().join(", ");
    let mut text =
        "a new key is on its way to all nodes; the old one is accepted until all use the new".to_owned();
    if !absent.is_empty() {
        let _ = write!(text, "\nwaits for {absent}: start it, or take it out of the configuration");
    }
    text
}

/// Asks, and gives the answer.
pub fn asked(client: &mut Client, question: &Question) -> Result<Value, End> {
    Ok(client.ask(question)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Look = Look { colour: false, columns: 100 };

    #[test]
    fn differences_stand_below_their_sections() {
        let text = |weight: u32, more: &str| {
            format!("[cluster]\nname = www\n\n[service a]\nweight = {weight}\n{more}")
        };
        let value = |from: String, to: String| json!({"from": {"name": "web1", "text": from}, "to": {"name": "web2", "text": to}});
        let same = diff_text(&value(text(1, ""), text(1, "")), PLAIN);
        assert_eq!(same, "no difference: web2 means the same as what is in force on web1\n");
        let added = diff_text(&value(text(1, ""), text(2, "\n[service b]\nweight = 3\n")), PLAIN);
        let expected = "--- in force on web1\n+++ web2\n  [service a]\n- weight = 1\n+ weight = 2\n\
                        + [service b]\n+ weight = 3\n";
        assert_eq!(added, expected);
        let removed = diff_text(&value(text(1, "\n[service b]\nweight = 3\n"), text(1, "")), PLAIN);
        assert_eq!(removed, "--- in force on web1\n+++ web2\n- [service b]\n- weight = 3\n");
    }

    #[test]
    fn a_push_tells_who_has_it_and_who_will() {
        let value = json!({"version": "4", "nodes": ["web1", "web2"], "away": ["web4"], "confirm_ms": 60_000,
            "late": [{"node": "web3", "why": "web3: no answer in time"}]});
        assert_eq!(
            pushed_text(&value),
            "configuration version 4 is in force on web1, web2\n\
             was ready, and takes it when it answers again: web3: no answer in time\n\
             away, and takes it on joining: web4\n\
             THE VERSION BEFORE COMES BACK IN 60 s unless: diehard config confirm"
        );
    }

    #[test]
    fn times_to_confirm_have_bounds() {
        for (text, seconds) in [("60s", 60), ("5m", 300), ("10min", 600), ("24h", 86_400)] {
            assert_eq!(confirm_s(Some(text)).expect("right"), Some(seconds));
        }
        assert_eq!(confirm_s(None).expect("none"), None);
        for text in ["", "60", "9s", "25h", "1d", "-1s", "99999999999999999999s", "9999999999999999999h"] {
            assert!(matches!(confirm_s(Some(text)), Err(End::Usage(_))), "{text}");
        }
    }

    #[test]
    fn the_history_marks_what_is_in_force() {
        let value = json!([
            {"version": "2", "current": true, "config_digest": "00000000000000aa",
             "time": "2026-01-31T12:00:00.000Z", "origin": "pushed from web1", "confirm_ms": 30_000},
            {"version": "0.1", "current": false, "config_digest": "00000000000000bb",
             "time": "2026-01-30T12:00:00.000Z", "origin": "the file at the first start", "confirm_ms": null},
        ]);
        assert_eq!(
            history_text(&value),
            "  VERSION  SINCE                     DIGEST            ORIGIN\n\
             * 2        2026-01-31T12:00:00.000Z  00000000000000aa  pushed from web1 (GOES in 30 s unless confirmed)\n\
             \x20 0.1      2026-01-30T12:00:00.000Z  00000000000000bb  the file at the first start\n"
        );
    }
}
