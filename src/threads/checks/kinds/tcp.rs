//! `tcp`: does somebody accept a connection?

use super::{no_answer, why};
use crate::os::clock;
use crate::recovery::Finding;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(super) fn look(target: &str, timeout: Duration) -> Finding {
    let Ok(address) = target.parse::<SocketAddr>() else {
        return Finding::bad(format!("`{target}` is no address with a port"));
    };
    let began = clock::now();
    match TcpStream::connect_timeout(&address, timeout) {
        Ok(_) => {
            let micros = clock::now().since(began).as_micros() as f64;
            Finding::well(format!("connected in {:.1} ms", micros / 1000.0))
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => no_answer(timeout),
        Err(error) => Finding::bad(why(&error)),
    }
}
