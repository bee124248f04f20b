//! Servers that fail on living machines: killed, wrong answers, a full disk, plugins that misbehave, and what stands
//! behind them all. Real nginx; the daemons' events are the record, the client is the judge.

use super::Test;
use super::hands::{events, service};
use crate::interrupt::{pause, wait_until};
use crate::namespace::{Outcome, processes, run};
use crate::stage::Stage;
use crate::systems::SERVED_PORT;
use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// With services that are started where they are held.
pub const STARTED: &[Test] = &[Test { name: "checks-ladder", run: ladder, least: 4 }];

/// With servers that run on every node.
pub const RUNNING: &[Test] = &[
    Test { name: "checks-wrong-answers", run: wrong_answers, least: 4 },
    Test { name: "checks-disk-full", run: disk_full, least: 4 },
    Test { name: "checks-nasty-plugin", run: nasty_plugin, least: 4 },
    Test { name: "checks-backend-down", run: backend_down, least: 4 },
];

/// How long something that a check sees at its next run, or a move, may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// The checks of these labs. The daemon stands in its server's own directory: one file for all servers.
pub fn configuration(started: bool) -> String {
    if started {
        return "\n[check www2-process]\nservice = www2\ntype = process\ntarget = /proc/self/cwd/www2.pid\n\
                policy = restart:3/60s, move, standby\n"
            .to_owned();
    }
    let common = "interval = 200ms\ntimeout = 200ms\nfail = 2\n";
    format!(
        "\n[check www2-http]\nservice = www2\ntype = http\ntarget = http://127.0.0.1/health\n{common}policy = move\n\
         [check www3-disk]\nservice = www3\ntype = disk\ntarget = /proc/self/cwd/disk 100%\n{common}policy = move\n\
         [check www4-backend]\nservice = www4\ntype = script\ntarget = test ! -e {BACKEND_DOWN} || exit 2\n{common}policy = move\n\
         [check nasty]\nservice = node\ntype = script\ntarget = [ ! -e {NASTY} ] || sh {NASTY}\n{common}policy = alert\n"
    )
}

/// While it stands there, the backend of all is down. (In a directory that the daemons' script can know beforehand.)
const BACKEND_DOWN: &str = "/run/dh-lab-backend-down";
/// What the plugin does while it stands there.
const NASTY: &str = "/run/dh-lab-nasty";

/// A file that goes with the test, however that ends.
struct Passing(PathBuf);

impl Passing {
    fn write(path: impl Into<PathBuf>, text: &str) -> Outcome<Passing> {
        let path = path.into();
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Passing(path))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// nginx killed again and again: restarted three times, moved; brought back and killed again: standby.
fn ladder(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 1;
    let namespace = stage.world.nodes[node].namespace.clone();
    let began = Instant::now();
    let steps = |stage: &Stage| -> Outcome<Vec<String>> {
        let told = events(stage, node, "check-step")?;
        Ok(told.iter().filter_map(|event| event["step"].as_str().map(str::to_owned)).collect())
    };
    let mut worst = Duration::ZERO;
    for times in 1..=3 {
        let pid = watched(stage, node)?;
        let killed = Instant::now();
        end(pid)?;
        let path = stage.world.node_directory(node).join("www2.pid");
        wait_until("nginx answers again", SOON, || {
            let now = fs::read_to_string(&path).unwrap_or_default().trim().parse::<i32>();
            Ok(now.is_ok_and(|now| now != pid) && answers(&namespace))
        })?;
        let took = killed.elapsed();
        println!("  nginx killed, answers again after {:.1} ms", took.as_secs_f64() * 1000.0);
        worst = worst.max(took);
        wait_until("an event says that it was restarted", SOON, || {
            Ok(steps(stage)?.len() == times && events(stage, node, "check-restarted")?.len() == times)
        })?;
    }
    let pid = watched(stage, node)?;
    end(pid)?;
    moved(stage, node)?;
    stage.world.diehard(0, &["move", "www2", "web2", "--wait"])?;
    let pid = watched(stage, node)?;
    end(pid)?;
    moved(stage, node)?;
    let restart = "restart:3/1min";
    let (all, expected) = (steps(stage)?, [restart, restart, restart, "move", "standby"]);
    if all != expected {
        return Err(format!("the steps were {all:?}"));
    }
    println!("  {}", timed_steps(stage, node)?);
    if began.elapsed() > Duration::from_secs(60) {
        return Err("too slow: the budget of restarts came back meanwhile, which proves nothing".to_owned());
    }
    let status = stage.world.status(0)?;
    let state = status["nodes"][node]["state"].clone();
    if state != "standby" {
        return Err(format!("web2 is {state}, not on standby"));
    }
    stage.world.diehard(0, &["online", "web2", "--wait"])?;
    // Far more than it takes, on a machine that does a dozen other things.
    if worst > Duration::from_secs(1) {
        return Err(format!("it took {worst:?} to restart nginx"));
    }
    stage.settled()
}

/// What the event log says of the ladder, with times.
fn timed_steps(stage: &Stage, node: usize) -> Outcome<String> {
    let said = stage.world.diehard(node, &["--json", "events", "--here"])?;
    let entries = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let steps = entries.filter(|entry| entry["fields"]["event"] == "check-step").map(|entry| {
        let time = entry["time"].as_str().unwrap_or_default().get(11..23).unwrap_or_default().to_owned();
        format!("{time} {}", entry["fields"]["step"].as_str().unwrap_or_default())
    });
    Ok(steps.collect::<Vec<_>>().join(", "))
}

/// The process that the check looks at, once it does.
fn watched(stage: &Stage, node: usize) -> Outcome<i32> {
    let mut found = None;
    wait_until("the check sees nginx", SOON, || {
        let path = stage.world.node_directory(node).join("www2.pid");
        let Ok(pid) = fs::read_to_string(&path).unwrap_or_default().trim().parse::<i32>() else {
            return Ok(false);
        };
        let check = service(stage, node, "www2")?["checks"][0].clone();
        let seen = check["state"] == "ok" && check["message"] == format!("process {pid} lives");
        found = seen.then_some(pid);
        Ok(seen)
    })?;
    found.ok_or_else(|| "no nginx".to_owned())
}

fn end(pid: i32) -> Outcome<()> {
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|error| format!("kill {pid}: {error}"))
}

fn answers(namespace: &str) -> bool {
    let ask = || std::net::TcpStream::connect(("127.0.0.1", SERVED_PORT)).is_ok();
    crate::namespace::within(namespace, ask).unwrap_or(false)
}

/// The service is served by another server, which started nginx for it.
fn moved(stage: &Stage, from: usize) -> Outcome<()> {
    let mut to = None;
    wait_until("www2 is elsewhere", SOON, || {
        let holders = stage.world.holders_by_ip()?;
        to = holders[from].first().copied().filter(|_| holders[from].len() == 1);
        Ok(to.is_some_and(|to| to != from))
    })?;
    let namespace = &stage.world.nodes[to.ok_or("nowhere")?].namespace;
    wait_until("nginx answers there", SOON, || Ok(answers(namespace)))
}

/// nginx answers 500: moved, home when it is well again.
fn wrong_answers(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (node, path) = (1, stage.world.node_directory(1).join("nginx.conf"));
    let right = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let wrong = right.replace("location / {", "location /health { return 500; }\n    location / {");
    let configure = |text: &str| -> Outcome<()> {
        fs::write(&path, text).map_err(|error| error.to_string())?;
        let pid = fs::read_to_string(stage.world.node_directory(node).join("nginx.pid"));
        let pid = pid.map_err(|error| error.to_string())?.trim().parse().map_err(|_| "no pid".to_owned())?;
        kill(Pid::from_raw(pid), Signal::SIGHUP).map_err(|error| error.to_string())
    };
    let began = Instant::now();
    configure(&wrong)?;
    let away = wait_until("www2 is elsewhere", SOON, || {
        let holders = stage.world.holders_by_ip()?;
        Ok(holders[node].len() == 1 && holders[node][0] != node)
    });
    println!("  nginx answers 500: elsewhere after {:.0} ms", began.elapsed().as_secs_f64() * 1000.0);
    let shown = service(stage, node, "www2").map(|service| service["checks"][0]["message"].clone());
    configure(&right)?;
    away?;
    if shown? != "HTTP status 500 Internal Server Error" {
        return Err("the check does not say why".to_owned());
    }
    let told = events(stage, 0, "move-began")?;
    if !told.iter().any(|event| event["service"] == "www2" && event["why"] == "check-failed") {
        return Err(format!("the controller does not say why: {told:?}"));
    }
    let seen = stage.silence(node, began)?;
    if seen > Duration::from_secs(1) {
        return Err(format!("nobody answered for {seen:?}: the move was to be without a gap"));
    }
    stage.settled()
}

/// A disk that is full, seen by a write that does not reach it.
fn disk_full(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 2;
    wait_until("its check is well everywhere", SOON, || {
        for index in 0..stage.world.nodes.len() {
            if service(stage, index, "www3")?["checks"][0]["state"] != "ok" {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    let disk = stage.world.node_directory(node).join("disk").display().to_string();
    let daemon = stage.world.nodes[node].daemon.as_ref().ok_or("no daemon")?.id().to_string();
    // In the daemon's own mount namespace: it goes with it.
    let inside = |words: &[&str]| run("nsenter", &[&["-t", &daemon, "-m", "--"], words].concat());
    inside(&["mount", "-t", "tmpfs", "-o", "size=64k", "none", &disk])?;
    inside(&["sh", "-c", &format!("head -c 1m /dev/zero > {disk}/full 2>/dev/null || true")])?;
    let away = wait_until("www3 is elsewhere", SOON, || {
        let holders = stage.world.holders_by_ip()?;
        Ok(holders[node].len() == 1 && holders[node][0] != node)
    });
    let shown = service(stage, node, "www3").map(|service| service["checks"][0]["message"].to_string());
    inside(&["umount", &disk])?;
    away?;
    let shown = shown?;
    if !shown.contains("no space left on device") {
        return Err(format!("the check says {shown}"));
    }
    stage.settled()
}

/// A plugin that hangs, ignores TERM, floods and forks harms nothing and leaves nobody behind.
fn nasty_plugin(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let text = "trap '' TERM\nyes &\nsleep 4711 &\n(sleep 4711 &)\n(while :; do sleep 4711; done) &\n\
                setsid sh -c 'while :; do sleep 4711; done' >/dev/null 2>&1 &\nyes\nwait\n";
    let nasty = Passing::write(NASTY, text)?;
    let node = 0;
    wait_until("the check fails", SOON, || Ok(!events(stage, node, "check-failing")?.is_empty()))?;
    let told = events(stage, node, "check-failing")?;
    pause(Duration::from_secs(3))?;
    drop(nasty);
    wait_until("the check is well again", SOON, || Ok(!events(stage, node, "check-recovered")?.is_empty()))?;
    if told[0]["check"] != "nasty" || told[0]["message"] != "no answer within 200 ms" {
        return Err(format!("it says {told:?}"));
    }
    wait_until("nobody is left behind", SOON, || {
        for server in &stage.world.nodes {
            for pid in processes(&server.namespace) {
                let said = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let said = String::from_utf8_lossy(&said).replace('\0', " ");
                if said.contains("4711") || said.starts_with("yes") || said.contains(NASTY) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    })?;
    for index in 0..stage.world.nodes.len() {
        if let Some(verdict) = events(stage, index, "down")?.first() {
            return Err(format!("it made somebody silent: {verdict}"));
        }
    }
    stage.settled()
}

/// What stands behind all of them is down: nothing moves, one alert.
fn backend_down(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let moves = |stage: &Stage| -> Outcome<usize> {
        let told = events(stage, 0, "move-began")?;
        Ok(told.iter().filter(|event| event["service"] == "www4").count())
    };
    let before = moves(stage)?;
    let down = Passing::write(BACKEND_DOWN, "")?;
    wait_until("all four see it", SOON, || {
        for index in 0..stage.world.nodes.len() {
            if service(stage, index, "www4")?["checks"][0]["state"] != "failing" {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    pause(Duration::from_secs(3))?;
    let holders = stage.world.holders_by_ip()?;
    let (after, told) = (moves(stage)?, events(stage, 0, "check-suspected")?);
    drop(down);
    if after != before || holders[3] != [3] {
        return Err(format!("{} moves of www4, which is on {:?}", after - before, holders[3]));
    }
    if told.len() != 1 || told[0]["service"] != "www4" {
        return Err(format!("not one alert, but {told:?}"));
    }
    wait_until("its holder sees that it is well", SOON, || {
        Ok(service(stage, 3, "www4")?["checks"][0]["state"] == "ok")
    })?;
    let node = World::service_address(3);
    stage.settled().map_err(|error| format!("{node}: {error}"))
}
