//! The packages that come along: no async runtime, and only licences that we know.

use super::source::root;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Executors and their reactors. The heartbeat has a thread of its own with a real-time priority, which
/// no executor's task has.
const RUNTIMES: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "async-executor",
    "async-global-executor",
    "async-io",
    "async-task",
    "blocking",
    "futures-executor",
    "embassy-executor",
    "glommio",
    "monoio",
    "compio",
    "actix-rt",
    "pollster",
];

/// mio is a reactor too; a terminal library may wait for keys with it.
const MIO_FOR: &[&str] = &["crossterm", "signal-hook-mio"];

/// Licences under which a program with ours can be passed on.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Our own direct dependencies, by the names that code uses.
pub fn direct() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("there is a Cargo.toml");
    let sections = manifest.split("\n[").filter(|section| section.starts_with("dependencies]"));
    let lines = sections.flat_map(str::lines).skip(1).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().replace('-', "_")).collect()
}

/// Every package of a Cargo.lock with the names of those it depends on.
fn locked(lock: &str) -> Vec<(String, Vec<String>)> {
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    lock.split("[[package]]")
        .skip(1)
        .map(|package| {
            let name = package.lines().find(|line| line.starts_with("name = ")).and_then(quoted);
            let list = package.split_once("dependencies = [").map_or("", |(_, list)| list);
            let needs = list.lines().filter_map(quoted);
            let names = needs.map(|need| need.split(' ').next().unwrap_or_default().to_owned());
            (name.expect("every package has a name"), names.collect())
        })
        .collect()
}

/// What a Cargo.lock holds of the refused.
fn runtimes(lock: &str) -> Vec<String> {
    let mut refused = Vec::new();
    for (name, needs) in locked(lock) {
        if RUNTIMES.contains(&name.as_str()) {
            refused.push(name.clone());
        }
        if needs.iter().any(|need| need == "mio") && !MIO_FOR.contains(&name.as_str()) {
            refused.push(format!("mio for {name}"));
        }
    }
    refused
}

/// Is there a way to take this SPDX expression with known licences alone? `/` is an old form of OR; a
/// licence WITH an exception gives more rights than without.
fn acceptable(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any_of(&words, &mut at) && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut good = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        good |= all_of(words, at);
    }
    good
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut good = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        good &= one(words, at);
    }
    good
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word == "(" {
        let good = any_of(words, at);
        *at += 1;
        return good;
    }
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    LICENCES.contains(&word)
}

/// Everything that is compiled for Linux, as cargo resolves it from Cargo.lock.
fn metadata() -> Value {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]);
    let output = command.current_dir(root()).output().expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

#[test]
fn no_async_runtime_comes_along() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is kept");
    assert!(locked(&lock).len() > 10, "Cargo.lock is not read any more");
    assert_eq!(runtimes(&lock), Vec::<String>::new());
}

#[test]
fn a_runtime_would_be_seen() {
    let package = |name: &str, needs: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\ndependencies = [\n{needs}]\n\n")
    };
    let lock =
        package("a", " \"mio 1.0.0\",\n") + &package("crossterm", " \"mio\",\n") + &package("tokio", "");
    assert_eq!(runtimes(&lock), ["mio for a", "tokio"]);
}

#[test]
fn every_licence_is_known() {
    let metadata = metadata();
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("a list of nodes")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let mut unknown = Vec::new();
    for package in
        packages.iter().filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
    {
        let licence = package["license"].as_str().unwrap_or("none");
        if !acceptable(licence) {
            unknown.push(format!("{}: {licence}", package["name"]));
        }
    }
    assert!(used.len() > 10, "only {} packages seen", used.len());
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn licence_expressions_are_understood() {
    for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND Unicode-3.0"] {
        assert!(acceptable(good), "{good}");
    }
    assert!(acceptable("Apache-2.0 WITH LLVM-exception OR MIT"));
    for bad in ["", "none", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT MIT", "AGPL-3.0-only OR SSPL-1.0"] {
        assert!(!acceptable(bad), "{bad}");
    }
}
