//! Generated configurations print and parse to the same; no bytes whatever make the parser panic.

use super::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._-]{1,24}"
}

/// Whole microseconds between two bounds, dense at round units.
fn duration(low: u64, high: u64) -> impl Strategy<Value = Duration> {
    let unit = select(vec![1, 1_000, 1_000_000, 60_000_000, 3_600_000_000_u64]);
    (low..=high, unit).prop_map(move |(micros, unit)| {
        let round = micros / unit * unit;
        Duration::from_micros(if round < low { micros } else { round })
    })
}

fn seconds(low: u64, high: u64) -> impl Strategy<Value = Duration> {
    duration(low * 1_000_000, high * 1_000_000)
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), 0.001..1_000_000.0_f64, 0.001..1.0_f64]
}

prop_compose! {
    fn timing()(
        hello_interval in duration(10_000, 10_000_000),
        failback_delay in prop_oneof![Just(Duration::ZERO), seconds(1, 3600)],
        startup_wait in prop_oneof![Just(Duration::ZERO), seconds(1, 3600)],
        script_timeout in duration(100_000, 3_600_000_000),
        stop_timeout in prop_oneof![Just(Duration::ZERO), seconds(1, 3600)],
        forget in prop_oneof![Just(Duration::ZERO), seconds(1, 86_400)],
        valid_lft in 1_u64..=3600,
        arp_refresh in prop_oneof![Just(Duration::ZERO), seconds(1, 3600)],
    ) -> [Duration; 8] {
        let valid_lft = Duration::from_secs(valid_lft);
        [hello_interval, failback_delay, startup_wait, script_timeout, stop_timeout, forget, valid_lft,
            arp_refresh]
    }
}

prop_compose! {
    fn cluster()(
        name in name(),
        key_file in "/[a-zA-Z0-9 =:;#\u{e9}]{0,20}[a-z]",
        port in 1_u16..,
        hello_misses in 1_u32..=20,
        times in timing(),
        probe_interval in select(vec![ProbeInterval::Auto, ProbeInterval::Eighth, ProbeInterval::Sixteenth]),
        quorum in select(vec![Quorum::Auto, Quorum::Majority, Quorum::Arbiter, Quorum::None]),
        arbiters in 1_u8..4,
        failback in select(vec![Failback::Auto, Failback::Manual]),
        on_conflict in select(vec![OnConflict::Wait, OnConflict::Force]),
        force_interval: bool,
        (load, load_script) in select(vec![
            (LoadSource::Services, None), (LoadSource::Loadavg, None), (LoadSource::Cpu, None),
            (LoadSource::Connections, None), (LoadSource::Script, Some("/bin/load --all".to_owned())),
        ]),
        damping in prop_oneof![Just(Duration::ZERO), seconds(1, 86_400)],
        notify in proptest::option::of("/[!-~]{1,10}"),
    ) -> Cluster {
        let [hello_interval, failback_delay, startup_wait, script_timeout, stop_timeout, forget, valid_lft,
            arp_refresh] = times;
        let least = u8::from(quorum == Quorum::Arbiter);
        let arbiter = (0..(arbiters - 1).max(least)).map(|i| Ipv4Addr::new(203, 0, 113, i + 1)).collect();
        // After white space these would begin a comment; `parse` never makes such a value.
        let key_file = PathBuf::from(key_file.replace(" ;", "_").replace(" #", "_"));
        Cluster {
            name, key_file, port, hello_interval, hello_misses, probe_interval, quorum, arbiter, failback,
            failback_delay, startup_wait, script_timeout, stop_timeout, forget, valid_lft, arp_refresh,
            on_conflict, force_interval, allow_reboot: true, load, load_script, damping, notify, log_level: LogLevel::Warn,
        }
    }
}

prop_compose! {
    fn node(index: u8)(
        name in name(),
        capacity in prop_oneof![Just(0.0), share()],
        device in "[a-z][a-z0-9@.]{1,13}",
        own: bool,
    ) -> Node {
        let internal = Prefixed { address: Ipv4Addr::new(192, 168, 10, index + 1), prefix: 24 };
        let external = Prefixed { address: Ipv4Addr::new(203, 0, 113, index + 101), prefix: 26 };
        Node {
            id: NodeId::of(internal.address),
            name: format!("{index}{name}"),
            priority: 1000 - u16::from(index),
            capacity: if index == 0 { 1.0 } else { capacity },
            internal: Interface { device: format!("{device}i"), address: Some(internal) },
            external: Interface { device: format!("{device}e"), address: own.then_some(external) },
        }
    }
}

fn part(service: &str, number: u8) -> Part {
    let start = if number == 0 { format!("lsb:{service}") } else { format!("/bin/{service} start") };
    let stop = (number > 0).then(|| format!("/bin/{service} stop"));
    Part { name: format!("{number}{service}"), start: start.clone(), status: Some(start), stop }
}

prop_compose! {
    fn service(index: u8)(
        name in name(),
        any: bool,
        v6 in 0_u16..3,
        prefix in 8_u8..=30,
        weight in share(),
        start in proptest::option::of("/[!-~]{1,10}( [a-z=:!-]{1,5}){0,3}"),
        parts in 0_u8..3,
        status in proptest::option::of("(lsb|systemd):[a-z][a-z0-9.-]{0,5}"),
        stop in proptest::option::of("/[!-~]{1,10}( [a-z=:!-]{1,5}){0,3}"),
        route: bool,
    ) -> Service {
        let v4 = Prefixed { address: IpAddr::from([10, 5, 9, index * 4 + 1]), prefix };
        let v6 = (0..v6).map(|n| Prefixed {
            address: IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, u16::from(index), n + 1]),
            prefix: 64,
        });
        let name = format!("{index}{name}");
        Service {
            id: ServiceId::of(&name),
            parts: (0..parts).map(|number| part(&name, number)).collect(),
            name,
            home: (!any).then_some(NodeId::of(Ipv4Addr::new(192, 168, 10, 1))),
            addresses: std::iter::once(v4).chain(v6).collect(),
            weight,
            start,
            stop,
            status,
            route: route.then_some(Ipv4Addr::new(10, 5, 9, index * 4 + 2)),
        }
    }
}

fn target() -> impl Strategy<Value = (CheckKind, String)> {
    prop_oneof![
        "[a-z0-9.]{1,9}/[!-~]{0,12}".prop_map(|rest| (CheckKind::Http, format!("http://{rest}"))),
        any::<std::net::SocketAddr>().prop_filter_map("no scope in a file", |address| match address {
            std::net::SocketAddr::V6(v6) if v6.scope_id() != 0 || v6.flowinfo() != 0 => None,
            _ => Some((CheckKind::Tcp, address.to_string())),
        }),
        "[a-z/][!-~]{0,9}".prop_map(|text| (CheckKind::Process, text)),
        "[a-z/][!-~]{0,9}".prop_map(|text| (CheckKind::Script, text)),
        "[a-z]{3}[0-9]".prop_map(|text| (CheckKind::Link, text)),
        any::<IpAddr>().prop_map(|address| (CheckKind::Gateway, address.to_string())),
        (1..=100).prop_map(|percent| (CheckKind::Disk, format!("/srv {percent}%"))),
        (1..=100).prop_map(|percent| (CheckKind::Memory, format!("{percent}%"))),
        share().prop_map(|load| (CheckKind::Load, load.to_string())),
        (1..=100).prop_map(|percent| (CheckKind::Fd, format!("my server {percent}%"))),
        (1..=3_600_000).prop_map(|millis| (CheckKind::Clock, format!("{millis}ms"))),
        "[a-z]{1,9}(\\.[a-z0-9-]{1,9}){0,3}( A| AAAA| SOA)?( @192\\.0\\.2\\.1(:53)?)?"
            .prop_map(|text| (CheckKind::Dns, text)),
        // Asked of a service alone: `config` looks after that.
        (0..=100_u32).prop_map(|level| (CheckKind::Service, level.to_string())),
    ]
}

fn steps() -> impl Strategy<Value = Vec<PolicyStep>> {
    let restart = (1_u32..=1000, seconds(1, 86_400));
    (0..4_usize, restart).prop_map(|(count, (times, window))| {
        let all = [PolicyStep::Restart { times, window }, PolicyStep::Move];
        let node = [PolicyStep::Standby, PolicyStep::Alert, PolicyStep::Reboot];
        node.into_iter().take(count.max(1)).chain(all).collect()
    })
}

/// Options that this type of check may have, from the seed.
fn options(kind: CheckKind, seed: u64) -> CheckOptions {
    let bit = |at: u32| seed >> at & 1 == 1;
    let some = |at: u32, text: &str| bit(at).then(|| format!("{text}{}", seed % 7));
    let mut options = CheckOptions {
        start_grace: bit(0).then_some(Duration::from_millis(seed % 3_600_000 + 1)),
        ..CheckOptions::default()
    };
    match kind {
        CheckKind::Http => {
            options.expect = some(1, "all is well ");
            options.expect_regex = some(2, "^[a-z]*;");
            options.host = some(3, "www.example.net:808");
            options.verify = bit(4);
            options.ca_file = some(5, "/etc/own ca.pem").map(Into::into);
            options.redirect = if bit(6) && !bit(3) { Redirect::Follow } else { Redirect::Answer };
            options.status = if bit(7) { vec![(200, 204), (301, 301)] } else { vec![(200, 399)] };
            options.certificate_days = u32::try_from(seed % 7_301).expect("small");
            options.certificate_warning = u32::try_from(seed % 31).expect("small");
        }
        CheckKind::Tcp => {
            options.send = bit(1).then(|| " QUIT;\\ \t#x \r\n".to_owned());
            options.expect = some(2, "220");
            options.expect_regex = some(3, "^2..");
        }
        CheckKind::Dns => options.expect = bit(1).then(|| "2001:db8::1".to_owned()),
        CheckKind::Link => {
            options.speed = bit(1).then_some(1_000);
            options.errors = bit(2).then_some(0);
        }
        CheckKind::Script if bit(1) => {
            options.speaks = Speaks::Mon;
            options.hosts =
                if bit(2) { vec!["web1".to_owned(), "2001:db8::1".to_owned()] } else { Vec::new() };
        }
        CheckKind::Script
        | CheckKind::Process
        | CheckKind::Gateway
        | CheckKind::Disk
        | CheckKind::Memory
        | CheckKind::Load
        | CheckKind::Fd
        | CheckKind::Service
        | CheckKind::Clock => {}
    }
    options
}

prop_compose! {
    fn check(index: usize)(
        target in target(),
        interval in duration(10_000, 3_600_000_000),
        timeout in 1_u32..=1000,
        fail in 1_u32..=100,
        rise in 1_u32..=100,
        policy in steps(),
        seed: u64,
        of: Option<Index>,
    ) -> (Option<Index>, Check) {
        let micros = u64::try_from(interval.as_micros()).expect("an hour fits");
        let timeout = Duration::from_micros((micros * u64::from(timeout) / 1000).max(1_000));
        let (kind, target) = target;
        (of, Check {
            name: format!("c{index}"), scope: CheckScope::Node, kind, target, interval, timeout, fail, rise,
            policy, options: options(kind, seed),
        })
    }
}

fn notified() -> impl Strategy<Value = (NotifyWay, String)> {
    prop_oneof![
        "[a-z/][!-~]{0,9}".prop_map(|text| (NotifyWay::Command, text)),
        "[a-z]{1,5}(@[a-z.]{1,9})?(, [a-z]{1,5}@[a-z]{1,3}){0,3}".prop_map(|text| (NotifyWay::Mail, text)),
        "[a-z0-9.]{1,9}(:[0-9]{2})?/[!-~]{0,12}"
            .prop_map(|rest| (NotifyWay::Webhook, format!("https://{rest}"))),
    ]
}

prop_compose! {
    fn notify(index: u8)(
        told in notified(),
        events in prop::sample::subsequence(EVENTS, 0..5),
        level in select(vec![Severity::Info, Severity::Warning, Severity::Error]),
        timeout in duration(100_000, 3_600_000_000),
        retries in 0_u32..=1000,
        queue in 1_u32..=10_000,
        sendmail in "/[a-z]{1,9}",
        ca_file in prop::option::of("/[a-z]{1,9}"),
        of: Option<Index>,
    ) -> (Option<Index>, Notify) {
        let (way, target) = told;
        let events = events.into_iter().map(|(word, _)| word).collect();
        (of, Notify {
            name: format!("n{index}"), way, target, events, services: Vec::new(), level, timeout, retries, queue,
            sendmail: PathBuf::from(sendmail), ca_file: ca_file.map(PathBuf::from),
        })
    }
}

fn some<T: std::fmt::Debug, S: Strategy<Value = T>>(
    most: u8,
    make: impl Fn(u8) -> S + 'static,
) -> impl Strategy<Value = Vec<T>> {
    (1..=most).prop_flat_map(move |count| (0..count).map(&make).collect::<Vec<_>>())
}

prop_compose! {
    fn config()(
        cluster in cluster(),
        nodes in some(5, node),
        services in some(6, service),
        checks in some(4, |index| check(usize::from(index))),
        notify in some(4, notify),
    ) -> Config {
        let mut services = services;
        services.sort_by_key(|service| service.id);
        let checks = checks.into_iter().map(|(of, mut check)| {
            match of {
                Some(index) => {
                    let service = index.get(&services);
                    check.scope = CheckScope::Service(service.id);
                    if check.kind == CheckKind::Service && service.status.is_none() {
                        (check.kind, check.target) = (CheckKind::Memory, "50%".to_owned());
                    }
                }
                None => {
                    if check.kind == CheckKind::Service {
                        (check.kind, check.target) = (CheckKind::Memory, "50%".to_owned());
                    }
                    check.policy.retain(|step| {
                        matches!(step, PolicyStep::Alert | PolicyStep::Standby | PolicyStep::Reboot)
                    });
                }
            }
            check
        });
        let checks = checks.collect();
        let notify = notify.into_iter().map(|(of, mut notify)| {
            notify.services = of.iter().map(|index| index.get(&services).id).collect();
            notify
        });
        let notify = notify.collect();
        Config { cluster, nodes, services, checks, notify }
    }
}

/// One change of a good file: bytes replaced, cut out, put in, or a piece doubled.
fn mutated(text: &str, changes: &[(Index, Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (from, to, how, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let (a, b) = (from.index(bytes.len()), to.index(bytes.len()));
        let (low, high) = (a.min(b), a.max(b).min(a.min(b) + 40));
        match how % 4 {
            0 => bytes[low] = *byte,
            1 => drop(bytes.drain(low..high)),
            2 => bytes.insert(low, *byte),
            _ => {
                let piece = bytes[low..high].to_vec();
                bytes.splice(low..low, piece);
            }
        }
    }
    bytes
}

/// Whatever comes out must be usable: messages can be shown, a configuration prints and parses again.
fn survives(bytes: &[u8]) {
    match parse("fuzz.conf", bytes) {
        Ok(Parsed { config, .. }) => assert_eq!(parsed(&print(&config)).config, config),
        Err(problems) => assert!(problems.iter().all(|problem| problem.to_string().len() > 12)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn what_is_printed_parses_to_the_same(config in config()) {
        let printed = print(&config);
        let again = parse("printed.conf", printed.as_bytes());
        let again = again.map_err(|problems| TestCaseError::fail(lines(&problems) + &printed))?;
        prop_assert_eq!(again.config, config);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    #[test]
    fn random_lines_never_panic(text in "(\\[?(cluster|node|service|check|notify|x)? ?[a-z0-9;#=\u{e9} ]{0,6}\\]?\n){0,20}") {
        survives(text.as_bytes());
    }

    #[test]
    fn a_damaged_file_never_panics(
        changes in prop::collection::vec(any::<(Index, Index, u8, u8)>(), 1..6),
    ) {
        survives(&mutated(SHIPPED, &changes));
    }
}
