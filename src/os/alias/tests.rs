use super::*;
use crate::os::namespace::{cable, run, within};
use std::cell::Cell;
use std::net::Ipv6Addr;

const LIFE: Duration = Duration::from_secs(30);

fn v4(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A card `eth0` with a carrier, as the machine had it before us.
fn card() -> Card {
    cable("eth0", "far");
    Card::open("eth0").expect("descriptors")
}

/// The lease lasts.
fn always() -> bool {
    true
}

fn addresses() -> String {
    run("ip -o -4 addr show dev eth0")
}

/// A second less where the kernel would be late.
fn is_mortal(line: &str) -> bool {
    line.contains("valid_lft 30sec") || line.contains("valid_lft 29sec")
}

/// The first of all included, by which the card learns where the seconds begin.
#[test]
fn what_is_written_in_the_bad_part_of_a_second_gets_a_second_less() {
    within(|| {
        drop(card());
        for (given, written) in [(30, [29, 30]), (1, [1, 1])] {
            let mut card = Card::open("eth0").expect("descriptors");
            let mut seen = [false; 2];
            let long = clock::now() + Duration::from_secs(60);
            let address = v4("203.0.113.21");
            while seen != [true; 2] && clock::now() < long {
                card.add(address, 24, Duration::from_secs(given), &always).expect("added");
                // It knows now; and may have been held up on the way, or have learnt a little better.
                let good = card.is_punctual();
                card.add(address, 24, Duration::from_secs(given), &always).expect("renewed");
                if card.is_punctual() == good {
                    seen[usize::from(good)] = true;
                    let held = card.addresses().expect("read");
                    let held = held.iter().find(|held| held.address == address).expect("there");
                    assert_eq!(held.valid_s, written[usize::from(good)], "{good}");
                }
                card.remove(address).expect("removed");
                clock::sleep_until(clock::now() + Duration::from_millis(7));
            }
            assert_eq!(seen, [true; 2]);
        }
    });
}

#[test]
fn an_alias_is_a_mortal_secondary_with_our_label() {
    within(|| {
        let mut card = card();
        run("ip addr add 203.0.113.11/24 brd + dev eth0");
        card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        let text = addresses();
        let line = text.lines().find(|line| line.contains("203.0.113.21/24")).expect("there");
        assert!(line.contains("brd 203.0.113.255"), "{line}");
        assert!(line.contains("secondary") && line.contains("deprecated"), "{line}");
        assert!(line.contains("eth0:d0") && is_mortal(line), "{line}");
        card.add(v4("203.0.113.22"), 24, LIFE, &always).expect("added");
        card.add(v4("203.0.113.22"), 24, LIFE, &always).expect("there already");
        assert!(addresses().contains("eth0:d1"));
        assert_eq!(run("ip route get 203.0.113.99").matches("src 203.0.113.11").count(), 1);
        let held = card.addresses().expect("read");
        assert_eq!(held.iter().filter(|held| held.ours).count(), 2);
        card.remove(v4("203.0.113.21")).expect("removed");
        card.remove(v4("203.0.113.21")).expect("fine if gone");
        card.add(v4("203.0.113.23"), 24, LIFE, &always).expect("takes the free label");
        assert!(addresses().contains("203.0.113.23/24 brd 203.0.113.255 scope global secondary"));
        assert!(addresses().contains("eth0:d0"));
        assert!(!addresses().contains("203.0.113.21"));
    });
}

/// L6: the lease may end while a call waits for the kernel's lock.
#[test]
fn what_may_not_be_up_any_more_is_not_and_that_is_no_failure() {
    within(|| {
        let mut card = card();
        run("ip addr add 203.0.113.11/24 brd + dev eth0");
        let there = || run("ip -o addr show dev eth0 scope global");
        let before = there();
        // Before the first call that puts it up, after that, and after the last.
        for (address, prefix, looks) in
            [("203.0.113.21", 24, 3_u32), ("10.1.2.21", 32, 3), ("2001:db8::21", 64, 2)]
        {
            for asked in 0..looks {
                let left = Cell::new(asked);
                let may = || left.replace(left.get().saturating_sub(1)) > 0;
                let added = card.add(v4(address), prefix, LIFE, &may).expect("no failure");
                assert_eq!((added, there()), (None, before.clone()), "{address}, look {asked}");
            }
            let added = card.add(v4(address), prefix, LIFE, &always).expect("added");
            assert!(added.is_some_and(|held| held.ours && held.address == v4(address)));
            assert_eq!(card.add(v4(address), prefix, LIFE, &|| false).expect("no failure"), None);
            card.remove(v4(address)).expect("removed");
            let taken = card.retake(v4(address), prefix, LIFE, &|| false).expect("no failure");
            assert_eq!((taken, there()), (None, before.clone()), "{address}");
        }
    });
}

#[test]
fn classful_guesses_leave_no_trace() {
    within(|| {
        let mut card = card();
        run("ip addr add 10.1.2.3/24 dev eth0");
        let routes = run("ip route show table all");
        card.add(v4("10.1.2.21"), 24, LIFE, &always).expect("added");
        card.add(v4("10.9.9.9"), 32, LIFE, &always).expect("added");
        assert!(!run("ip route").contains("10.0.0.0/8"));
        assert!(!addresses().contains("10.255.255.255"), "{}", addresses());
        card.remove(v4("10.1.2.21")).expect("removed");
        card.remove(v4("10.9.9.9")).expect("removed");
        assert_eq!(run("ip route show table all"), routes);
    });
}

#[test]
fn the_machines_own_addresses_are_not_touched() {
    within(|| {
        let mut card = card();
        run("ip addr add 203.0.113.21/24 dev eth0 label eth0:mine");
        let before = addresses();
        let error = card.add(v4("203.0.113.21"), 24, LIFE, &always).expect_err("not ours");
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        let error = card.remove(v4("203.0.113.21")).expect_err("not ours");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(card.clear_leftovers(&[v4("203.0.113.21")]).expect("read").is_empty());
        assert_eq!(addresses(), before);
    });
}

#[test]
fn the_neighbours_of_a_removed_primary_come_back() {
    within(|| {
        run("echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries");
        let mut card = card();
        run("echo 0 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries");
        card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("primary: the card has no address");
        card.add(v4("203.0.113.22"), 24, LIFE, &always).expect("secondary");
        run("ip addr add 203.0.113.11/24 brd + dev eth0 label eth0:mine");
        card.remove(v4("203.0.113.21")).expect("removed");
        let text = addresses();
        assert!(text.contains("203.0.113.22/24") && text.contains("eth0:d1"), "{text}");
        let own = text.lines().find(|line| line.contains("203.0.113.11/24")).expect("back");
        assert!(own.contains("eth0:mine") && own.contains("valid_lft forever"), "{own}");
        assert!(card.addresses().expect("read").iter().any(|h| h.ours && h.address == v4("203.0.113.22")));
    });
}

#[test]
fn leftovers_are_cleared_and_nothing_else() {
    within(|| {
        let mut first = card();
        run("ip addr add 203.0.113.11/24 dev eth0; ip addr add 2001:db8::11/64 dev eth0 nodad");
        first.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        first.add(v4("2001:db8::21"), 64, LIFE, &always).expect("added");
        drop(first);
        let mut second = Card::open("eth0").expect("descriptors");
        let mut gone = second.clear_leftovers(&[v4("2001:db8::21"), v4("2001:db8::11")]).expect("cleared");
        gone.sort();
        assert_eq!(gone, [v4("203.0.113.21"), v4("2001:db8::21")]);
        let text = run("ip addr show dev eth0");
        assert!(text.contains("203.0.113.11/24") && text.contains("2001:db8::11/64"), "{text}");
        assert!(!text.contains("203.0.113.21") && !text.contains("2001:db8::21"), "{text}");
    });
}

#[test]
fn the_kernel_drops_what_nobody_renews() {
    within(|| {
        let mut card = card();
        run("ip addr add 203.0.113.11/24 dev eth0");
        let second = Duration::from_secs(1);
        card.add(v4("203.0.113.21"), 24, second, &always).expect("added");
        card.add(v4("203.0.113.22"), 24, second, &always).expect("added");
        let kept = card.addresses().expect("read");
        let kept = kept.iter().find(|held| held.address == v4("203.0.113.22")).expect("there");
        card.renew(kept, Duration::from_secs(60)).expect("renewed");
        let long = clock::now() + Duration::from_secs(5);
        while addresses().contains("203.0.113.21") && clock::now() < long {
            clock::sleep_until(clock::now() + Duration::from_millis(50));
        }
        assert!(!addresses().contains("203.0.113.21"));
        assert!(addresses().contains("203.0.113.22") && addresses().contains("eth0:d1"));
        assert!(addresses().contains("203.0.113.11"));
    });
}

#[test]
fn ipv6_is_usable_at_once_and_mortal() {
    within(|| {
        let mut card = card();
        let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x21));
        card.add(address, 64, LIFE, &always).expect("added");
        let text = run("ip -o -6 addr show dev eth0 to 2001:db8::21");
        assert!(!text.contains("tentative") && is_mortal(&text), "{text}");
        assert!(text.contains("deprecated"), "{text}");
        card.remove(address).expect("removed");
        assert!(run("ip -o -6 addr show dev eth0 to 2001:db8::21").is_empty());
    });
}

#[test]
fn a_long_device_name_goes_without_a_label() {
    within(|| {
        run("ip link add enp129s0f0np0 type veth peer name far && ip link set enp129s0f0np0 up");
        let mut card = Card::open("enp129s0f0np0").expect("descriptors");
        card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        card.add(v4("203.0.113.22"), 24, LIFE, &always).expect("added");
        card.remove(v4("203.0.113.22")).expect("removed");
        assert_eq!(card.clear_leftovers(&[v4("203.0.113.21")]).expect("cleared"), [v4("203.0.113.21")]);
        assert!(run("ip -o -4 addr show dev enp129s0f0np0").is_empty());
    });
}

#[test]
fn the_default_route_comes_and_goes_with_our_mark_only() {
    within(|| {
        let mut card = card();
        let gateway = Ipv4Addr::new(203, 0, 113, 1);
        assert!(card.add_default_route(gateway).is_err(), "in no subnet yet");
        card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        assert!(card.add_default_route(gateway).expect("added"));
        assert!(run("ip route").contains("default via 203.0.113.1"));
        card.remove_default_route(gateway).expect("removed");
        card.remove_default_route(gateway).expect("fine if gone");
        run("ip route add default via 203.0.113.1");
        assert!(!card.add_default_route(gateway).expect("left alone"));
        card.remove_default_route(gateway).expect("nothing of ours");
        assert!(run("ip route").contains("default via 203.0.113.1"));
    });
}

#[test]
fn labels_have_at_most_15_bytes() {
    assert_eq!(label("eth0", 0).as_deref(), Some("eth0:d0"));
    assert_eq!(label("eth0", 36 * 36 - 1).as_deref(), Some("eth0:dzz"));
    assert_eq!(label("abcdefghijkl", 35).as_deref(), Some("abcdefghijkl:dz"));
    assert_eq!(label("abcdefghijkl", 36), None);
    assert_eq!(label("abcdefghijklm", 0), None);
    assert!(is_our_label("eth0", "eth0:d1z") && !is_our_label("eth0", "eth0:d"));
    assert!(!is_our_label("eth0", "eth0") && !is_our_label("eth0", "eth01:d1"));
    assert!(!is_our_label("eth0", "eth0:data") && !is_our_label("eth0", "eth0:dB"));
}

#[test]
fn tags_are_kept_since_linux_5_18() {
    assert!(keeps_tags("5.18.0") && keeps_tags("6.1.0-18-amd64\n") && keeps_tags("6.18.44-fc-v595"));
    assert!(!keeps_tags("5.17.9") && !keeps_tags("4.19") && !keeps_tags("") && !keeps_tags("linux"));
}

/// What somebody else made to look like ours: same range, same label, deprecated and mortal.
const ALIKE: [&str; 4] = ["203.0.113.31/24", "203.0.113.32/24", "203.0.113.33/24", "2001:db8::31/64"];

fn make_alike() {
    run("ip addr add 203.0.113.31/24 dev eth0 label eth0:d7 valid_lft 100 preferred_lft 0;
         ip addr add 203.0.113.32/24 dev eth0 label eth0:d8;
         ip addr add 203.0.113.33/24 dev eth0 label eth0:data valid_lft 100 preferred_lft 0;
         ip addr add 2001:db8::31/64 dev eth0 nodad valid_lft 100 preferred_lft 0");
}

#[test]
fn what_only_looks_like_ours_survives() {
    within(|| {
        let mut card = card();
        make_alike();
        card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        card.add(v4("2001:db8::21"), 64, LIFE, &always).expect("added");
        let ours: Vec<IpAddr> =
            card.addresses().expect("read").iter().filter(|h| h.ours).map(|h| h.address).collect();
        assert_eq!(ours, [v4("203.0.113.21"), v4("2001:db8::21")]);
        let tagged = |held: &&Held| held.tag == Some(ADDRESS_MARK);
        assert_eq!(card.addresses().expect("read").iter().filter(tagged).count(), 2);
        // Even under the very address of a service: the machine had it.
        let known = ["203.0.113.21", "2001:db8::21", "203.0.113.31", "2001:db8::31"].map(v4);
        let mut gone = Card::open("eth0").expect("descriptors").clear_leftovers(&known).expect("cleared");
        gone.sort();
        assert_eq!(gone, [v4("203.0.113.21"), v4("2001:db8::21")]);
        let text = run("ip addr show dev eth0");
        assert!(ALIKE.iter().all(|alike| text.contains(alike)), "{text}");
    });
}

#[test]
fn a_kernel_without_tags_goes_by_label_and_lifetime() {
    within(|| {
        let mut card = card();
        card.tags = false;
        run("ip addr add 203.0.113.21/24 dev eth0 label eth0:d0 valid_lft 30 preferred_lft 0;
             ip addr add 203.0.113.32/24 dev eth0 label eth0:d8;
             ip addr add 203.0.113.33/24 dev eth0 label eth0:data valid_lft 100 preferred_lft 0;
             ip addr add 2001:db8::21/64 dev eth0 nodad valid_lft 30 preferred_lft 0;
             ip addr add 2001:db8::31/64 dev eth0 nodad valid_lft 30 preferred_lft 0");
        let mut gone = card.clear_leftovers(&[v4("203.0.113.21"), v4("2001:db8::21")]).expect("cleared");
        gone.sort();
        assert_eq!(gone, [v4("203.0.113.21"), v4("2001:db8::21")]);
        let text = run("ip addr show dev eth0");
        let alike = ["203.0.113.32/24", "203.0.113.33/24", "2001:db8::31/64"];
        assert!(alike.iter().all(|alike| text.contains(alike)), "{text}");
    });
}

#[test]
fn what_an_earlier_life_had_only_begun_is_cleared() {
    within(|| {
        let mut card = card();
        // By ioctl, and then the power went: neither tag nor lifetime.
        run(
            "ip addr add 203.0.113.21/24 dev eth0 label eth0:d0; ip addr add 203.0.113.22/24 dev eth0 label eth0:d1",
        );
        assert_eq!(card.clear_leftovers(&[v4("203.0.113.21")]).expect("cleared"), [v4("203.0.113.21")]);
        let text = addresses();
        assert!(!text.contains("203.0.113.21/") && text.contains("203.0.113.22/24"), "{text}");
    });
}

#[test]
fn what_the_kernel_took_along_comes_back_with_its_tag() {
    within(|| {
        run("echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries");
        let mut card = card();
        run("echo 0 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries");
        card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("primary");
        run("ip addr add 203.0.113.41/24 dev eth0");
        let find = |card: &mut Card, address| {
            let held = card.addresses().expect("read").into_iter().find(|held| held.address == v4(address));
            held.expect("there")
        };
        // Not every `ip` can say it.
        let tagged = Held { tag: Some(0x77), ..find(&mut card, "203.0.113.41") };
        card.restore(&tagged).expect("tagged");
        let found = find(&mut card, "203.0.113.41");
        // The kernel stamps a change with its hundredth of a second.
        assert_eq!(found, Held { updated: found.updated, ..tagged });
        card.add(v4("203.0.113.22"), 24, LIFE, &always).expect("secondary");
        card.remove(v4("203.0.113.21")).expect("removed");
        assert_eq!(find(&mut card, "203.0.113.41").tag, Some(0x77));
        assert!(card.addresses().expect("read").iter().any(|h| h.ours && h.address == v4("203.0.113.22")));
    });
}

/// What two cards have learnt of it at different moments agrees: the kernel's stamps go by its monotonic clock and by the
/// ticks that it told.
#[test]
fn where_the_kernel_s_seconds_begin_is_learnt() {
    within(|| {
        let mut learnt: Vec<u64> = Vec::new();
        let mut other = card();
        for number in 1..200 {
            let mut card = Card::open("eth0").expect("descriptors");
            card.add(v4(&format!("203.0.113.{number}")), 24, LIFE, &always).expect("added");
            // It may have been held up just then.
            learnt.extend(card.timer.second);
            if learnt.len() == 3 {
                break;
            }
            clock::sleep_until(clock::now() + Duration::from_millis(37));
        }
        let apart = |one: u64, two: u64| (one + 1_000_000_000 - two) % 1_000_000_000;
        for pair in learnt.windows(2) {
            let apart = apart(pair[0], pair[1]).min(apart(pair[1], pair[0]));
            assert!(apart < 45_000_000, "{learnt:?}");
        }
        assert_eq!(learnt.len(), 3);
        other.add(v4("2001:db8::7"), 64, LIFE, &always).expect("added");
        let interval = Duration::from_millis(400);
        let next = other.next_renewal(interval);
        assert!(next >= interval / 4 && next <= interval + Duration::from_millis(301), "{next:?}");
    });
}

/// As a network manager does it: the addresses live on.
fn rename(from: &str, to: &str) {
    run(&format!("ip link set {from} down && ip link set {from} name {to} && ip link set {to} up"));
}

#[test]
fn a_card_with_another_name_is_not_gone() {
    within(|| {
        let mut card = card();
        let others = |card: &mut Card| {
            let ours = card.addresses().expect("read").into_iter().filter(|held| held.ours);
            ours.map(|held| held.address).collect::<Vec<_>>()
        };
        let held = [21, 22].map(|n| {
            let added = card.add(v4(&format!("203.0.113.{n}")), 24, LIFE, &always).expect("added");
            added.expect("it may")
        });
        rename("eth0", "elsewhere");
        assert_eq!(others(&mut card), held.clone().map(|held| held.address));
        // Another one of its name is another one.
        cable("eth0", "beyond");
        assert_eq!(others(&mut card), held.clone().map(|held| held.address));
        card.add(v4("203.0.113.23"), 24, LIFE, &always)
            .expect_err("nothing there as long as something is elsewhere");
        assert_eq!(addresses(), "");
        card.renew(&held[0], LIFE).expect("renewed where it is");
        card.remove(held[0].address).expect("removed where it is");
        assert_eq!(others(&mut card), [held[1].address]);
        assert_eq!(card.clear_leftovers(&[]).expect("cleared"), [held[1].address]);
        assert_eq!(run("ip -o -4 addr show dev elsewhere") + &addresses(), "");
        // Now that it has nothing of ours the name counts.
        card.add(v4("203.0.113.23"), 24, LIFE, &always).expect("added");
        assert!(addresses().contains("203.0.113.23/24"));
        run("ip link del elsewhere; ip link del eth0");
        assert!(card_is_gone(&card.addresses().expect_err("there is no such card")));
        assert_eq!(card.drop_all(&held).expect("nothing is left"), []);
    });
}

/// The guardian opens its card long before it needs it.
#[test]
fn a_card_that_was_opened_before_it_was_renamed_is_found() {
    within(|| {
        let mut worker = card();
        let mut guardian = Card::open("eth0").expect("descriptors");
        worker.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        rename("eth0", "elsewhere");
        assert_eq!(guardian.clear_leftovers(&[]).expect("cleared"), [v4("203.0.113.21")]);
        assert_eq!(run("ip -o -4 addr show dev elsewhere"), "");
    });
}

#[test]
fn all_of_ours_goes_in_one_pass_and_what_is_not_ours_comes_back() {
    within(|| {
        run("echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries");
        let mut card = card();
        run("echo 0 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries");
        let mut add =
            |address: &str, prefix: u8| card.add(v4(address), prefix, LIFE, &always).expect("added");
        add("203.0.113.21", 24);
        run("ip addr add 203.0.113.11/24 brd + dev eth0 label eth0:mine");
        add("203.0.113.22", 24);
        add("203.0.113.23", 24);
        add("2001:db8::21", 64);
        let present = card.addresses().expect("read");
        // The primary and another one; what is asked for comes back with what is not ours.
        let goes = ["203.0.113.21", "203.0.113.23"].map(v4);
        let left = card.remove_all(&present, |held| goes.contains(&held.address), |_| true).expect("removed");
        let mut left: Vec<IpAddr> = left.iter().map(|held| held.address).collect();
        left.retain(|address| !address.to_string().starts_with("fe80"));
        left.sort();
        assert_eq!(left, ["203.0.113.11", "203.0.113.22", "2001:db8::21"].map(v4));
        card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        let left = card.drop_all(&[]).expect("removed");
        assert!(left.iter().all(|held| !held.ours), "{left:?}");
        let text = run("ip -o addr show dev eth0 scope global");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("203.0.113.11/24 brd 203.0.113.255") && text.contains("eth0:mine"), "{text}");
    });
}

/// What was there last goes even if the card cannot be read; but nobody says that it is gone.
#[test]
fn one_address_goes_without_netlink() {
    within(|| {
        let mut card = card();
        let held = card.add(v4("203.0.113.21"), 24, LIFE, &always).expect("added");
        card.deafen(true);
        let error = card.drop_all(&held.map_or(vec![], |held| vec![held])).expect_err("nobody knows");
        assert!(!card_is_gone(&error), "{error}");
        assert_eq!(addresses(), "");
    });
}
