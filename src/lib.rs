//! Diehard: N ordinary Linux servers as one self-healing cluster. See ARCHITECTURE.md.
pub mod config;
pub mod control;
pub mod controller;
pub mod daemon;
pub mod monitor;
pub mod os;
pub mod recovery;
pub mod simulator;
pub mod threads;
#[cfg(test)]
mod tidy;
pub mod vocabulary;
pub mod wire;
