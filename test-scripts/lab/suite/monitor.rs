//! The monitor in a real browser on a real cluster: what it shows and how soon, that it can be read by everybody,
//! and that neither many clients nor bad ones cost the heartbeat anything.

use super::Test;
use super::hands::{entries, nobody_suspected};
use crate::browser::Browser;
use crate::interrupt::{pause, wait_until};
use crate::namespace::{Outcome, command_in, processes, within};
use crate::stage::Stage;
use crate::systems::binary;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, setsockopt, socket, sockopt};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// On a cluster of four.
pub const TESTS: &[Test] = &[
    Test { name: "monitor-page", run: page, least: 4 },
    Test { name: "monitor-clients", run: clients, least: 4 },
    Test { name: "monitor-top", run: top, least: 4 },
];

/// Whose daemon the monitor asks.
const WATCHED: usize = 0;
/// Who loses power.
const VICTIM: usize = 2;
const ADDRESS: &str = "127.0.0.1:8694";
/// How long something may take that takes a moment, on a machine that does a dozen other things.
const SOON: Duration = Duration::from_secs(20);
/// From the cut until the page shows it.
const SHOWN_WITHIN_MS: f64 = 500.0;
/// Pages that are open at a time.
const CLIENTS: usize = 200;
/// Clients that never read.
const DEAF: u32 = 20;
/// How much later the heartbeat may be for them.
const JITTER_MS: f64 = 1.0;

/// `diehard monitor` in the watched server's namespace, as long as this lives.
struct Monitor(Child);

impl Monitor {
    fn start(stage: &Stage) -> Outcome<Monitor> {
        let directory = stage.world.node_directory(WATCHED);
        let failed = |error: std::io::Error| format!("diehard monitor: {error}");
        let log = File::create(directory.join("monitor.log")).map_err(failed)?;
        let mut command = command_in(&stage.world.nodes[WATCHED].namespace, &binary("diehard"));
        command.arg("-s").arg(directory.join("run/control.sock")).args(["monitor", "--listen", ADDRESS]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().map_err(failed)?;
        let monitor = Monitor(child);
        wait_until("the monitor answers", SOON, || Ok(state(stage).is_ok_and(|it| it["reachable"] == true)))?;
        Ok(monitor)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn connect(stage: &Stage, path: &str) -> Outcome<TcpStream> {
    connect_with(stage, path, None)
}

/// `buffer`: how many bytes the kernel takes for whoever does not read; it has to be said first.
fn connect_with(stage: &Stage, path: &str, buffer: Option<usize>) -> Outcome<TcpStream> {
    within(&stage.world.nodes[WATCHED].namespace, || {
        let failed = |error: Errno| format!("{ADDRESS}: {error}");
        let address: SockaddrIn = ADDRESS.parse().map_err(|error| format!("{ADDRESS}: {error}"))?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).map_err(failed)?;
        if let Some(buffer) = buffer {
            setsockopt(&socket, sockopt::RcvBuf, &buffer).map_err(failed)?;
        }
        nix::sys::socket::connect(socket.as_raw_fd(), &address).map_err(failed)?;
        let mut stream = TcpStream::from(socket);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n")
            .map_err(|error| error.to_string())?;
        Ok(stream)
    })?
}

fn fetch(stage: &Stage, path: &str) -> Outcome<String> {
    let mut text = String::new();
    connect(stage, path)?.read_to_string(&mut text).map_err(|error| format!("{path}: {error}"))?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).ok_or_else(|| format!("{path}: {text}"))
}

fn state(stage: &Stage) -> Outcome<Value> {
    serde_json::from_str(&fetch(stage, "/state.json")?).map_err(|error| error.to_string())
}

fn viewers(stage: &Stage) -> Outcome<f64> {
    let text = fetch(stage, "/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix("diehard_monitor_viewers "));
    line.and_then(|number| number.parse().ok()).ok_or_else(|| format!("no viewers are told: {text}"))
}

/// Where the pictures are kept: beside the build.
fn gallery() -> Outcome<PathBuf> {
    let lab = PathBuf::from(binary("lab"));
    let target = lab.parent().and_then(Path::parent).unwrap_or(Path::new("target"));
    let path = target.join("screenshots");
    fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// Notes in the page when words are first there, by the wall clock of the machine that both share.
fn note_words(browser: &mut Browser, words: &[&str]) -> Outcome<()> {
    let script = "((words) => {
        window.noted = {};
        const look = () => {
            const text = document.querySelector('#alarms').textContent + document.querySelector('#headline').textContent;
            for (const word of words) if (!(word in noted) && text.includes(word)) noted[word] = performance.timeOrigin + performance.now();
        };
        new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
        look();
    })";
    browser.run(&format!("{script}({})", json!(words))).map(drop)
}

/// When the first of these words was there.
fn noted(browser: &mut Browser, words: &[&str]) -> Outcome<f64> {
    let mut at = None;
    let script = format!("Math.min(...{}.map((word) => noted[word] ?? Infinity))", json!(words));
    wait_until(&format!("the page says one of {words:?}"), SOON, || {
        // There is no infinity in JSON.
        at = browser.run(&script)?.as_f64();
        Ok(at.is_some())
    })?;
    at.ok_or_else(|| format!("the page never said any of {words:?}"))
}

fn says(browser: &mut Browser, word: &str) -> Outcome<()> {
    wait_until(&format!("the page says «{word}»"), SOON, || {
        let script = format!("(document.body?.innerText ?? '').includes({})", json!(word));
        Ok(browser.run(&script)? == json!(true))
    })
}

/// Whatever is wrong with the page for somebody who cannot see it well, or has no mouse.
fn accessible(browser: &mut Browser, when: &str) -> Outcome<()> {
    for (width, height, dark) in
        [(1400, 1000, true), (390, 844, true), (390, 844, false), (1400, 1000, false)]
    {
        browser.look(width, height, dark)?;
        let found = browser.run(include_str!("monitor/accessibility.js"))?;
        if found != json!([]) {
            return Err(format!("{when}, {width} columns, dark: {dark}: {found:#}"));
        }
    }
    // What a screen reader gets: everything that can be reached has a name.
    let tree = browser.ask("Accessibility.getFullAXTree", &json!({}))?;
    let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
    let spoken = ["button", "link", "textbox", "combobox", "img", "region", "group", "image"];
    let mut checked = 0;
    for node in nodes.iter().filter(|node| node["ignored"] != json!(true)) {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let needs_name = spoken.contains(&role);
        if needs_name && node["name"]["value"].as_str().unwrap_or_default().is_empty() {
            return Err(format!("{when}: a {role} without a name: {node}"));
        }
        checked += usize::from(needs_name);
    }
    if checked < 5 { Err(format!("{when}: only {checked} named parts in the tree")) } else { Ok(()) }
}

/// Calm, power cut, taken over, daemon unreachable: seen at once, photographed, and readable.
fn page(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (_monitor, gallery) = (Monitor::start(stage)?, gallery()?);
    let node = &stage.world.nodes[WATCHED];
    let mut browser = Browser::start(&node.namespace, &stage.world.node_directory(WATCHED))?;
    browser.look(1400, 1000, false)?;
    browser.open(&format!("http://{ADDRESS}/"))?;
    says(&mut browser, "All is well")?;
    browser.photograph(&gallery.join("1-calm.png"))?;
    accessible(&mut browser, "calm")?;
    browser.look(1400, 1000, true)?;
    browser.photograph(&gallery.join("1-calm-dark.png"))?;
    let name = stage.world.nodes[VICTIM].name.clone();
    let (suspect, down) = (format!("{name} is suspect"), format!("{name} is down"));
    note_words(&mut browser, &[&suspect, &down])?;
    let (cut, _) = stage.world.cut_power(&[VICTIM])?;
    let before = now_ms() - cut.elapsed().as_secs_f64() * 1000.0;
    // The suspicion may be over between two looks of the monitor.
    let seen = noted(&mut browser, &[&suspect, &down])?;
    let downs = noted(&mut browser, &[&down])?;
    browser.photograph(&gallery.join("2-power-cut.png"))?;
    let (shown, verdict) = (seen - before, downs - before);
    println!("  a power cut is on the page after {shown:.0} ms, the verdict after {verdict:.0} ms");
    // Served by somebody else: the outage is over, and its length is told.
    says(&mut browser, &format!("last outage: www{}", VICTIM + 1))?;
    says(&mut browser, "Served, but not as it should be")?;
    pause(Duration::from_secs(1))?;
    browser.photograph(&gallery.join("3-taken-over.png"))?;
    accessible(&mut browser, "taken over")?;
    browser.look(390, 844, true)?;
    browser.photograph(&gallery.join("3-taken-over-phone.png"))?;
    let metrics = fetch(stage, "/metrics")?;
    for line in ["diehard_takeovers_total{cause=\"failure\"} 1", "diehard_outage_seconds_count 1"] {
        if !metrics.lines().any(|it| it == line) {
            return Err(format!("/metrics does not say {line}:\n{metrics}"));
        }
    }
    stage.world.restore_power(&[VICTIM])?;
    stage.settled()?;
    says(&mut browser, "All is well")?;
    browser.look(1400, 1000, false)?;
    stage.world.stop_daemon(WATCHED)?;
    says(&mut browser, "THE DAEMON DOES NOT ANSWER")?;
    browser.photograph(&gallery.join("4-daemon-unreachable.png"))?;
    accessible(&mut browser, "unreachable")?;
    stage.world.start_daemon(WATCHED)?;
    stage.settled()?;
    says(&mut browser, "All is well")?;
    println!("  pictures are in {}", gallery.display());
    if !browser.complaints.is_empty() {
        return Err(format!("the page complains: {}", browser.complaints.join("\n")));
    }
    if shown > SHOWN_WITHIN_MS {
        return Err(format!("the power cut was on the page only after {shown:.0} ms"));
    }
    Ok(())
}

/// Worst lateness of any heartbeat in the last 10 s, as the daemons say themselves.
fn lateness(stage: &Stage) -> Outcome<f64> {
    let mut worst = 0.0_f64;
    for index in 0..stage.world.nodes.len() {
        worst = worst.max(stage.world.status(index)?["lateness_ms"].as_f64().unwrap_or(f64::INFINITY));
    }
    Ok(worst)
}

/// Reads everything that comes on these connections until told to stop; how many were closed.
fn read_all(streams: Vec<TcpStream>, stop: &AtomicBool, bytes: &AtomicUsize) -> usize {
    let mut open: Vec<TcpStream> = streams;
    let all = open.len();
    let mut buffer = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        open.retain_mut(|stream| match stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                bytes.fetch_add(count, Ordering::Relaxed);
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        thread::sleep(Duration::from_millis(20));
    }
    all - open.len()
}

/// Two hundred pages cost the heartbeat nothing; who stops reading is dropped.
fn clients(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let calm = lateness(stage)?;
    let before = entries(stage, WATCHED, "suspected")?;
    let monitor = Monitor::start(stage)?;
    without_rights(stage, &monitor)?;
    let streams: Outcome<Vec<TcpStream>> = (0..CLIENTS).map(|_| connect(stage, "/events")).collect();
    let streams = streams?;
    for stream in &streams {
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
    }
    let (stop, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reading = thread::spawn({
        let (stop, bytes) = (stop.clone(), bytes.clone());
        move || read_all(streams, &stop, &bytes)
    });
    let all = CLIENTS as f64;
    let watched: Outcome<f64> = (|| {
        wait_until("all pages are open", SOON, || Ok(viewers(stage)? >= all))?;
        deaf(stage, all)?;
        pause(Duration::from_secs(5))?;
        // The window of 10 s is full of them by now; what others do on this machine only adds to it.
        let mut with = f64::INFINITY;
        wait_until("the heartbeat is as punctual as without pages", Duration::from_secs(45), || {
            with = with.min(lateness(stage)?);
            Ok(with <= calm + JITTER_MS)
        })?;
        Ok(with)
    })();
    stop.store(true, Ordering::Relaxed);
    let dropped = reading.join().map_err(|_| "the reading thread panicked".to_owned())?;
    let with = watched?;
    let read = bytes.load(Ordering::Relaxed) >> 10;
    println!(
        "  {CLIENTS} pages: heartbeat late by {with:.2} ms at most, without {calm:.2} ms; {read} KiB were read"
    );
    if dropped > 0 {
        return Err(format!("{dropped} pages that did read were dropped"));
    }
    nobody_suspected(stage, WATCHED, &before)?;
    stage.settled()
}

/// What meets the network is nobody's process; root's half does not listen.
fn without_rights(stage: &Stage, monitor: &Monitor) -> Outcome<()> {
    let field = |pid: i32, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|rest| rest.trim().to_owned())
            .unwrap_or_default()
    };
    let parent = monitor.0.id().to_string();
    let all = processes(&stage.world.nodes[WATCHED].namespace);
    let child =
        all.into_iter().find(|pid| field(*pid, "PPid:") == parent).ok_or("no unprivileged process")?;
    let (users, rights) = (field(child, "Uid:"), field(child, "CapEff:"));
    if users.split_whitespace().any(|user| user == "0") || rights.chars().any(|digit| digit != '0') {
        return Err(format!(
            "the half that meets the network is of the users {users}, with the rights {rights}"
        ));
    }
    Ok(())
}

/// Clients that ask and never read: the monitor gives them up, and nobody else notices.
fn deaf(stage: &Stage, others: f64) -> Outcome<()> {
    // As little as the kernel gives: full at once.
    let deaf: Outcome<Vec<TcpStream>> = (0..DEAF).map(|_| connect_with(stage, "/events", Some(1))).collect();
    let deaf = deaf?;
    let all = others + f64::from(DEAF);
    wait_until("the clients that do not read are there", SOON, || Ok(viewers(stage)? >= all))?;
    wait_until("the clients that do not read are dropped", SOON, || Ok(viewers(stage)? <= others))?;
    drop(deaf);
    Ok(())
}

/// `diehard top` on a terminal of its own: shows the cluster, its daemon's end and return, and ends with q.
fn top(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let socket = stage.world.node_directory(WATCHED).join("run/control.sock");
    let words = format!("stty rows 30 cols 100; exec {} -s {} top", binary("diehard"), socket.display());
    // util-linux's `script` makes the terminal.
    let mut command = command_in(&stage.world.nodes[WATCHED].namespace, "script");
    command.args(["-qfec", &words, "/dev/null"]).env("TERM", "xterm-256color");
    let failed = |error: std::io::Error| format!("script: {error}");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(failed)?;
    let mut from = child.stdout.take().ok_or("no output")?;
    let drawn = Arc::new(Mutex::new(Vec::new()));
    let reading = thread::spawn({
        let drawn = drawn.clone();
        move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                drawn.lock().extend_from_slice(&buffer[..count]);
            }
        }
    });
    let shows = |word: &str| {
        wait_until(&format!("top shows «{word}»"), SOON, || {
            Ok(String::from_utf8_lossy(&drawn.lock()).contains(word))
        })
    };
    let run = (|| {
        for word in ["controller", "web4", "www4", "what happened"] {
            shows(word)?;
        }
        stage.world.stop_daemon(WATCHED)?;
        shows("THE DAEMON DOES NOT ANSWER")?;
        drawn.lock().clear();
        stage.world.start_daemon(WATCHED)?;
        // The lines of the alarm give way to what stands there without it.
        shows("NODE")?;
        let mut keys = child.stdin.take().ok_or("no input")?;
        keys.write_all(b"q").map_err(failed)?;
        wait_until("top ends", SOON, || child.try_wait().map(|ended| ended.is_some()).map_err(failed))
    })();
    if run.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait().map_err(failed)?;
    run?;
    reading.join().map_err(|_| "the reading thread panicked".to_owned())?;
    if ended.success() { stage.settled() } else { Err(format!("top: {ended}")) }
}
