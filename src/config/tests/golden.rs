//! The files in test-scripts/config: `bad/*.conf` with the exact problems in `*.expect`, `ok/*.conf` with
//! the exact warnings. `DIEHARD_BLESS=1` writes the `.expect` files anew, for a person to read.

use super::*;
use std::collections::BTreeSet;
use std::fs;

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-scripts/config").join(kind);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    let known = |path: &PathBuf| matches!(path.extension().and_then(|e| e.to_str()), Some("conf" | "expect"));
    assert!(paths.iter().all(known), "only .conf and .expect in {}", folder.display());
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    paths
}

/// Compares with the `.expect` file beside `path`.
fn compare(path: &Path, got: &str) -> Result<(), String> {
    let expect = path.with_extension("expect");
    if std::env::var_os("DIEHARD_BLESS").is_some() {
        fs::write(&expect, got).expect("the .expect file can be written");
    }
    let expected = fs::read_to_string(&expect).map_err(|error| format!("{}: {error}", expect.display()))?;
    if expected == got {
        return Ok(());
    }
    Err(format!("{}\nexpected:\n{expected}got:\n{got}", path.display()))
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

#[test]
fn every_bad_file_has_exactly_its_problems() {
    let paths = cases("bad");
    assert!(paths.len() >= 45, "{} files", paths.len());
    let mut failures = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).expect("a readable file");
        match parse(&name(&path), &bytes) {
            Ok(_) => failures.push(format!("{} parses", path.display())),
            Err(problems) => {
                assert!(problems.is_sorted_by_key(|problem| problem.line), "{}", lines(&problems));
                failures.extend(compare(&path, &lines(&problems)).err());
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_good_file_has_exactly_its_warnings_and_prints_what_parses_to_the_same() {
    let paths = cases("ok");
    assert!(paths.len() >= 12, "{} files", paths.len());
    let mut failures = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).expect("a readable file");
        let Parsed { config, warnings } = match parse(&name(&path), &bytes) {
            Ok(parsed) => parsed,
            Err(problems) => {
                failures.push(lines(&problems));
                continue;
            }
        };
        failures.extend(compare(&path, &lines(&warnings)).err());
        assert_eq!(parsed(&print(&config)).config, config, "{}", path.display());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A message that no golden file shows is a message that nobody has read.
#[test]
fn every_message_of_the_source_is_in_a_golden_file() {
    // Tested without files: they would be long ones.
    let mut shown = [TOO_LONG, TOO_MANY].concat();
    for path in cases("bad").into_iter().chain(cases("ok")) {
        shown += &fs::read_to_string(path.with_extension("expect")).expect("a readable file");
    }
    let sources = [
        include_str!("../text.rs"),
        include_str!("../addresses.rs"),
        include_str!("../values.rs"),
        include_str!("../parse.rs"),
        include_str!("../options.rs"),
        include_str!("../semantics.rs"),
    ];
    let mut missing = BTreeSet::new();
    let mut found = 0;
    for literal in sources.iter().flat_map(|source| literals(source)) {
        // The longest part between two inserted values stands for the message.
        let part = literal.split(['{', '}']).max_by_key(|part| part.len()).unwrap_or_default().to_owned();
        if part.split_whitespace().count() < 3 {
            continue;
        }
        found += 1;
        if !shown.contains(&part) {
            missing.insert(part);
        }
    }
    // These state an invariant and can never be shown.
    missing.retain(|part| !INVARIANTS.contains(&part.as_str()));
    assert!(found > 50, "{found} messages found: this test has gone blind");
    assert_eq!(missing, BTreeSet::new());
}

const INVARIANTS: [&str; 5] = [
    "a table of words has at least two",
    "number() has checked the range",
    "every number is a multiple of one microsecond",
    "a draft without a problem is whole",
    "parse has found the home",
];

/// The string literals of a source file, comments left out, `\` at a line's end joined.
fn literals(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.split(" // ").next().unwrap_or(line))
        .fold(String::new(), |code, line| code + line + "\n");
    let mut literals = Vec::new();
    for (index, part) in code.split('"').enumerate() {
        if index % 2 == 1 {
            literals.push(part.split("\\\n").map(str::trim_start).collect());
        }
    }
    literals
}
