//! Addresses that a reload brings to a service that is served here (F1).

use super::*;

impl Controller {
    /// By a reload a service that is served here has more addresses. The others stay up meanwhile, which no look for the
    /// service itself may take for an answer or for none: so it is one beside the holder. A service without any other is
    /// taken anew. And nobody has asked yet for the new ones of a service that this node is looking for.
    pub(in crate::controller) fn see_addresses(&mut self, now: Instant, old: &Config) {
        let config = self.config.clone();
        let addresses = |config: &Config, id: ServiceId| -> Vec<IpAddr> {
            let service = config.service(id).into_iter();
            service.flat_map(|service| &service.addresses).map(|it| it.address).collect()
        };
        let mut moved = Vec::new();
        let mut changed = false;
        for (&id, local) in self.services.iter_mut() {
            let (before, after) = (addresses(old, id), addresses(&config, id));
            changed |= before != after;
            if after.is_empty() {
                local.look = None;
            }
            if !local.wanted {
                continue;
            }
            let fresh = |address: &IpAddr| local.fresh.contains(address) || !before.contains(address);
            let (fresh, known): (Vec<IpAddr>, Vec<IpAddr>) = after.into_iter().partition(fresh);
            if local.fresh != fresh {
                local.look = None;
            }
            if known.is_empty() && !fresh.is_empty() {
                local.wanted = false;
                moved.push(id);
            }
            local.fresh = fresh;
        }
        for service in moved {
            self.event(Event::Released { service, why: Why::Reloaded });
        }
        if changed {
            self.restart_looks(now);
        }
    }

    /// Of a service that is not in this node's file (yet) nobody can be asked.
    pub(in crate::controller) fn knows_addresses(&self, id: ServiceId) -> bool {
        self.config.service(id).is_some()
    }

    pub(in crate::controller) fn look_for_fresh(&mut self, now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        let look = *local.look.get_or_insert_with(|| Look::begin_beside(now));
        let negative = self.look_is_negative(now, &look, None);
        let force = self.config.cluster.on_conflict == OnConflict::Force;
        let forced = force && look.blocked_until.is_some_and(|until| now >= until);
        if !negative && !forced {
            return;
        }
        let Some(local) = self.services.get_mut(&id) else { return };
        let mac = local.stranger;
        local.fresh.clear();
        local.look = None;
        if !negative {
            self.event(Event::Forced { service: id, mac });
        }
        // The faker makes the aliases before it comes to this.
        self.serve(now);
        self.announce(now, id);
    }
}
