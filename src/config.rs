//! The configuration: text in, a `Config` that cannot be wrong out. PURE: no files, no clock.
mod types;
pub use types::*;
