//! Is all well? Asked of the kernels, of the client, of the web servers and of the daemons.
//!
//! Every check says what is wrong in words; none changes anything.

use crate::http;
use crate::interrupt::wait_until_right;
use crate::namespace::Outcome;
use crate::world::{System, World};
use serde_json::Value;
use std::time::Duration;

/// A client that knows who answered last.
pub trait Watcher {
    /// Who answered for the address last, if that is less than `age` ago.
    fn holder(&self, address: usize, age: Duration) -> Option<usize>;
}

/// An answer older than this says nothing about now.
const FRESH: Duration = Duration::from_millis(60);

/// Waits until everything is as it should be: who holds what by kernel, client, web server and daemon,
/// the ring, and every service at home if its home lives.
pub fn settled(world: &World, watcher: &dyn Watcher, limit: Duration) -> Outcome<()> {
    wait_until_right("the cluster settles", limit, || {
        world.daemons_live()?;
        Ok(all_right(world, watcher, true))
    })
}

/// The same while services need not be at home yet.
pub fn served(world: &World, watcher: &dyn Watcher, limit: Duration) -> Outcome<()> {
    wait_until_right("every address is served", limit, || {
        world.daemons_live()?;
        Ok(all_right(world, watcher, false))
    })
}

/// Everything at this moment.
pub fn all_right(world: &World, watcher: &dyn Watcher, at_home: bool) -> Outcome<()> {
    let holders = one_holder_each(world, watcher, at_home)?;
    if world.plan.system == System::Diehard {
        daemons_agree(world, &holders)?;
    }
    if world.holders_by_ip()?.iter().zip(&holders).any(|(by_ip, holder)| by_ip.as_slice() != [*holder]) {
        return Err("`ip addr` says otherwise".to_owned());
    }
    for (service, server) in http::servers(world)?.into_iter().enumerate() {
        let expected = &world.nodes[holders[service]].name;
        let server = server?;
        if server != *expected {
            return Err(format!("www{} is served by {server} and held by {expected}", service + 1));
        }
    }
    Ok(())
}

/// Who holds each address: exactly one by the kernels, and the client is answered by that one.
pub fn one_holder_each(world: &World, watcher: &dyn Watcher, at_home: bool) -> Outcome<Vec<usize>> {
    let living = world.living();
    let mut single = Vec::new();
    for (service, holders) in world.holders()?.into_iter().enumerate() {
        let name = format!("www{}", service + 1);
        let [holder] = holders[..] else {
            let names: Vec<&str> = holders.iter().map(|index| world.nodes[*index].name.as_str()).collect();
            return Err(format!("{name} is held by {} servers {names:?}", holders.len()));
        };
        if at_home && living.contains(&service) && holder != service {
            return Err(format!("{name} is not at home but on {}", world.nodes[holder].name));
        }
        match watcher.holder(service, FRESH) {
            Some(who) if who == holder => single.push(holder),
            Some(who) => return Err(format!("the client gets {name} from {}", world.nodes[who].name)),
            None => return Err(format!("the client gets no answer from {name}")),
        }
    }
    Ok(single)
}

/// What the living daemons say: one epoch, one living controller, the true holders, the right ring.
pub fn daemons_agree(world: &World, holders: &[usize]) -> Outcome<()> {
    let living = world.living();
    let mut first: Option<(String, String)> = None;
    for index in &living {
        let name = &world.nodes[*index].name;
        let status = world.status(*index)?;
        let word = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
        let (epoch, controller) = (word("epoch"), word("controller"));
        if !living.iter().any(|alive| world.nodes[*alive].name == controller) {
            return Err(format!("{name} takes {controller:?} for the controller"));
        }
        let said = (epoch, controller);
        match &first {
            None => first = Some(said),
            Some(other) if *other != said => return Err(format!("{name} says {said:?}, another {other:?}")),
            Some(_) => {}
        }
        if status["quorum"] != Value::Bool(true) {
            return Err(format!("{name} has no quorum"));
        }
        services_agree(world, name, &status, holders)?;
        ring_agrees(world, name, &status, &living)?;
    }
    Ok(())
}

/// Who the daemons say is the controller, if they agree.
pub fn controller(world: &World) -> Outcome<usize> {
    let index = *world.living().first().ok_or("no daemon lives")?;
    let status = world.status(index)?;
    let name = status["controller"].as_str().ok_or_else(|| "no controller".to_owned())?;
    world.nodes.iter().position(|node| node.name == name).ok_or_else(|| format!("controller {name}?"))
}

fn services_agree(world: &World, asked: &str, status: &Value, holders: &[usize]) -> Outcome<()> {
    for (service, holder) in holders.iter().enumerate() {
        let name = format!("www{}", service + 1);
        let entry = named(&status["services"], &name).ok_or_else(|| format!("{asked} knows no {name}"))?;
        let expected = &world.nodes[*holder].name;
        if entry["holder"].as_str() != Some(expected) || entry["state"].as_str() != Some("held") {
            return Err(format!("{asked} says {name} is {} on {}", entry["state"], entry["holder"]));
        }
    }
    Ok(())
}

fn ring_agrees(world: &World, asked: &str, status: &Value, living: &[usize]) -> Outcome<()> {
    for (index, node) in world.nodes.iter().enumerate() {
        let entry =
            named(&status["nodes"], &node.name).ok_or_else(|| format!("{asked} knows no {}", node.name))?;
        let Some(place) = living.iter().position(|alive| *alive == index) else {
            if entry["state"].as_str() == Some("up") {
                return Err(format!("{asked} takes {} for alive", node.name));
            }
            continue;
        };
        if entry["state"].as_str() != Some("up") {
            return Err(format!("{asked} says {} is {}", node.name, entry["state"]));
        }
        // A ring of one has no neighbours.
        let neighbour = |step: usize| {
            (living.len() > 1).then(|| world.nodes[living[(place + step) % living.len()]].name.as_str())
        };
        let expected = (neighbour(living.len() - 1), neighbour(1));
        let said = (entry["left"].as_str(), entry["right"].as_str());
        if said != expected {
            return Err(format!("{asked} says {} has neighbours {said:?}, not {expected:?}", node.name));
        }
    }
    Ok(())
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry["name"].as_str() == Some(name))
}
