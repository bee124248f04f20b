//! The services' `start` and `stop` commands.

use super::*;

impl Controller {
    /// Something here answers for the service as soon as its addresses are up.
    pub(in crate::controller) fn server_runs(&self, id: ServiceId) -> bool {
        let needs_start = self.config.service(id).is_some_and(|service| service.starts().next().is_some());
        let started = self.services.get(&id).is_some_and(|local| local.script == Script::Started);
        !needs_start || started || self.runs_already(id)
    }

    /// Another service of this node with the same start command has been started.
    fn runs_already(&self, id: ServiceId) -> bool {
        let Some(own) = self.config.service(id).filter(|service| service.starts().next().is_some()) else {
            return false;
        };
        self.services.iter().any(|(&other, local)| {
            other != id
                && local.script == Script::Started
                && self.config.service(other).is_some_and(|service| service.starts().eq(own.starts()))
        })
    }

    pub(in crate::controller) fn start(&mut self, now: Instant, id: ServiceId) {
        let wanted = self.config.service(id).is_some_and(|service| service.starts().next().is_some());
        let token = self.next_token;
        let Some(local) = self.services.get_mut(&id) else { return };
        if !wanted {
            local.script = Script::Started;
            self.dirty = true;
            return self.settle_started(now, id);
        }
        // A `stop` that still runs ends first, by the order in which a service's commands run; its answer counts no more.
        if matches!(local.script, Script::Stopped | Script::Stopping(_)) {
            self.next_token += 1;
            local.script = Script::Starting(token);
            self.effects.push_back(Effect::Run { service: id, action: Action::Start, token });
        }
    }

    pub(in crate::controller) fn settle_started(&mut self, now: Instant, id: ServiceId) {
        let epoch = self.epoch();
        if self.duty(id) == Duty::Prepare
            && self.is_ready(now, id)
            && let Some(local) = self.services.get_mut(&id)
            && local.answered != Some(epoch)
        {
            local.answered = Some(epoch);
            self.answer_ready(id, true);
        }
    }

    /// `stop`, once the address is gone; not while another service here lives by the same command.
    pub(in crate::controller) fn stop_if_idle(&mut self, _now: Instant, id: ServiceId) {
        let Some(local) = self.services.get(&id) else { return };
        if local.script != Script::Started || local.may_be_up() {
            return;
        }
        let config = Arc::clone(&self.config);
        let own = config.service(id).filter(|service| service.stops().next().is_some());
        let shared = own.is_some_and(|own| {
            self.services.iter().any(|(&other, local)| {
                other != id
                    && local.script != Script::Stopped
                    && config.service(other).is_some_and(|service| service.stops().eq(own.stops()))
            })
        });
        let token = self.next_token;
        let local = self.services.get_mut(&id).expect("looked at above");
        if own.is_none() || shared {
            local.script = Script::Stopped;
            return;
        }
        self.next_token += 1;
        local.script = Script::Stopping(token);
        self.effects.push_back(Effect::Run { service: id, action: Action::Stop, token });
    }

    pub(in crate::controller) fn on_ran(
        &mut self,
        now: Instant,
        id: ServiceId,
        action: Action,
        token: u64,
        ok: bool,
    ) {
        let Some(local) = self.services.get_mut(&id) else { return };
        match (action, local.script) {
            (Action::Start, Script::Starting(expected)) if expected == token => {}
            (Action::Stop, Script::Stopping(expected)) if expected == token => {
                local.script = Script::Stopped;
                return;
            }
            _ => return,
        }
        if ok {
            local.script = Script::Started;
            let announce = local.present && local.wanted && local.to_announce;
            if announce {
                self.announce(now, id);
            }
            self.settle_started(now, id);
            return;
        }
        local.script = Script::Stopped;
        self.event(Event::StartFailed { service: id });
        self.decline(now, id, Because::StartFailed);
    }

    /// Commands that still run, for the orderly leave.
    pub(in crate::controller) fn scripts_run(&self) -> bool {
        self.services.values().any(|local| matches!(local.script, Script::Starting(_) | Script::Stopping(_)))
    }
}
