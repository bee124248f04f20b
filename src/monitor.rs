//! `diehard monitor` and `diehard top`: the cluster as it changes, in a browser, for Prometheus, in a terminal.
//!
//! | module | owns |
//! | --- | --- |
//! | `door` | how the process gets its connections to the daemon once it is nobody |
//! | `feed` | two threads that ask the daemon: one its status, one its events |
//! | `board` | what they found, for all who show it |
//! | `story` | who served what, and since when nobody did: outages and counts (PURE) |
//! | `metrics` | board → OpenMetrics text (PURE) |
//! | `http` | one request in, one answer out, on a socket |
//! | `server` | the listening thread, one thread a client, who may ask what |
//! | `stream` | server-sent events, until the client ends or stops reading |
//! | `actions` | a request with the token → a command for the daemon |
//! | `top` | the terminal |
//!
//! `bin/diehard.rs` calls `serve` and `top::serve`. It is a process of its own beside the daemon, which it
//! reaches as every client does, over the control socket: nothing here runs on a heartbeat's way, and
//! whatever happens to it happens to no service. It ends with its process.

use crate::control::arguments::MonitorOptions;
use crate::control::cli::{DONE, FAILED};
use crate::os::child::{Ending, Side, fork};
use crate::os::privileges;
use actions::Gate;
use board::Board;
use door::Door;
use server::{House, Server};
use std::fmt::Display;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

mod actions;
mod board;
mod door;
mod feed;
mod http;
mod metrics;
mod server;
mod story;
mod stream;
pub mod top;

/// The whole of `diehard monitor`. Returns only if it cannot start, or if its working half died.
pub fn serve(socket: &Path, options: &MonitorOptions) -> ExitCode {
    match start(socket, options) {
        Ok(()) => ExitCode::from(DONE),
        Err(why) => {
            // Where the standard error is closed, the exit code has to do.
            let _ = writeln!(io::stderr(), "diehard: {why}");
            ExitCode::from(FAILED)
        }
    }
}

/// Everything that needs rights comes first: the port, the token, the connections' half of the process.
fn start(socket: &Path, options: &MonitorOptions) -> Result<(), String> {
    let address = options.listen;
    let listener = TcpListener::bind(address).map_err(text(&format!("cannot listen on {address}")))?;
    let gate = match options.allow_actions {
        true => Some(Gate::open(options.token_file.as_deref())?),
        false => None,
    };
    let bound = listener.local_addr().map_err(text("cannot listen"))?;
    say(&format!("http://{bound}/"));
    if let Some(token) = gate.as_ref().and_then(Gate::new_token) {
        say(&format!("token for actions: {token}"));
    }
    let may_command = gate.is_some();
    if !privileges::are_roots() {
        return work(listener, Door::own(socket, may_command), gate, options);
    }
    let (ours, theirs) = UnixStream::pair().map_err(text("cannot make a pair of sockets"))?;
    match fork().map_err(text("cannot start the unprivileged process"))? {
        Side::Child => {
            drop(ours);
            privileges::become_user(&options.user)
                .map_err(text(&format!("cannot become the user {}", options.user)))?;
            work(listener, Door::beside(socket, theirs), gate, options)
        }
        Side::Parent(child) => {
            drop((theirs, listener, gate));
            door::usher(socket, may_command, &ours);
            match child.wait().map_err(text("cannot wait for the unprivileged process"))? {
                Ending::Exited(code) if code == i32::from(DONE) => Ok(()),
                Ending::Exited(_) => Err("the monitor could not start".to_owned()),
                killed @ Ending::Killed(_) => Err(format!("the unprivileged process ended: {killed}")),
            }
        }
    }
}

/// The half that meets the world.
fn work(
    listener: TcpListener,
    door: Door,
    gate: Option<Gate>,
    options: &MonitorOptions,
) -> Result<(), String> {
    let (door, board) = (Arc::new(door), Arc::new(Board::new(gate.is_some())));
    feed::start(&door, &board).map_err(text("cannot start a thread"))?;
    let house = House { board, door, gate, hosts: options.hosts.clone() };
    Server::new(listener, house).run();
    Ok(())
}

fn say(line: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(io::stdout(), "{line}");
    let _ = io::stdout().flush();
}

fn text<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    let what = what.to_owned();
    move |error| format!("{what}: {error}")
}
