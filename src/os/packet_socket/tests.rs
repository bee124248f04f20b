use super::*;
use crate::os::clock;
use crate::os::doorbell::wait;
use crate::os::frame;
use crate::os::namespace::{cable, run, with_neighbour, within};
use std::net::Ipv6Addr;
use std::time::Duration;

fn hear(socket: &PacketSocket) -> Vec<u8> {
    let ready = wait(&[socket.as_fd()], clock::now() + Duration::from_secs(5)).expect("waits");
    assert_eq!(ready, 1, "nothing came");
    let mut buffer = [0; 200];
    let length = socket.receive(&mut buffer).expect("reads").expect("waits");
    buffer[..length].to_vec()
}

/// An ARP reply «`spa` is at `from`» to everybody.
fn arp(from: [u8; 6], spa: [u8; 4]) -> Vec<u8> {
    let head = [&[0xff; 6][..], &from, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &from].concat();
    let mut frame = [&head[..], &spa, &from, &spa].concat();
    frame.resize(60, 0);
    frame
}

#[test]
fn only_claims_to_our_addresses_are_heard() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let (heard, neighbour_heard) = std::sync::mpsc::channel();
        // Its end of the cable goes with its network namespace: it stays until the last frame was sent.
        let (done, neighbour_done) = std::sync::mpsc::channel::<()>();
        let neighbour = with_neighbour(move || {
            let ours = [Ipv4Addr::new(203, 0, 113, 21), Ipv4Addr::new(203, 0, 113, 22)];
            let socket = PacketSocket::open("eth0", Hears::Arp(&ours)).expect("opened");
            ready.send(()).expect("heard");
            heard.send([hear(&socket), hear(&socket)].map(|frame| frame[31])).expect("told");
            neighbour_done.recv().expect_err("the other end hung up");
        });
        let socket = PacketSocket::open("eth0", Hears::Nothing).expect("opened");
        neighbour_ready.recv().expect("ready");
        for last in [20, 22, 23, 21, 24] {
            socket.send(&arp(socket.mac(), [203, 0, 113, last])).expect("sent");
        }
        assert_eq!(neighbour_heard.recv().expect("heard"), [22, 21]);
        run("ip link set eth0 down");
        let error = socket.send(&arp(socket.mac(), [0; 4])).expect_err("the card is off");
        assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
        drop(done);
        neighbour.join().expect("no assertion failed");
    });
}

/// A bond that fails over, a bridge that gets a port.
#[test]
fn another_hardware_address_of_the_card_is_known_at_once() {
    within(|| {
        cable("eth0", "far");
        let socket = PacketSocket::open("eth0", Hears::Nothing).expect("opened");
        for last in [7, 8] {
            run(&format!("ip link set eth0 address 02:00:00:00:00:0{last}"));
            assert_eq!(socket.mac(), [2, 0, 0, 0, 0, last]);
        }
        run("ip link del eth0");
        assert_eq!(socket.mac(), [0; 6]);
    });
}

#[test]
fn neighbour_discovery_is_understood_by_the_kernel() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let (done, neighbour_done) = std::sync::mpsc::channel::<()>();
        let neighbour = with_neighbour(move || {
            run("ip addr add 2001:db8::21/64 dev eth0 nodad");
            ready.send(()).expect("heard");
            neighbour_done.recv().expect_err("the other end hung up");
        });
        let socket = PacketSocket::open("eth0", Hears::NeighbourDiscovery).expect("opened");
        neighbour_ready.recv().expect("ready");
        let target: Ipv6Addr = "2001:db8::21".parse().expect("an address");
        let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..]].concat();
        let to = "ff02::1:ff00:21".parse().expect("an address");
        let probe = frame::icmpv6_multicast(socket.mac(), Ipv6Addr::UNSPECIFIED, to, &solicitation);
        // The neighbour's IPv6 answers when the kernel has seen that its cable is plugged in: on a busy machine that is later.
        let patience = clock::now() + Duration::from_secs(60);
        let mut answered = false;
        while !answered && clock::now() < patience {
            socket.send(&probe).expect("sent");
            if wait(&[socket.as_fd()], clock::now() + Duration::from_millis(200)).expect("waits") == 0 {
                continue;
            }
            let frame = hear(&socket);
            let message = frame::icmpv6_of(&frame).expect("neighbour discovery").to_vec();
            answered = message[0] == 136 && message[8..24] == target.octets();
        }
        assert!(answered, "nobody has it");
        drop(done);
        neighbour.join().expect("no assertion failed");
    });
}

/// «Who has `target`? Tell `spa`.»
fn arp_question(from: [u8; 6], spa: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [&[0xff; 6][..], &from, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &from].concat();
    let mut frame = [&head[..], &spa, &[0; 6], &target].concat();
    frame.resize(60, 0);
    frame
}

/// Q2: a gateway answers, whether the asking card has an address of its own or not; what it asks or
/// announces itself, and what others answer, is not heard.
#[test]
fn only_replies_of_the_arbiters_are_heard() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let (done, neighbour_done) = std::sync::mpsc::channel::<()>();
        let neighbour = with_neighbour(move || {
            run("ip addr add 203.0.113.1/24 dev eth0 && ip addr add 203.0.113.2/24 dev eth0");
            let socket = PacketSocket::open("eth0", Hears::Nothing).expect("opened");
            socket.send(&arp_question(socket.mac(), [203, 0, 113, 1], [203, 0, 113, 9])).expect("sent");
            ready.send(socket.mac()).expect("heard");
            neighbour_done.recv().expect_err("the other end hung up");
        });
        let arbiters = [Ipv4Addr::new(203, 0, 113, 1)];
        let replies = PacketSocket::open("eth0", Hears::ArpReplies(&arbiters)).expect("opened");
        let gateway = neighbour_ready.recv().expect("ready");
        for spa in [[0; 4], [203, 0, 113, 11]] {
            // Not an arbiter first: its answer would be here before the arbiter's.
            for target in [2, 1] {
                let question = arp_question(replies.mac(), spa, [203, 0, 113, target]);
                replies.send(&question).expect("sent");
            }
            let frame = hear(&replies);
            assert_eq!(frame[20..22], [0, 2], "a reply");
            assert_eq!(frame[28..32], [203, 0, 113, 1]);
            assert_eq!((&frame[22..28], &frame[32..38]), (&gateway[..], &replies.mac()[..]));
        }
        drop(done);
        neighbour.join().expect("no assertion failed");
    });
}
