use super::*;
use crate::os::clock;
use crate::os::doorbell::wait;
use crate::os::frame;
use crate::os::namespace::{run, with_neighbour, within};
use crate::os::packet_socket::{Hears, PacketSocket};
use std::time::Duration;

const PORT: u16 = 694;

fn address(text: &str) -> SocketAddrV4 {
    SocketAddrV4::new(text.parse().expect("an address"), PORT)
}

/// Waits up to 5 s for one datagram on each of the sockets.
fn hear(sockets: &[&UdpSocket]) -> Vec<(String, SocketAddrV4)> {
    sockets.iter().map(|socket| hear_one(socket)).collect()
}

fn hear_one(socket: &UdpSocket) -> (String, SocketAddrV4) {
    let ready = wait(&[socket.as_fd()], clock::now() + Duration::from_secs(5)).expect("waits");
    assert_eq!(ready, 1, "nothing came");
    let mut buffer = [0; 100];
    let (length, from) = socket.receive(&mut buffer).expect("reads").expect("waits");
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
}

#[test]
fn unicast_and_broadcast_reach_their_own_sockets() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let neighbour = with_neighbour(move || {
            run("ip addr add 192.168.10.2/24 brd + dev eth0");
            let unicast = UdpSocket::bind("eth0", address("192.168.10.2")).expect("bound");
            let broadcast = UdpSocket::bind("eth0", address("192.168.10.255")).expect("bound");
            ready.send(()).expect("heard");
            let heard = hear(&[&unicast, &broadcast]);
            assert!(unicast.receive(&mut [0; 9]).expect("reads").is_none());
            heard
        });
        run("ip addr add 192.168.10.1/24 brd + dev eth0");
        let socket = UdpSocket::bind("eth0", address("192.168.10.1")).expect("bound");
        neighbour_ready.recv().expect("ready");
        socket.send_to(b"to you", address("192.168.10.2")).expect("sent");
        socket.send_to(b"to all", address("192.168.10.255")).expect("sent");
        let from = address("192.168.10.1");
        let heard = neighbour.join().expect("no assertion failed");
        assert_eq!(heard, [("to you".to_owned(), from), ("to all".to_owned(), from)]);
        run("ip link set eth0 down");
        let error = socket.send_to(b"lost", address("192.168.10.2")).expect_err("the card is off");
        assert!(matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::ENETDOWN)), "{error}");
    });
}

#[test]
fn own_broadcasts_are_ignored_and_others_are_not() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let (go, may_send) = std::sync::mpsc::channel::<()>();
        let neighbour = with_neighbour(move || {
            run("ip addr add 192.168.10.2/24 brd + dev eth0");
            let socket = UdpSocket::bind("eth0", address("192.168.10.2")).expect("bound");
            ready.send(()).expect("heard");
            may_send.recv().expect("told");
            socket.send_to(b"theirs", address("192.168.10.255")).expect("sent");
        });
        run("ip addr add 192.168.10.1/24 brd + dev eth0");
        let own = UdpSocket::bind("eth0", address("192.168.10.1")).expect("bound");
        let broadcast = UdpSocket::bind("eth0", address("192.168.10.255")).expect("bound");
        neighbour_ready.recv().expect("ready");
        own.send_to(b"heard", address("192.168.10.255")).expect("sent");
        assert_eq!(hear_one(&broadcast).0, "heard", "they come back");
        broadcast.ignore(Ipv4Addr::new(192, 168, 10, 1)).expect("a filter");
        own.send_to(b"mine", address("192.168.10.255")).expect("sent");
        go.send(()).expect("heard");
        assert_eq!(hear_one(&broadcast), ("theirs".to_owned(), address("192.168.10.2")));
        neighbour.join().expect("no assertion failed");
    });
}

/// What waits for ARP answers counts against the socket (socket(7), `unres_qlen_bytes` in arp(7)).
#[test]
fn silent_neighbours_do_not_keep_the_others_from_being_sent_to() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let neighbour = with_neighbour(move || {
            run("ip addr add 192.168.10.2/24 brd + dev eth0");
            let socket = UdpSocket::bind("eth0", address("192.168.10.2")).expect("bound");
            ready.send(()).expect("heard");
            hear_one(&socket).0
        });
        run("ip addr add 192.168.10.1/24 brd + dev eth0");
        let socket = UdpSocket::bind("eth0", address("192.168.10.1")).expect("bound");
        neighbour_ready.recv().expect("ready");
        // Several seconds of everything that is said to members that nobody can be asked for.
        for number in 0..1_000 {
            for silent in ["192.168.10.3", "192.168.10.4", "192.168.10.5"] {
                let sent = socket.send_to(&[0; 200], address(silent));
                sent.unwrap_or_else(|error| panic!("datagram {number} to {silent}: {error}"));
            }
        }
        socket.send_to(b"heard", address("192.168.10.2")).expect("sent");
        assert_eq!(neighbour.join().expect("no assertion failed"), "heard");
    });
}

#[test]
fn cards_without_an_address_talk_by_limited_broadcast() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let neighbour = with_neighbour(move || {
            // Strict filtering drops whatever has a source that this card does not lead to.
            run("echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter");
            let socket = UdpSocket::bind("eth0", address("255.255.255.255")).expect("bound");
            ready.send(()).expect("heard");
            [hear_one(&socket), hear_one(&socket)]
        });
        // A machine whose kernel would pick the internal card's address as the source.
        run("ip link add eth1 type veth peer name far && ip link set eth1 up");
        run("ip addr add 192.168.10.1/24 dev eth1");
        let socket = PacketSocket::open("eth0", Hears::Nothing).expect("opened");
        neighbour_ready.recv().expect("ready");
        for content in [&b"odd"[..], b"even"] {
            socket.send(&frame::limited_broadcast(socket.mac(), PORT, content)).expect("sent");
        }
        let from = address("0.0.0.0");
        let heard = neighbour.join().expect("no assertion failed");
        assert_eq!(heard, [("odd".to_owned(), from), ("even".to_owned(), from)]);
    });
}
