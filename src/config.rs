//! The configuration: text in, a `Config` that cannot be wrong out. PURE: no files, no clock.
//!
//! `parse` is called by the daemon at start and on HUP, by `diehardd -t` and by `diehard config`; whoever
//! calls it reads the file. It ends with a `Config` and warnings, or with every problem of the file.
//!
//! | file | does |
//! | --- | --- |
//! | `types` | what a configuration is |
//! | `text` | bytes → sections and keys, each with its line (syntax, spelling, duplicates) |
//! | `values` | one value → its type, or what was expected instead |
//! | `addresses` | the same for addresses, cards and routes |
//! | `options` | keys that only some types of checks have: read and printed |
//! | `parse` | sections → drafts → `Config` |
//! | `semantics` | what only several sections together can get wrong |
//! | `print` | `Config` → text that parses to the same; the digest |
//! | `error` | `Problem`, and the nearest known word |
mod addresses;
mod error;
mod options;
mod parse;
mod print;
mod semantics;
mod text;
mod types;
mod values;
pub use error::Problem;
pub use options::{CheckOptions, Redirect, Speaks};
pub use parse::{MAX_ADDRESSES, MAX_CHECKS, MAX_NODES, MAX_SERVICES, Parsed, parse};
pub use print::{digest, print, step};
pub use types::*;
pub use values::duration_of;

#[cfg(test)]
mod tests;
