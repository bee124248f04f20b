use super::*;
use crate::os::clock;
use crate::os::namespace::{self, cable, run, within};
use std::time::Duration;

/// Waits up to 5 s for a change that satisfies.
fn await_change(monitor: &mut LinkMonitor, wanted: impl Fn(&LinkChange) -> bool) {
    let bell = Doorbell::new().expect("eventfd");
    let until = clock::now() + Duration::from_secs(5);
    while clock::now() < until {
        if monitor.wait(&bell, until).expect("netlink").iter().any(&wanted) {
            return;
        }
    }
    panic!("it did not come");
}

fn eth0(up: bool) -> impl Fn(&LinkChange) -> bool {
    move |change| matches!(change, LinkChange::Card { device, up: is, .. } if device == "eth0" && *is == up)
}

#[test]
fn carrier_switch_and_lost_addresses_are_told() {
    within(|| {
        cable("eth0", "far");
        let mut monitor = LinkMonitor::open().expect("netlink");
        await_change(&mut monitor, eth0(true));
        run("ip link set far down");
        await_change(&mut monitor, eth0(false));
        run("ip link set far up");
        await_change(&mut monitor, eth0(true));
        run("ip addr add 203.0.113.21/24 dev eth0; ip addr del 203.0.113.21/24 dev eth0");
        let index = crate::os::alias::index_of("eth0").expect("there");
        let address = "203.0.113.21".parse().expect("an address");
        await_change(&mut monitor, |change| *change == LinkChange::AddressGone { index, address });
        run("ip link set eth0 down");
        await_change(&mut monitor, eth0(false));
        run("ip link del eth0");
        await_change(&mut monitor, eth0(false));
        let error = crate::os::alias::index_of("eth0").expect_err("gone");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    });
}

#[test]
fn a_card_is_told_with_its_index_and_its_hardware_address() {
    within(|| {
        cable("eth0", "far");
        let mut monitor = LinkMonitor::open().expect("netlink");
        let own = crate::os::alias::index_of("eth0").expect("there");
        let says = |wanted: [u8; 6]| move |change: &LinkChange| matches!(change, LinkChange::Card { index, mac, .. } if *index == own && *mac == Some(wanted));
        run("ip link set eth0 address 02:00:00:00:00:77");
        await_change(&mut monitor, says([2, 0, 0, 0, 0, 0x77]));
        run("ip link set eth0 address 02:00:00:00:00:78");
        await_change(&mut monitor, says([2, 0, 0, 0, 0, 0x78]));
    });
}

/// The bridge tells of its port as of a card that was deleted.
#[test]
fn a_card_that_leaves_a_bridge_is_not_gone() {
    within(|| {
        cable("eth0", "far");
        run("ip link add br0 type bridge; ip link set eth0 master br0");
        let mut monitor = LinkMonitor::open().expect("netlink");
        await_change(&mut monitor, eth0(true));
        run("ip link set eth0 nomaster; ip link set br0 address 02:00:00:00:00:77");
        let last = |change: &LinkChange| {
            assert!(!eth0(false)(change), "{change:?}");
            matches!(change, LinkChange::Card { mac, .. } if *mac == Some([2, 0, 0, 0, 0, 0x77]))
        };
        await_change(&mut monitor, last);
    });
}

#[test]
fn an_overrun_asks_for_everything_again() {
    within(|| {
        cable("eth0", "far");
        let mut monitor = LinkMonitor::open().expect("netlink");
        await_change(&mut monitor, eth0(true));
        monitor.0.shrink_buffer();
        run("for i in $(seq 300); do ip addr add 10.0.0.1/32 dev lo; ip addr del 10.0.0.1/32 dev lo; done");
        await_change(&mut monitor, |change| *change == LinkChange::Overrun);
        await_change(&mut monitor, eth0(true));
    });
}

#[test]
fn the_bell_ends_the_wait() {
    within(|| {
        let mut monitor = LinkMonitor::open().expect("netlink");
        await_change(
            &mut monitor,
            |change| matches!(change, LinkChange::Card { device, .. } if device == "lo"),
        );
        let bell = Doorbell::new().expect("eventfd");
        bell.ring();
        assert!(monitor.wait(&bell, Instant::MAX).expect("netlink").is_empty());
    });
}

#[test]
fn a_card_says_how_it_is() {
    namespace::within(|| {
        assert_eq!(card_state("lo").expect("there"), CardState { on: true, carries: true });
        let missing = card_state("nosuch0").expect_err("not there");
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
        assert_eq!(
            card_state("a-name-that-no-card-has").expect_err("too long").raw_os_error(),
            Some(libc::ENODEV)
        );
        namespace::run("ip link add eth0 type veth peer name eth9; ip link set eth0 up");
        assert_eq!(card_state("eth0").expect("there"), CardState { on: true, carries: false });
        assert_eq!(card_state("eth9").expect("there"), CardState { on: false, carries: false });
        namespace::run("ip link set eth9 up");
        namespace::wait_for("eth0", "UP");
        assert_eq!(card_state("eth0").expect("there"), CardState { on: true, carries: true });
    });
}
