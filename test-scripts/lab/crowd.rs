//! What a thousand checks on one server do to its heartbeat: how punctual its HELLO is on the wire, and what its daemon
//! costs, with and without them. The kernel stamps each packet as it leaves: this program's own lateness is not in it.

use crate::cost;
use crate::figures::table;
use crate::interrupt::{self, pause};
use crate::namespace::Outcome;
use crate::packet_socket::{EVERYTHING, PacketSocket};
use crate::stage::Stage;
use crate::systems::milliseconds;
use crate::world::{Plan, Scripts, System, World};
use clap::Args;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How long a cluster may take to run each check at least once.
const WARM_UP: Duration = Duration::from_secs(5);
/// How much of each daemon's log explains a failure.
const LOG_LINES: usize = 15;

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// Checks of the server; all of them every second, but for every thirtieth, which runs a script every 5 s.
    #[arg(long, default_value = "1000")]
    checks: usize,
    /// T.
    #[arg(long, default_value = "20ms", value_parser = crate::duration)]
    hello_interval: Duration,
    /// How long each of the two is watched, in seconds.
    #[arg(long, default_value = "60")]
    seconds: u64,
}

/// What one cluster showed.
struct Seen {
    /// How far each HELLO of the server was from one T after the one before, in ms, sorted.
    lateness: Vec<f64>,
    /// Milliseconds of CPU a second, of its daemon.
    cpu: f64,
    /// Checks that stand well.
    well: usize,
}

/// Runs it; true if all could be measured.
pub fn run(options: &Options) -> Outcome<bool> {
    let without = measure(options, 0)?;
    let with = measure(options, options.checks)?;
    let heading =
        ["T − interval, in ms", "HELLOs", "median", "99%", "99.9%", "worst", "CPU ms/s", "checks well"];
    let row = |name: String, seen: &Seen| {
        let mut cells = vec![name, seen.lateness.len().to_string()];
        cells.extend([0.5, 0.99, 0.999, 1.0].map(|part| format!("{:.3}", quantile(&seen.lateness, part))));
        cells.extend([format!("{:.1}", seen.cpu), seen.well.to_string()]);
        cells
    };
    let rows = [
        heading.map(str::to_owned).to_vec(),
        row("no checks".to_owned(), &without),
        row(format!("{} checks", options.checks), &with),
    ];
    println!("\n{}", table(&rows));
    let more = quantile(&with.lateness, 0.999) - quantile(&without.lateness, 0.999);
    println!("the 99.9th percentile changes by {more:+.3} ms");
    Ok(true)
}

fn measure(options: &Options, checks: usize) -> Outcome<Seen> {
    let mut stage = Stage::build(Plan {
        system: System::Diehard,
        nodes: 2,
        interval: options.hello_interval,
        failback_delay: Some(Duration::from_secs(1)),
        startup_wait: Some(Duration::from_secs(3)),
        scripts: Scripts::None,
        extra: configuration(checks),
    })?;
    println!("two servers, {checks} checks on web1: they start");
    stage.cold_start().map_err(|error| stage.with_logs(&error, LOG_LINES))?;
    stage.rest();
    pause(WARM_UP)?;
    let length = Duration::from_secs(options.seconds);
    let (world, interval) = (&stage.world, options.hello_interval);
    let (lateness, cost) = std::thread::scope(|scope| -> Outcome<_> {
        let heard = scope.spawn(|| hear(world, interval, length));
        let cost = cost::measure(world, length);
        let heard = heard.join().map_err(|_| "the listener failed".to_owned())?;
        Ok((heard?, cost?))
    })?;
    let status = world.status(0)?;
    let shown = status["services"][0]["checks"].as_array().cloned().unwrap_or_default();
    let well = shown.iter().filter(|check| check["state"] == "ok").count();
    if well < checks {
        let bad = shown.iter().find(|check| check["state"] != "ok");
        return Err(format!("only {well} of {checks} checks are well: {bad:?}"));
    }
    // The other server has no check to run: what it costs beside is its heartbeat.
    Ok(Seen { lateness, cpu: cost.busiest.0, well })
}

/// Checks of www1 that run where it is held: nine of ten connect, the others ask nginx; every thirtieth is a script.
fn configuration(checks: usize) -> String {
    let address = World::service_address(0);
    let mut text = String::new();
    for number in 0..checks {
        // Writing to a String cannot fail.
        let _ = match number {
            script if script % 30 == 0 => {
                write!(
                    text,
                    "\n[check s{script}]\nservice = www1\ntype = script\ntarget = exit 0\ninterval = 5s\ntimeout = 5s\n"
                )
            }
            http if http % 10 == 1 => write!(
                text,
                "\n[check h{http}]\nservice = www1\ntype = http\ntarget = http://{address}/\ntimeout = 1s\n"
            ),
            tcp => write!(
                text,
                "\n[check t{tcp}]\nservice = www1\ntype = tcp\ntarget = {address}:80\ntimeout = 1s\n"
            ),
        };
    }
    text
}

/// Each HELLO of web1 on the internal LAN: how far from one T after the one before.
fn hear(world: &World, interval: Duration, length: Duration) -> Outcome<Vec<f64>> {
    let socket = PacketSocket::open(&world.nodes[0].namespace, "eth1", EVERYTHING)?;
    let own = World::internal_address(0).octets();
    let until = Instant::now() + length;
    let mut buffer = [0; 2_048];
    let mut lateness = Vec::new();
    let mut last: Option<Duration> = None;
    while Instant::now() < until {
        interrupt::check()?;
        while let Some(frame) = socket.receive(&mut buffer) {
            if !is_hello(frame, own) {
                continue;
            }
            let at = socket.stamp().map_err(|error| format!("no time of a packet: {error}"))?;
            if let Some(before) = last.replace(at) {
                let apart = milliseconds(at.saturating_sub(before));
                lateness.push((apart - milliseconds(interval)).abs());
            }
        }
        pause(Duration::from_millis(5))?;
    }
    lateness.sort_by(f64::total_cmp);
    if lateness.is_empty() {
        return Err("no HELLO was heard".to_owned());
    }
    Ok(lateness)
}

/// Ethernet 14, IPv4 20, UDP 8, then magic, version, type 1 and the sender.
fn is_hello(frame: &[u8], own: [u8; 4]) -> bool {
    frame.get(42..44) == Some(&[0xd1, 0xe4]) && frame.get(45) == Some(&1) && frame.get(46..50) == Some(&own)
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).ceil() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}
