//! What operators ask: on this node, or forwarded to the controller.

use super::*;

impl Controller {
    // ── operators ───────────────────────────────────────────────────────────────────────────────────

    pub(in crate::controller) fn on_operator(&mut self, now: Instant, id: u64, command: Command) {
        if self.office.is_some() {
            let result = self.execute(now, command);
            self.effects.push_back(Effect::Answer { id, result });
        } else if self.controller().is_none() || self.commands.len() >= COMMANDS {
            let why =
                "no controller: this node has no quorum, or the cluster is electing one; try again".into();
            self.effects.push_back(Effect::Answer { id, result: Err(why) });
        } else {
            self.commands.push(Forwarded { id, command, since: now, next_send: now });
            self.tick_commands(now);
        }
    }

    pub(in crate::controller) fn tick_commands(&mut self, now: Instant) {
        let again = self.timing.p * 2;
        let controller = self.controller();
        let mut commands = std::mem::take(&mut self.commands);
        commands.retain_mut(|waiting| {
            if now.since(waiting.since) >= COMMAND_LIMIT {
                let why = "the controller does not answer".into();
                self.effects.push_back(Effect::Answer { id: waiting.id, result: Err(why) });
                return false;
            }
            if now >= waiting.next_send {
                waiting.next_send = now + again;
                if let Some(controller) = controller {
                    self.tell(controller, Packet::Command { id: waiting.id, command: waiting.command });
                }
            }
            true
        });
        self.commands = commands;
    }

    pub(in crate::controller) fn on_asked(&mut self, now: Instant, from: NodeId, id: u64, command: Command) {
        if self.office.is_some() {
            let result = self.execute(now, command);
            self.tell(from, Packet::CommandAck { id, result });
        }
    }

    pub(in crate::controller) fn on_answered(&mut self, id: u64, result: Result<(), String>) {
        if let Some(at) = self.commands.iter().position(|waiting| waiting.id == id) {
            self.commands.remove(at);
            self.effects.push_back(Effect::Answer { id, result });
        }
    }

    /// The controller's answer: begun, or why not. Asking twice is asking once.
    pub(in crate::controller) fn execute(&mut self, now: Instant, command: Command) -> Result<(), String> {
        if self.office.as_ref().is_none_or(|office| now >= office.root_end) {
            return Err("the controller has no quorum at this moment".into());
        }
        self.dirty = true;
        match command {
            Command::Move { service, to } => self.execute_move(service, to, true),
            Command::Failback { service: Some(service) } => {
                let home = ownership::home(&self.config, service)
                    .ok_or_else(|| format!("{} has no home", self.service_name(service)))?;
                self.unpin(service);
                self.execute_move(service, home, false)
            }
            Command::Failback { service: None } => {
                let services: Vec<ServiceId> =
                    self.config.services.iter().map(|service| service.id).collect();
                for service in services {
                    self.unpin(service);
                    if let Some(home) = ownership::home(&self.config, service) {
                        // Whose home is not here stays where it is: that is no error of the request.
                        let _ = self.execute_move(service, home, false);
                    }
                }
                Ok(())
            }
            Command::Standby { node } => self.execute_standby(node, true),
            Command::Online { node } => self.execute_standby(node, false),
            Command::Freeze | Command::Thaw => {
                if let Some(office) = &mut self.office {
                    office.notes.wish_frozen(command == Command::Freeze);
                }
                Ok(())
            }
        }
    }

    pub(in crate::controller) fn unpin(&mut self, service: ServiceId) {
        if let Some(office) = &mut self.office {
            office.notes.wish_unpin(service);
        }
    }

    pub(in crate::controller) fn execute_move(
        &mut self,
        service: ServiceId,
        to: NodeId,
        pinned: bool,
    ) -> Result<(), String> {
        let name = self.service_name(service);
        let state = self.committed.as_ref().ok_or("there is no cluster yet")?;
        let slot = state.slot(service).ok_or_else(|| format!("there is no service {name}"))?;
        let node = self.node_name(to);
        let member = state.member(to).ok_or_else(|| format!("{node} is not in the cluster"))?;
        if slot.holder == Some(to) {
            return Ok(());
        }
        if !matches!(slot.phase, crate::wire::Phase::Held | crate::wire::Phase::Failed) {
            return Err(format!("{name} is being moved at this moment"));
        }
        if member.standby || member.leaving {
            return Err(format!("{node} is on standby or leaving"));
        }
        if !self.is_calm(to) {
            return Err(format!("{node} is silent"));
        }
        if ownership::capacity(&self.config, to) <= 0.0 {
            return Err(format!("{node} has capacity 0: it never serves"));
        }
        if let Some(office) = &mut self.office {
            office.notes.wish_move(service, to, pinned);
        }
        Ok(())
    }

    pub(in crate::controller) fn execute_standby(
        &mut self,
        node: NodeId,
        standby: bool,
    ) -> Result<(), String> {
        let name = self.node_name(node);
        let state = self.committed.as_ref().ok_or("there is no cluster yet")?;
        state.member(node).ok_or_else(|| format!("{name} is not in the cluster"))?;
        if let Some(office) = &mut self.office {
            office.notes.wish_standby(node, standby);
        }
        Ok(())
    }

    pub(in crate::controller) fn service_name(&self, service: ServiceId) -> String {
        self.config.service(service).map_or_else(|| service.to_string(), |service| service.name.clone())
    }

    pub(in crate::controller) fn node_name(&self, node: NodeId) -> String {
        self.config.node(node).map_or_else(|| node.to_string(), |node| node.name.clone())
    }
}
