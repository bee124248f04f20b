//! The protocol core: events and `now` in, effects out. PURE: no clock, no I/O, no randomness not given.

use crate::config::Config;
use crate::vocabulary::{Epoch, Incarnation, Instant};
use std::sync::Arc;

mod effect;
mod input;
mod view;
pub use effect::*;
pub use input::*;
pub use view::*;

/// What the world writes into the header of every packet that this node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// This life.
    pub incarnation: Incarnation,
    /// The committed epoch.
    pub epoch: Epoch,
    /// Its lineage.
    pub lineage: u64,
}

/// One node's mind. The world calls `handle` for everything that happens and `handle_timeout` when
/// `next_timeout` has come, and after each call takes effects from `next_effect` until there are none.
pub struct Controller {
    config: Arc<Config>,
}

impl Controller {
    /// A node that has just started.
    pub fn new(config: Arc<Config>, _identity: Identity, _now: Instant) -> Self {
        Controller { config }
    }

    /// Something happened. `now` never goes back.
    pub fn handle(&mut self, _now: Instant, input: Input) {
        if let Input::Reload(config) = input {
            self.config = config;
        }
    }

    /// When `handle_timeout` wants to be called next; `Instant::MAX`: never.
    pub fn next_timeout(&self) -> Instant {
        Instant::MAX
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing that the world shall do, in order.
    pub fn next_effect(&mut self) -> Option<Effect> {
        None
    }

    /// For the header of the packets: read it when the effect is taken.
    pub fn stamp(&self) -> Stamp {
        unimplemented!("skeleton")
    }

    /// For people.
    pub fn view(&self, _now: Instant) -> View {
        unimplemented!("skeleton")
    }
}
