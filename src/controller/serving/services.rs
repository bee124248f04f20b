//! The services that this node knows, each with what this node does about it.

use super::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// All services of the table and of the file. When something of theirs is due is remembered until one of them may have
/// changed: it is asked for after each packet, and most are heartbeats, which change none.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Services {
    each: BTreeMap<ServiceId, Local>,
    due: Cell<Option<Instant>>,
}

impl Services {
    pub(super) fn due(&self, now: Instant, due: impl Fn(&Local) -> Instant) -> Instant {
        // What has become due meanwhile is looked at anew.
        let known = self.due.get().filter(|&at| at > now);
        let at = known.unwrap_or_else(|| self.each.values().map(due).min().unwrap_or(Instant::MAX));
        self.due.set(Some(at));
        at
    }

    /// The times that it is reckoned by have changed.
    pub(in crate::controller) fn forget_due(&mut self) {
        self.due.set(None);
    }
}

impl Deref for Services {
    type Target = BTreeMap<ServiceId, Local>;

    fn deref(&self) -> &Self::Target {
        &self.each
    }
}

impl DerefMut for Services {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.due.set(None);
        &mut self.each
    }
}

impl Controller {
    /// The services about which this node may have to do something. Where there are dozens, most rest, and the state asks
    /// nothing of it for them.
    pub(super) fn stirring(&self) -> Vec<ServiceId> {
        let table = self.acted_on().map_or(&[][..], |state| &state.table);
        let comes_here = |phase: Phase| match phase {
            Phase::Prepare { to } | Phase::Handover { to } => to == self.me,
            Phase::Held | Phase::Abort { .. } | Phase::Failed => false,
        };
        let asks = table.iter().filter(|slot| slot.holder == Some(self.me) || comes_here(slot.phase));
        let asked: Vec<ServiceId> = asks.map(|slot| slot.service).collect();
        let stirring = self.services.iter().filter(|(id, local)| !local.rests() || asked.contains(id));
        stirring.map(|(&id, _)| id).collect()
    }
}
