//! What this node is named for and cannot serve.

use super::*;

/// So long a node that is named for a service waits for a file with that.
const FILE_PATIENCE: Duration = Duration::from_secs(10);

/// It cannot be served here, says this node at that version: another one shall have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Declined {
    at: Epoch,
    why: Because,
}

/// Why it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    StartFailed,
    /// Others' hands take its addresses away.
    Tampered,
    /// It is not in this node's file.
    NotInFile,
    /// This node hears nobody.
    HearsNobody,
    NoExternalLink,
}

impl Declined {
    /// Of the service here. Else this node can have nothing.
    fn is_a_failure(&self) -> bool {
        matches!(self.why, Because::StartFailed | Because::Tampered | Because::NotInFile)
    }
}

impl Local {
    /// It does not serve it and will not at this epoch.
    pub(in crate::controller) fn has_declined(&self, epoch: Epoch) -> bool {
        self.declined.is_some_and(|declined| declined.at == epoch) && !self.may_be_up()
    }

    /// So it has, because others' hands take its addresses away.
    pub(in crate::controller) fn is_ousted(&self) -> bool {
        self.declined.is_some_and(|declined| declined.why == Because::Tampered)
    }

    /// A newer version names this node again: it may try again.
    pub(super) fn forget_what_was_declined(&mut self, epoch: Epoch) {
        self.declined = self.declined.filter(|declined| declined.at == epoch);
    }
}

impl Controller {
    /// It cannot be served here: the address goes, and the controller places it elsewhere.
    pub(super) fn decline(&mut self, now: Instant, id: ServiceId, why: Because) {
        let epoch = self.epoch();
        let duty = self.duty(id);
        let Some(local) = self.services.get_mut(&id) else { return };
        local.wanted = false;
        local.declined = Some(Declined { at: epoch, why });
        if duty == Duty::Prepare {
            self.answer_ready(id, false);
        }
        self.dirty = true;
        self.serve(now);
        if self.office.is_none() {
            self.ask(now);
        }
    }

    /// Where files are read again one after the other, this node's comes within moments. If it does not, that of others has the
    /// service, and another one shall hold it.
    pub(super) fn await_file(&mut self, now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        if now >= *local.file_by.get_or_insert(now + FILE_PATIENCE) {
            local.file_by = None;
            self.decline(now, id, Because::NotInFile);
        }
    }

    /// What is this node's to hold and cannot be held here now, which is nobody's failure: another one shall have it.
    pub(super) fn give_up(&mut self, now: Instant, id: ServiceId) {
        let epoch = self.epoch();
        if let Some(local) = self.services.get_mut(&id) {
            local.declined = Some(Declined { at: epoch, why: Because::NoExternalLink });
        }
        self.report_soon(now);
    }

    /// This node hears nothing and serves nothing: whatever is its to hold it declines, until a newer version.
    pub(in crate::controller) fn decline_all(&mut self) {
        let epoch = self.epoch();
        if self.serving.given_up.replace(epoch) == Some(epoch) {
            return;
        }
        let mut ids: Vec<ServiceId> = self.services.keys().copied().collect();
        ids.retain(|&id| self.duty(id) == Duty::Hold);
        for id in ids {
            let local = self.services.entry(id).or_default();
            local.forget_what_was_declined(epoch);
            if !local.wanted && !local.present && local.declined.is_none() {
                local.declined = Some(Declined { at: epoch, why: Because::HearsNobody });
            }
        }
    }

    /// It has won an election, so it hears: what it declined because it heard nothing it can hold again. Only
    /// here: another controller may have given it away on this node's word.
    pub(in crate::controller) fn hears_again(&mut self) {
        self.serving.given_up = None;
        for local in self.services.values_mut() {
            local.declined = local.declined.filter(Declined::is_a_failure);
        }
    }

    /// A lease came: this node is fit again. What it has declined stays declined at this epoch (the controller may
    /// have given it away on that word, without waiting for leases).
    pub(in crate::controller) fn hears_its_controller(&mut self) {
        self.serving.given_up = None;
    }

    /// At this very epoch: no failure of a service, and over with the next version.
    pub(in crate::controller) fn has_given_up(&self) -> bool {
        let epoch = self.epoch();
        let linkless = Some(Declined { at: epoch, why: Because::NoExternalLink });
        self.serving.given_up == Some(epoch) || self.services.values().any(|local| local.declined == linkless)
    }

    /// Services that this node declined at the committed epoch.
    pub(in crate::controller) fn own_failures(&self) -> Vec<ServiceId> {
        let epoch = self.epoch();
        let declined = self.services.iter().filter(|(_, local)| local.has_declined(epoch));
        declined.map(|(&id, _)| id).collect()
    }
}
