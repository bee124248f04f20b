//! One configuration for all: given to all nodes or to none, whoever refuses, is away or dies meanwhile; taken
//! back by itself; edited by hand; keys changed and files read again and again under a client; a machine that
//! brings its own sections.

use super::Test;
use super::hands::{entries, events, nobody_suspected};
use crate::interrupt::{self, wait_until, wait_until_right};
use crate::namespace::Outcome;
use crate::stage::{Stage, nothing_lost};
use crate::systems::binary;
use crate::world::{Part, World};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// All of them with services that run anyway.
pub const TESTS: &[Test] = &[
    Test { name: "config-push", run: push, least: 4 },
    Test { name: "config-refused", run: refused, least: 4 },
    Test { name: "config-away", run: away, least: 4 },
    Test { name: "config-dies", run: dies, least: 4 },
    Test { name: "config-confirm", run: confirm, least: 4 },
    Test { name: "config-drift", run: drift, least: 4 },
    Test { name: "config-key", run: key, least: 4 },
    Test { name: "config-reloads", run: reloads, least: 4 },
    Test { name: "config-added", run: added, least: 4 },
];

/// STATUS comes every 2 s, the keeper looks every second, and the machine is busy.
const SOON: Duration = Duration::from_secs(30);
/// How often the files are read again; more by this variable.
const RELOADS: usize = 200;
const RELOADS_VARIABLE: &str = "DIEHARD_LAB_RELOADS";

/// A version with real differences: in force everywhere at once, the client notices nothing; and back.
fn push(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let old = stage.world.diehard_conf();
    let new = format!("{old}weight = 3\n\n[service added]\nhome = web2\naddress = 203.0.113.200/24\n");
    let visitor = stage.visitor(0)?;
    let said = push_text(stage, 1, &new, &[])?;
    if !said.contains("in force on web1, web2, web3, web4") {
        return Err(format!("it says: {said}"));
    }
    all_have(stage, &new)?;
    let history = stage.world.diehard(2, &["config", "history"])?;
    if !history.lines().any(|line| line.starts_with("* ") && line.contains("pushed from web2")) {
        return Err(format!("web3 remembers: {history}"));
    }
    let back = stage.world.diehard(3, &["config", "rollback"])?;
    all_have(stage, &old)?;
    let difference = stage.world.diehard(0, &["config", "diff", "web4"])?;
    if !difference.starts_with("no difference") {
        return Err(format!("{back}: {difference}"));
    }
    stage.settled()?;
    nothing_lost(&visitor.finish()?, 0)
}

/// One node lacks a program and a card: nobody takes it, and both reasons are told.
fn refused(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let old = in_files(stage)?;
    for index in [0, 1, 3] {
        let program = stage.world.node_directory(index).join("only-here");
        fs::copy("/bin/true", &program).map_err(|error| format!("{}: {error}", program.display()))?;
    }
    let new = stage.world.diehard_conf() + "start = /proc/self/cwd/only-here\n";
    let place = World::external_address(2);
    let new = new.replace(&format!("eth0 {place}/24"), &format!("eth7 {place}/24"));
    let why = push_text(stage, 0, &new, &[]).err().ok_or("it was taken")?;
    for reason in ["nothing was changed", "web3: [service www4] start: ", "web3: [node web3] external: "] {
        if !why.contains(reason) {
            return Err(format!("{reason:?} is missing: {why}"));
        }
    }
    if why.contains("web2:") || in_files(stage)? != old {
        return Err(format!("somebody else refused or took it: {why}"));
    }
    // Off the link: everybody refuses.
    let far = stage.world.diehard_conf().replace(&World::service_address(3).to_string(), "198.51.100.7");
    let why = push_text(stage, 0, &far, &[]).err().ok_or("it was taken")?;
    if (1..=4)
        .any(|number| !why.contains(&format!("web{number}: [service www4] address: 198.51.100.7 is on")))
    {
        return Err(why);
    }
    stage.settled()
}

/// One has no power: it takes the version when it is back.
fn away(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let victim = 3;
    stage.world.cut_power(&[victim])?;
    wait_until("web4 is taken for dead", SOON, || Ok(state(stage, 0, "web4")? == "down"))?;
    let new = stage.world.diehard_conf() + "weight = 2\n";
    let said = push_text(stage, 0, &new, &[])?;
    if !said.contains("takes it on joining: web4") {
        return Err(format!("it says: {said}"));
    }
    stage.world.restore_power(&[victim])?;
    all_have(stage, &new)?;
    let told = events(stage, victim, "config-taken")?;
    if told.is_empty() {
        return Err("web4 does not tell that it took a version".to_owned());
    }
    restore(stage)
}

/// Who pushes is killed at every moment of it: in the end all have the one or all the other.
fn dies(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let pusher = 1;
    let (mut taken, rounds) = (0, 6_u32);
    for round in 0..rounds {
        let old = in_files(stage)?;
        let new = format!("{}weight = {}\n", stage.world.diehard_conf(), 2 + round);
        let file = stage.world.directory.join("pushed.conf");
        fs::write(&file, &new).map_err(|error| error.to_string())?;
        let socket = stage.world.node_directory(pusher).join("run/control.sock");
        let mut command = Command::new(binary("diehard"));
        command.arg("-s").arg(socket).args(["config", "push"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut pushing = command.spawn().map_err(|error| error.to_string())?;
        interrupt::pause(Duration::from_millis(u64::from(5 + 12 * round)))?;
        stage.world.signal_part(pusher, Part::Whole, Signal::SIGKILL)?;
        pushing.wait().map_err(|error| error.to_string())?;
        restart_killed(stage, pusher)?;
        stage.settled()?;
        let all = |text: &str| -> Outcome<bool> { Ok(in_files(stage)?.iter().all(|file| file == text)) };
        wait_until_right("all have the one or the other", SOON, || {
            if let Err(error) = agreed(stage)? {
                return Ok(Err(error));
            }
            Ok(match all(&new)? || in_files(stage)? == old {
                true => Ok(()),
                false => Err("some have the one and some the other".to_owned()),
            })
        })?;
        taken += u32::from(all(&new)?);
    }
    println!("     killed {rounds} times while it pushed: taken {taken} times");
    // What is ready for the dead keeps nobody waiting.
    push_text(stage, 0, &stage.world.diehard_conf(), &[])?;
    restore(stage)
}

/// Nobody confirms: the version before comes back, also where a worker is killed meanwhile.
fn confirm(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let old = stage.world.diehard_conf();
    let new = format!("{old}weight = 2\n");
    push_text(stage, 0, &new, &["--confirm", "10s"])?;
    all_have(stage, &new)?;
    stage.world.signal_part(2, Part::Worker, Signal::SIGKILL)?;
    all_have(stage, &old)?;
    stage.settled()?;
    push_text(stage, 3, &new, &["--confirm", "20s"])?;
    stage.world.diehard(1, &["config", "confirm"])?;
    interrupt::pause(Duration::from_secs(21))?;
    all_have(stage, &new)?;
    restore(stage)
}

/// A file is edited on one machine: everybody names it, and it is in its history.
fn drift(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let odd = 2;
    write(stage, odd, &(stage.world.diehard_conf() + "weight = 7\n"))?;
    stage.world.signal_daemon(odd, Signal::SIGHUP)?;
    for index in [0, odd] {
        wait_until("an event names web3", SOON, || {
            let told = events(stage, index, "config-differs")?;
            Ok(told.last().is_some_and(|event| event["nodes"] == serde_json::json!(["web3"])))
        })?;
    }
    let status = stage.world.diehard(1, &["status"])?;
    let difference = stage.world.diehard(1, &["config", "diff", "web3"])?;
    if !status.contains("CONFIGURATIONS DIFFER: web3") || !difference.contains("+ weight         = 7") {
        return Err(format!("{status}\n{difference}"));
    }
    write(stage, odd, &stage.world.diehard_conf())?;
    stage.world.signal_daemon(odd, Signal::SIGHUP)?;
    wait_until("they agree again", SOON, || Ok(!events(stage, 0, "config-agrees")?.is_empty()))?;
    stage.settled()
}

/// Another key under load, while one node is away: it waits for it; nobody is suspected, nothing is lost.
fn key(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let keys = |stage: &Stage| -> Outcome<Vec<String>> {
        let read = |index| fs::read_to_string(stage.world.node_directory(index).join("key"));
        (0..stage.world.nodes.len()).map(|index| read(index).map_err(|error| error.to_string())).collect()
    };
    let old = keys(stage)?;
    stage.world.stop_daemon(3)?;
    stage.served()?;
    let visitor = stage.visitor(0)?;
    let before = entries(stage, 0, "suspected")?;
    stage.world.diehard(2, &["key", "rotate"])?;
    wait_until("three accept the new key", SOON, || {
        Ok(keys(stage)?[..3].iter().all(|key| key.contains("\nnext ")))
    })?;
    stage.world.start_daemon(3)?;
    wait_until("only the new key is left", SOON, || {
        let new = keys(stage)?;
        Ok(new.iter().all(|key| *key == new[0] && *key != old[0] && !key.contains("seal ")))
    })?;
    stage.settled()?;
    nobody_suspected(stage, 0, &before)?;
    // Once more, and waited for.
    let new = keys(stage)?;
    let said = stage.world.diehard(1, &["key", "rotate", "--wait"])?;
    if !said.starts_with("all nodes use the new key alone") || keys(stage)?[0] == new[0] {
        return Err(format!("keys have not changed, and it said {said}"));
    }
    // The guardian's last word is understood as well.
    stage.world.signal_part(1, Part::Worker, Signal::SIGKILL)?;
    stage.settled()?;
    nothing_lost(&visitor.finish()?, 0)
}

/// Files with real differences, read again and again: the services that they do not concern lose nothing.
fn reloads(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let wanted = std::env::var(RELOADS_VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(RELOADS);
    let visitors = [stage.visitor(0)?, stage.visitor(1)?];
    let before = entries(stage, 0, "suspected")?;
    let base = stage.world.diehard_conf();
    for round in 0..wanted {
        let text = variant(&base, round);
        for index in 0..stage.world.nodes.len() {
            write(stage, index, &text)?;
            stage.world.signal_daemon(index, Signal::SIGHUP)?;
        }
        let digest = digest_of(stage)?;
        wait_until_right("all have read it", SOON, || {
            for index in 0..stage.world.nodes.len() {
                let own = own_digest(stage, index)?;
                if own != digest {
                    return Ok(Err(format!("web{} has {own}, not {digest}, in round {round}", index + 1)));
                }
            }
            Ok(Ok(()))
        })?;
    }
    for index in 0..stage.world.nodes.len() {
        write(stage, index, &base)?;
        stage.world.signal_daemon(index, Signal::SIGHUP)?;
    }
    stage.settled()?;
    nobody_suspected(stage, 0, &before)?;
    for visitor in visitors {
        let seen = visitor.finish()?;
        println!("     {wanted} reloads: {} connects, longest silence {:?}", seen.good, seen.longest);
        nothing_lost(&seen, 0)?;
    }
    Ok(())
}

/// What changes from one file to the next; never www1 or www2.
fn variant(base: &str, round: usize) -> String {
    let fourth = World::service_address(3).to_string();
    match round % 7 {
        0 => format!("{base}\n[service added]\nhome = web2\naddress = 203.0.113.200/24\n"),
        1 => format!("{base}\n[service renamed]\nhome = web3\naddress = 203.0.113.200/24\nweight = 2\n"),
        2 => base.replace(&format!("{fourth}/24"), "203.0.113.201/24"),
        3 => base.replace("priority = 10\n", "priority = 11\n").replace("priority = 20\n", "priority = 21\n"),
        4 => base.replace("[node web3]", "[node renamed3]").replace("home = web3", "home = renamed3"),
        5 => base.replace("hello_interval = 100ms", "hello_interval = 120ms\nhello_misses = 4"),
        _ => {
            format!("{base}\n[node later]\npriority = 5\ninternal = eth1 192.168.10.77/24\nexternal = eth0\n")
        }
    }
}

/// A machine that is in nobody's file joins with the key and its own sections: all learn them.
fn added(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let new = 3;
    stage.world.stop_daemon(new)?;
    wait_until("web4 is gone", SOON, || Ok(state(stage, 0, "web4")? == "down"))?;
    let whole = stage.world.diehard_conf();
    let (cluster, rest) = whole.split_once("\n[node").ok_or("a file without nodes")?;
    let sections = format!("[node{rest}");
    let of = |section: &&str| section.contains("[node web4]") || section.contains("[service www4]");
    let (own, others): (Vec<&str>, Vec<&str>) = sections.split("\n\n").partition(of);
    let (own, others) = (own.join("\n\n"), others.join("\n\n"));
    push_text(stage, 0, &format!("{cluster}\n{others}\n"), &[])?;
    // As if it had never been there.
    let state_dir = stage.world.node_directory(new).join("state");
    fs::remove_dir_all(&state_dir).map_err(|error| format!("{}: {error}", state_dir.display()))?;
    fs::create_dir_all(&state_dir).map_err(|error| format!("{}: {error}", state_dir.display()))?;
    write(stage, new, &format!("{cluster}\n{own}\n"))?;
    stage.world.start_daemon(new)?;
    wait_until_right("all have its sections", SOON, || {
        for index in 0..stage.world.nodes.len() {
            let file = fs::read_to_string(conf(stage, index)).map_err(|error| error.to_string())?;
            if ["[node web1]", "[node web4]", "[service www1]", "[service www4]"]
                .iter()
                .any(|it| !file.contains(it))
            {
                return Ok(Err(format!("web{} has {file}", index + 1)));
            }
        }
        agreed(stage)
    })?;
    stage.settled()?;
    restore(stage)
}

/// The lab's own configuration again, everywhere.
fn restore(stage: &Stage) -> Outcome<()> {
    let text = stage.world.diehard_conf();
    push_text(stage, 0, &text, &[])?;
    all_have(stage, &text)?;
    stage.settled()
}

fn push_text(stage: &Stage, by: usize, text: &str, more: &[&str]) -> Outcome<String> {
    let file = stage.world.directory.join("pushed.conf");
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let file = file.display().to_string();
    let words: Vec<&str> =
        ["config", "push", file.as_str()].into_iter().chain(more.iter().copied()).collect();
    stage.world.diehard(by, &words)
}

/// Every file has this text, and every daemon goes by it.
fn all_have(stage: &Stage, text: &str) -> Outcome<()> {
    wait_until_right("all have one configuration", SOON, || {
        if let Some(other) = in_files(stage)?.iter().position(|file| file != text) {
            return Ok(Err(format!("web{} has another file", other + 1)));
        }
        agreed(stage)
    })
}

/// Every daemon goes by the same configuration and the same version.
fn agreed(stage: &Stage) -> Outcome<Outcome<()>> {
    let mut known = None;
    for index in stage.world.living() {
        let status = stage.world.status(index)?;
        let all = status["nodes"].as_array().cloned().unwrap_or_default();
        let own = all.iter().find(|node| node["name"] == status["node"]);
        let own = own.map(|node| (node["config_digest"].clone(), node["config_version"].clone()));
        let known = known.get_or_insert_with(|| own.clone());
        if own != *known {
            return Ok(Err(format!("web{} says {own:?}, another {known:?}", index + 1)));
        }
    }
    Ok(Ok(()))
}

fn in_files(stage: &Stage) -> Outcome<Vec<String>> {
    let read = |index| fs::read_to_string(conf(stage, index)).map_err(|error| error.to_string());
    (0..stage.world.nodes.len()).map(read).collect()
}

fn conf(stage: &Stage, index: usize) -> std::path::PathBuf {
    stage.world.node_directory(index).join("diehard.conf")
}

fn write(stage: &Stage, index: usize, text: &str) -> Outcome<()> {
    let path = conf(stage, index);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn digest_of(stage: &Stage) -> Outcome<String> {
    let file = conf(stage, 0).display().to_string();
    let said = stage.world.diehard(0, &["--json", "config", "check", &file])?;
    let said: serde_json::Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
    Ok(said["config_digest"].as_str().unwrap_or_default().to_owned())
}

fn own_digest(stage: &Stage, index: usize) -> Outcome<String> {
    let status = stage.world.status(index)?;
    let all = status["nodes"].as_array().cloned().unwrap_or_default();
    let own = all.iter().find(|node| node["name"] == status["node"]).ok_or("it does not know itself")?;
    Ok(own["config_digest"].as_str().unwrap_or_default().to_owned())
}

fn state(stage: &Stage, index: usize, name: &str) -> Outcome<String> {
    let status = stage.world.status(index)?;
    let all = status["nodes"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|node| node["name"] == name).ok_or_else(|| format!("no {name} in status"))?;
    Ok(found["state"].as_str().unwrap_or_default().to_owned())
}

/// As soon as the kernel has taken the lock of the pid file from the dead: the last of their threads is gone then.
fn restart_killed(stage: &mut Stage, index: usize) -> Outcome<()> {
    if let Some(mut child) = stage.world.nodes[index].daemon.take() {
        child.wait().map_err(|error| error.to_string())?;
    }
    let path = stage.world.node_directory(index).join("run/diehardd.pid");
    wait_until("its pid file is free", SOON, || {
        let file = fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok())
    })?;
    stage.world.start_daemon(index)
}
