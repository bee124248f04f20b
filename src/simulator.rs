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
//!
//! # Faults
//!
//! Everywhere: 0.05–0.25 ms transit; clocks that drift by up to 300 ppm and begin anywhere; one wake-up in
//! ten up to 1 ms late; address calls of 0.01–0.3 ms, commands of 1–60 ms, records of 0.2–5 ms.
//!
//! | kind | weather of the LANs | faults, each class on or off by the seed | small ills |
//! | --- | --- | --- | --- |
//! | storm | each LAN: loss 0, 5, 20 %; twice 0, 1, 10 %; overtaking 0, 5 % by 3 ms; delay 0, 0.5, 5 % by 60 ms | all of `plan::CLASSES`, each every 1–12 s, 5 ms to 6 s long | failing or late address reports, disks, commands; busy threads (6 ms); garbled and replayed datagrams |
//! | three storms in ten, by the seed's last digit | the same | besides, some of `plan::FOREIGN`: others' hands at an address, once or up to ten times in a row; sends that are refused; a stranger at an address for 0.1–8 s | besides, ARP probes that leave up to 80 ms late |
//! | drill isolation | both alike: loss 0, 5, 20 %; delay 0, 5, 20 % by 60 ms | isolation every 0.15–2 s; mostly one power cut every 0.3–6 s | slow disks |
//! | drill moves | the same | isolation, an operator's move every 0.1–0.8 s; often one or several power cuts every 1–6 s | slow disks |
//! | drill amnesia | good | an operator's move every 50–150 ms; once, after 6–15 s, power cuts of all but one, which is isolated until they have elected one | slow disks |
//! | drill times | both alike: loss 0, 5, 20 %; delay 0, 5, 20 % by 60 ms | isolation every 0.15–2 s; another T of 50 to 400 ms every 0.1–1.5 s; power cuts every 0.3–6 s | slow disks |
//! | drill stopped | internal the same, external 5 % loss | daemons that die (1–5 s) and stop (0.5–4 s) | slow disks |
//! | drill parts | good; delay 0, 5, 20 % by 60 ms | LANs split every 0.3–4 s, each its own way; an operator's move every 0.1–0.8 s; power cuts every 1–8 s | slow disks |
//! | drill arbiter | both alike: loss 0, 5, 20 %; delay 0, 5, 20 % by 60 ms | LANs split every 0.3–4 s, the arbiter in one of the parts or in none; it is off every 2–8 s; some of power cuts, ports, cables, stops; two nodes under `arbiter`: daemons that die and stop instead | slow disks |
//! | calm | one LAN: 20 % loss | none | garbage, if asked for |
//! | deaths | as asked, usually none | one node, or neighbours, once | none |
//!
//! Quorum: storms majority 60 %, `none` 10 %, `auto` 10 % and with an arbiter 10 %, `arbiter` 10 %; drills
//! majority, but `auto` and `arbiter` in the drill of that name; calm and deaths majority, two nodes `auto`. Storms and drills have faults for up to 40 s, then everything heals, again and again; half
//! of them have faults from the cold start on.
//!
//! Foreign causes are the same for all: hands take an address from the kernel, and the faker puts it back within 3 ms and tells,
//! or the kernel refuses it for a while; refused sends are the daemon's, on one LAN or both (5 ms to 6 s; a full queue 1 to
//! 60 ms), while it goes on hearing and its kernel answers ARP; the stranger is in the first part of every split, and half of them
//! claim the address again, once a second, where somebody announces it. One such storm in seven has `on_conflict = force`.
//!
//! What no run has, because no rule can survive it: a stopped or dead daemon together with an external LAN
//! that is cut, slow or loses more than 5 % (two faults inside `valid_lft`: its kernel answers, nobody
//! hears it; but two nodes under `arbiter` bear it); where half may serve (all but `majority`), pairs cut on
//! the external LAN (the look is the only guard, and an arbiter would answer both); an address call that takes effect long after its lease has ended (L8's margin is for that).
//!
//! # Judges, and what they excuse
//!
//! - **P1**, when an address comes up, when a LAN is cut or mended, when an excuse ends: no two machines
//!   have an address that the same clients reach in both directions. Excused: the ends of a *committed*
//!   handover for 4 p from the first FAIL_BACK of one nonce (H2, H4), longer only if the old holder's
//!   process was stopped or died since: until 2.4 s after that its kernel may have it, whoever else has it by then. Where
//!   half may serve (not under `arbiter`, where the arbiter is on one side alone): for 3 s after a LAN was mended or cut, two that both had the address before that or
//!   at most 100 ms after (M1; where that is by ARP alone they ask every 5 T; nobody takes what he could have seen).
//! - **F2**, under `on_conflict = wait`, when a node wants an address that it did not want before: no stranger has answered for it
//!   since before that node's look began. Excused: a stranger on another side of a cut; answers that may not have come, because
//!   the LAN has changed since or loses or delays what it carries, unless one did; what a holder handed over in the last second (H3).
//! - **P2, P5**, after each heal: within 30 s, for 5 looks in 0.5 s, every daemon runs, is a member, has a
//!   lease, follows the same controller at one epoch, and every service is up once, held, at home, where clients reach it. Operators
//!   first undo what operators did; before the heal services may be down for as long as the faults last.
//! - **P3, P4**, deaths only: outage, loads of the survivors. **P6**, calm only: no FAIL_DOWN, no take.
//! - **P7**: a run with garbage is the same run. A panic is a broken promise in every kind.
//! - **J2**: who has left has no address up.
//! - **S**: one epoch has one value (the last 512 are compared); a process never goes back to an older
//!   epoch of its lineage; a later term commits later versions only, so no commit is lost. The last is
//!   judged under majority only, and not across the end of a process, whose tables are not on its disk.

mod checkers;
mod clock;
mod command;
mod experiment;
mod host;
mod model;
mod network;
mod plan;
mod random;
mod run;
mod script;
mod settle;
mod shrink;
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
