//! Does the laboratory itself see what it is to see? Addresses are moved by hand, no daemon runs.

use crate::interrupt::pause;
use crate::namespace::{Outcome, run};
use crate::stage::Stage;
use crate::systems::milliseconds;
use crate::world::{Plan, System, World};
use std::time::Duration;

/// A test that builds its own lab.
type Named = (&'static str, fn() -> Outcome<()>);

/// What is known of the lab's own instruments.
pub const TESTS: &[Named] = &[
    ("lab-measures-an-outage", measures_an_outage),
    ("lab-hears-two-holders", hears_two_holders),
    ("lab-cuts-power-silently", cuts_power_silently),
];

/// A power cut, and the address on another server a known time later: that is what the client sees.
fn measures_an_outage() -> Outcome<()> {
    let mut stage = bare()?;
    give(&stage, 0)?;
    pause(Duration::from_millis(300))?;
    let known = Duration::from_millis(150);
    let (start, cut) = stage.world.cut_power(&[0])?;
    pause(known.saturating_sub(cut.elapsed()))?;
    give(&stage, 1)?;
    let gap = stage.taken_over(0, start)?;
    // Until the announcement of the second server is out: two programs have to start.
    let bound = known + cut.duration_since(start) + Duration::from_millis(80);
    if gap.then != 1 || gap.length() < known - Duration::from_millis(2) || gap.length() > bound {
        return Err(format!("measured {:.1} ms, server {}", milliseconds(gap.length()), gap.then));
    }
    Ok(())
}

/// The same address on two servers is noticed, on one it is not.
fn hears_two_holders() -> Outcome<()> {
    let mut stage = bare()?;
    stage.call_witness()?;
    give(&stage, 0)?;
    pause(Duration::from_millis(300))?;
    stage.saw_no_double()?;
    give(&stage, 1)?;
    pause(Duration::from_millis(300))?;
    match stage.saw_no_double() {
        Err(_) => Ok(()),
        Ok(()) => Err("two servers held one address and nobody noticed".to_owned()),
    }
}

/// A host whose power is cut has carrier on both cards until the end, and nothing passes.
fn cuts_power_silently() -> Outcome<()> {
    let mut stage = bare()?;
    give(&stage, 0)?;
    pause(Duration::from_millis(300))?;
    stage.prober()?.holder(0, Duration::from_millis(60)).ok_or("no answer before the cut")?;
    stage.world.cut_power(&[0])?;
    pause(Duration::from_millis(200))?;
    if let Some(who) = stage.prober()?.holder(0, Duration::from_millis(100)) {
        return Err(format!("server {who} answers without power"));
    }
    let listed = run("ip", &["-n", &stage.world.nodes[0].namespace, "-o", "link", "show"])?;
    let carriers = listed.lines().filter(|line| line.contains("eth") && line.contains("LOWER_UP")).count();
    if carriers == 2 { Ok(()) } else { Err(format!("the host sees that its links went down: {listed}")) }
}

fn bare() -> Outcome<Stage> {
    Stage::build(Plan {
        system: System::Diehard,
        nodes: 2,
        interval: Duration::from_millis(100),
        failback_delay: None,
        startup_wait: None,
        scripts: false,
        extra: String::new(),
    })
}

/// Puts the first service address on this server, and announces it.
fn give(stage: &Stage, index: usize) -> Outcome<()> {
    let namespace = &stage.world.nodes[index].namespace;
    let address = World::service_address(0).to_string();
    run("ip", &["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    let words = ["netns", "exec", namespace, "arping", "-c", "1", "-U", "-I", "eth0", "-w", "1", &address];
    // It reports failure where nobody answered, which nobody does.
    let _ = run("ip", &words);
    Ok(())
}
