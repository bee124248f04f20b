//! The house rules as an ordinary test: who may import whom, where the clock, unsafe code and threads
//! live, how long functions and files may be, which packages come along. Runs in `cargo test` alone.
//!
//! A rule that stands in its way is changed here, with its reason, in a commit of its own.

mod packages;
mod source;

use source::Source;

/// A module and what it must do without; the longest name that fits a file counts.
struct Boundary {
    module: &'static str,
    /// Our modules that it may use; itself always.
    ours: &'static [&'static str],
    /// Foreign packages that it may use; `None`: all of Cargo.toml.
    foreign: Option<&'static [&'static str]>,
    /// Things that it never names.
    never: &'static [&'static [&'static str]],
}

/// Files, clocks, sockets, threads, locks: what a pure module has handed in.
const WORLD: &[&str] = &[
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::mpsc",
    "std::sync::atomic",
    "Mutex",
    "RwLock",
    "Condvar",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "time::Instant",
    "SystemTime",
    "println!",
    "eprintln!",
];

/// An order of iteration that differs from run to run.
const CHANCE: &[&str] = &["HashMap", "HashSet", "RandomState"];

/// Real time in a world that has its own.
const REAL_TIME: &[&str] = &["time::Instant", "SystemTime", "std::thread"];

/// The table of ARCHITECTURE.md.
const BOUNDARIES: &[Boundary] = &[
    Boundary { module: "vocabulary", ours: &[], foreign: Some(&[]), never: &[WORLD, CHANCE] },
    Boundary { module: "wire", ours: &["vocabulary"], foreign: Some(&["hmac", "sha2"]), never: &[WORLD] },
    Boundary {
        module: "config",
        ours: &["vocabulary"],
        foreign: Some(&["ini", "regex_lite", "sha2"]),
        never: &[WORLD],
    },
    Boundary {
        module: "controller",
        ours: &["vocabulary", "config", "wire"],
        foreign: Some(&[]),
        never: &[WORLD, CHANCE],
    },
    Boundary {
        module: "recovery",
        ours: &["vocabulary", "config"],
        foreign: Some(&[]),
        never: &[WORLD, CHANCE],
    },
    // The words of all modules are no module: os says times in them.
    Boundary { module: "os", ours: &["vocabulary"], foreign: Some(&["libc", "nix"]), never: &[] },
    Boundary {
        module: "simulator",
        ours: &["vocabulary", "config", "controller", "wire"],
        foreign: Some(&[]),
        never: &[REAL_TIME, CHANCE],
    },
    // An independent check: an error that it shared with the controller, it could not see.
    Boundary { module: "simulator/model", ours: &[], foreign: Some(&[]), never: &[WORLD, CHANCE] },
    // What a person starts: it runs many worlds in parallel, in real time, from outside of them.
    Boundary {
        module: "simulator/command",
        ours: &["vocabulary", "config", "controller", "wire"],
        foreign: Some(&["parking_lot"]),
        never: &[],
    },
    // A client of the daemon like any other: what runs on the heartbeat's way is out of its reach.
    Boundary { module: "monitor", ours: &["vocabulary", "os", "control"], foreign: None, never: &[] },
    Boundary {
        module: "threads",
        ours: &["vocabulary", "config", "controller", "wire", "os", "control", "recovery"],
        foreign: None,
        never: &[],
    },
];

/// Where real time may be read and slept; elsewhere only with a reason beside it, for clippy and for us.
const CLOCK_OWNERS: &[&str] = &["os", "threads"];
const CLOCK_REASON: &str = "allow(clippy::disallowed_methods, reason";
const CLOCK: &[&str] = &["Instant::now", "SystemTime::now", "thread::sleep"];
/// Longest function in lines: what fits a screen. Tests are exempt: a table of cases reads best whole.
const FUNCTION_LINES: usize = 70;
/// The wiring of the threads is one straight list, read best whole.
const STRAIGHT_LISTS: &[(&str, usize)] = &[("spawn", 90)];
/// Longest file in lines. Near 300 is the aim.
const FILE_LINES: usize = 600;

/// Every breach of a rule by one file.
fn breaches(source: &Source) -> Vec<String> {
    let mut breaches = length_breaches(source);
    breaches.extend(unfinished(source));
    if !source.is_test() {
        breaches.extend(boundary_breaches(source));
        breaches.extend(ownership_breaches(source));
        if !source.text().starts_with("//!") {
            breaches.push(source.at(1, "does not begin with //!: what it owns, who calls it, how it ends"));
        }
    }
    breaches
}

fn length_breaches(source: &Source) -> Vec<String> {
    let lines = source.text().lines().count();
    let file = (lines > FILE_LINES).then(|| source.at(1, &format!("{lines} lines, at most {FILE_LINES}")));
    let limit = |name: &str| {
        STRAIGHT_LISTS.iter().find(|(list, _)| *list == name).map_or(FUNCTION_LINES, |(_, lines)| *lines)
    };
    let long = source
        .functions()
        .into_iter()
        .filter(|function| !source.is_test() && !function.is_test && function.lines > limit(&function.name));
    let functions = long.map(|function| {
        let lines = function.lines;
        source.at(function.line, &format!("fn {} has {lines} lines, at most {FUNCTION_LINES}", function.name))
    });
    file.into_iter().chain(functions).collect()
}

/// Marks of work that was left for later: it belongs into an issue, or is done.
fn unfinished(source: &Source) -> Vec<String> {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!"), concat!("unimpl", "emented!")];
    let hits = marks.into_iter().flat_map(|mark| {
        let lines = source.text().lines().enumerate().filter(move |(_, line)| line.contains(mark));
        lines.map(move |(at, _)| (at + 1, mark))
    });
    hits.map(|(line, mark)| source.at(line, mark)).collect()
}

fn boundary_breaches(source: &Source) -> Vec<String> {
    let fitting = BOUNDARIES.iter().filter(|boundary| source.is_within(boundary.module));
    let Some(boundary) = fitting.max_by_key(|boundary| boundary.module.len()) else {
        return Vec::new();
    };
    let module = source.module();
    let mut breaches = Vec::new();
    for (line, ours) in source.imports() {
        if ours != module && !boundary.ours.contains(&ours.as_str()) {
            breaches.push(source.at(line, &format!("{module} may not use crate::{ours}")));
        }
    }
    let allowed = |package: &str| boundary.foreign.is_none_or(|foreign| foreign.contains(&package));
    for package in packages::direct().into_iter().filter(|package| !allowed(package)) {
        for line in source.lines_with(&format!("{package}::")) {
            breaches.push(source.at(line, &format!("{module} may not use the package {package}")));
        }
    }
    for word in boundary.never.iter().copied().flatten() {
        for line in source.lines_with(word) {
            breaches.push(source.at(line, &format!("{module} may not use {word}")));
        }
    }
    breaches
}

/// unsafe and the clock have their places.
fn ownership_breaches(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    if source.module() != "os" {
        let lines = source.lines_with("unsafe").into_iter();
        breaches.extend(lines.map(|line| source.at(line, "unsafe outside src/os")));
    }
    if !CLOCK_OWNERS.contains(&source.module()) && !source.text().contains(CLOCK_REASON) {
        for call in CLOCK {
            let lines = source.lines_with(call).into_iter();
            breaches.extend(lines.map(|line| source.at(line, &format!("{call} outside os and threads"))));
        }
    }
    breaches
}

#[test]
fn the_source_is_tidy() {
    let sources = source::all();
    assert!(sources.len() > 20, "only {} files found", sources.len());
    let found: Vec<String> = sources.iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_top_level_module_is_on_the_map() {
    let free = ["lib", "bin", "guardian", "daemon", "control", "tidy"];
    let known = |module: &str| free.contains(&module) || BOUNDARIES.iter().any(|rule| rule.module == module);
    for source in source::all().iter().filter(|source| source.is_product()) {
        assert!(known(source.module()), "{}: a new top-level module needs its rule here", source.at(1, ""));
    }
}

/// Each rule is shown a file that breaks it: a blind check is worse than none.
#[test]
fn every_rule_sees_its_breach() {
    let breach =
        |path: &str, text: &str| breaches(&Source::new(path, &format!("//! Doc.\n{text}\n"))).join("\n");
    assert_eq!(breach("src/wire/x.rs", "use crate::vocabulary::NodeId;\nfn f() { super::g() }"), "");
    assert_eq!(
        breach("src/wire/x.rs", "use crate::controller::Input;"),
        "src/wire/x.rs:2: wire may not use crate::controller"
    );
    let all = [
        ("src/os/x.rs", "use crate::{vocabulary::Instant, wire};", "os may not use crate::wire"),
        ("src/controller/x.rs", "fn f() { log::info!(\"\") }", "may not use the package log"),
        ("src/controller/x.rs", "use std::collections::HashMap;", "controller may not use HashMap"),
        ("src/controller/x.rs", "use std::time::Instant;", "controller may not use time::Instant"),
        ("src/config/x.rs", "use std::{fs, io};", "config may not use std::fs"),
        ("src/wire/x.rs", "use std::time::{Duration, SystemTime};", "wire may not use SystemTime"),
        ("src/threads/x.rs", "use crate::simulator::World;", "threads may not use crate::simulator"),
        ("src/monitor/x.rs", "use crate::threads;", "monitor may not use crate::threads"),
        ("src/simulator/x.rs", "use crate::os;", "simulator may not use crate::os"),
        ("src/daemon.rs", "fn f() { unsafe { g() } }", "unsafe outside src/os"),
        ("src/daemon.rs", "fn f() { std::thread::sleep(T) }", "thread::sleep outside os and threads"),
        ("src/control/x.rs", "fn f() { Instant::now(); }", "Instant::now outside os and threads"),
        ("src/simulator/world.rs", "use parking_lot::Mutex;", "may not use the package parking_lot"),
        ("src/simulator/command.rs", "use crate::threads;", "simulator may not use crate::threads"),
        ("src/daemon.rs", concat!("// TO", "DO: more"), concat!("TO", "DO")),
        ("test-scripts/lab/x.rs", concat!("fn f() { to", "do!() }"), concat!("to", "do!")),
    ];
    for (path, text, expected) in all {
        let found = breach(path, text);
        assert!(found.contains(expected), "{path}: {text:?} should give {expected:?}, gives {found:?}");
    }
    let long = |lines| format!("fn long() {{\n{}}}", "    f();\n".repeat(lines));
    assert_eq!(breach("src/daemon.rs", &long(68)), "");
    assert!(breach("src/daemon.rs", &long(69)).contains("fn long has 71 lines"));
    assert!(breach("src/daemon.rs", &"\n".repeat(600)).contains("lines, at most 600"));
    assert!(breaches(&Source::new("src/daemon.rs", "fn f() {}\n"))[0].contains("does not begin with //!"));
}

/// What stands in comments and strings, or for tests alone, is no breach.
#[test]
fn the_rules_read_code_only() {
    let clean = [
        ("src/wire/x.rs", "// unsafe, HashMap, crate::os, Instant::now\n/* thread::sleep */ fn f() {}"),
        ("src/wire/x.rs", "fn f() -> &'static str { \"unsafe { crate::os }\" }"),
        ("src/wire/x.rs", "fn f<'a>(c: char) -> bool { c == '\"' || c == '{' }\nfn g() {}"),
        ("src/wire/x.rs", "fn f() { r#\"a \" crate::os\"#; }"),
        ("src/wire/x/tests.rs", "use std::time::Instant;\nfn f() { Instant::now(); }"),
        ("src/os/x.rs", "fn f() { unsafe { g() } }"),
        ("src/simulator/command.rs", "use parking_lot::Mutex;\nuse std::thread;"),
        (
            "src/control/x.rs",
            "#[allow(clippy::disallowed_methods, reason = \"a person\")]\nfn f() { Instant::now() }",
        ),
        ("src/wire/x.rs", "#[cfg(test)]\nmod tests {\n    use crate::config::Config;\n}"),
        ("src/wire/x.rs", "fn unsafely() {}\nfn f(catalog: u8) { catalog::x() }"),
    ];
    for (path, text) in clean {
        let found = breaches(&Source::new(path, &format!("//! Doc.\n{text}\n")));
        assert!(found.is_empty(), "{text:?}: {found:?}");
    }
}
