//! Tests of the protocol core, named by the rule that they check (protocol.md, told again in
//! ARCHITECTURE.md). `bench` wires a few real controllers on one virtual clock; faults in quantity are
//! the simulator's business, not that of these tests: here every one says which rule, and when.

mod agreement;
mod announce;
mod arbiter;
mod bench;
mod cold_start;
mod commands;
mod conflict;
mod detector;
mod fitness;
mod forecast;
mod fresh;
mod handover;
mod lease;
mod look;
mod membership;
mod ownership;
mod partial;
mod placement;
mod quorum;
mod settings;
mod succession;
mod times;
