//! `lab namespaces`: the tests on real daemons, real web servers and real clients.
//!
//! `algorithms` holds what every size of cluster must do, `edges` what is tested once, `guardian` what parts of a
//! daemon that die or stop do to its addresses, `arbiters` what half a cluster does with and without one, `hands`
//! others' hands and own faults, `partitions` cuts and heals, `quorums` the same where fewer than a majority may serve,
//! `configured` one configuration for all, `checked` and `faulty` servers that fail on living machines, `agents` services by others' agents and who is told what happens,
//! `monitor` what a browser shows of all that,
//! `operators` what an operator sees,
//! `instrument` whether the lab itself can be trusted, `remains` whether it leaves anything. A test begins
//! with a settled cluster and leaves one; after a failure the next test gets a fresh lab.

mod agents;
mod algorithms;
mod arbiters;
mod checked;
mod configured;
mod edges;
mod faulty;
mod guardian;
mod hands;
mod instrument;
mod monitor;
mod operators;
mod partitions;
mod placed;
mod quorums;
mod remains;

use crate::interrupt;
use crate::namespace::Outcome;
use crate::stage::Stage;
use crate::standstill::{Meter, Standstill};
use crate::world::{Plan, Scripts, System};
use clap::Args;
use std::time::{Duration, Instant};

/// What to test.
#[derive(Args)]
pub struct Options {
    /// Only tests whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Sizes of the clusters.
    #[arg(long, value_delimiter = ',', default_value = "2,4,8", value_parser = crate::node_count)]
    nodes: Vec<usize>,
    /// T.
    #[arg(long, default_value = "100ms", value_parser = crate::duration)]
    hello_interval: Duration,
    /// Prints the names and runs nothing.
    #[arg(long)]
    list: bool,
}

/// One test: what it does on a settled cluster.
pub struct Test {
    /// Part of its name; the size of the cluster is the other.
    name: &'static str,
    /// What it does.
    run: fn(&mut Stage) -> Outcome<()>,
    /// The smallest cluster with which it says something.
    least: usize,
}

/// What has happened so far.
struct Tally<'a> {
    options: &'a Options,
    meter: Meter,
    passed: u32,
    failed: Vec<String>,
}

/// Runs them; true if all passed.
pub fn run(options: &Options) -> Outcome<bool> {
    let mut tally = Tally { options, meter: Meter::start()?, passed: 0, failed: Vec::new() };
    let before = remains::look()?;
    for (name, test) in instrument::TESTS {
        if tally.wanted(name) {
            tally.judge(name, test)?;
        }
    }
    for nodes in &options.nodes {
        let tests = algorithms::TESTS.iter().filter(|test| test.least <= *nodes).collect::<Vec<_>>();
        tally.group(&plan(options, *nodes, Scripts::None), &nodes.to_string(), &tests)?;
    }
    tally.group(&plan(options, 4, Scripts::None), "4", &edges::PLAIN.iter().collect::<Vec<_>>())?;
    tally.group(&plan(options, 4, Scripts::Noted), "4", &edges::WITH_SCRIPTS.iter().collect::<Vec<_>>())?;
    // What was given up comes home while a test waits for it; every other test goes by the default.
    for (line, tests) in [("", hands::WAITING), ("on_conflict = force\n", hands::FORCING)] {
        let mut plan = plan(options, 4, Scripts::None);
        plan.extra += &format!("forget = 5s\n{line}");
        tally.group(&plan, "4", &tests.iter().collect::<Vec<_>>())?;
    }
    tally.group(&plan(options, 4, Scripts::None), "4", &guardian::TESTS.iter().collect::<Vec<_>>())?;
    tally.group(&plan(options, 4, Scripts::None), "4", &configured::TESTS.iter().collect::<Vec<_>>())?;
    let mut arbitrated = plan(options, 2, Scripts::None);
    arbitrated.extra += "quorum = auto\narbiter = 203.0.113.1\n";
    tally.group(&arbitrated, "2", &arbiters::TESTS.iter().collect::<Vec<_>>())?;
    for (nodes, tests) in [(5, partitions::FIVE), (4, partitions::FOUR)] {
        let mut plan = plan(options, nodes, Scripts::None);
        plan.extra.push_str("quorum = majority\n");
        tally.group(&plan, &nodes.to_string(), &tests.iter().collect::<Vec<_>>())?;
    }
    for (lines, tests) in
        [("quorum = arbiter\narbiter = 203.0.113.1\n", quorums::ARBITER), ("quorum = none\n", quorums::NONE)]
    {
        let mut plan = plan(options, 5, Scripts::None);
        plan.extra += lines;
        tally.group(&plan, "5", &tests.iter().collect::<Vec<_>>())?;
    }
    for (scripts, tests) in [(Scripts::Serving, checked::STARTED), (Scripts::None, checked::RUNNING)] {
        let mut plan = plan(options, 4, scripts);
        plan.extra += &checked::configuration(scripts == Scripts::Serving);
        tally.group(&plan, "4", &tests.iter().collect::<Vec<_>>())?;
    }
    let mut sick = plan(options, 4, Scripts::None);
    sick.extra += &faulty::configuration();
    tally.group(&sick, "4", &faulty::TESTS.iter().collect::<Vec<_>>())?;
    for (more, tests) in
        [(placed::configuration(), placed::MEASURED), ("damping = 5min\n".to_owned(), placed::DAMPED)]
    {
        let mut plan = plan(options, 4, Scripts::None);
        plan.extra += &more;
        tally.group(&plan, "4", &tests.iter().collect::<Vec<_>>())?;
    }
    let mut served = plan(options, 4, Scripts::Agents);
    served.extra += &crate::agents::configuration();
    tally.group(&served, "4", &agents::TESTS.iter().collect::<Vec<_>>())?;
    tally.group(&plan(options, 4, Scripts::None), "4", &monitor::TESTS.iter().collect::<Vec<_>>())?;
    tally.group(&plan(options, 4, Scripts::None), "4", &operators::TESTS.iter().collect::<Vec<_>>())?;
    if tally.wanted("nothing-left") {
        tally.judge("nothing-left", || remains::compare(&before))?;
    }
    if options.list {
        return Ok(true);
    }
    for name in &tally.failed {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed.len());
    Ok(tally.failed.is_empty() && tally.passed > 0)
}

impl Tally<'_> {
    /// Runs the tests of one kind of lab, in one lab as long as they pass. One that fails while the machine stands still is judged
    /// once more: no lease outlasts that. Two servers on one address are excused by nothing.
    fn group(&mut self, plan: &Plan, suffix: &str, tests: &[&Test]) -> Outcome<()> {
        let mut stage: Option<Stage> = None;
        for test in tests {
            let name = format!("{}/{suffix}", test.name);
            if !self.wanted(&name) {
                continue;
            }
            for last in [false, true] {
                // The lab is no test: if it cannot be built, there is nothing to go on with.
                let mut at_hand = match stage.take() {
                    Some(stage) => stage,
                    None => begin(plan.clone())?,
                };
                let start = Instant::now();
                let run = (test.run)(&mut at_hand)
                    .and_then(|()| at_hand.settled().map_err(|error| format!("afterwards: {error}")));
                let lone = at_hand.saw_no_double();
                let standstills = self.meter.that_end_leases(start, plan.interval);
                let longest = standstills.iter().map(Standstill::length).max();
                if let (Err(error), Ok(()), Some(length), false) = (&run, &lone, longest, last) {
                    interrupt::check()?;
                    println!("AGAIN {name}: the machine stood still for {} ms: {error}", length.as_millis());
                    continue;
                }
                let result = run.and(lone).map_err(|error| at_hand.with_logs(&error, 25));
                stage = self.tell(&name, start, result)?.then_some(at_hand);
                break;
            }
        }
        Ok(())
    }

    fn wanted(&self, name: &str) -> bool {
        let wanted = self.options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
        if wanted && self.options.list {
            println!("{name}");
        }
        wanted && !self.options.list
    }

    fn judge(&mut self, name: &str, test: impl FnOnce() -> Outcome<()>) -> Outcome<bool> {
        let start = Instant::now();
        let result = test();
        self.tell(name, start, result)
    }

    fn tell(&mut self, name: &str, start: Instant, result: Outcome<()>) -> Outcome<bool> {
        let seconds = start.elapsed().as_secs_f64();
        interrupt::check()?;
        match result {
            Ok(()) => {
                println!("PASS {name} ({seconds:.1} s)");
                self.passed += 1;
                Ok(true)
            }
            Err(error) => {
                println!("FAIL {name} ({seconds:.1} s): {error}");
                self.failed.push(name.to_owned());
                Ok(false)
            }
        }
    }
}

fn begin(plan: Plan) -> Outcome<Stage> {
    let mut stage = Stage::build(plan)?;
    stage.call_witness()?;
    // A cluster that does not start is the first test's failure, which waits for it to settle.
    for index in 0..stage.world.nodes.len() {
        stage.world.start_node(index)?;
    }
    Ok(stage)
}

fn plan(options: &Options, nodes: usize, scripts: Scripts) -> Plan {
    Plan {
        system: System::Diehard,
        nodes,
        interval: options.hello_interval,
        failback_delay: Some(Duration::from_secs(1)),
        startup_wait: Some(Duration::from_secs(3)),
        scripts,
        // What is announced is then announced for a reason, and every version has a cause: tests count both.
        // (With `auto` the controller commits one when the machine becomes late, or punctual.)
        extra: "arp_refresh = 0\nprobe_interval = 1/8\n".to_owned(),
    }
}
