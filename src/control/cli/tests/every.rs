//! Every command of the manual, as a person types it, against a daemon that answers.

use super::*;
use clap::CommandFactory;
use std::collections::BTreeSet;

/// Command, what is typed, and how it ends there. `DIR` is a new directory.
const TYPED: &[(&str, &[&str], u8)] = &[
    ("status", &["status"], DONE),
    ("nodes", &["nodes"], DONE),
    ("services", &["services"], DONE),
    ("checks", &["checks"], DONE),
    ("why", &["why", "www1"], DONE),
    ("events", &["events", "--since", "1h", "--limit", "3", "--here"], DONE),
    ("move", &["move", "www1", "web3"], DONE),
    ("failback", &["failback", "all"], DONE),
    ("standby", &["standby", "web3"], DONE),
    ("online", &["online", "web3"], DONE),
    ("freeze", &["freeze"], DONE),
    ("thaw", &["thaw"], DONE),
    // There is no such daemon's process on this machine, and web2 is down.
    ("doctor", &["doctor"], FAILED),
    // One of its nodes is down in earnest.
    ("drill", &["drill", "www1"], FAILED),
    ("debug bundle", &["debug", "bundle", "DIR/bundle"], DONE),
    ("completions", &["completions", "bash"], DONE),
    ("config check", &["config", "check", "DIR/none.conf"], FAILED),
    ("config show", &["config", "show", "DIR/none.conf"], FAILED),
    // The rehearsal has no keeper.
    ("config push", &["config", "push", "DIR/none.conf"], FAILED),
    ("config confirm", &["config", "confirm"], FAILED),
    ("config rollback", &["config", "rollback"], FAILED),
    ("config history", &["config", "history"], FAILED),
    ("config diff", &["config", "diff"], FAILED),
    ("key new", &["key", "new", "DIR/key"], DONE),
    ("key rotate", &["key", "rotate"], FAILED),
    // `bin/diehard.rs` runs it; here it says so.
    ("simulate", &["simulate"], USAGE),
    ("monitor", &["monitor"], USAGE),
    ("top", &["top"], USAGE),
    // It runs the check itself, of a configuration that is not there.
    ("check run", &["check", "run", "www1-http"], FAILED),
];

#[test]
fn every_command_of_the_manual_is_typed_once() {
    fn leaves(command: &clap::Command, above: &str, found: &mut BTreeSet<String>) {
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let path = format!("{above} {}", below.get_name()).trim_start().to_owned();
            match below.get_subcommands().next() {
                None => drop(found.insert(path)),
                Some(_) => leaves(below, &path, found),
            }
        }
    }
    let mut known = BTreeSet::new();
    leaves(&Arguments::command(), "", &mut known);
    let typed: BTreeSet<String> = TYPED.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(typed, known, "a new command needs a line in TYPED");
    let rehearsal = Rehearsal::new();
    *rehearsal.view.lock() = view_with_ground();
    rehearsal.events.push(std::time::SystemTime::now(), "something".into(), serde_json::Map::new());
    let directory = Directory::new("every");
    let mut wrong = Vec::new();
    for (name, words, expected) in TYPED {
        let place = directory.path.to_str().expect("a name in ASCII");
        let words: Vec<String> = words.iter().map(|word| word.replace("DIR", place)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, out, error) = run_with(&rehearsal.socket(), &words);
        // What it did, or why not.
        let said = if code == DONE { !out.is_empty() } else { error.contains("diehard: ") };
        if code != *expected || !said {
            wrong.push(format!("{name} ended with {code} and said {out:?} {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_bundle_has_everything_but_the_key_and_replaces_nothing() {
    let rehearsal = Rehearsal::new();
    let directory = Directory::new("bundle");
    let bundle = directory.path.join("bundle");
    let words = ["debug", "bundle", bundle.to_str().expect("ASCII")];
    done(run_with(&rehearsal.socket(), &words));
    for name in
        ["status.json", "vitals.json", "events.json", "doctor.json", "diehard.conf", "ip-addr.txt", "log.txt"]
    {
        assert!(std::fs::metadata(bundle.join(name)).is_ok_and(|found| found.len() > 0), "{name}");
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&bundle).expect("there"));
    assert_eq!(mode & 0o077, 0, "for its owner alone");
    let (code, _, error) = run_with(&rehearsal.socket(), &words);
    assert!(code == FAILED && error.contains("File exists"), "{error}");
}
