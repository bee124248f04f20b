//! Thread `load`: measures how much this machine has to do, if the file asks for it (`load`), and tells the driver.
//!
//! ```text
//!   /proc, or load_script ──▶ a sample ──▶ smoothed over 10 s ──▶ in steps of 0.05 ──▶ driver, when it has changed
//! ```
//! An ordinary thread, from which nothing of the heartbeat waits. A script runs in a thread of its own, so that one
//! that cannot even be killed costs nothing but its own measurement. What cannot be measured is told once, as an event;
//! the controller counts this node's services meanwhile. Ends when its bell rings.

use self::source::{Connections, Cpu, number};
use self::steady::Steady;
use super::driver::Told;
use super::mailbox::Sender;
use super::published::Published;
use crate::config::{Config, LoadSource};
use crate::control::load_words::{load_fields, load_text};
use crate::controller::Input;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::os::process::{self, Outcome};
use crate::vocabulary::{Instant, NodeId};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

mod source;
mod steady;

/// Between two samples. It is smoothed over much more.
const SAMPLE: Duration = Duration::from_secs(1);
/// Between two runs of a script.
const SCRIPT_PAUSE: Duration = Duration::from_secs(5);
/// A script that needs longer is ended, and has failed.
const SCRIPT_LIMIT: Duration = Duration::from_secs(2);
/// Beyond its limit a script has so long to be gone; then it hangs in the kernel.
const SCRIPT_GRACE: Duration = Duration::from_secs(4);

/// The thread.
pub struct Load {
    /// This node.
    pub me: NodeId,
    /// Who is told.
    pub driver: Sender<Told>,
    /// Configuration, events.
    pub published: Arc<Published>,
    /// The end; and that a script has ended.
    pub bell: Doorbell,
}

/// What the thread remembers.
struct Work {
    thread: Load,
    source: LoadSource,
    cpu: Cpu,
    steady: Steady,
    script: Option<Script>,
    script_due: Instant,
    /// People know that it cannot be measured.
    failing: bool,
    told: Option<u32>,
}

/// A run of the script.
struct Script {
    result: Receiver<Result<f64, String>>,
    call_off: Doorbell,
    began: Instant,
}

impl Load {
    /// Measures until the bell rings at the daemon's end.
    pub fn run(self) {
        let config = self.published.config();
        let mut work = Work {
            source: config.cluster.load,
            cpu: Cpu::default(),
            steady: Steady::default(),
            script: None,
            script_due: clock::now(),
            failing: false,
            told: None,
            thread: self,
        };
        while !work.thread.published.is_stopping() {
            work.turn();
            // The weights of services need no measuring, and a reload rings.
            let idle = work.source == LoadSource::Services && work.script.is_none();
            let next = if idle { Instant::MAX } else { clock::now() + SAMPLE };
            work.thread.bell.wait_until(next);
        }
        work.end();
    }
}

impl Work {
    fn turn(&mut self) {
        let config = self.thread.published.config();
        let now = clock::now();
        if config.cluster.load != self.source {
            self.source = config.cluster.load;
            (self.steady, self.cpu, self.failing) = (Steady::default(), Cpu::default(), false);
            self.script_due = now;
        }
        match self.sample(&config, now) {
            Some(Ok(load)) => {
                self.note_failure(&config, None);
                let steady = self.steady.take(now, load);
                self.tell(Some(steady));
            }
            Some(Err(why)) => {
                self.note_failure(&config, Some(&why));
                self.steady = Steady::default();
                self.tell(None);
            }
            None if self.source == LoadSource::Services => self.tell(None),
            None => {}
        }
    }

    /// What is measured at this moment, if anything is.
    fn sample(&mut self, config: &Config, now: Instant) -> Option<Result<f64, String>> {
        match self.source {
            LoadSource::Services => None,
            LoadSource::Loadavg => Some(source::loadavg()),
            LoadSource::Cpu => self.cpu.sample().transpose(),
            LoadSource::Connections => {
                let capacity = config.node(self.thread.me).map_or(1.0, |node| node.capacity);
                Some(Connections::sample(capacity))
            }
            LoadSource::Script => self.script(config, now),
        }
    }

    /// The result of a run that has ended, or has not in time; begins the next one when it is due.
    fn script(&mut self, config: &Config, now: Instant) -> Option<Result<f64, String>> {
        if let Some(script) = &self.script {
            let late = now >= script.began + SCRIPT_LIMIT + SCRIPT_GRACE;
            match script.result.try_recv() {
                Ok(result) => {
                    self.script = None;
                    return Some(result);
                }
                Err(TryRecvError::Empty) => {
                    return late.then(|| Err("the script cannot be ended".to_owned()));
                }
                Err(TryRecvError::Disconnected) => self.script = None,
            }
        }
        if now < self.script_due {
            return None;
        }
        self.script_due = now + SCRIPT_PAUSE;
        let command = config.cluster.load_script.clone()?;
        match Script::begin(command, self.thread.bell.clone(), now) {
            Ok(script) => self.script = Some(script),
            Err(error) => return Some(Err(format!("the script cannot be run: {error}"))),
        }
        None
    }

    /// Each change once.
    fn note_failure(&mut self, config: &Config, why: Option<&str>) {
        if why.is_some() == self.failing {
            return;
        }
        self.failing = why.is_some();
        let text = load_text(config.cluster.load, why);
        let level = if self.failing { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{text}");
        self.thread.published.events.push(clock::wall(), text, load_fields(config.cluster.load, why));
    }

    fn tell(&mut self, load: Option<u32>) {
        if self.told != load {
            self.told = load;
            self.thread.driver.send(Told::Happened(Box::new(Input::Load(load))));
        }
    }

    /// A script that runs is ended with everything that it started, if it can be.
    fn end(self) {
        let Some(script) = self.script else { return };
        script.call_off.ring();
        let until = clock::now() + SCRIPT_GRACE;
        while script.result.is_empty() && clock::now() < until {
            self.thread.bell.wait_until(until);
        }
    }
}

impl Script {
    fn begin(command: String, done: Doorbell, now: Instant) -> std::io::Result<Self> {
        let (answer, result) = bounded(1);
        let call_off = Doorbell::new()?;
        let bell = call_off.clone();
        // Not joined: one that hangs in the kernel must not keep the daemon from ending.
        Builder::new().name("load script".to_owned()).stack_size(super::STACK).spawn(move || {
            // The thread may have ended.
            let _ = answer.try_send(measure(&command, &bell));
            done.ring();
        })?;
        Ok(Script { result, call_off, began: now })
    }
}

fn measure(command: &str, call_off: &Doorbell) -> Result<f64, String> {
    let mut first = None;
    let outcome = process::ask(command, &[], SCRIPT_LIMIT, call_off, |stream, line| {
        if stream == process::Stream::Output {
            first.get_or_insert_with(|| line.to_owned());
        }
    });
    match outcome {
        Ok(Outcome::Done) => number(first.as_deref().unwrap_or_default()),
        Ok(Outcome::Failed(code)) => Err(format!("exit code {code}")),
        Ok(Outcome::Killed(signal)) => Err(format!("ended by signal {signal}")),
        Ok(Outcome::TimedOut) => Err(format!("not ready within {} s", SCRIPT_LIMIT.as_secs())),
        Ok(Outcome::CalledOff) => Err("called off".to_owned()),
        Err(error) => Err(format!("cannot be run: {error}")),
    }
}

#[cfg(test)]
mod tests;
