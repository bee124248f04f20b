use super::*;
use crate::os::namespace::{run, with_neighbour, within};
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Connects from 203.0.113.100 and waits for what comes: nothing is ever sent.
fn end_of_a_connection(to: &str, patience: Duration) -> ErrorKind {
    let mut client = TcpStream::connect(to).expect("somebody listens");
    client.set_read_timeout(Some(patience)).expect("set");
    client.read(&mut [0; 8]).expect_err("nothing was sent").kind()
}

#[test]
fn only_connections_of_that_address_are_reset_and_their_clients_know() {
    within(|| {
        let (listens, listened) = std::sync::mpsc::channel();
        let clients = with_neighbour(move || {
            run("ip addr add 203.0.113.100/24 dev eth0; ip addr add 2001:db8::100/64 dev eth0 nodad");
            listened.recv().expect("told");
            // Whom a reset shall reach waits for it however long; whom it shall not reach, for a while.
            [
                ("203.0.113.21:80", 30),
                ("203.0.113.21:81", 30),
                ("[2001:db8::21]:81", 30),
                ("203.0.113.22:80", 2),
            ]
            .map(|(to, patience)| {
                std::thread::spawn(move || end_of_a_connection(to, Duration::from_secs(patience)))
            })
            .map(|client| client.join().expect("the client ends"))
        });
        run("ip addr add 203.0.113.21/24 dev eth0; ip addr add 203.0.113.22/24 dev eth0");
        run("ip addr add 2001:db8::21/64 dev eth0 nodad");
        let (plain, both) = (TcpListener::bind("0.0.0.0:80"), TcpListener::bind("[::]:81"));
        let (plain, both) = (plain.expect("bound"), both.expect("bound"));
        listens.send(()).expect("heard");
        let _connections =
            [&plain, &plain, &both, &both].map(|listener| listener.accept().expect("accepted"));
        let reset = |addresses: &[IpAddr], has_time: bool| {
            let parted = reset_connections(addresses, || has_time).expect("permitted");
            parted.into_iter().map(|Parted { reset, left }| (reset, left)).collect::<Vec<_>>()
        };
        let [none, four, six] = ["203.0.113.23", "203.0.113.21", "2001:db8::21"]
            .map(|address| address.parse::<IpAddr>().expect("an address"));
        assert_eq!(reset(&[none, four, six], false), [(0, 0), (0, 2), (0, 1)]);
        assert_eq!(reset(&[six, none, four], false), [(0, 1), (0, 0), (0, 2)]);
        assert_eq!(reset(&[six], true), [(1, 0)]);
        let mut more_than_a_program_tests = vec![none; MOST_CONDITIONS];
        more_than_a_program_tests.push(four);
        assert_eq!(reset(&more_than_a_program_tests, true).pop(), Some((2, 0)));
        assert_eq!(reset(&[four, six], true), [(0, 0), (0, 0)]);
        assert_eq!(reset(&[], true), []);
        let told = ErrorKind::ConnectionReset;
        assert_eq!(clients.join().expect("clients"), [told, told, told, ErrorKind::WouldBlock]);
    });
}

#[test]
fn the_kernel_takes_a_program_of_the_greatest_length() {
    let six: IpAddr = "2001:db8::21".parse().expect("an address");
    let program = program(&vec![six; MOST_CONDITIONS]);
    assert!(program.len() + 4 <= usize::from(u16::MAX));
    within(move || {
        let parted = reset_connections(&vec![six; MOST_CONDITIONS], || true).expect("taken");
        assert_eq!(parted, vec![Parted::default(); MOST_CONDITIONS]);
    });
}
