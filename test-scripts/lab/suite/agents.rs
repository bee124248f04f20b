//! Services by others' agents, and who is told what happens: the resource agents of Debian's package, its init script
//! of nginx, commands that note and commands that misbehave.

use super::Test;
use super::hands::{events, service};
use crate::agents::{LSB_PORT, NASTY_SLEEP, OCF_PORT};
use crate::interrupt::wait_until;
use crate::namespace::{self, Outcome, processes};
use crate::stage::Stage;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    Test { name: "agents-ocf", run: ocf_nginx, least: 4 },
    Test { name: "agents-group", run: group, least: 4 },
    Test { name: "agents-lsb", run: init_script, least: 4 },
    Test { name: "notify-in-order", run: in_order, least: 4 },
    Test { name: "notify-nasty", run: nasty, least: 4 },
];

/// How long an agent may take, which waits whole seconds in places, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// nginx by its resource agent: killed and restarted, killed and moved, not started where its file is wrong.
fn ocf_nginx(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 1;
    running(stage, node, "www2", OCF_PORT)?;
    kill_by_file(stage, node, "ocf.pid")?;
    wait_until("the agent has restarted nginx", SOON, || {
        Ok(!events(stage, node, "check-restarted")?.is_empty())
    })?;
    running(stage, node, "www2", OCF_PORT)?;
    let told = events(stage, node, "check-failing")?;
    let why =
        told.iter().find(|event| event["check"] == "www2-agent").ok_or("no event says that it failed")?;
    let why = why["message"].as_str().unwrap_or_default().to_owned();
    println!("  the monitor said: {why}");
    if why != "not running (OCF exit code 7)" {
        return Err(format!("the check says {why}"));
    }
    kill_by_file(stage, node, "ocf.pid")?;
    let to = moved(stage, node)?;
    wait_until("nginx answers there", SOON, || Ok(answers(stage, to, OCF_PORT)))?;
    let conf = stage.world.node_directory(node).join("ocf.conf");
    let right = fs::read_to_string(&conf).map_err(|error| error.to_string())?;
    fs::write(&conf, format!("nonsense;\n{right}")).map_err(|error| error.to_string())?;
    let refused = stage.world.diehard(0, &["move", "www2", "web2", "--wait"]);
    fs::write(&conf, &right).map_err(|error| error.to_string())?;
    if refused.is_ok() {
        return Err("it moved to where it cannot be started".to_owned());
    }
    if events(stage, node, "start-failed")?.is_empty() {
        return Err("no event says that it could not be started".to_owned());
    }
    let log = fs::read_to_string(stage.world.node_directory(node).join("daemon.log")).unwrap_or_default();
    if !log.contains("(OCF exit code 5)") {
        return Err("the log does not say what the agent said".to_owned());
    }
    // Not before what failed there is forgotten.
    wait_until("it goes home", SOON, || Ok(stage.world.diehard(0, &["failback", "www2", "--wait"]).is_ok()))?;
    stage.settled()?;
    running(stage, node, "www2", OCF_PORT)?;
    wait_until("it is stopped where it was", SOON, || Ok(!answers(stage, to, OCF_PORT)))
}

/// A group of agents that keep their state in files: without one of them all move, in order and back.
fn group(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 2;
    let file = |index: usize, name: &str| stage.world.node_directory(index).join(name);
    let running = |index: usize| ["dummy.state", "second.state"].map(|name| file(index, name).exists());
    wait_until("it is well at home", SOON, || {
        Ok(service(stage, node, "www3")?["checks"][0]["state"] == "ok" && running(node) == [true; 2])
    })?;
    fs::remove_file(file(node, "second.state")).map_err(|error| error.to_string())?;
    let to = moved(stage, node)?;
    if running(to) != [true; 2] {
        return Err("it is served where it was not started".to_owned());
    }
    let told = events(stage, node, "check-failing")?;
    let why = told.first().ok_or("no event says that it failed")?["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if !why.starts_with("www3-second: not running (OCF exit code 7)") {
        return Err(format!("the check says {why}"));
    }
    wait_until("the rest is stopped at home", SOON, || Ok(running(node) == [false; 2]))?;
    // That the one was gone when the last was stopped is what this test did; from now on all are there.
    fs::remove_file(file(node, "disorder"))
        .map_err(|error| format!("the last was not stopped first: {error}"))?;
    stage.settled()?;
    wait_until(
        "it runs at home alone",
        SOON,
        || Ok(running(node) == [true; 2] && running(to) == [false; 2]),
    )?;
    let disorder = (0..stage.world.nodes.len()).filter(|index| file(*index, "disorder").exists());
    let disorder: Vec<usize> = disorder.collect();
    if disorder.is_empty() { Ok(()) } else { Err(format!("parts were stopped out of order on {disorder:?}")) }
}

/// Debian's init script of nginx.
fn init_script(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 3;
    running(stage, node, "www4", LSB_PORT)?;
    kill_by_file(stage, node, "lsb.pid")?;
    wait_until("the script has restarted nginx", SOON, || {
        Ok(!events(stage, node, "check-restarted")?.is_empty())
    })?;
    running(stage, node, "www4", LSB_PORT)?;
    let told = events(stage, node, "check-failing")?;
    let why = told.first().ok_or("no event says that it failed")?["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    println!("  the status said: {why}");
    if !why.contains("(LSB status ") {
        return Err(format!("the check says {why}"));
    }
    stage.world.diehard(0, &["move", "www4", "web1", "--wait"])?;
    wait_until("it was stopped at home and runs there", SOON, || {
        Ok(answers(stage, 0, LSB_PORT) && !answers(stage, node, LSB_PORT))
    })?;
    stage.world.diehard(0, &["failback", "www4", "--wait"])?;
    running(stage, node, "www4", LSB_PORT)
}

/// Each daemon's events and what its target noted are the same, one by one.
fn in_order(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    stage.world.diehard(0, &["move", "www1", "web4", "--wait"])?;
    stage.world.diehard(0, &["failback", "www1", "--wait"])?;
    for index in 0..stage.world.nodes.len() {
        let name = &stage.world.nodes[index].name;
        let happened =
            json_lines(&stage.world.diehard(index, &["--json", "events", "--here", "--limit", "4096"])?)?;
        let last = happened.last().map_or(0, |event| event["sequence"].as_u64().unwrap_or(0));
        let path = stage.world.node_directory(index).join("told");
        let mut told = Vec::new();
        wait_until(&format!("{name} has told all"), SOON, || {
            told = json_lines(&fs::read_to_string(&path).unwrap_or_default())?;
            Ok(told.last().is_some_and(|told| told["sequence"].as_u64() >= Some(last)))
        })?;
        for (number, (event, told)) in (1..).zip(happened.iter().zip(&told)) {
            let same = ["sequence", "time", "text", "fields"].iter().all(|key| event[key] == told[key]);
            let who = told["node"] == name.as_str() && told["target"] == "notify" && told["lost"] == 0;
            if !same || !who || told["number"] != number {
                return Err(format!("{name}: it happened {event}, it was told {told}"));
            }
        }
        println!("  {name}: {} events, all told in order", happened.len());
    }
    Ok(())
}

/// A target that hangs and floods delays no takeover, and nothing of it is left when the daemon ends.
fn nasty(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let victim = 2;
    let (_, since) = stage.world.cut_power(&[victim])?;
    let gap = stage.taken_over(victim, since)?;
    println!("  taken over after {:.0} ms", gap.length().as_secs_f64() * 1000.0);
    // Far more than it takes, on a machine that does a dozen other things; a command's time limit is 300 ms, and
    // TERM is given 2 s.
    if gap.length() > Duration::from_secs(1) {
        return Err(format!("the takeover took {:?}", gap.length()));
    }
    stage.world.restore_power(&[victim])?;
    stage.settled()?;
    let leaving = 3;
    let name = stage.world.nodes[leaving].namespace.clone();
    wait_until("the command hangs", SOON, || Ok(!sleepers(&name).is_empty()))?;
    let began = Instant::now();
    stage.world.stop_daemon(leaving)?;
    println!("  the daemon ended within {:.1} s", began.elapsed().as_secs_f64());
    let left = sleepers(&name);
    stage.world.start_daemon(leaving)?;
    if left.is_empty() { stage.settled() } else { Err(format!("processes {left:?} are left")) }
}

/// Processes of the target `nasty` that live.
fn sleepers(namespace: &str) -> Vec<i32> {
    let is_one = |pid: &i32| {
        let said = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&said).contains(NASTY_SLEEP)
    };
    processes(namespace).into_iter().filter(is_one).collect()
}

fn json_lines(text: &str) -> Outcome<Vec<Value>> {
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))).collect()
}

/// The server answers, and its check says so.
fn running(stage: &Stage, node: usize, name: &str, port: u16) -> Outcome<()> {
    wait_until(&format!("{name} runs and its check is well"), SOON, || {
        Ok(answers(stage, node, port) && service(stage, node, name)?["checks"][0]["state"] == "ok")
    })
}

fn answers(stage: &Stage, node: usize, port: u16) -> bool {
    let ask = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    namespace::within(&stage.world.nodes[node].namespace, ask).unwrap_or(false)
}

/// All processes of that server at once: a worker that outlives its master would go on answering.
fn kill_by_file(stage: &Stage, node: usize, file: &str) -> Outcome<()> {
    let path = stage.world.node_directory(node).join(file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let master: i32 = text.trim().parse().map_err(|_| format!("{} holds no number", path.display()))?;
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
    for pid in [master].into_iter().chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|error| format!("kill {pid}: {error}"))?;
    }
    Ok(())
}

/// Where the service of that server is, now that it is elsewhere.
fn moved(stage: &Stage, from: usize) -> Outcome<usize> {
    let mut to = None;
    wait_until("the service is elsewhere", SOON, || {
        let holders = stage.world.holders_by_ip()?;
        to = holders[from].first().copied().filter(|to| holders[from].len() == 1 && *to != from);
        Ok(to.is_some())
    })?;
    to.ok_or_else(|| "nowhere".to_owned())
}
