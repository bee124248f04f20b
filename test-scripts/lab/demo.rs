//! `lab demo`: a cluster at work, its controller's power cut, its return, an orderly stop; live in the
//! terminal, and judged.

use crate::checks;
use crate::figures::table;
use crate::http::{self, Seen};
use crate::interrupt::{self, pause};
use crate::namespace::Outcome;
use crate::screen::Screen;
use crate::stage::{PATIENCE, Stage, nothing_lost};
use crate::systems::{binary, milliseconds};
use crate::world::{Plan, Scripts, System};
use clap::Args;
use std::time::{Duration, Instant};

/// What the client's own scheduling may add to an outage on a machine that does other work as well.
const NOISE: Duration = Duration::from_millis(20);
/// So long a picture stands before the next thing happens.
const LOOK: Duration = Duration::from_millis(1500);

/// How to show it.
#[derive(Args)]
pub struct Options {
    /// How many servers.
    #[arg(long, default_value = "4", value_parser = crate::node_count)]
    nodes: usize,
    /// T: how often a server says that it lives.
    #[arg(long, default_value = "100ms", value_parser = crate::duration)]
    hello_interval: Duration,
    /// Leaves the cluster running at the end, and says how to look into it.
    #[arg(long)]
    keep: bool,
}

/// One line of the final table.
struct Step {
    what: String,
    outage: Option<Duration>,
    connects: Option<Seen>,
    fault: Option<String>,
}

/// Runs it; true if every step was right.
pub fn run(options: &Options) -> Outcome<bool> {
    let mut screen = Screen::new();
    let interval = options.hello_interval;
    screen.say(&format!(
        "{} servers, a client and a gateway on two LANs; hello every {interval:?}",
        options.nodes
    ));
    let mut stage = Stage::build(Plan {
        system: System::Diehard,
        nodes: options.nodes,
        interval,
        failback_delay: None,
        startup_wait: None,
        scripts: Scripts::None,
        extra: String::new(),
    })?;
    stage.call_witness()?;
    let steps = show(&mut stage, &mut screen).map_err(|error| stage.with_logs(&error, 12))?;
    screen.finish();
    print_table(&steps, interval);
    if options.keep {
        say_how_to_look(&stage);
        // Until Ctrl-C, which is the normal end here.
        while pause(Duration::from_secs(1)).is_ok() {}
    }
    Ok(steps.iter().all(|step| step.fault.is_none()))
}

fn show(stage: &mut Stage, screen: &mut Screen) -> Outcome<Vec<Step>> {
    let start = Instant::now();
    for index in 0..stage.world.nodes.len() {
        stage.world.start_node(index)?;
    }
    settle(stage, screen, true)?;
    let what = format!("start: every service at home after {:.1} s", start.elapsed().as_secs_f64());
    screen.say(&what);
    let mut steps = vec![Step { what, outage: None, connects: None, fault: None }];
    look(stage, screen)?;

    let victim = checks::controller(&stage.world)?;
    steps.push(power_cut(stage, screen, victim)?);
    look(stage, screen)?;
    steps.push(power_returns(stage, screen, victim)?);
    look(stage, screen)?;

    let leaving = stage.world.nodes.len() - 1;
    steps.push(orderly_stop(stage, screen, leaving)?);
    look(stage, screen)?;
    steps.push(start_again(stage, screen, leaving)?);
    if let Err(double) = stage.saw_no_double() {
        let what = "no address is ever served by two".to_owned();
        steps.push(Step { what, outage: None, connects: None, fault: Some(double) });
    }
    Ok(steps)
}

fn power_cut(stage: &mut Stage, screen: &mut Screen, victim: usize) -> Outcome<Step> {
    let name = stage.world.nodes[victim].name.clone();
    screen.say(&format!("the power of {name}, the controller, is cut"));
    let (start, _) = stage.world.cut_power(&[victim])?;
    let gap = stage.taken_over(victim, start)?;
    let (outage, heir) = (gap.length(), gap.then);
    settle(stage, screen, false)?;
    let heir = &stage.world.nodes[heir].name;
    let controller = stage.world.nodes[checks::controller(&stage.world)?].name.clone();
    let what = format!("power cut of {name} (controller): {heir} takes its address; {controller} controls");
    screen.say(&format!("{what}; the client saw nothing for {:.0} ms", milliseconds(outage)));
    screen.say(&format!("  {}", http::curl(&stage.world, victim)?));
    // P3: noticed and taken over within 2.2 intervals.
    let bound = stage.world.plan.interval * 22 / 10 + NOISE;
    let fault = (outage > bound).then(|| format!("took longer than {:.0} ms", milliseconds(bound)));
    Ok(Step { what, outage: Some(outage), connects: None, fault })
}

fn power_returns(stage: &mut Stage, screen: &mut Screen, victim: usize) -> Outcome<Step> {
    let name = stage.world.nodes[victim].name.clone();
    screen.say(&format!("the power of {name} returns"));
    let visitor = stage.visitor(victim)?;
    let start = Instant::now();
    stage.world.restore_power(&[victim])?;
    settle(stage, screen, true)?;
    let what = format!("return of {name}: its address is home after {:.1} s", start.elapsed().as_secs_f64());
    planned(stage, screen, what, victim, start, visitor.finish()?)
}

fn orderly_stop(stage: &mut Stage, screen: &mut Screen, leaving: usize) -> Outcome<Step> {
    let name = stage.world.nodes[leaving].name.clone();
    screen.say(&format!("{name} is stopped in order"));
    let visitor = stage.visitor(leaving)?;
    pause(Duration::from_millis(100))?;
    let start = Instant::now();
    stage.world.stop_daemon(leaving)?;
    settle(stage, screen, false)?;
    let heir = stage.prober()?.holder(leaving, Duration::from_millis(500));
    let heir = heir.map_or("nobody", |index| &stage.world.nodes[index].name).to_owned();
    let what = format!("orderly stop of {name}: its address goes to {heir}");
    planned(stage, screen, what, leaving, start, visitor.finish()?)
}

fn start_again(stage: &mut Stage, screen: &mut Screen, leaving: usize) -> Outcome<Step> {
    let name = stage.world.nodes[leaving].name.clone();
    screen.say(&format!("{name} is started again"));
    let visitor = stage.visitor(leaving)?;
    let start = Instant::now();
    stage.world.start_daemon(leaving)?;
    settle(stage, screen, true)?;
    let what = format!("start of {name}: its address is home after {:.1} s", start.elapsed().as_secs_f64());
    planned(stage, screen, what, leaving, start, visitor.finish()?)
}

/// A move that both ends agreed on: the client may notice nothing (P5).
fn planned(
    stage: &Stage,
    screen: &mut Screen,
    what: String,
    service: usize,
    since: Instant,
    seen: Seen,
) -> Outcome<Step> {
    let outage = stage.silence(service, since)?;
    screen.say(&format!(
        "{what}; of {} connects {} failed, longest silence {:.1} ms",
        seen.good + seen.failed,
        seen.failed,
        milliseconds(outage)
    ));
    screen.say(&format!("  {}", http::curl(&stage.world, service)?));
    let fault = nothing_lost(&seen, 1).err();
    Ok(Step { what, outage: Some(outage), connects: Some(seen), fault })
}

/// Waits until all is right, and shows what happens meanwhile.
fn settle(stage: &Stage, screen: &mut Screen, at_home: bool) -> Outcome<()> {
    let prober = stage.prober()?;
    interrupt::wait_until_right("the cluster settles", PATIENCE, || {
        screen.refresh(stage)?;
        stage.world.daemons_live()?;
        Ok(checks::all_right(&stage.world, prober, at_home))
    })?;
    screen.refresh(stage)
}

fn look(stage: &Stage, screen: &mut Screen) -> Outcome<()> {
    let end = Instant::now() + LOOK;
    while Instant::now() < end {
        screen.refresh(stage)?;
        pause(Duration::from_millis(100))?;
    }
    Ok(())
}

fn print_table(steps: &[Step], interval: Duration) {
    let heading = ["step", "outage ms", "x hello", "failed connects", "right"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for step in steps {
        let none = || "-".to_owned();
        let failed = |seen: &Seen| format!("{} of {}", seen.failed, seen.good + seen.failed);
        lines.push(vec![
            step.what.clone(),
            step.outage.map_or_else(none, |outage| format!("{:.1}", milliseconds(outage))),
            step.outage
                .map_or_else(none, |outage| format!("{:.2}", outage.as_secs_f64() / interval.as_secs_f64())),
            step.connects.as_ref().map_or_else(none, failed),
            step.fault.clone().unwrap_or_else(|| "yes".to_owned()),
        ]);
    }
    println!("\n{}", table(&lines));
    println!("(a silence of 2 ms and less is not told from none; the client asks every millisecond)");
}

fn say_how_to_look(stage: &Stage) {
    let world = &stage.world;
    let first = &world.nodes[0];
    let socket = world.node_directory(0).join("run/control.sock");
    println!("\nIt is left running. Look into it from another terminal:");
    println!("  {} -s {} status", binary("diehard"), socket.display());
    println!("  ip netns exec {} ip addr", first.namespace);
    println!("  ip netns exec {} curl http://{}/", world.client(), crate::world::World::service_address(0));
    println!("  ip netns exec {} tcpdump -ni int", world.switch());
    println!("  tail -f {}/web*/daemon.log", world.directory.display());
    println!("Ctrl-C ends it and removes everything.");
}
