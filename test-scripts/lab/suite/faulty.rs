//! What living servers do wrong, each seen by its own reason and mended by policy: hanging, slow, an expired certificate,
//! a disk that is read-only or hangs, a lost carrier; told by our own checks, by a real Nagios plugin and by a real
//! monitor of mon.

use super::Test;
use super::hands::{events, service};
use crate::interrupt::{pause, wait_until};
use crate::namespace::{Outcome, processes, run};
use crate::stage::Stage;
use crate::world::Lan;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::time::{Duration, Instant, SystemTime};

/// With servers that run on every node.
pub const TESTS: &[Test] = &[
    Test { name: "faulty-certificate", run: certificate, least: 4 },
    Test { name: "faulty-hangs", run: hangs, least: 4 },
    Test { name: "faulty-slow", run: slow, least: 4 },
    Test { name: "faulty-disk-read-only", run: disk_read_only, least: 4 },
    Test { name: "faulty-disk-hangs", run: disk_hangs, least: 4 },
    Test { name: "faulty-plugin-and-monitor", run: plugin_and_monitor, least: 4 },
    Test { name: "faulty-carrier", run: carrier, least: 4 },
    Test { name: "faulty-asked", run: asked, least: 4 },
];

/// How long something that a check sees at its next runs, or a move, may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);
const PLUGIN: &str = "/usr/lib/nagios/plugins/check_http -H 127.0.0.1 -u / -t 1";
const MONITOR: &str = "/usr/lib/mon/mon.d/tcp.monitor -p 80 -t 1";

/// The checks of this lab; a policy's `move` is taken again after a second, because several tests need it. The daemon stands in its server's own directory: one file for all servers.
pub fn configuration() -> String {
    let common = "interval = 200ms\ntimeout = 200ms\nfail = 2\npolicy = move\n";
    let slow = "interval = 1s\ntimeout = 1s\nfail = 2\npolicy = move\n";
    format!(
        "forget = 1s\n\n[check tls]\nservice = www1\ntype = http\ntarget = https://127.0.0.1/\nhost = www.example.net\n\
         ca_file = /proc/self/cwd/ca.pem\n{common}\
         [check web]\nservice = www2\ntype = http\ntarget = http://127.0.0.1/\nexpect = web\n{common}\
         [check disk]\nservice = www3\ntype = disk\ntarget = /proc/self/cwd/disk 100%\n{common}\
         [check plugin]\nservice = www4\ntype = script\ntarget = {PLUGIN}\n{slow}\
         [check monitor]\nservice = www4\ntype = script\ntarget = {MONITOR}\nspeaks = mon\nhosts = 127.0.0.1\n{slow}\
         [check card]\nservice = node\ntype = link\ntarget = eth0\ninterval = 1h\npolicy = alert\n"
    )
}

/// What this server's daemon says of that check.
fn said(stage: &Stage, node: usize, name: &str, check: &str) -> Outcome<serde_json::Value> {
    let checks = service(stage, node, name)?["checks"].clone();
    let found = checks.as_array().and_then(|checks| checks.iter().find(|entry| entry["name"] == check));
    found.cloned().ok_or_else(|| format!("{name} has no check {check}"))
}

/// Everybody is fit before one of them is not: what fails on half of the nodes moves nothing.
fn well_everywhere(stage: &Stage, name: &str, check: &str) -> Outcome<()> {
    wait_until(&format!("{check} is well everywhere"), SOON, || {
        for node in 0..stage.world.nodes.len() {
            if said(stage, node, name, check)?["state"] != "ok" {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// The service goes while the fault lasts, for a reason that holds these words; and comes home after it.
fn moves_because(
    stage: &mut Stage,
    (node, check): (usize, &str),
    words: &str,
    begin: impl FnOnce(&Stage) -> Outcome<()>,
    end: impl FnOnce(&Stage) -> Outcome<()>,
) -> Outcome<()> {
    let name = format!("www{}", node + 1);
    well_everywhere(stage, &name, check)?;
    let began = Instant::now();
    let begun = begin(stage);
    let away = begun.and_then(|()| {
        wait_until(&format!("{name} is elsewhere"), SOON, || {
            let holders = stage.world.holders_by_ip()?;
            Ok(holders[node].len() == 1 && holders[node][0] != node)
        })
    });
    let took = began.elapsed();
    let shown = said(stage, node, &name, check);
    end(stage)?;
    away.map_err(|error| format!("{error}; the check says {shown:?}"))?;
    let shown = shown?;
    println!("  elsewhere after {:.0} ms: {}", took.as_secs_f64() * 1000.0, shown["message"]);
    if !shown["message"].as_str().is_some_and(|message| message.contains(words)) {
        return Err(format!("the check says {}, not {words}", shown["message"]));
    }
    stage.settled()
}

fn nginx_processes(stage: &Stage, node: usize) -> Vec<Pid> {
    let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let all = processes(&stage.world.nodes[node].namespace).into_iter();
    all.filter(|pid| name(pid).trim() == "nginx").map(Pid::from_raw).collect()
}

fn signal_nginx(stage: &Stage, node: usize, what: Signal) -> Outcome<()> {
    let all = nginx_processes(stage, node);
    if all.is_empty() {
        return Err("no nginx".to_owned());
    }
    for pid in all {
        kill(pid, what).map_err(|error| format!("nginx {pid}: {error}"))?;
    }
    Ok(())
}

/// Another configuration for a server's nginx, made from the one that it has.
fn configure(stage: &Stage, node: usize, change: impl FnOnce(&str) -> String) -> Outcome<String> {
    let directory = stage.world.node_directory(node);
    let path = directory.join("nginx.conf");
    let before = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    fs::write(&path, change(&before)).map_err(|error| error.to_string())?;
    let pid = fs::read_to_string(directory.join("nginx.pid")).map_err(|error| error.to_string())?;
    let pid = pid.trim().parse().map_err(|_| "no pid".to_owned())?;
    kill(Pid::from_raw(pid), Signal::SIGHUP).map_err(|error| error.to_string())?;
    Ok(before)
}

/// Key, certificate and the signer's own, which is the same: for so many days from now.
fn write_certificate(stage: &Stage, node: usize, days: i64) -> Outcome<()> {
    let text = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec!["www.example.net".to_owned()]).map_err(text)?;
    let now: time::OffsetDateTime = now().into();
    params.not_before = now - time::Duration::days(100);
    params.not_after = now + time::Duration::days(days) + time::Duration::hours(12);
    let key = KeyPair::generate().map_err(text)?;
    let certificate = params.self_signed(&key).map_err(text)?;
    let directory = stage.world.node_directory(node);
    let write = |name: &str, text: String| {
        fs::write(directory.join(name), text).map_err(|error| format!("{name}: {error}"))
    };
    write("key.pem", key.serialize_pem())?;
    write("certificate.pem", certificate.pem())?;
    write("ca.pem", certificate.pem())
}

#[allow(clippy::disallowed_methods, reason = "certificates end by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn certificate(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let with_tls = |text: &str| {
        text.replace(
            "listen 80 reuseport",
            "listen 443 ssl;\n    ssl_certificate certificate.pem;\n    ssl_certificate_key key.pem;\n    listen 80 reuseport",
        )
    };
    for node in 0..stage.world.nodes.len() {
        write_certificate(stage, node, 60)?;
        configure(stage, node, with_tls)?;
    }
    let renew = |days: i64| {
        move |stage: &Stage| {
            write_certificate(stage, 0, days)?;
            configure(stage, 0, str::to_owned).map(drop)
        }
    };
    moves_because(stage, (0, "tls"), "the certificate expired 4 days ago", renew(-5), renew(60))?;
    // Near its end it is a warning, and nothing moves.
    renew(5)(stage)?;
    wait_until("a warning", SOON, || {
        let check = said(stage, 0, "www1", "tls")?;
        Ok(check["warning"] == true
            && check["state"] == "ok"
            && check["message"].to_string().contains("for 5 days"))
    })?;
    renew(60)(stage)?;
    stage.settled()
}

fn hangs(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let stop = |stage: &Stage| signal_nginx(stage, 1, Signal::SIGSTOP);
    let go_on = |stage: &Stage| signal_nginx(stage, 1, Signal::SIGCONT);
    moves_because(stage, (1, "web"), "no answer within 200 ms", stop, go_on)
}

/// The answer begins at once, and then comes a byte a second.
fn slow(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let slowly = |stage: &Stage| {
        let long = "web ".repeat(200);
        let change = |text: &str| {
            let slow = format!(
                "limit_rate_after 300;\n    limit_rate 1;\n    location = / {{ return 200 \"{long}\"; }}\n    location / {{"
            );
            text.replace("location / {", &slow)
        };
        configure(stage, 1, change).map(drop)
    };
    let right = fs::read_to_string(stage.world.node_directory(1).join("nginx.conf"));
    let right = right.map_err(|error| error.to_string())?;
    let back = move |stage: &Stage| configure(stage, 1, |_| right).map(drop);
    moves_because(stage, (1, "web"), "content not complete within 200 ms", slowly, back)
}

/// In the daemon's own mount namespace: it goes with it.
fn inside(stage: &Stage, node: usize, words: &[&str]) -> Outcome<String> {
    let daemon = stage.world.nodes[node].daemon.as_ref().ok_or("no daemon")?.id().to_string();
    run("nsenter", &[&["-t", &daemon, "-m", "--"], words].concat())
}

fn disk_read_only(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let disk = stage.world.node_directory(2).join("disk").display().to_string();
    inside(stage, 2, &["mount", "-t", "tmpfs", "-o", "size=64k", "none", &disk])?;
    let remount = |stage: &Stage| inside(stage, 2, &["mount", "-o", "remount,ro", &disk]).map(drop);
    let unmount = |stage: &Stage| inside(stage, 2, &["umount", &disk]).map(drop);
    moves_because(stage, (2, "disk"), "is mounted read-only", remount, unmount)
}

/// A real file system whose writes wait: the worker hangs in the kernel, and harms nobody.
fn disk_hangs(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let directory = stage.world.node_directory(2);
    let file = |name: &str| directory.join(name).display().to_string();
    let (image, disk) = (file("image"), file("disk"));
    run("truncate", &["-s", "16M", &image])?;
    run("mkfs.ext4", &["-q", &image])?;
    inside(stage, 2, &["mount", "-o", "loop", &image, &disk])?;
    let freeze = |stage: &Stage| inside(stage, 2, &["fsfreeze", "-f", &disk]).map(drop);
    let thaw = |stage: &Stage| {
        // So long that the worker was written off: the check goes on by another one.
        let patience = pause(Duration::from_secs(6));
        inside(stage, 2, &["fsfreeze", "-u", &disk])?;
        patience
    };
    let moved = moves_because(stage, (2, "disk"), "no answer ", freeze, thaw);
    // Whoever hung has its file open until it comes back.
    let unmounted =
        wait_until("the disk can be taken out", SOON, || Ok(inside(stage, 2, &["umount", &disk]).is_ok()));
    moved.and(unmounted)?;
    if events(stage, 2, "check-hangs")?.is_empty() {
        return Err("nobody says that a worker hangs".to_owned());
    }
    stage.settled()
}

/// nginx is gone, as a plugin and a monitor see it.
fn plugin_and_monitor(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let measured = said(stage, 3, "www4", "plugin")?["performance"].clone();
    if !measured.as_str().is_some_and(|text| text.starts_with("time=")) {
        return Err(format!("the plugin's performance data is {measured}"));
    }
    let elsewhere = |text: &str| text.replace("listen 80 reuseport", "listen 81 reuseport");
    let close = |stage: &Stage| configure(stage, 3, elsewhere).map(drop);
    let open = |stage: &Stage| configure(stage, 3, |text| text.replace("listen 81", "listen 80")).map(drop);
    well_everywhere(stage, "www4", "plugin")?;
    moves_because(stage, (3, "monitor"), "127.0.0.1", close, open)?;
    moves_because(stage, (3, "plugin"), "onnection refused", close, open)
}

/// Lost and found, long before the next run, which is an hour away.
fn carrier(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 3;
    let began = Instant::now();
    stage.world.set_carrier(node, Lan::External, false)?;
    let lost = wait_until("the check of the card fails", SOON, || {
        let told = events(stage, node, "check-failing")?;
        Ok(told.iter().any(|event| event["check"] == "card" && event["message"] == "eth0 has no carrier"))
    });
    println!("  the carrier is lost: told after {:.0} ms", began.elapsed().as_secs_f64() * 1000.0);
    stage.world.set_carrier(node, Lan::External, true)?;
    lost?;
    stage.settled()
}

/// A person asks; however often, nothing moves.
fn asked(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    well_everywhere(stage, "www2", "web")?;
    let well = stage.world.diehard(1, &["check", "run", "web"])?;
    if !well.starts_with("check web of www2 is well after ") || !well.contains("HTTP status 200 OK") {
        return Err(format!("it says {well}"));
    }
    let before = events(stage, 3, "check-failing")?.len();
    // A check of the node whose card is gone in no other respect: asked of a card that is there, it is well.
    let card = stage.world.diehard(3, &["check", "run", "card"])?;
    if !card.contains("eth0 is up") {
        return Err(format!("it says {card}"));
    }
    let missing = stage.world.diehard(3, &["check", "run", "cart"]);
    if !missing.as_ref().is_err_and(|why| why.contains("did you mean card?")) {
        return Err(format!("a check that is none: {missing:?}"));
    }
    if events(stage, 3, "check-failing")?.len() != before {
        return Err("asking counted".to_owned());
    }
    Ok(())
}
