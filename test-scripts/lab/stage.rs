//! A lab with a cluster at work in it and a client that watches: where a test or the demo begins.

use crate::checks;
use crate::client::{Gap, Prober};
use crate::http::{Seen, Visitor};
use crate::interrupt::{self, wait_until};
use crate::namespace::Outcome;
use crate::witness::Witness;
use crate::world::{Plan, World};
use std::time::{Duration, Instant};

/// How long a cluster may take to come to rest: far more than it should.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster and its watchers.
pub struct Stage {
    /// Before the world: its sockets go before the namespaces do.
    prober: Option<Prober>,
    witness: Option<Witness>,
    /// The lab.
    pub world: World,
}

impl Stage {
    /// Builds the lab and starts the client; the daemons are not started.
    pub fn build(plan: Plan) -> Outcome<Stage> {
        let mut stage = Stage { prober: None, witness: None, world: World::build(plan)? };
        stage.watch()?;
        Ok(stage)
    }

    /// From now on somebody listens whether two servers answer for one address. It asks by ARP all the
    /// time, which costs the daemons something: not where cost is measured.
    pub fn call_witness(&mut self) -> Outcome<()> {
        self.witness = Some(Witness::start(&self.world.client(), &self.world.service_addresses())?);
        Ok(())
    }

    /// Nobody asks by ARP any more: every answer would also set the client's cache right.
    pub fn dismiss_witness(&mut self) {
        self.witness = None;
    }

    /// Fails if the witness has heard two since this was asked last.
    pub fn saw_no_double(&self) -> Outcome<()> {
        self.witness.as_ref().map_or(Ok(()), Witness::saw_no_double)
    }

    /// Starts all daemons and waits until everything is right and at home.
    pub fn cold_start(&mut self) -> Outcome<()> {
        for index in 0..self.world.nodes.len() {
            self.world.start_node(index)?;
        }
        self.settled()
    }

    /// The client begins to ask.
    pub fn watch(&mut self) -> Outcome<()> {
        if self.prober.is_none() {
            let servers: Vec<String> = self.world.nodes.iter().map(|node| node.namespace.clone()).collect();
            self.prober =
                Some(Prober::start(&self.world.client(), &servers, &self.world.service_addresses())?);
        }
        Ok(())
    }

    /// The client falls silent: for what is measured without it.
    pub fn rest(&mut self) {
        self.prober = None;
    }

    /// The asking client.
    pub fn prober(&self) -> Outcome<&Prober> {
        self.prober.as_ref().ok_or_else(|| "the client is at rest".to_owned())
    }

    /// Waits until everything is right and at home.
    pub fn settled(&self) -> Outcome<()> {
        checks::settled(&self.world, self.prober()?, PATIENCE)
    }

    /// Waits until everything is right, at home or not.
    pub fn served(&self) -> Outcome<()> {
        checks::served(&self.world, self.prober()?, PATIENCE)
    }

    /// Waits until another server answers for the victim's address: when nobody did, and who it is.
    pub fn taken_over(&self, victim: usize, since: Instant) -> Outcome<Gap> {
        let (prober, name) = (self.prober()?, &self.world.nodes[victim].name);
        let mut found = None;
        wait_until(&format!("somebody takes over from {name}"), PATIENCE, || {
            found = prober.takeover(victim, victim, since);
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| format!("nobody took over from {name}"))
    }

    /// The longest silence of an address since then, if nobody died.
    pub fn silence(&self, service: usize, since: Instant) -> Outcome<Duration> {
        Ok(self.prober()?.longest_gap(service, since).map_or(Duration::ZERO, |gap| gap.length()))
    }

    /// A client that connects to a service every millisecond.
    pub fn visitor(&self, service: usize) -> Outcome<Visitor> {
        Visitor::start(&self.world, World::service_address(service))
    }

    /// An error with the last words of every daemon; who left early knows why.
    pub fn with_logs(&self, error: &str, lines: usize) -> String {
        if error.ends_with(interrupt::INTERRUPTED) {
            return interrupt::INTERRUPTED.to_owned();
        }
        let nodes = self.world.nodes.iter().enumerate();
        let logs =
            nodes.map(|(index, node)| format!("--- {}\n{}", node.name, self.world.log_tail(index, lines)));
        format!("{error}\n{}", logs.collect::<Vec<_>>().join("\n"))
    }
}

/// A planned move loses no request (P5). Of `moves` moves, each may meet the one connection that is open
/// at that very moment: an address moves, connections do not.
pub fn nothing_lost(seen: &Seen, moves: u64) -> Outcome<()> {
    match &seen.first_failure {
        None if seen.again > moves => Err(format!("{} connections were reset by {moves} moves", seen.again)),
        None if seen.good > 0 => Ok(()),
        None => Err("the visitor never got an answer".to_owned()),
        Some(first) => {
            Err(format!("{} of {} connects failed, the first: {first}", seen.failed, seen.failed + seen.good))
        }
    }
}
