//! What runs on the servers: its files, its command lines, and what it says of itself.

use crate::namespace::{Outcome, run};
use crate::world::{Scripts, System, World};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl World {
    /// Writes the configuration of web server and daemon of every server.
    pub(crate) fn write_files(&self) -> Outcome<()> {
        for index in 0..self.nodes.len() {
            let directory = self.node_directory(index);
            // A disk of its own, where a test mounts one.
            let disk = directory.join("disk");
            fs::create_dir_all(&disk).map_err(|error| format!("{}: {error}", disk.display()))?;
            write(&directory.join("nginx.conf"), &nginx(&self.nodes[index].name))?;
            let key = directory.join("key");
            write(&key, &format!("{}\n", "5a".repeat(32)))?;
            set_mode(&key, 0o600)?;
            if self.plan.scripts == Scripts::Serving {
                write(&directory.join("www2.conf"), &single_nginx(&self.nodes[index].name))?;
                write(&directory.join("serve-www2"), &serving_script(&directory))?;
                set_mode(&directory.join("serve-www2"), 0o755)?;
            }
            match self.plan.system {
                System::Diehard => write(&directory.join("diehard.conf"), &self.diehard_conf())?,
                System::Keepalived => {
                    write(&directory.join("keepalived.conf"), &self.keepalived_conf(index))?
                }
            }
        }
        write(&self.directory.join("service"), &self.service_script())?;
        set_mode(&self.directory.join("service"), 0o755)?;
        Ok(())
    }

    /// The command line of the daemon of server `index`.
    pub(crate) fn daemon_command(&self, index: usize) -> Vec<String> {
        let directory = self.node_directory(index);
        let file = |name: &str| directory.join(name).display().to_string();
        let words: Vec<String> = match self.plan.system {
            System::Diehard => vec![
                binary("diehardd"),
                "-f".to_owned(),
                "-c".to_owned(),
                file("diehard.conf"),
                "-n".to_owned(),
                self.nodes[index].name.clone(),
                "--run-dir".to_owned(),
                file("run"),
                "--state-dir".to_owned(),
                file("state"),
            ],
            System::Keepalived => vec![
                "keepalived".to_owned(),
                "--dont-fork".to_owned(),
                "--log-console".to_owned(),
                "--vrrp".to_owned(),
                format!("--use-file={}", file("keepalived.conf")),
                format!("--pid={}", file("keepalived.pid")),
                format!("--vrrp_pid={}", file("vrrp.pid")),
            ],
        };
        words
    }

    /// The configuration of the cluster: the same on every server.
    pub fn diehard_conf(&self) -> String {
        let mut text = format!(
            // The daemon stands in its server's own directory: one file for all servers, a key file each.
            "[cluster]\nname = lab\nkey_file = /proc/self/cwd/key\nhello_interval = {}ms\n",
            self.plan.interval.as_millis()
        );
        let mut add = |line: String| text.push_str(&line);
        if let Some(delay) = self.plan.failback_delay {
            add(format!("failback_delay = {}ms\n", delay.as_millis()));
        }
        if let Some(wait) = self.plan.startup_wait {
            add(format!("startup_wait = {}ms\n", wait.as_millis()));
        }
        // A lab kills the same server again and again, and wants its service home each time.
        if !self.plan.extra.contains("damping") {
            add("damping = 1s\n".to_owned());
        }
        add(self.plan.extra.clone());
        let count = self.nodes.len();
        for (index, node) in self.nodes.iter().enumerate() {
            add(format!(
                "\n[node {}]\npriority = {}\ninternal = eth1 {}/24\nexternal = eth0 {}/24\n",
                node.name,
                (count - index) * 10,
                World::internal_address(index),
                World::external_address(index)
            ));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let service = format!("www{}", index + 1);
            add(format!(
                "\n[service {service}]\nhome = {}\naddress = {}/24\n",
                node.name,
                World::service_address(index)
            ));
            if self.plan.scripts != Scripts::None {
                let script = self.directory.join("service").display().to_string();
                add(format!("start = {script} start {service}\nstop = {script} stop {service}\n"));
            }
        }
        text
    }

    /// One VRRP instance an address; each server has the highest priority for its own.
    fn keepalived_conf(&self, index: usize) -> String {
        let count = self.nodes.len();
        let mut text = String::from("global_defs {\n  vrrp_version 3\n}\n");
        for service in 0..count {
            let distance = (index + count - service) % count;
            let interval = self.plan.interval.as_secs_f64();
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "vrrp_instance www{0} {{\n  state BACKUP\n  interface eth0\n  virtual_router_id {0}\n  \
                 priority {1}\n  advert_int {interval:.2}\n  virtual_ipaddress {{\n    {2}/24 dev eth0\n  }}\n}}\n",
                service + 1,
                250 - 10 * distance,
                World::service_address(service)
            );
        }
        text
    }

    /// `service start|stop NAME`: notes the call in `scripts.log` of the server on which it runs, and
    /// fails where a file `refuse-NAME` stands there; a program `serve-NAME` there is the server that it
    /// starts and stops. Which server that is, its card tells.
    fn service_script(&self) -> String {
        format!(
            "#!/bin/sh\nset -eu\nIFS=: read -r _ _ _ _ _ number < /sys/class/net/eth1/address\n\
             here={}/web$((0x$number))\necho \"$1 $2\" >> \"$here/scripts.log\"\n\
             [ ! -x \"$here/serve-$2\" ] || exec \"$here/serve-$2\" \"$1\"\n\
             [ \"$1\" = stop ] || [ ! -e \"$here/refuse-$2\" ]\n",
            self.directory.display()
        )
    }

    /// What the daemon of a server says of the cluster (`diehard --json status`).
    pub fn status(&self, index: usize) -> Outcome<serde_json::Value> {
        let said = self.diehard(index, &["--json", "status"])?;
        serde_json::from_str(&said).map_err(|error| format!("status of {}: {error}", self.nodes[index].name))
    }

    /// Runs `diehard` against the daemon of a server.
    pub fn diehard(&self, index: usize, arguments: &[&str]) -> Outcome<String> {
        let socket = self.node_directory(index).join("run/control.sock").display().to_string();
        let words: Vec<&str> = ["-s", socket.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        run(&binary("diehard"), &words)
    }

    /// The end of the daemon's log, for whom a failure puzzles.
    pub fn log_tail(&self, index: usize, lines: usize) -> String {
        let log = fs::read(self.node_directory(index).join("daemon.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// A binary of this build: `target/release/NAME` beside `target/release/examples/lab`.
pub fn binary(name: &str) -> String {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("target/release/examples/lab"));
    let directory = own.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    directory.join(name).display().to_string()
}

/// Milliseconds with one decimal.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn nginx(name: &str) -> String {
    format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid nginx.pid;\nerror_log nginx-error.log;\nevents {{ worker_connections 512; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path tmp-body;\n  proxy_temp_path tmp-proxy;\n  \
         fastcgi_temp_path tmp-fastcgi;\n  uwsgi_temp_path tmp-uwsgi;\n  scgi_temp_path tmp-scgi;\n  \
         server {{\n    listen 80 reuseport backlog=512;\n    default_type text/plain;\n    \
         location / {{ return 200 \"{name} $server_addr\\n\"; }}\n  }}\n}}\n"
    )
}

/// The port of the nginx that `serve-www2` starts.
pub const SERVED_PORT: u16 = 8080;

/// One process in the background, so that its end is the server's end.
fn single_nginx(name: &str) -> String {
    nginx(name)
        .replace("daemon off;", "daemon on;\nmaster_process off;")
        .replace("pid nginx.pid;", "pid www2.pid;")
        .replace("listen 80 reuseport", &format!("listen {SERVED_PORT}"))
}

/// `serve-www2 start|stop`. A zombie does not live: where nobody reaps, a signal still reaches it.
fn serving_script(directory: &Path) -> String {
    format!(
        "#!/bin/sh\ncd {}\n\
         alive() {{ [ -s www2.pid ] && read -r _ _ state _ < \"/proc/$(cat www2.pid)/stat\" && [ \"$state\" != Z ]; }}\n\
         if [ \"$1\" = start ]; then alive 2>/dev/null || exec nginx -e nginx-error.log -p ./ -c www2.conf; exit 0; fi\n\
         while alive 2>/dev/null; do kill \"$(cat www2.pid)\"; sleep 0.02; done\nrm -f www2.pid\n",
        directory.display()
    )
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> Outcome<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| format!("{}: {error}", path.display()))
}
