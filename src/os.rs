//! The machine: clock, sockets, addresses, links, processes, scheduling, disk. The only `unsafe`.
//!
//! Small safe functions over libc and nix that know nothing of clusters: no module of ours but the
//! vocabulary is imported. Nothing here starts a thread or keeps state beyond the descriptors it returns;
//! everything ends by being dropped.

pub mod address_timer;
pub mod alarm;
pub mod alias;
pub mod card_addresses;
pub mod child;
pub mod clock;
pub mod daemonise;
pub mod disk;
pub mod doorbell;
pub mod echo;
pub mod errors;
pub mod ethernet;
pub mod frame;
pub mod inheriting;
pub mod lifeline;
pub mod link;
mod netlink;
pub mod packet_socket;
pub mod pair;
pub mod passing;
pub mod privileges;
pub mod process;
pub mod readiness;
pub mod replace;
pub mod sched;
pub mod secret;
pub mod shared;
pub mod signals;
pub mod sleeper;
pub mod stderr;
pub mod storage;
pub mod syslog;
pub mod tcp;
pub mod terminal;
pub mod time_sync;
pub mod udp;

#[cfg(test)]
pub(crate) mod namespace;
