//! Services that others' agents start and stop: the resource agents of Debian's package, and its init script of nginx.
//! What they need in the directory of each server, and what the configuration says of them.
//!
//! They are real, and their files are in fixed places of the machine; what must differ from server to server is given to
//! them as parameters, or lies in `/etc/netns`, from where it is mounted over `/etc` for that server alone.

use crate::namespace::{Outcome, own_etc};
use crate::systems::{nginx, write};
use crate::world::Node;
use std::fs;
use std::path::Path;

/// Stands for the server's own directory in the configuration.
pub const HERE: &str = "%HERE%";
/// Where the nginx of the OCF agent listens.
pub const OCF_PORT: u16 = 8080;
/// Where that of the init script does.
pub const LSB_PORT: u16 = 8081;
/// How long the command of the target `nasty` sleeps: nobody else's does.
pub const NASTY_SLEEP: &str = "47125";

/// The files of a server.
pub fn write_files(node: &Node, directory: &Path) -> Outcome<()> {
    write(&directory.join("ocf.conf"), &absolute(&node.name, directory, "ocf", OCF_PORT))?;
    let own = own_etc(&node.namespace).join("nginx");
    fs::create_dir_all(&own).map_err(|error| format!("{}: {error}", own.display()))?;
    write(&own.join("nginx.conf"), &absolute(&node.name, directory, "lsb", LSB_PORT))
}

/// An nginx that finds its files wherever it is started from.
fn absolute(name: &str, directory: &Path, own: &str, port: u16) -> String {
    let here = directory.display();
    nginx(name)
        .replace("daemon off;\n", "")
        .replace("pid nginx.pid", &format!("pid {here}/{own}.pid"))
        .replace("error_log ", &format!("error_log {here}/"))
        .replace("_temp_path ", &format!("_temp_path {here}/{own}-"))
        .replace("listen 80 ", &format!("listen {port} "))
}

/// What the service of server `index` has.
pub fn lines(index: usize) -> String {
    match index {
        1 => format!(
            "start = ocf:heartbeat:nginx configfile={HERE}/ocf.conf options='-e {HERE}/nginx-error.log' port={OCF_PORT}\n"
        ),
        // A group: three servers, in order.
        2 => format!(
            "start = ocf:heartbeat:Dummy state={HERE}/dummy.state\n\
             [part www3-second]\nservice = www3\nstart = ocf:heartbeat:Dummy state={HERE}/second.state\n\
             [part www3-last]\nservice = www3\nstart = test -e {HERE}/second.state\n\
             stop = test -e {HERE}/second.state && test -e {HERE}/dummy.state || touch {HERE}/disorder\n"
        ),
        3 => "start = lsb:nginx\n".to_owned(),
        _ => String::new(),
    }
}

/// Checks that ask the agents, and targets that are told: one that notes everything, one that hangs, floods and
/// ignores TERM.
pub fn configuration() -> String {
    let check = |service: &str, policy: &str| {
        format!(
            "\n[check {service}-agent]\nservice = {service}\ntype = service\ninterval = 1s\ntimeout = 1s\nfail = 2\n\
             policy = {policy}\n"
        )
    };
    let checks = [("www2", "restart:1/60s, move"), ("www3", "move"), ("www4", "restart:5/60s")];
    let checks: String = checks.iter().map(|(service, policy)| check(service, policy)).collect();
    format!(
        "forget = 10s\nnotify = cat >> {HERE}/told\n{checks}\n\
         [notify nasty]\ntype = command\ntimeout = 300ms\nretries = 1000\nqueue = 2\n\
         target = trap '' TERM; sleep {NASTY_SLEEP} & (sleep {NASTY_SLEEP} &); yes; wait\n"
    )
}
