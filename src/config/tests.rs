use super::text::Kind;
use super::*;
use crate::vocabulary::{NodeId, ServiceId};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod golden;
mod manual;
mod property;

const SHIPPED: &str = include_str!("../../etc/diehard.conf");

fn parsed(text: &str) -> Parsed {
    parse("test.conf", text.as_bytes()).unwrap_or_else(|problems| panic!("{}", lines(&problems)))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// A smallest good file and what a test adds to it.
fn with(cluster: &str, service: &str) -> String {
    format!(
        "[cluster]\nname = www\n{cluster}\n[node web1]\npriority = 1\ninternal = eth1 192.168.10.1/24\n\
         external = eth0\n[service www]\nhome = web1\naddress = 203.0.113.21/24\n{service}\n"
    )
}

#[test]
fn defaults_are_those_that_the_types_document() {
    let Parsed { config, warnings } = parsed(&with("", ""));
    assert_eq!(warnings, []);
    let expected = Cluster {
        name: "www".to_owned(),
        key_file: PathBuf::from("/etc/diehard.key"),
        port: 694,
        hello_interval: Duration::from_millis(100),
        hello_misses: 3,
        probe_interval: ProbeInterval::Auto,
        quorum: Quorum::Auto,
        arbiter: vec![],
        failback: Failback::Auto,
        failback_delay: Duration::from_secs(5),
        startup_wait: Duration::from_secs(10),
        script_timeout: Duration::from_secs(30),
        stop_timeout: Duration::from_secs(30),
        forget: Duration::from_secs(600),
        valid_lft: Duration::from_secs(2),
        arp_refresh: Duration::from_secs(60),
        on_conflict: OnConflict::Wait,
        force_interval: false,
        allow_reboot: false,
        load: LoadSource::Services,
        load_script: None,
        damping: Duration::from_secs(300),
        log_level: LogLevel::Info,
    };
    assert_eq!(config.cluster, expected);
    let internal = Prefixed { address: Ipv4Addr::new(192, 168, 10, 1), prefix: 24 };
    let node = Node {
        id: NodeId::of(internal.address),
        name: "web1".to_owned(),
        priority: 1,
        capacity: 1.0,
        internal: Interface { device: "eth1".to_owned(), address: Some(internal) },
        external: Interface { device: "eth0".to_owned(), address: None },
    };
    let address = Prefixed { address: IpAddr::from([203, 0, 113, 21]), prefix: 24 };
    let service = Service {
        id: ServiceId::of("www"),
        name: "www".to_owned(),
        home: Some(node.id),
        addresses: vec![address],
        weight: 1.0,
        start: None,
        stop: None,
        route: None,
    };
    assert_eq!((config.nodes, config.services, config.checks), (vec![node], vec![service], vec![]));
}

#[test]
fn a_check_has_the_documented_defaults_and_never_a_timeout_beyond_its_interval() {
    let check = "[check c]\nservice = www\ntype = tcp\ntarget = 203.0.113.21:80\n";
    let config = parsed(&with("", check)).config;
    let expected = Check {
        name: "c".to_owned(),
        scope: CheckScope::Service(ServiceId::of("www")),
        kind: CheckKind::Tcp,
        target: "203.0.113.21:80".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        fail: 3,
        rise: 2,
        policy: vec![PolicyStep::Alert],
        options: crate::config::CheckOptions::default(),
    };
    assert_eq!(config.checks, [expected]);
    let config = parsed(&with("", &format!("{check}interval = 200ms\n"))).config;
    assert_eq!(config.checks[0].timeout, Duration::from_millis(200));
}

#[test]
fn durations_in_every_unit() {
    let units = [("250ms", 250_000), ("10000us", 10_000), ("2s", 2_000_000), ("0010ms", 10_000)];
    for (text, micros) in units {
        let config = parsed(&with(&format!("hello_interval = {text}"), "")).config;
        assert_eq!(config.cluster.hello_interval, Duration::from_micros(micros), "{text}");
    }
    for (text, secs) in [("10min", 600), ("1h", 3600), ("0", 0), ("0ms", 0)] {
        let config = parsed(&with(&format!("forget = {text}"), "")).config;
        assert_eq!(config.cluster.forget, Duration::from_secs(secs), "{text}");
    }
}

/// A comment needs white space before it: what a URL or a command holds stays whole.
#[test]
fn comments_do_not_destroy_values() {
    let cases = [
        ("http://h/a#b;c", "http://h/a#b;c"),
        ("http://h/a#b;c ; d", "http://h/a#b;c"),
        ("http://h/a#b\t#c", "http://h/a#b"),
        ("http://h/=x[y]:z", "http://h/=x[y]:z"),
        ("  http://h/\u{e9};\u{2014}#   ", "http://h/\u{e9};\u{2014}#"),
        ("http://h/a\u{a0}; b", "http://h/a"),
    ];
    for (written, meant) in cases {
        let check = format!("[check c]\nservice = node\ntype = http\ntarget = {written}\n");
        let config = parsed(&with("", &check)).config;
        assert_eq!(config.checks[0].target, meant, "{written}");
        let check = format!("[check c]\nservice = node\ntype=http\ntarget={}\n", written.trim_start());
        assert_eq!(parsed(&with("", &check)).config.checks[0].target, meant, "{written}");
    }
}

/// The tokenizer's own reading of a value must be the whole of it, whatever characters are in it.
#[test]
fn every_printable_character_survives_in_a_command() {
    for c in ('!'..='~').chain(['\u{e9}', '\u{20ac}', '\u{1f600}']) {
        let command = format!("/bin/x{c}y {c}");
        let config = parsed(&with("", &format!("start = {command}"))).config;
        let expected = if matches!(c, ';' | '#') { format!("/bin/x{c}y") } else { command };
        assert_eq!(config.services[0].start.as_deref(), Some(expected.as_str()));
    }
}

#[test]
fn nodes_and_services_are_in_the_order_of_their_identities_whatever_the_file_says() {
    let config = parsed(SHIPPED).config;
    let (head, rest) = SHIPPED.split_once("[node web1]").expect("the shipped file has web1");
    let (first, rest) = rest.split_once("[node web2]").expect("and web2");
    let swapped = format!("{head}[node web2]{rest}\n[node web1]{first}");
    assert_eq!(parsed(&swapped).config, config);
    assert!(config.nodes.is_sorted_by_key(|node| node.id));
    assert!(config.services.is_sorted_by_key(|service| service.id));
}

#[test]
fn shipped_file_is_right_and_prints_what_parses_to_the_same() {
    let Parsed { config, warnings } = parsed(SHIPPED);
    assert_eq!(lines(&warnings), "");
    assert_eq!((config.nodes.len(), config.services.len()), (4, 4));
    let again = parsed(&print(&config));
    assert_eq!(again.config, config);
    assert_eq!(digest(&again.config), digest(&config));
}

#[test]
fn print_names_every_key_of_every_section() {
    // With a check of every type: each has keys of its own.
    let everything = include_str!("../../test-scripts/config/ok/everything.conf");
    let printed = print(&parsed(everything).config);
    for kind in Kind::ALL {
        let of_kind = |section: &&str| section.trim_start_matches('[').starts_with(kind.word());
        let section = printed.split("\n[").filter(of_kind).collect::<Vec<_>>().join("\n");
        for key in kind.keys() {
            let shown = section.lines().any(|line| line.split(" =").next().map(str::trim) == Some(*key));
            assert!(shown, "{key} is missing from the printed [{}]:\n{section}", kind.word());
        }
    }
}

/// What `diehardd -tv` shows for the smallest file.
const SMALLEST: &str = "\
[cluster]
name           = www
key_file       = /etc/diehard.key
port           = 694
hello_interval = 100ms
hello_misses   = 3
probe_interval = auto
quorum         = auto
arbiter        = none
failback       = auto
failback_delay = 5s
startup_wait   = 10s
script_timeout = 30s
stop_timeout   = 30s
forget         = 10min
valid_lft      = 2s
arp_refresh    = 1min
on_conflict    = wait
force_interval = no
allow_reboot   = no
load           = services
load_script    = none
damping        = 5min
log_level      = info

[node web1]
priority       = 1
capacity       = 1
internal       = eth1 192.168.10.1/24
external       = eth0

[service www]
home           = web1
address        = 203.0.113.21/24
weight         = 1
start          = none
stop           = none
route          = none
";

#[test]
fn digest_is_stable_and_sees_every_difference() {
    let config = parsed(&with("", "")).config;
    assert_eq!(print(&config), SMALLEST);
    // Computed by sha256sum: nodes of different builds must agree on it.
    assert_eq!(digest(&config), 0xe00c_22fa_7481_5cf2);
    let other = parsed(&with("arp_refresh = 61s", "")).config;
    assert_ne!(digest(&config), digest(&other));
    let same = parsed(&with("arp_refresh = 1min ; the default", "")).config;
    assert_eq!(digest(&config), digest(&same));
}

const TOO_LONG: &str = "big.conf: expected at most 1048576 bytes, got 1048577\n";
const TOO_MANY: &str = "\
many.conf: expected at most 64 [node NAME] sections, got 65
many.conf: expected at most 256 [service NAME] sections, got 257
many.conf: expected at most 1024 [check NAME] sections, got 1025
";

#[test]
fn a_file_beyond_all_measure_is_refused_at_once() {
    let problems = parse("big.conf", &vec![b'\n'; (1 << 20) + 1]).expect_err("too long");
    assert!(lines(&problems).starts_with(TOO_LONG), "{}", lines(&problems));
}

#[test]
fn more_sections_than_a_cluster_can_hold_are_refused_and_exactly_as_many_are_not() {
    let file = |extra: usize| {
        let mut text = "[cluster]\nname = www\narbiter = 203.0.113.1\n".to_owned();
        for i in 1..=MAX_NODES + extra {
            text += &format!("[node n{i}]\npriority={i}\ninternal=eth1 192.168.10.{i}/24\nexternal=eth0\n");
        }
        for i in 1..=MAX_SERVICES + extra {
            text += &format!("[service s{i}]\nhome = any\naddress = 10.1.{}.{}/16\n", i / 100, i % 100 + 1);
        }
        for i in 1..=MAX_CHECKS + extra {
            text += &format!("[check c{i}]\nservice = node\ntype = load\ntarget = 9\n");
        }
        text
    };
    assert_eq!(parsed(&file(0)).config.checks.len(), MAX_CHECKS);
    let problems = parse("many.conf", file(1).as_bytes()).expect_err("too many");
    assert_eq!(lines(&problems), TOO_MANY);
}

#[test]
fn the_shown_place_leaves_out_what_there_is_not() {
    let whole = Problem {
        file: "f".to_owned(),
        line: Some(7),
        section: Some("node web1".to_owned()),
        key: Some("priority".to_owned()),
        message: "m".to_owned(),
    };
    assert_eq!(whole.to_string(), "f:7: [node web1] priority: m");
    assert_eq!(Problem { key: None, ..whole.clone() }.to_string(), "f:7: [node web1] m");
    assert_eq!(Problem { section: None, ..whole.clone() }.to_string(), "f:7: priority: m");
    assert_eq!(Problem { line: None, section: None, key: None, ..whole }.to_string(), "f: m");
}
