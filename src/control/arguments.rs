//! The command lines of `diehardd` and `diehard`. Only definitions: `bin/diehardd.rs` and `control::cli`
//! act on them, and a test compares them with the man pages.

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the daemon's socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/diehard/control.sock";
/// Where the configuration is unless told otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/diehard.conf";
/// Where `diehard key new` writes unless told otherwise.
pub const DEFAULT_KEY: &str = "/etc/diehard.key";

/// `diehardd`: exit 0 fine, 1 failure, 2 usage or configuration.
#[derive(Debug, Clone, Parser)]
#[command(name = "diehardd", version, about = "Keeps the service addresses of a cluster alive", long_about = None)]
pub struct DaemonArguments {
    /// The configuration, the same on every node
    #[arg(short = 'c', long = "config", value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// This node's name in the configuration [default: the host's name]
    #[arg(short = 'n', long = "node", value_name = "NODE")]
    pub node: Option<String>,
    /// Stay in the foreground and log to the standard error
    #[arg(short = 'f', long = "foreground")]
    pub foreground: bool,
    /// Check the configuration and exit: 0 right, 2 wrong
    #[arg(short = 't', long = "check")]
    pub check: bool,
    /// Say more; with -t print the effective configuration
    #[arg(short = 'v', long = "verbose")]
    pub verbose: bool,
    /// Holds diehardd.pid and control.sock
    #[arg(long = "run-dir", value_name = "DIR", default_value = "/run/diehard")]
    pub run_dir: PathBuf,
    /// Holds what must survive a restart
    #[arg(long = "state-dir", value_name = "DIR", default_value = "/var/lib/diehard")]
    pub state_dir: PathBuf,
}

/// `diehard`: exit 0 done, 1 refused or failed, 2 usage, 3 daemon not reachable.
#[derive(Debug, Clone, Parser)]
#[command(name = "diehard", version, about = "Shows and steers a Diehard cluster", long_about = None)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    /// The daemon's control socket
    #[arg(short = 's', long = "socket", value_name = "SOCKET", default_value = DEFAULT_SOCKET, global = true)]
    pub socket: PathBuf,
    /// Print JSON instead of text
    #[arg(long = "json", global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `diehard`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show the whole cluster: quorum, ring, nodes, services
    Status,
    /// Show the nodes
    Nodes,
    /// Show the services and who holds them
    Services,
    /// Show why a service is where it is, and where it would go
    Why {
        /// Which service
        service: String,
    },
    /// Show the checks of this node: how they stand, and why
    Checks,
    /// Run a check now, on this node
    Check {
        /// What to do with it
        #[command(subcommand)]
        command: CheckCommand,
    },
    /// Show what happened lately
    Events {
        /// Go on showing what happens, until interrupted
        #[arg(short = 'f', long = "follow")]
        follow: bool,
        /// Only after this: an event's number, a time (2026-01-31T12:00:00Z) or an age (90s, 10m, 2h)
        #[arg(long = "since", value_name = "WHEN")]
        since: Option<String>,
        /// Show at most so many, the newest
        #[arg(long = "limit", value_name = "COUNT")]
        limit: Option<usize>,
        /// Only what happened on the answering node
        #[arg(long = "here")]
        here: bool,
    },
    /// Move a service to a node, without losing a request
    Move {
        /// Which service
        service: String,
        /// Where to
        node: String,
        /// How long to wait for it
        #[command(flatten)]
        wait: Wait,
    },
    /// Bring a service (or all) back home
    Failback {
        /// Which service
        #[arg(value_name = "SERVICE|all")]
        service: String,
        /// How long to wait for it
        #[command(flatten)]
        wait: Wait,
    },
    /// Take a node out of service: its services go elsewhere, it goes on voting
    Standby {
        /// Which node
        node: String,
        /// How long to wait for it
        #[command(flatten)]
        wait: Wait,
    },
    /// Put a node back into service
    Online {
        /// Which node
        node: String,
        /// How long to wait for it
        #[command(flatten)]
        wait: Wait,
    },
    /// Stop all automatic moves, except from the dead
    Freeze,
    /// Allow automatic moves again
    Thaw,
    /// Check, show, compare and distribute configurations
    Config {
        /// What to do with it
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show the cluster in this terminal, as it changes; q quits
    Top,
    /// Show the cluster in a browser, as it changes, and to Prometheus
    Monitor {
        /// How
        #[command(flatten)]
        options: MonitorOptions,
    },
    /// Make or change the cluster's key
    Key {
        /// What to do
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Look whether links, scheduling, sysctls, firewall, clocks, disk and files are as they should be
    Doctor,
    /// Let a service or a node fail on purpose, in the planned way, and put everything back
    Drill {
        /// Which service or node
        #[arg(value_name = "SERVICE|NODE")]
        what: String,
        /// How long the way there may take
        #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 60)]
        timeout_s: u32,
    },
    /// Collect what somebody who helps needs
    Debug {
        /// What to do
        #[command(subcommand)]
        command: DebugCommand,
    },
    /// Print a script that completes commands, options and arguments in a shell
    Completions {
        /// For which shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Run the protocol on virtual time, with faults, and judge its promises
    Simulate {
        /// Of the simulation; a wrong one prints them all
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
}

/// `diehard debug …`
#[derive(Debug, Clone, Subcommand)]
pub enum DebugCommand {
    /// Write status, events, configuration, logs and the network's state into a new directory; never the key
    Bundle {
        /// The directory to make [default: diehard-NODE-TIME]
        #[arg(value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// A shell that can complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "they are names")]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Whether a command returns when it was accepted or when it is done.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Wait {
    /// Return only when it is done, and fail if that takes longer than --timeout
    #[arg(short = 'w', long = "wait")]
    pub wait: bool,
    /// How long --wait waits
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 60, requires = "wait")]
    pub timeout_s: u32,
}

/// `diehard monitor`
#[derive(Debug, Clone, clap::Args)]
pub struct MonitorOptions {
    /// Where browsers and Prometheus find it
    #[arg(long = "listen", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8694")]
    pub listen: SocketAddr,
    /// A name by which browsers may ask for it, beside localhost and plain addresses (repeatable)
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// The user that it becomes if root starts it
    #[arg(long = "user", value_name = "USER", default_value = "nobody")]
    pub user: String,
    /// Let whoever has the token move services, freeze, and set nodes on standby
    #[arg(long = "allow-actions")]
    pub allow_actions: bool,
    /// Holds the token, readable by its owner alone [default: a new one is made and printed]
    #[arg(long = "token-file", value_name = "FILE", requires = "allow_actions")]
    pub token_file: Option<PathBuf>,
}

/// `diehard check …`
#[derive(Debug, Clone, Subcommand)]
pub enum CheckCommand {
    /// Run it once and say what it finds: 0 well, 1 not; counts for nothing
    Run {
        /// Which check
        name: String,
    },
}

/// `diehard config …`
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Report every error of the file: 0 right, 1 wrong
    Check {
        /// The configuration
        #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
        file: PathBuf,
    },
    /// Print the configuration with all defaults filled in
    Show {
        /// The configuration
        #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
        file: PathBuf,
    },
    /// Give a configuration to all nodes: all of them take it, or none does
    Push {
        /// The configuration
        #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
        file: PathBuf,
        /// Go back to the one before after this time, unless `config confirm` comes: 60s, 5m
        #[arg(long = "confirm", value_name = "TIME")]
        confirm: Option<String>,
    },
    /// Keep what was pushed with --confirm
    Confirm,
    /// Give an older version to all nodes
    Rollback {
        /// Which [default: the one before]
        #[arg(value_name = "VERSION")]
        version: Option<String>,
        /// As of push
        #[arg(long = "confirm", value_name = "TIME")]
        confirm: Option<String>,
    },
    /// Show the last ten versions that this node has had
    History,
    /// Show how the configuration in force here differs from another
    Diff {
        /// A node or a version [default: this node's file as it stands]
        #[arg(value_name = "NODE|VERSION")]
        of: Option<String>,
    },
}

/// `diehard key …`
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Write a new random key, readable by its owner alone; never overwrites
    New {
        /// Where to
        #[arg(value_name = "FILE", default_value = DEFAULT_KEY)]
        file: PathBuf,
    },
    /// Give a new key to all nodes, without any of them being misunderstood meanwhile
    Rotate {
        /// How long to wait until only the new key is in use
        #[command(flatten)]
        wait: Wait,
    },
}

#[cfg(test)]
mod tests;
