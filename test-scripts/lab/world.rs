//! The laboratory: servers, a client and a gateway on two LANs, each in a network namespace.
//!
//! ```text
//!            client .100   gateway .1
//!                 \        /
//!   bridge ext  (203.0.113.0/24) ── eth0 of web1 … webN (.11 …), service addresses .101 …
//!   bridge int  (192.168.10.0/24) ─ eth1 of web1 … webN (.1 …)
//! ```
//! Both bridges stand in a namespace of their own: the machine sees none of it, and all that the
//! machine has is left alone. A power cut closes both switch ports of a host in one nftables
//! transaction, silently: the host's own carrier stays, and nobody is told.
//!
//! `World` owns every namespace, process and file of the lab; dropping it removes them all.

mod lans;
mod processes;
mod wires;

pub use self::processes::Part;
pub use self::wires::{Direction, Lan, WireFault};

use self::lans::fixed_addresses;
use crate::interrupt;
use crate::namespace::{self, Outcome, command_in, run, run_with_input, within};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What keeps the addresses alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Ours.
    Diehard,
    /// Debian's keepalived: one VRRP instance an address.
    Keepalived,
}

impl System {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            System::Diehard => "diehard",
            System::Keepalived => "keepalived",
        }
    }
}

/// What the services' commands do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// There are none: the servers run anyway.
    None,
    /// They note that they were called.
    Noted,
    /// That, and the commands of www2 start and stop an nginx of its own (`systems::serving_script`).
    Serving,
}

/// How the lab is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What runs on the servers.
    pub system: System,
    /// How many servers; each has one service of its own.
    pub nodes: usize,
    /// T, or keepalived's `advert_int`.
    pub interval: Duration,
    /// How long a returned server must be stable; `None`: the daemon's default.
    pub failback_delay: Option<Duration>,
    /// How long a cold start waits for the others; `None`: the daemon's default.
    pub startup_wait: Option<Duration>,
    /// Services have a `start` and a `stop` command (see `systems::service_script`).
    pub scripts: Scripts,
    /// More lines of `[cluster]`.
    pub extra: String,
}

/// One server.
pub struct Node {
    /// `web1` …
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its switch ports are open.
    pub powered: bool,
    /// The daemon runs, as far as the lab started it.
    pub daemon: Option<Child>,
    nginx: Option<Child>,
}

/// The running lab.
pub struct World {
    /// As asked for.
    pub plan: Plan,
    /// The servers, in the order of the ring.
    pub nodes: Vec<Node>,
    /// Configuration, keys, logs, run and state directories.
    pub directory: PathBuf,
    prefix: String,
}

impl World {
    /// Makes the namespaces and the LANs. Nothing runs in them yet.
    pub fn build(plan: Plan) -> Outcome<World> {
        namespace::sweep_stale()?;
        let prefix = namespace::own_prefix();
        let directory = namespace::own_directory();
        // It must be new: nobody else has put anything there.
        let made = fs::DirBuilder::new().mode(0o700).create(&directory);
        made.map_err(|error| format!("{}: {error}", directory.display()))?;
        let nodes = (1..=plan.nodes).map(|number| Node {
            name: format!("web{number}"),
            namespace: format!("{prefix}web{number}"),
            powered: true,
            daemon: None,
            nginx: None,
        });
        let world = World { nodes: nodes.collect(), directory, prefix, plan };
        world.make_lans()?;
        world.write_files()?;
        Ok(world)
    }

    /// The namespace of the client.
    pub fn client(&self) -> String {
        format!("{}client", self.prefix)
    }

    /// The namespace of the external LAN's gateway.
    pub fn gateway(&self) -> String {
        format!("{}gateway", self.prefix)
    }

    /// The namespace of both switches.
    pub fn switch(&self) -> String {
        format!("{}switch", self.prefix)
    }

    /// The service address whose home is server `index`.
    pub fn service_address(index: usize) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 101 + small(index))
    }

    /// All service addresses.
    pub fn service_addresses(&self) -> Vec<Ipv4Addr> {
        (0..self.nodes.len()).map(World::service_address).collect()
    }

    /// The fixed external address of server `index`.
    pub fn external_address(index: usize) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 11 + small(index))
    }

    /// The fixed internal address of server `index`.
    pub fn internal_address(index: usize) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 10, 1 + small(index))
    }

    /// Where server `index` keeps its own files.
    pub fn node_directory(&self, index: usize) -> PathBuf {
        self.directory.join(&self.nodes[index].name)
    }

    /// Starts web server and daemon of a server.
    pub fn start_node(&mut self, index: usize) -> Outcome<()> {
        if self.nodes[index].nginx.is_none() {
            let directory = self.node_directory(index);
            let nginx = ["nginx", "-e", "nginx-error.log", "-p", "./", "-c", "nginx.conf"].map(str::to_owned);
            self.nodes[index].nginx = Some(self.spawn(index, &nginx, "nginx.log")?);
            // The web server of a real host is there before the cluster sends clients to it.
            interrupt::wait_until("nginx listens", Duration::from_secs(5), || {
                Ok(directory.join("nginx.pid").exists())
            })?;
        }
        self.start_daemon(index)
    }

    /// Starts the daemon of a server.
    pub fn start_daemon(&mut self, index: usize) -> Outcome<()> {
        let command = self.daemon_command(index);
        self.nodes[index].daemon = Some(self.spawn(index, &command, "daemon.log")?);
        Ok(())
    }

    /// Orderly stop of the daemon: TERM, and waits for its end.
    pub fn stop_daemon(&mut self, index: usize) -> Outcome<()> {
        let name = self.nodes[index].name.clone();
        let Some(mut child) = self.nodes[index].daemon.take() else {
            return Err(format!("no daemon runs on {name}"));
        };
        signal(&child, Signal::SIGTERM)?;
        interrupt::wait_until(&format!("the daemon of {name} stops"), Duration::from_secs(40), || {
            Ok(child.try_wait().map_err(|error| error.to_string())?.is_some())
        })
    }

    /// Sends a signal to the daemon of a server.
    pub fn signal_daemon(&self, index: usize, what: Signal) -> Outcome<()> {
        match &self.nodes[index].daemon {
            Some(child) => signal(child, what),
            None => Err(format!("no daemon runs on {}", self.nodes[index].name)),
        }
    }

    /// Cuts the power of these servers at one moment: between the two returned instants.
    ///
    /// What ran on them is ended only afterwards, where nobody can hear it: the dead stay dead.
    pub fn cut_power(&mut self, indices: &[usize]) -> Outcome<(Instant, Instant)> {
        let ports = ports(indices);
        let transaction = format!("add element bridge power off {{ {ports} }}\n");
        let before = Instant::now();
        self.switch_rules(&transaction)?;
        let after = Instant::now();
        for index in indices {
            self.nodes[*index].powered = false;
            self.end_everything(*index)?;
        }
        Ok((before, after))
    }

    /// Power returns: the servers boot with nothing but their fixed addresses, files as they were.
    pub fn restore_power(&mut self, indices: &[usize]) -> Outcome<()> {
        for index in indices {
            self.end_everything(*index)?;
            let fixed = fixed_addresses(*index);
            let fresh = format!(
                "addr flush dev eth0\naddr flush dev eth1\nneigh flush dev eth0\nneigh flush dev eth1\n{fixed}"
            );
            run_with_input("ip", &["-n", &self.nodes[*index].namespace, "-batch", "-"], &fresh)?;
        }
        let ports = ports(indices);
        self.switch_rules(&format!("delete element bridge power off {{ {ports} }}\n"))?;
        for index in indices {
            self.nodes[*index].powered = true;
            self.start_node(*index)?;
        }
        Ok(())
    }

    /// The servers that have power and a daemon.
    pub fn living(&self) -> Vec<usize> {
        let lives = |index: &usize| self.nodes[*index].powered && self.nodes[*index].daemon.is_some();
        (0..self.nodes.len()).filter(lives).collect()
    }

    /// Fails if a daemon has ended by itself: there is nothing to wait for then.
    pub fn daemons_live(&self) -> Outcome<()> {
        for (node, daemon) in self.nodes.iter().filter_map(|node| Some((node, node.daemon.as_ref()?))) {
            // After the name in brackets comes the state; Z: it has ended and nobody has taken note.
            let told = fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap_or_default();
            let state = told.rsplit(") ").next().unwrap_or_default();
            if state.is_empty() || state.starts_with('Z') {
                return Err(format!("the daemon of {} has ended by itself", node.name));
            }
        }
        Ok(())
    }

    /// Who holds each service address by its kernel, of the servers that a client can reach.
    pub fn holders(&self) -> Outcome<Vec<Vec<usize>>> {
        let mut holders = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.powered) {
            let present = within(&node.namespace, ipv4_addresses)?.map_err(|error| error.to_string())?;
            for (service, held_by) in holders.iter_mut().enumerate() {
                if present.contains(&World::service_address(service)) {
                    held_by.push(index);
                }
            }
        }
        Ok(holders)
    }

    /// The same, read from `ip addr`.
    pub fn holders_by_ip(&self) -> Outcome<Vec<Vec<usize>>> {
        let mut holders = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.powered) {
            let listed = run("ip", &["-n", &node.namespace, "-o", "-4", "addr", "show", "dev", "eth0"])?;
            for (service, held_by) in holders.iter_mut().enumerate() {
                if listed.contains(&format!("inet {}/", World::service_address(service))) {
                    held_by.push(index);
                }
            }
        }
        Ok(holders)
    }

    /// Ends everything on all servers and moves the lab's files to `place`, for whom a failure puzzles.
    pub fn keep_files(&mut self, place: &Path) -> Outcome<()> {
        for index in 0..self.nodes.len() {
            self.end_everything(index)?;
        }
        fs::rename(&self.directory, place).map_err(|error| format!("{}: {error}", place.display()))
    }

    fn spawn(&self, index: usize, command: &[String], log: &str) -> Outcome<Child> {
        let (program, arguments) = command.split_first().ok_or("an empty command")?;
        let directory = self.node_directory(index);
        let open = || File::options().create(true).append(true).open(directory.join(log));
        let failed = |error: std::io::Error| format!("{program} on {}: {error}", self.nodes[index].name);
        let mut spawned: Command = command_in(&self.nodes[index].namespace, program);
        spawned.args(arguments).current_dir(&directory).stdin(Stdio::null());
        spawned.stdout(open().map_err(failed)?).stderr(open().map_err(failed)?);
        // A Ctrl-C is for the lab; the servers are ended by it, in order.
        spawned.process_group(0);
        spawned.spawn().map_err(failed)
    }

    fn end_everything(&mut self, index: usize) -> Outcome<()> {
        namespace::end_processes(&self.nodes[index].namespace)?;
        let node = &mut self.nodes[index];
        for mut child in [node.daemon.take(), node.nginx.take()].into_iter().flatten() {
            child.wait().map_err(|error| format!("{}: {error}", node.name))?;
        }
        // What a real host keeps in /run does not survive a power cut.
        for name in ["nginx.pid", "keepalived.pid", "vrrp.pid", "run"] {
            let path = self.node_directory(index).join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("{}: {error}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn switch_rules(&self, transaction: &str) -> Outcome<()> {
        run_with_input("ip", &["netns", "exec", &self.switch(), "nft", "-f", "-"], transaction).map(drop)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = namespace::destroy(&self.prefix) {
            eprintln!("lab: while cleaning up: {error}");
        }
        for child in self.nodes.iter_mut().flat_map(|node| [node.daemon.take(), node.nginx.take()]).flatten()
        {
            // All of them are dead by now: this only takes note of it.
            let _ = { child }.wait();
        }
        if let Err(error) = namespace::remove_directory(&self.directory) {
            eprintln!("lab: while cleaning up: {error}");
        }
    }
}

/// All IPv4 addresses of the calling thread's namespace.
fn ipv4_addresses() -> nix::Result<Vec<Ipv4Addr>> {
    let ipv4 = |entry: InterfaceAddress| entry.address?.as_sockaddr_in().map(|address| address.ip());
    Ok(getifaddrs()?.filter_map(ipv4).collect())
}

fn ports(indices: &[usize]) -> String {
    let both = indices.iter().map(|index| format!("\"e{0}\", \"i{0}\"", index + 1));
    both.collect::<Vec<_>>().join(", ")
}

fn small(index: usize) -> u8 {
    u8::try_from(index).expect("the number of servers is limited on the command line")
}

fn signal(child: &Child, what: Signal) -> Outcome<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|error| error.to_string())?);
    kill(pid, what).map_err(|error| format!("{what} to {pid}: {error}"))
}
