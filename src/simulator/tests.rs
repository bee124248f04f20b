//! The simulator itself (a judge that is blind, or chance that is not, would hide everything), then the
//! promises on fixed seeds. `diehard simulate` runs more.

mod foreign;
mod judges;
mod planted;
mod promises;
mod shrink;
