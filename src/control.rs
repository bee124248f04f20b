//! What `diehard` and the daemon say to each other over the UNIX socket `RUN_DIR/control.sock`, and
//! everything that a person types.
//!
//! | module | owns |
//! | --- | --- |
//! | `arguments` | the command lines of both binaries |
//! | `protocol` | the lines on the socket |
//! | `server` | the daemon's end: thread `control` and one thread a connection |
//! | `events` | what happened lately, numbered, for `diehard events` |
//! | `event_words` | an event of the controller in words and as fields (PURE) |
//! | `receipt_words` | the receipt of a takeover in words and as fields (PURE) |
//! | `status` | the controller's view as the JSON of `diehard status --json` (PURE) |
//! | `vitals` | what the daemon measures about itself (PURE) |
//! | `table` | that JSON's content for people (PURE) |
//! | `doctor` | what is not as it should be, with remedies |
//! | `why` | why a service is where it is: the object and its text (PURE) |
//! | `drift` | nodes whose configuration differs (PURE) |
//! | `client`, `cli`, `key` | the other end: `diehard` |
//!
//! The daemon starts `server::Server`, the binary `diehard` calls `cli::run`.
pub mod arguments;
pub mod check_words;
pub mod checks;
pub mod cli;
pub mod client;
pub mod doctor;
pub mod drift;
pub mod event_words;
pub mod events;
pub mod key;
pub mod load_words;
pub mod protocol;
pub mod receipt_words;
#[cfg(test)]
pub(crate) mod rehearsal;
#[cfg(test)]
pub(crate) mod scratch;
pub mod server;
pub mod status;
pub mod table;
pub mod vitals;
pub mod why;
