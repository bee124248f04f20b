//! What the worker's threads leave for the guardian, on a page that outlives the worker: until when each
//! of the two that matter will be awake again, and what was said last under which life.
//!
//! No thread: the driver, the faker and the sender write, whenever they are awake anyway; the guardian
//! reads. Each word has one writer.

use crate::os::shared::SharedPage;
use crate::vocabulary::{Incarnation, Instant};
use crate::wire::WINDOW;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const INCARNATION: usize = 0;
const SEQUENCE: usize = 1;
const LEFT: usize = 2;
/// The first of the threads'.
const DUE: usize = 8;

/// A thread whose silence means that the worker hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// It decides; its silence is this node's.
    Driver,
    /// It drops the aliases when the lease ends (L6).
    Faker,
}

impl Watched {
    /// All of them.
    pub const ALL: [Watched; 2] = [Watched::Driver, Watched::Faker];

    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Watched::Driver => "controller",
            Watched::Faker => "faker",
        }
    }
}

/// The page; clones are the same one.
#[derive(Debug, Clone)]
pub struct LifeSigns(Arc<SharedPage>);

impl LifeSigns {
    /// A page on which nothing stands.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> io::Result<Self> {
        Ok(LifeSigns(Arc::new(SharedPage::new()?)))
    }

    /// A new worker begins: nothing of the last one's counts any more.
    pub fn reset(&self) {
        for index in [INCARNATION, SEQUENCE, LEFT, DUE, DUE + 1] {
            self.0.word(index).store(0, Ordering::Release);
        }
    }

    /// This thread is awake: it will say so again soon.
    pub fn works(&self, thread: Watched, now: Instant) {
        self.due_word(thread).store(now.as_nanos().max(1), Ordering::Release);
    }

    /// This thread sleeps until then at most; `Instant::MAX`: until somebody wakes it.
    pub fn sleeps(&self, thread: Watched, until: Instant) {
        // A deadline that has passed is no sleep.
        let word = self.due_word(thread);
        word.fetch_max(until.as_nanos(), Ordering::AcqRel);
    }

    /// This thread ends as it should.
    pub fn retires(&self, thread: Watched) {
        self.sleeps(thread, Instant::MAX);
    }

    /// When that thread was to be awake again; `None` before its start and while nothing is due.
    pub fn due(&self, thread: Watched) -> Option<Instant> {
        let nanos = self.due_word(thread).load(Ordering::Acquire);
        (nanos != 0 && nanos != Instant::MAX.as_nanos()).then(|| Instant::from_nanos(nanos))
    }

    /// This is about to be said.
    pub fn says(&self, incarnation: Incarnation, sequence: u64) {
        self.0.word(INCARNATION).store(incarnation.0, Ordering::Release);
        self.0.word(SEQUENCE).store(sequence, Ordering::Release);
    }

    /// The orderly goodbye is said: nobody has to say it for this life.
    pub fn says_goodbye(&self) {
        self.0.word(LEFT).store(1, Ordering::Release);
    }

    /// The life for which a goodbye is still to be said, with the first sequence for it: newer than anything that is
    /// still under way, which is behind every receiver's window from then on. `None`: that life never
    /// spoke, or has said goodbye.
    pub fn unfinished(&self) -> Option<(Incarnation, u64)> {
        let incarnation = Incarnation(self.0.word(INCARNATION).load(Ordering::Acquire));
        let sequence = self.0.word(SEQUENCE).load(Ordering::Acquire);
        let left = self.0.word(LEFT).load(Ordering::Acquire) != 0;
        (incarnation.0 != 0 && !left).then_some((incarnation, sequence + WINDOW))
    }

    fn due_word(&self, thread: Watched) -> &std::sync::atomic::AtomicU64 {
        self.0.word(DUE + thread as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_due_when_it_said_and_not_while_it_sleeps_for_good() {
        let at = Instant::from_nanos;
        let signs = LifeSigns::new().expect("a page");
        assert_eq!(signs.due(Watched::Faker), None, "not started");
        signs.works(Watched::Faker, at(100));
        assert_eq!(signs.due(Watched::Faker), Some(at(100)));
        signs.sleeps(Watched::Faker, at(90));
        assert_eq!(signs.due(Watched::Faker), Some(at(100)), "overdue already");
        signs.sleeps(Watched::Faker, at(500));
        assert_eq!(signs.due(Watched::Faker), Some(at(500)));
        assert_eq!(signs.due(Watched::Driver), None);
        signs.works(Watched::Faker, at(200));
        assert_eq!(signs.due(Watched::Faker), Some(at(200)), "woken early");
        signs.retires(Watched::Faker);
        assert_eq!(signs.due(Watched::Faker), None);
        signs.reset();
        signs.works(Watched::Faker, at(300));
        assert_eq!(signs.due(Watched::Faker), Some(at(300)));
    }

    #[test]
    fn the_last_word_comes_after_everything_that_was_said() {
        let signs = LifeSigns::new().expect("a page");
        assert_eq!(signs.unfinished(), None, "it never spoke");
        signs.says(Incarnation(7), 1_000);
        let (life, first) = signs.unfinished().expect("it spoke");
        assert_eq!(life, Incarnation(7));
        let mut window = crate::wire::ReplayWindow::new(life, 990);
        assert_eq!(window.accept(life, first), Ok(()));
        assert!(window.accept(life, 1_000).is_err(), "what was under way is too late");
        signs.says_goodbye();
        assert_eq!(signs.unfinished(), None);
        signs.reset();
        signs.says(Incarnation(8), 1);
        assert_eq!(signs.unfinished().map(|(life, _)| life), Some(Incarnation(8)));
    }
}
