//! Every state that a model can reach, breadth first: the first broken invariant has the shortest schedule.
//!
//! Called by `model` and its tests; ends when nothing new is left, an invariant is broken, or the bound
//! on states is hit, which is said. Of a visited state only its 64-bit hash is kept (two states that
//! collide would hide one of them: below one in a million for ten million states), with the way to it;
//! a schedule is told by going that way once more.

use std::hash::{Hash, Hasher};

/// A system of rules with discrete time, small enough to be looked at whole.
pub trait Model {
    /// All there is at one instant. Timers are what is left of them, so that equal futures are equal states.
    type State: Clone + Hash;

    /// Where it begins.
    fn begin(&self) -> Vec<Self::State>;

    /// Everything that can happen next, always in the same order.
    fn steps(&self, from: &Self::State, steps: &mut Steps<Self::State>);

    /// Forgets what can make no difference any more: fewer states for the same futures.
    fn settle(&self, state: &mut Self::State);

    /// The promise that does not hold here.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;

    /// Good things that are true here, as bits: a model that reaches none of them proves nothing.
    fn reached(&self, state: &Self::State) -> u32;

    /// What the bits of [`Model::reached`] mean.
    fn landmarks(&self) -> &'static [&'static str];

    /// A state in few words, for schedules.
    fn picture(&self, state: &Self::State) -> String;
}

/// Marks as the bits of [`Model::reached`].
pub fn bits(marks: &[bool]) -> u32 {
    marks.iter().enumerate().map(|(bit, mark)| u32::from(*mark) << bit).sum()
}

/// Collects what can happen in one state; words are made only where a schedule is told.
pub struct Steps<S> {
    next: Vec<S>,
    words: Option<Vec<String>>,
}

impl<S> Steps<S> {
    fn new(told: bool) -> Self {
        Self { next: Vec::new(), words: told.then(Vec::new) }
    }

    /// This can happen and leads there.
    pub fn push(&mut self, words: impl FnOnce() -> String, next: S) {
        self.next.push(next);
        if let Some(all) = &mut self.words {
            all.push(words());
        }
    }
}

/// What an exploration found.
#[derive(Debug)]
pub struct Findings {
    /// Different states.
    pub states: usize,
    /// Longest of the shortest ways to a state, in steps.
    pub depth: usize,
    /// Nothing was left out.
    pub complete: bool,
    /// Landmarks that no state had.
    pub missed: Vec<&'static str>,
    /// The broken promise and the shortest schedule to it.
    pub broken: Option<(&'static str, Vec<String>)>,
}

/// Explores `model`, at most `bound` states of it.
pub fn explore<M: Model>(model: &M, bound: usize) -> Findings {
    let mut search = Search {
        model,
        visited: Visited::new(),
        ways: Vec::new(),
        reached: 0,
        broken: None,
        frontier: Vec::new(),
    };
    for (number, state) in model.begin().into_iter().enumerate() {
        search.visit(state, Way { from: u32::MAX, step: number as u16 });
    }
    let mut depth = 0;
    while search.broken.is_none() && !search.frontier.is_empty() && search.ways.len() < bound {
        search.level();
        depth += usize::from(!search.frontier.is_empty());
    }
    let names = model.landmarks().iter().enumerate();
    let missed = names.filter(|(bit, _)| search.reached & (1 << bit) == 0).map(|(_, name)| *name).collect();
    let broken = search.broken.map(|(promise, at)| (promise, search.schedule(at)));
    let complete = broken.is_none() && search.frontier.is_empty();
    Findings { states: search.ways.len(), depth, complete, missed, broken }
}

/// How a state was first reached.
#[derive(Clone, Copy)]
struct Way {
    from: u32,
    step: u16,
}

struct Search<'m, M: Model> {
    model: &'m M,
    visited: Visited,
    ways: Vec<Way>,
    frontier: Vec<(u32, M::State)>,
    reached: u32,
    broken: Option<(&'static str, u32)>,
}

impl<M: Model> Search<'_, M> {
    /// One step from all the newest states.
    fn level(&mut self) {
        let mut steps = Steps::new(false);
        for (number, state) in std::mem::take(&mut self.frontier) {
            self.model.steps(&state, &mut steps);
            for (step, next) in steps.next.drain(..).enumerate() {
                self.visit(next, Way { from: number, step: step as u16 });
            }
            if self.broken.is_some() {
                return;
            }
        }
    }

    fn visit(&mut self, mut state: M::State, way: Way) {
        self.model.settle(&mut state);
        if !self.visited.insert(hash(&state)) {
            return;
        }
        let number = self.ways.len() as u32;
        self.ways.push(way);
        self.reached |= self.model.reached(&state);
        if self.broken.is_none() {
            self.broken = self.model.broken(&state).map(|promise| (promise, number));
        }
        self.frontier.push((number, state));
    }

    /// The way to a state, in words.
    fn schedule(&self, to: u32) -> Vec<String> {
        let mut way = Vec::new();
        let mut at = to;
        while at != u32::MAX {
            way.push(self.ways[at as usize].step);
            at = self.ways[at as usize].from;
        }
        let mut way = way.into_iter().rev().map(usize::from);
        let Some(begin) = way.next() else { return Vec::new() };
        let mut state = self.model.begin().swap_remove(begin);
        self.model.settle(&mut state);
        let mut told = vec![format!("at first: {}", self.model.picture(&state))];
        for step in way {
            let mut steps = Steps::new(true);
            self.model.steps(&state, &mut steps);
            state = steps.next.swap_remove(step);
            self.model.settle(&mut state);
            let words = steps.words.unwrap_or_default().swap_remove(step);
            told.push(format!("{words}\n      {}", self.model.picture(&state)));
        }
        told
    }
}

/// The same for the same state in every run.
fn hash(state: &impl Hash) -> u64 {
    let mut mixer = Mixer(0x9E37_79B9_7F4A_7C15);
    state.hash(&mut mixer);
    mixer.finish()
}

/// Multiply and fold: the standard hasher's key differs from run to run, and it is three times slower.
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xA076_1D64_78BD_642F_u128;
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(0xE703_7ED1_A0B4_28DB);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word.wrapping_add((chunk.len() as u64) << 57));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte).wrapping_add(0x517C_C1B7_2722_0A95));
    }

    fn finish(&self) -> u64 {
        // Zero is the empty place of a table.
        self.0.max(1)
    }
}

/// A set of hashes: open addressing, at most half full. The standard one's order differs from run to run.
struct Visited {
    places: Vec<u64>,
    used: usize,
}

impl Visited {
    fn new() -> Self {
        Self { places: vec![0; 1 << 16], used: 0 }
    }

    /// Whether it was not in yet.
    fn insert(&mut self, hash: u64) -> bool {
        if self.used * 2 >= self.places.len() {
            let larger = vec![0; self.places.len() * 2];
            let old = std::mem::replace(&mut self.places, larger);
            for hash in old.into_iter().filter(|hash| *hash != 0) {
                let place = self.place(hash);
                self.places[place] = hash;
            }
        }
        let place = self.place(hash);
        if self.places[place] == hash {
            return false;
        }
        self.places[place] = hash;
        self.used += 1;
        true
    }

    /// Where it is or belongs.
    fn place(&self, hash: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        while self.places[place] != 0 && self.places[place] != hash {
            place = (place + 1) & mask;
        }
        place
    }
}
