//! The real controller and the real codec for N nodes on virtual time, from one seed.
//!
//! A run has two phases, again and again: faults (safety: P1 and its kin at every instant), then
//! everything healed (liveness: P2 and P5 within a bound). Judges stand apart from the world. Called by
//! the tests and by `diehard simulate`; ends with the first broken promise or when the time is over.
//!
//! ```text
//!   random ─► plan ─► world ──────────────► run ─► Outcome
//!                      │ queue of events      │
//!            hosts ◄───┼───► network          └─► settle (the bound after a heal)
//!         (controller, │
//!    kernel, disk,     └───► checkers, trace
//!         faker, clock)
//! ```

mod checkers;
mod clock;
mod command;
mod experiment;
mod host;
mod network;
mod plan;
mod random;
mod run;
mod settle;
mod trace;
mod world;

#[cfg(test)]
mod tests;

pub use checkers::Violation;
pub use command::command;
pub use experiment::{Deaths, Outages, Victims, deaths};
pub use plan::Drill;
pub use run::{Kind, Outcome, Scenario, run, run_with};
pub use world::Statistics;
