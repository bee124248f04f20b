//! Does what the schedule says, to the millisecond where the machine can, and keeps what is needed to
//! understand it: a line for each deed with who held what by the kernels, and what the daemons say of
//! the cluster every few seconds.

use super::schedule::Planned;
use crate::busy::Busy;
use crate::faults::Fault;
use crate::interrupt;
use crate::judge::Deed;
use crate::namespace::{Outcome, run};
use crate::recorder::Recorder;
use crate::world::{Lan, Part, WireFault, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the daemons are asked for their status.
const SNAPSHOT: Duration = Duration::from_secs(2);
/// So much time has to be left before the next deed, or asking would make it late.
const ROOM: Duration = Duration::from_millis(400);
/// An orderly stop under faults: it waits for a handover, and for its limit if that cannot be.
const STOP: Duration = Duration::from_secs(40);

/// Carries the faults out.
pub struct Stagehand {
    /// Before the world: its sockets go before the namespaces do.
    pub recorder: Recorder,
    /// The lab.
    pub world: World,
    /// What was done, with its true times; by beginning.
    pub deeds: Vec<Deed>,
    /// What is wrong beside what the clients saw.
    pub complaints: Vec<String>,
    /// What the daemons said, and when.
    pub snapshots: Vec<(Duration, String)>,
    /// How long the way home took, after the last fault.
    pub home: Option<Duration>,
    open: BTreeMap<usize, Open>,
    transcript: Option<File>,
    asked: Instant,
}

/// What has begun and not ended: what its end needs.
#[derive(Default)]
struct Open {
    wires: Vec<WireFault>,
    stopped: Vec<i32>,
    busy: Option<Busy>,
}

impl Stagehand {
    /// For a cluster at work.
    pub fn new(world: World, recorder: Recorder) -> Stagehand {
        // Without the file the text is on the terminal alone.
        let transcript = File::create(world.directory.join("chaos.txt")).ok();
        Stagehand {
            recorder,
            world,
            deeds: Vec::new(),
            complaints: Vec::new(),
            snapshots: Vec::new(),
            home: None,
            open: BTreeMap::new(),
            transcript,
            asked: Instant::now(),
        }
    }

    /// On the terminal, and in the file that is kept.
    pub fn say(&mut self, text: &str) {
        println!("{text}");
        if let Some(file) = &mut self.transcript {
            // A full disk must not end the run.
            let _ = writeln!(file, "{text}");
        }
    }

    /// Keeps the lab's files there.
    pub fn keep_files(&mut self, place: &Path) -> Outcome<()> {
        let lines = self.snapshots.iter().map(|(time, said)| format!("{:.3} {said}\n", time.as_secs_f64()));
        let path = self.world.directory.join("snapshots.txt");
        std::fs::write(&path, lines.collect::<String>())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        self.world.keep_files(place)
    }

    /// Everything, from the first beginning to the last end.
    pub fn perform(&mut self, planned: &[Planned]) -> Outcome<()> {
        let start = Instant::now();
        let mut edges: Vec<(Duration, bool, usize)> = Vec::new();
        for (number, planned) in planned.iter().enumerate() {
            edges.push((planned.begin, false, number));
            edges.push((planned.end, true, number));
        }
        // What ends and begins at one moment ends first; a fault that lasts no time begins before it ends.
        edges.sort_by_key(|(time, _, number)| (*time, *number));
        for (time, is_end, number) in edges {
            self.wait_for(start + time)?;
            let now = self.recorder.now();
            let fault = planned[number].fault;
            if is_end {
                self.finish(number, &fault)?;
                self.deeds[number].end = self.recorder.now();
            } else {
                // Until its end is known it lasts: a run that fails in between is judged as well.
                self.deeds.push(Deed { fault, begin: now, end: Duration::MAX });
                self.begin(number, &fault)?;
            }
            let line = self.line(now, if is_end { "end  " } else { "begin" }, &fault);
            self.say(&line);
        }
        Ok(())
    }

    fn wait_for(&mut self, moment: Instant) -> Outcome<()> {
        loop {
            let rest = moment.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return interrupt::check();
            }
            if rest > ROOM && self.asked.elapsed() > SNAPSHOT {
                self.snapshot();
                self.asked = Instant::now();
            }
            let rest = moment.saturating_duration_since(Instant::now());
            interrupt::pause(rest.min(Duration::from_millis(200)))?;
        }
    }

    fn begin(&mut self, number: usize, fault: &Fault) -> Outcome<()> {
        let mut open = Open { wires: fault.wires(), ..Open::default() };
        let world = &mut self.world;
        match *fault {
            Fault::PowerCut(node) => drop(world.cut_power(&[node])?),
            Fault::KillWorker(node) => drop(world.signal_part(node, Part::Worker, Signal::SIGKILL)?),
            Fault::KillGuardian(node) => drop(world.signal_part(node, Part::Guardian, Signal::SIGKILL)?),
            Fault::KillWhole(node) => drop(world.signal_part(node, Part::Whole, Signal::SIGKILL)?),
            Fault::StopWorker(node) => {
                open.stopped = world.signal_part(node, Part::Worker, Signal::SIGSTOP)?;
            }
            Fault::StopWhole(node) => {
                open.stopped = world.signal_part(node, Part::Whole, Signal::SIGSTOP)?;
            }
            Fault::StopEverything(node) => open.stopped = world.signal_everything(node, Signal::SIGSTOP)?,
            Fault::Busy(each_core) => {
                // They are ended in time; this is for a lab that dies.
                open.busy = Some(Busy::start(each_core, Duration::from_secs(20))?);
            }
            Fault::CarrierLost(node) => world.set_carrier(node, Lan::External, false)?,
            Fault::SendsFail(node) => world.refuse_sending(node, true)?,
            Fault::AliasDeleted(service) => delete_by_hand(world, service)?,
            Fault::Restart(node) => world.ask_to_stop(node)?,
            Fault::Reload(node) => drop(world.signal_part(node, Part::Guardian, Signal::SIGHUP)?),
            Fault::Cut(..) | Fault::CutBoth(..) | Fault::Pair(..) | Fault::Loss(..) => {}
        }
        let wires = !open.wires.is_empty();
        self.open.insert(number, open);
        if wires { self.set_wires() } else { Ok(()) }
    }

    fn finish(&mut self, number: usize, fault: &Fault) -> Outcome<()> {
        let Open { wires, stopped, busy } = self.open.remove(&number).unwrap_or_default();
        drop(busy);
        if !wires.is_empty() {
            self.set_wires()?;
        }
        for pid in stopped {
            // One that was killed meanwhile, by its guardian, needs no waking.
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
        match *fault {
            Fault::PowerCut(node) => self.world.restore_power(&[node]),
            Fault::CarrierLost(node) => self.world.set_carrier(node, Lan::External, true),
            Fault::SendsFail(node) => self.world.refuse_sending(node, false),
            Fault::Restart(node) => {
                self.world.wait_for_end(node, STOP)?;
                self.revive(node)
            }
            Fault::KillWorker(node) | Fault::KillGuardian(node) | Fault::KillWhole(node) => self.revive(node),
            _ => Ok(()),
        }
    }

    fn revive(&mut self, node: usize) -> Outcome<()> {
        self.world.revive(node).map(drop)
    }

    fn set_wires(&self) -> Outcome<()> {
        let all: Vec<WireFault> = self.open.values().flat_map(|open| open.wires.clone()).collect();
        self.world.set_wires(&all)
    }

    /// Who has what by the kernels of the servers with power.
    fn line(&self, time: Duration, word: &str, fault: &Fault) -> String {
        let held = self.world.holders().map(|holders| {
            let each = holders.iter().map(|held_by| {
                let numbers: Vec<String> = held_by.iter().map(|holder| (holder + 1).to_string()).collect();
                if numbers.is_empty() { "-".to_owned() } else { numbers.join("+") }
            });
            each.collect::<Vec<_>>().join(" ")
        });
        let held = held.unwrap_or_else(|error| error);
        format!("{:9.3}  {word}  {:<58} held by {held}", time.as_secs_f64(), fault.to_string())
    }

    /// What the daemons that can answer say of the cluster.
    fn snapshot(&mut self) {
        let open = self.open.keys().map(|number| self.deeds[*number].fault);
        let mute = open.filter(|fault| fault.leaves_a_kernel() || matches!(fault, Fault::Restart(_)));
        let silent: Vec<usize> = mute.filter_map(|fault| fault.node()).collect();
        for index in self.world.living().into_iter().filter(|index| !silent.contains(index)) {
            let status = self.world.diehard(index, &["--json", "status"]);
            let said = status.unwrap_or_else(|error| error);
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            self.snapshots.push((self.recorder.now(), format!("{} {said}", self.world.nodes[index].name)));
        }
    }
}

fn delete_by_hand(world: &World, service: usize) -> Outcome<()> {
    let address = format!("{}/24", World::service_address(service));
    for holder in world.holders()?[service].clone() {
        // It may have gone by itself meanwhile.
        let _ = run("ip", &["-n", &world.nodes[holder].namespace, "addr", "del", &address, "dev", "eth0"]);
    }
    Ok(())
}
