//! The board's content as OpenMetrics text, for Prometheus. PURE but for the short look at the board.
//!
//! Made anew for each scrape: `families` says what there is, `encode` writes it down with prometheus-client.
//! etc/grafana-dashboard.json and etc/alerts.yml use these names; a test keeps them to it.

use super::board::Board;
use super::story::{BOUNDS, Counts, Lengths};
use crate::control::status::{CheckView, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// Content type of the answer.
pub const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const NODE_STATES: [&str; 6] = ["up", "suspect", "down", "joining", "standby", "leaving"];
const SERVICE_STATES: [&str; 5] = ["held", "moving", "stopped", "failed", "orphaned"];
const CAUSES: [&str; 2] = ["failure", "planned"];

/// Everything there is to tell now.
pub fn text(board: &Board) -> String {
    let families = board.measured(|status, story| families(status, story.counts(), board.viewers()));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes everything");
    text
}

type Labels = Vec<(&'static str, String)>;

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    samples: Vec<(Labels, Sample)>,
}

#[derive(Debug)]
enum Sample {
    Gauge(f64),
    Counter(u64),
    Lengths(Lengths),
}

fn families(status: Option<&Status>, counts: &Counts, viewers: usize) -> Vec<Family> {
    let mut families = vec![
        alone("diehard_reachable", "The daemon answers the monitor.", flag(status.is_some())),
        alone("diehard_monitor_viewers", "Pages that are open.", Sample::Gauge(viewers as f64)),
    ];
    families.extend(counted(counts));
    if let Some(status) = status {
        families.extend(of_the_cluster(status));
        families.extend(of_nodes(status));
        families.extend(of_services(status));
        families.extend(of_traffic(status));
    }
    families
}

fn counted(counts: &Counts) -> Vec<Family> {
    let takeovers = CAUSES.map(|cause| {
        let times = counts.takeovers.get(cause).copied().unwrap_or_default();
        (label("cause", cause), Sample::Counter(times))
    });
    let by_name = |name: &'static str, of: &std::collections::BTreeMap<String, u64>| {
        of.iter().map(|(word, times)| (label(name, word), Sample::Counter(*times))).collect::<Vec<_>>()
    };
    let phases = counts.phases.iter().map(|(phase, of)| (label("phase", phase), Sample::Lengths(of.clone())));
    let lengths = |of: &Lengths| vec![(Labels::new(), Sample::Lengths(of.clone()))];
    vec![
        family("diehard_takeovers", "Services that another node took, by cause.", takeovers),
        family(
            "diehard_decisions",
            "Moves that the controller decided, by reason.",
            by_name("why", &counts.decisions),
        ),
        family("diehard_events", "What happened, by name.", by_name("event", &counts.events)),
        family(
            "diehard_outage",
            "From the last word of a service's holder to the next holder.",
            lengths(&counts.outages),
        )
        .in_seconds(),
        family("diehard_detection", "From suspicion to verdict.", lengths(&counts.detections)).in_seconds(),
        family("diehard_takeover_phase", "Phases of takeovers, by receipt.", phases).in_seconds(),
    ]
}

fn of_the_cluster(status: &Status) -> Vec<Family> {
    let (term, version) = status.epoch.rsplit_once('.').unwrap_or_default();
    let digits: String = term.chars().take_while(char::is_ascii_digit).collect();
    let number = |text: &str| Sample::Gauge(text.parse().unwrap_or_default());
    let seconds = |name, help, ms: f64| alone(name, help, Sample::Gauge(ms / 1000.0)).in_seconds();
    let mut digests: Vec<_> = status.nodes.iter().filter_map(|node| node.config_digest.as_deref()).collect();
    digests.sort_unstable();
    digests.dedup();
    vec![
        alone("diehard_quorum", "This node may serve.", flag(status.quorum)),
        alone("diehard_frozen", "No automatic moves.", flag(status.frozen)),
        alone(
            "diehard_controller_known",
            "This node follows a controller.",
            flag(status.controller.is_some()),
        ),
        alone("diehard_term", "Elections: the round of the term.", number(&digits)),
        alone("diehard_version", "Changes of the state in this term.", number(version)),
        alone(
            "diehard_configurations",
            "Different configurations in the cluster.",
            Sample::Gauge(digests.len() as f64),
        ),
        seconds("diehard_hello_interval", "T in force.", status.hello_interval_ms),
        seconds("diehard_probe_interval", "p in force.", status.probe_interval_ms),
        seconds("diehard_lease", "How long this node may still serve.", status.lease_ms.unwrap_or_default()),
        seconds("diehard_lateness", "Worst lateness of this node's heartbeat in 10 s.", status.lateness_ms),
    ]
}

fn of_nodes(status: &Status) -> Vec<Family> {
    let nodes = &status.nodes;
    let states = nodes.iter().flat_map(|node| one_of("node", &node.name, "state", &NODE_STATES, &node.state));
    let controls = |name: &str| status.controller.as_deref() == Some(name);
    let controllers = nodes.iter().map(|node| (label("node", &node.name), flag(controls(&node.name))));
    let loads = nodes.iter().map(|node| (label("node", &node.name), Sample::Gauge(node.load)));
    let heard = nodes.iter().filter_map(|node| timed(&node.name, node.heard_ms));
    let late = nodes.iter().filter_map(|node| timed(&node.name, node.lateness_ms));
    let trips = nodes.iter().filter_map(|node| timed(&node.name, node.round_trip_ms));
    let rejected =
        nodes.iter().filter_map(|node| Some((label("node", &node.name), Sample::Counter(node.rejected?))));
    let links = nodes.iter().flat_map(|node| {
        node.links.iter().filter(|link| link.state != "unknown").map(|link| {
            let labels = vec![
                ("node", node.name.clone()),
                ("device", link.device.clone()),
                ("role", link.role.clone()),
            ];
            (labels, flag(link.state == "up"))
        })
    });
    vec![
        family("diehard_node_state", "1 for the state that the node is in.", states),
        family("diehard_node_controls", "The node is the controller.", controllers),
        family("diehard_node_load", "Held weight by capacity.", loads),
        family("diehard_node_heard", "Since this node heard it last.", heard).in_seconds(),
        family("diehard_node_lateness", "Worst lateness of its heartbeat in 10 s.", late).in_seconds(),
        family("diehard_node_round_trip", "Of this node's HELLO and its answer.", trips).in_seconds(),
        family("diehard_node_rejected_packets", "Datagrams that it threw away.", rejected),
        family("diehard_link_up", "A node's card works.", links),
    ]
}

fn of_services(status: &Status) -> Vec<Family> {
    let services = &status.services;
    let states =
        services.iter().flat_map(|it| one_of("service", &it.name, "state", &SERVICE_STATES, &it.state));
    let at_home = services.iter().filter(|it| it.home.as_deref().is_some_and(|home| home != "any"));
    let at_home = at_home.map(|it| (label("service", &it.name), flag(it.holder == it.home)));
    let holders = services.iter().filter_map(|it| {
        let labels = vec![("service", it.name.clone()), ("node", it.holder.clone()?)];
        Some((labels, Sample::Gauge(1.0)))
    });
    let of_services = services.iter().flat_map(|it| it.checks.iter().map(|check| (it.name.as_str(), check)));
    let of_node = status.nodes.iter().flat_map(|it| it.checks.iter().map(|check| (it.name.as_str(), check)));
    let looked_at = |(_, check): &(&str, &CheckView)| check.state != "unknown";
    let checks = of_services.chain(of_node).filter(looked_at).map(|(of, check)| {
        let labels = vec![("check", check.name.clone()), ("type", check.kind.clone()), ("of", of.to_owned())];
        (labels, flag(check.state == "ok"))
    });
    vec![
        family("diehard_service_state", "1 for the state that the service is in.", states),
        family("diehard_service_at_home", "Its holder is its home.", at_home),
        family("diehard_service_holder", "1 for the node that has it.", holders),
        family("diehard_check_ok", "What this node's checks say.", checks),
    ]
}

fn of_traffic(status: &Status) -> Vec<Family> {
    let traffic = &status.traffic;
    let rejected =
        traffic.rejected.iter().map(|(reason, times)| (label("reason", reason), Sample::Counter(*times)));
    let count = |name, help, times| alone(name, help, Sample::Counter(times));
    vec![
        family("diehard_rejected_packets", "Datagrams that this node threw away.", rejected),
        count("diehard_announcements", "Addresses that this node announced.", traffic.announcements),
        count("diehard_unheard_packets", "Datagrams that found the driver busy.", traffic.unheard),
        count("diehard_unsent_packets", "Datagrams and frames that waited in vain.", traffic.unsent),
        count("diehard_send_failures", "Sends that this machine refused.", traffic.send_failures),
    ]
}

fn family(
    name: &'static str,
    help: &'static str,
    samples: impl IntoIterator<Item = (Labels, Sample)>,
) -> Family {
    Family { name, help, unit: None, samples: samples.into_iter().collect() }
}

fn alone(name: &'static str, help: &'static str, sample: Sample) -> Family {
    family(name, help, [(Labels::new(), sample)])
}

impl Family {
    fn in_seconds(self) -> Family {
        Family { unit: Some(Unit::Seconds), ..self }
    }

    fn kind(&self) -> MetricType {
        match self.samples.first() {
            Some((_, Sample::Counter(_))) => MetricType::Counter,
            Some((_, Sample::Lengths(_))) => MetricType::Histogram,
            Some((_, Sample::Gauge(_))) | None => MetricType::Gauge,
        }
    }
}

fn flag(set: bool) -> Sample {
    Sample::Gauge(f64::from(u8::from(set)))
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn timed(node: &str, ms: Option<f64>) -> Option<(Labels, Sample)> {
    Some((label("node", node), Sample::Gauge(ms? / 1000.0)))
}

/// A sample for each state: an alert can ask for one, and a graph sees it go.
fn one_of(
    name: &'static str,
    value: &str,
    of: &'static str,
    states: &[&'static str],
    now: &str,
) -> Vec<(Labels, Sample)> {
    let sample =
        |state: &&str| (vec![(name, value.to_owned()), (of, (*state).to_owned())], flag(*state == now));
    states.iter().map(sample).collect()
}

#[derive(Debug)]
struct Scrape(Vec<Family>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // A family of nothing would be a word without meaning.
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            let (unit, kind) = (family.unit.as_ref(), family.kind());
            let mut metric = encoder.encode_descriptor(family.name, family.help, unit, kind)?;
            for (labels, sample) in &family.samples {
                match labels.is_empty() {
                    true => encode(&mut metric, sample)?,
                    false => encode(&mut metric.encode_family(labels)?, sample)?,
                }
            }
        }
        Ok(())
    }
}

fn encode(metric: &mut MetricEncoder, sample: &Sample) -> fmt::Result {
    match sample {
        Sample::Gauge(value) => metric.encode_gauge(value),
        Sample::Counter(times) => metric.encode_counter::<NoLabelSet, _, f64>(times, None),
        Sample::Lengths(lengths) => {
            // The library adds them up.
            let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(lengths.counts).collect();
            metric.encode_histogram::<NoLabelSet>(lengths.sum, lengths.count(), &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests;
