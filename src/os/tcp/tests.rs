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
            run("ip addr add 203.0.113.100/24 dev eth0");
            listened.recv().expect("told");
            // Whom a reset shall reach waits for it however long; whom it shall not reach, for a while.
            [("203.0.113.21:80", 30), ("203.0.113.21:81", 30), ("203.0.113.22:80", 2)]
                .map(|(to, patience)| {
                    std::thread::spawn(move || end_of_a_connection(to, Duration::from_secs(patience)))
                })
                .map(|client| client.join().expect("the client ends"))
        });
        run("ip addr add 203.0.113.21/24 dev eth0; ip addr add 203.0.113.22/24 dev eth0");
        let (plain, both) = (TcpListener::bind("0.0.0.0:80"), TcpListener::bind("[::]:81"));
        let (plain, both) = (plain.expect("bound"), both.expect("bound"));
        listens.send(()).expect("heard");
        let _connections = [&plain, &plain, &both].map(|listener| listener.accept().expect("accepted"));
        let addresses = ["203.0.113.23", "203.0.113.21", "2001:db8::21"];
        let addresses = addresses.map(|address| address.parse().expect("an address"));
        assert_eq!(reset_connections(&addresses).expect("permitted"), [0, 2, 0]);
        assert_eq!(reset_connections(&addresses).expect("permitted"), [0, 0, 0]);
        assert!(reset_connections(&[]).expect("nothing to do").is_empty());
        let reset = ErrorKind::ConnectionReset;
        assert_eq!(clients.join().expect("clients"), [reset, reset, ErrorKind::WouldBlock]);
    });
}
