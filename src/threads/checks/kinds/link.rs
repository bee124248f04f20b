//! `link`: is the card there, switched on, and does it carry?

use super::why;
use crate::os::link::card_state;
use crate::recovery::Finding;

pub(super) fn look(device: &str) -> Finding {
    match card_state(device) {
        Ok(state) if !state.on => Finding::bad(format!("{device} is switched off")),
        Ok(state) if !state.carries => Finding::bad(format!("{device} has no carrier")),
        Ok(_) => Finding::well(format!("{device} is up")),
        Err(error) => Finding::bad(format!("{device}: {}", why(&error))),
    }
}
