//! The guardian: the process whose number stands in the pid file. It starts the worker, which is the whole
//! daemon, and sees to what a dead one cannot see to any more.
//!
//! ```text
//!            ┌────────── pause, doubled each time ◀───────────┐
//!            ▼                                                │
//!   start ──▶ worker runs ──▶ it is dead ──▶ aliases go ──▶ LEAVE to all
//!                │  ▲              ▲
//!                │  └ in time      │ killed
//!                └──▶ overdue ─────┘
//! ```
//! One thread, in `daemon::run`'s own; it waits for the worker's lifeline, the worker's words, signals
//! and its own next look, and for nothing else: no disk, no log, no lock. It ends when the worker has left
//! in order, or could not start the first time; if it is killed, the worker ends by itself (`bond`).

use super::bond::{Order, Territory, Word};
use super::{Plan, Refusal, worker};
use crate::os::child::{Child, Ending, Side, fork};
use crate::os::daemonise::{PidFile, Readiness};
use crate::os::lifeline::{Hold, Lifeline, lifeline};
use crate::os::pair::{End, Waiting, pair};
use crate::os::signals::Signals;
use crate::os::{clock, doorbell, sched};
use crate::threads::life_signs::{LifeSigns, Watched};
use crate::threads::log_writer::{self, Sink};
use crate::vocabulary::Instant;
use nix::sys::signal::Signal;
use std::fs::DirBuilder;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;
use std::time::Duration;

mod funeral;
mod last_word;
mod voice;
mod watch;
use funeral::{Funeral, TRY_AGAIN};
use last_word::LastWord;
use voice::Voice;
use watch::{Backoff, Watch};

/// SCHED_FIFO above the worker's threads (at most 52): one that spins must not keep the guardian from ending it.
const PRIORITY: u8 = 53;
/// A worker that was told twice to end, and does not, is killed after this.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// So many deaths in a row are worth an error instead of a warning.
const LOOP: u32 = 5;

/// All that outlives workers.
struct Guardian {
    plan: Plan,
    voice: Voice,
    signals: Signals,
    signs: LifeSigns,
    last_word: LastWord,
    pid_file: PidFile,
    backoff: Backoff,
    /// Who waits for the first worker to run.
    readiness: Option<Readiness>,
    /// How often TERM or INT came.
    asked: u32,
}

/// One worker, seen from here.
struct Ward {
    child: Child,
    /// Cut when no thread of it can act any more: the kernel may take long to clear away the rest of it.
    lifeline: Lifeline,
    end: End,
    /// It has not closed its end.
    talks: bool,
    territory: Territory,
    born: Instant,
    watch: Watch,
    /// Why it did not start.
    refusal: Option<Refusal>,
    ready: bool,
    /// It is killed then: it was told to end.
    kill_at: Instant,
    killed: Option<String>,
    /// Its last word.
    doom: Option<String>,
}

/// Guards until the end; in the worker's process this returns when the worker ends.
pub(super) fn guard(plan: Plan, readiness: Readiness) -> ExitCode {
    let sink = if plan.arguments.foreground { Sink::StandardError } else { Sink::Syslog };
    let mut voice = Voice::new(sink);
    // A worker without a guardian leaves: one that hangs in a message would keep it for ever.
    log_writer::end_on_panic(sink, |_| false);
    for warning in &plan.warnings {
        voice.warn(warning);
    }
    let prepared = prepare(&plan);
    let (pid_file, signals, signs, last_word) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => {
            voice.error(&refusal.text);
            readiness.failed(refusal.code, &refusal.text);
            return ExitCode::from(refusal.code);
        }
    };
    if let Err(error) = sched::lock_memory() {
        voice.warn(&format!("the guardian may wait for memory: cannot lock it: {error}"));
    }
    sched::prefault_stack();
    // Where it is not permitted the worker's threads have said so.
    let _ = sched::exact_timers().and_then(|()| sched::realtime(PRIORITY));
    let (backoff, readiness) = (Backoff::default(), Some(readiness));
    Guardian { plan, voice, signals, signs, last_word, pid_file, backoff, readiness, asked: 0 }.run()
}

fn prepare(plan: &Plan) -> Result<(PidFile, Signals, LifeSigns, LastWord), Refusal> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Refusal::failure(format!("{what}: {error}"));
    let heard = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1];
    let signals = Signals::block(&heard).map_err(|error| failed("cannot wait for signals", &error))?;
    for (directory, mode) in [(&plan.arguments.run_dir, 0o755), (&plan.arguments.state_dir, 0o700)] {
        let made = DirBuilder::new().recursive(true).mode(mode).create(directory);
        made.map_err(|error| failed(&directory.display().to_string(), &error))?;
    }
    let pid_path = plan.arguments.run_dir.join("diehardd.pid");
    let pid_file =
        PidFile::claim(&pid_path).map_err(|error| failed(&pid_path.display().to_string(), &error))?;
    let signs = LifeSigns::new().map_err(|error| failed("the page of the guardian", &error))?;
    let last_word =
        LastWord::new(plan).ok_or_else(|| Refusal::wrong("this node is not in the configuration"))?;
    Ok((pid_file, signals, signs, last_word))
}

impl Guardian {
    /// One worker after the other.
    fn run(mut self) -> ExitCode {
        loop {
            self.signs.reset();
            let (end, workers_end, lifeline, hold) = match strings() {
                Ok(strings) => strings,
                Err(error) => match self.cannot_fork(&error) {
                    Some(code) => return code,
                    None => continue,
                },
            };
            let child = match fork() {
                Ok(Side::Parent(child)) => child,
                Ok(Side::Child) => {
                    drop((end, lifeline));
                    return self.become_worker(workers_end, hold);
                }
                Err(error) => match self.cannot_fork(&error) {
                    Some(code) => return code,
                    None => continue,
                },
            };
            drop((workers_end, hold));
            let now = clock::now();
            let mut ward = Ward {
                child,
                lifeline,
                end,
                talks: true,
                territory: Territory::of(&self.plan.config),
                born: now,
                watch: Watch::new(self.plan.config.cluster.hello_interval, now),
                refusal: None,
                ready: false,
                kill_at: Instant::MAX,
                killed: None,
                doom: None,
            };
            self.watch_over(&mut ward);
            if let Some(code) = self.bury(ward) {
                return code;
            }
        }
    }

    /// The copy that came out of `fork`: nothing of the guardian's is left in it but the lock on the pid
    /// file, so that no other daemon begins before this worker has ended too.
    fn become_worker(self, end: End, hold: Hold) -> ExitCode {
        hold.for_ever();
        let Guardian { plan, signs, pid_file, readiness, signals, last_word, .. } = self;
        let first = readiness.is_some();
        std::mem::forget(pid_file);
        // Whoever waits for the first word waits until nobody can say another one. The signals stay blocked.
        drop((readiness, signals, last_word));
        worker::live(plan, signs, end, first)
    }

    fn cannot_fork(&mut self, error: &std::io::Error) -> Option<ExitCode> {
        let text = format!("cannot start the worker: {error}");
        self.voice.error(&text);
        if let Some(readiness) = self.readiness.take() {
            readiness.failed(super::FAILURE, &text);
            return Some(ExitCode::from(super::FAILURE));
        }
        let until = clock::now() + self.backoff.after(Duration::ZERO);
        self.rest(until)
    }

    /// Until that worker can do nothing any more.
    fn watch_over(&mut self, ward: &mut Ward) {
        loop {
            let next = ward.watch.next_look().min(ward.kill_at);
            // A closed end would wake for ever.
            let words = if ward.talks { ward.end.as_fd() } else { ward.child.as_fd() };
            let dead = [ward.lifeline.as_fd(), ward.child.as_fd()];
            let ready = doorbell::wait(&[dead[0], dead[1], self.signals.as_fd(), words], next);
            while let Some(signal) = self.signals.next() {
                self.pass_on(signal, ward);
            }
            self.listen(ward);
            match ready {
                Ok(ready) if ready & 0b11 != 0 => return,
                Ok(_) => {}
                // For want of memory, which passes.
                Err(_) => clock::sleep_until(clock::now() + TRY_AGAIN),
            }
            let now = clock::now();
            let dues = Watched::ALL.map(|thread| self.signs.due(thread).map(|due| (thread.name(), due)));
            let dues: Vec<_> = dues.into_iter().flatten().collect();
            if let Some(name) = ward.watch.look(now, &dues) {
                ward.kill(format!("its thread '{name}' hangs"));
            }
            if now >= ward.kill_at {
                ward.kill("it did not end when it was told to".to_owned());
            }
        }
    }

    fn pass_on(&mut self, signal: Signal, ward: &mut Ward) {
        let order = match signal {
            Signal::SIGHUP => Order::Reload,
            Signal::SIGUSR1 => Order::Picture,
            _ => {
                self.asked += 1;
                if self.asked > 1 {
                    ward.kill_at = ward.kill_at.min(clock::now() + END_PATIENCE);
                }
                if self.asked > 1 { Order::End } else { Order::Leave }
            }
        };
        // It is dead, or about to be: that is seen next.
        let _ = ward.end.send(&order.bytes());
    }

    fn listen(&mut self, ward: &mut Ward) {
        while ward.talks {
            match ward.end.receive() {
                Waiting::Nothing => return,
                Waiting::Closed => ward.talks = false,
                Waiting::Message(bytes) => match Word::of(&bytes) {
                    Some(Word::Territory(territory)) => ward.territory.join(territory),
                    Some(Word::Keys(content)) => self.last_word.take_key(&content),
                    Some(Word::Failed(code, text)) => ward.refusal = Some(Refusal { code, text }),
                    Some(Word::Doomed(text)) => ward.doom = Some(text),
                    Some(Word::Ready) => {
                        ward.ready = true;
                        if let Some(readiness) = self.readiness.take() {
                            readiness.ready();
                        }
                    }
                    None => self.voice.error("the worker said something unknown"),
                },
            }
        }
    }

    /// First what others wait for, then the log. `Some`: the end of the guardian as well.
    fn bury(&mut self, ward: Ward) -> Option<ExitCode> {
        let now = clock::now();
        let mut funeral = Funeral::new(now, ward.territory, self.signs.unfinished());
        funeral.go_on(now, &mut self.last_word);
        let life = now.since(ward.born);
        let ending = self.see_off(ward.child, &mut funeral);
        let well = matches!(ending, Ok(Ending::Exited(0)));
        let cause = match (&ending, ward.killed) {
            (Ok(_), Some(why)) => format!("{why}: killed"),
            (Ok(ending), None) => match ward.doom {
                Some(doom) => format!("{doom}: {ending}"),
                None => ending.to_string(),
            },
            (Err(error), _) => error.to_string(),
        };
        if let Some(readiness) = self.readiness.take() {
            // The first start: it is for whoever started us to mend that.
            let silent = || format!("the worker ended before it was ready: {cause}");
            let Refusal { code, text } = ward.refusal.unwrap_or_else(|| {
                self.voice.error(&silent());
                Refusal::failure(silent())
            });
            readiness.failed(code, &text);
            return Some(ExitCode::from(code));
        }
        if self.asked > 0 {
            if !well {
                self.voice.warn(&format!("the worker ended otherwise than in order: {cause}"));
            }
            self.finish(&mut funeral, now);
            return Some(ExitCode::SUCCESS);
        }
        let pause = self.backoff.after(life);
        self.tell_of_death(&cause, life, pause, &funeral);
        self.finish(&mut funeral, now + pause);
        self.rest(now + pause)
    }

    /// What is left of it goes, and what is to be said meanwhile is said.
    fn see_off(&mut self, child: Child, funeral: &mut Funeral) -> std::io::Result<Ending> {
        let gone = |until| doorbell::wait(&[child.as_fd()], until).map_or(true, |ready| ready != 0);
        while !gone(funeral.next().unwrap_or(Instant::MAX)) {
            funeral.go_on(clock::now(), &mut self.last_word);
        }
        child.wait()
    }

    fn tell_of_death(&mut self, cause: &str, life: Duration, pause: Duration, funeral: &Funeral) {
        let deaths = self.backoff.deaths();
        let text = format!(
            "the worker is dead ({cause}) after {} s; {}; it is started again in {} ms{}",
            life.as_secs(),
            funeral.text(),
            pause.as_millis(),
            if deaths >= LOOP { format!(": death {deaths} in a row") } else { String::new() },
        );
        if deaths >= LOOP { self.voice.error(&text) } else { self.voice.warn(&text) }
    }

    /// Until nothing is left to be said, or done, that was not said or done at once.
    fn finish(&mut self, funeral: &mut Funeral, least: Instant) {
        // Beyond this a new worker clears the card itself, or says that it cannot.
        let most = least.max(clock::now()) + self.plan.config.cluster.valid_lft * 2;
        while let Some(at) = funeral.next().filter(|at| *at < most) {
            clock::sleep_until(at);
            funeral.go_on(clock::now(), &mut self.last_word);
            if let Some(error) = funeral.news() {
                self.voice.error(&format!("{error}: no LEAVE before they are gone"));
            }
        }
    }

    /// Between two workers. `Some`: somebody wants the end.
    fn rest(&mut self, until: Instant) -> Option<ExitCode> {
        loop {
            while let Some(signal) = self.signals.next() {
                if matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
                    self.voice.info("ended while no worker ran");
                    return Some(ExitCode::SUCCESS);
                }
            }
            if clock::now() >= until {
                return None;
            }
            if doorbell::wait(&[self.signals.as_fd()], until).is_err() {
                clock::sleep_until(clock::now() + TRY_AGAIN);
            }
        }
    }
}

/// What ties a worker to its guardian.
fn strings() -> std::io::Result<(End, End, Lifeline, Hold)> {
    let (end, workers_end) = pair()?;
    let (lifeline, hold) = lifeline()?;
    Ok((end, workers_end, lifeline, hold))
}

impl Ward {
    fn kill(&mut self, why: String) {
        self.child.kill();
        self.killed.get_or_insert(why);
        self.kill_at = Instant::MAX;
    }
}
