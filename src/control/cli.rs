//! `diehard`: arguments in, text and exit code out. `bin/diehard.rs` calls `main`; `run` is the same without
//! the process around it, for the tests.
//!
//! Everything here runs in the foreground of a person's command and ends with it; `events -f` ends with
//! Ctrl-C, with its reader, or with the daemon.

use super::arguments::{Arguments, CheckCommand, Command, ConfigCommand, DebugCommand, KeyCommand, Wait};
use super::client::{Client, Trouble};
use super::events::Batch;
use super::key;
use super::protocol::Question;
use super::status::Status;
use super::table::{self, Look};
use super::why::{Why, why_text};
use crate::os::terminal;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

mod bundle;
mod check_run;
mod completions;
mod configuration;
mod doctor;
mod drill;
mod nearest;
mod since;
mod story;
mod versions;
mod wait;
use since::Since;

/// Exit code: done.
pub const DONE: u8 = 0;
/// Exit code: refused or failed, the reason is on the standard error.
pub const FAILED: u8 = 1;
/// Exit code: wrong usage.
pub const USAGE: u8 = 2;
/// Exit code: the daemon is not reachable.
pub const UNREACHABLE: u8 = 3;

/// The whole of the binary `diehard`.
/// Does what the arguments say, on the real standard streams.
pub fn serve(arguments: &Arguments) -> ExitCode {
    let look = Look { colour: wants_colour(), columns: columns() };
    let out = io::stdout();
    ExitCode::from(run(arguments, &mut out.lock(), &mut io::stderr(), look))
}

fn wants_colour() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !dumb && std::env::var_os("NO_COLOR").is_none()
}

/// What the environment says goes before what the terminal says; 80 columns suit logs and mails.
fn columns() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.or_else(terminal::columns).unwrap_or(80).clamp(40, 200)
}

/// Does what `arguments` say; the answer goes to `out`, reasons and warnings to `error`. Returns the exit code.
pub fn run(arguments: &Arguments, out: &mut dyn Write, error: &mut dyn Write, look: Look) -> u8 {
    let mut session = Session { arguments, out, error, look };
    let (code, why) = match session.execute() {
        Ok(()) | Err(End::ReaderGone) => return DONE,
        Err(End::Trouble(Trouble::Refused(why))) => (FAILED, why),
        Err(End::Trouble(Trouble::Unreachable(why))) => (UNREACHABLE, why),
        Err(End::Usage(why)) => (USAGE, why),
        Err(End::Output(why)) => (FAILED, format!("cannot write the answer: {why}")),
    };
    // Where the standard error is closed, the exit code has to do.
    let _ = writeln!(session.error, "diehard: {why}");
    code
}

/// Why a command ended early.
#[derive(Debug)]
enum End {
    Trouble(Trouble),
    Usage(String),
    Output(io::Error),
    /// `diehard events | head`: all that was wanted was read.
    ReaderGone,
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        End::Trouble(trouble)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { End::ReaderGone } else { End::Output(error) }
    }
}

fn refused(why: impl Into<String>) -> End {
    End::Trouble(Trouble::Refused(why.into()))
}

struct Session<'a> {
    arguments: &'a Arguments,
    out: &'a mut dyn Write,
    error: &'a mut dyn Write,
    look: Look,
}

impl Session<'_> {
    fn execute(&mut self) -> Result<(), End> {
        match &self.arguments.command {
            Command::Status => self.show(json_text, table::status_text),
            Command::Nodes => self.show(|status| json_text(&status.nodes), table::nodes_text),
            Command::Services => self.show(|status| json_text(&status.services), table::services_text),
            Command::Why { service } => self.why(service),
            Command::Checks => self.show(|status| json_text(&table::own_checks(status)), table::checks_text),
            Command::Check { command: CheckCommand::Run { name } } => self.run_check(name),
            Command::Events { follow, since, limit, here } => {
                self.events(*follow, since.as_deref(), *limit, *here)
            }
            Command::Move { service, node, wait } => self.move_service(service, node, *wait),
            Command::Failback { service, wait } => self.failback(service, *wait),
            Command::Standby { node, wait } => self.standby(node, *wait),
            Command::Online { node, wait } => self.online(node, *wait),
            Command::Freeze => {
                self.order(&Question::Freeze, "frozen: no automatic moves except from the dead")
            }
            Command::Thaw => self.order(&Question::Thaw, "thawed: automatic moves go on"),
            Command::Config { command } => self.versions(command),
            Command::Key { command: KeyCommand::Rotate { wait } } => self.rotate(*wait),
            Command::Key { command: KeyCommand::New { file } } => {
                key::write_new(file).map_err(refused)?;
                let text = format!("{}: a new key; copy it to every node, mode 0600", file.display());
                self.say(&serde_json::json!({"ok": true, "file": file}), &text)
            }
            Command::Doctor => self.doctor(),
            Command::Drill { what, timeout_s } => self.drill(what, *timeout_s),
            Command::Debug { command: DebugCommand::Bundle { directory } } => {
                self.bundle(directory.as_deref())
            }
            Command::Completions { shell } => Ok(self.out.write_all(&completions::script(*shell))?),
            Command::Monitor { .. } | Command::Top => {
                Err(End::Usage("the monitor is run by the diehard program".into()))
            }
            Command::Simulate { .. } => Err(End::Usage("the simulator is run by the diehard program".into())),
        }
    }

    /// What is asked of the daemon about configurations.
    fn versions(&mut self, command: &ConfigCommand) -> Result<(), End> {
        let question = match command {
            ConfigCommand::Push { file, confirm } => versions::push_question(file, confirm.as_deref())?,
            ConfigCommand::Confirm => Question::ConfigConfirm,
            ConfigCommand::Rollback { version, confirm } => Question::ConfigRollback {
                version: version.clone(),
                confirm_s: versions::confirm_s(confirm.as_deref())?,
            },
            ConfigCommand::History => Question::ConfigHistory,
            ConfigCommand::Diff { of } => Question::ConfigDiff { of: of.clone() },
            ConfigCommand::Check { file } => {
                return configuration::check(file, self.arguments.json, self.out, self.error);
            }
            ConfigCommand::Show { file } => {
                return configuration::show(file, self.arguments.json, self.out, self.error);
            }
        };
        for warning in versions::warnings(&question) {
            // Where the standard error is closed, the answer has to do.
            let _ = writeln!(self.error, "warning: {warning}");
        }
        let value = versions::asked(&mut self.connect()?, &question)?;
        let text = match (self.arguments.json, &question) {
            (true, _) => json_text(&value),
            (false, Question::ConfigHistory) => versions::history_text(&value),
            (false, Question::ConfigDiff { .. }) => versions::diff_text(&value, self.look),
            (false, _) => versions::pushed_text(&value) + "\n",
        };
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn connect(&self) -> Result<Client, End> {
        Ok(Client::connect(&self.arguments.socket)?)
    }

    fn show(
        &mut self,
        json: impl Fn(&Status) -> String,
        text: impl Fn(&Status, Look) -> String,
    ) -> Result<(), End> {
        let status = self.connect()?.status()?;
        let shown = if self.arguments.json { json(&status) } else { text(&status, self.look) };
        self.out.write_all(shown.as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn why(&mut self, service: &str) -> Result<(), End> {
        let mut client = self.connect()?;
        known_service(&client.status()?, service)?;
        let value = client.ask(&Question::Why { service: service.into() })?;
        let strange = |error| Trouble::Unreachable(format!("the daemon's answer is not understood: {error}"));
        let why: Why = serde_json::from_value(value).map_err(strange)?;
        let shown = if self.arguments.json { json_text(&why) } else { why_text(&why, self.look) };
        self.out.write_all(shown.as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn say(&mut self, json: &impl Serialize, text: &str) -> Result<(), End> {
        let text = if self.arguments.json { json_text(json) } else { format!("{text}\n") };
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn order(&mut self, question: &Question, done: &str) -> Result<(), End> {
        self.connect()?.ask(question)?;
        self.say(&serde_json::json!({"ok": true}), done)
    }

    fn events(
        &mut self,
        follow: bool,
        since: Option<&str>,
        limit: Option<usize>,
        here: bool,
    ) -> Result<(), End> {
        let since = since.map(Since::parse).transpose().map_err(End::Usage)?.unwrap_or(Since::Sequence(0));
        let wanted = limit.unwrap_or(usize::MAX);
        let mut client = self.connect()?;
        let here = if here { Some(client.status()?.node) } else { None };
        // The daemon counts by numbers, in the order in which it learnt of them; what is said by time or by
        // node is chosen here, and only then limited.
        let number = match since {
            Since::Sequence(number) => Some(number),
            Since::Time(_) => None,
        };
        let value = client.ask(&Question::Events { follow, since: number, limit: None })?;
        self.print_batch(value, &since, here.as_deref(), wanted)?;
        if !follow {
            return Ok(());
        }
        loop {
            let value = client.listen()?;
            self.print_batch(value, &since, here.as_deref(), usize::MAX)?;
        }
    }

    fn print_batch(
        &mut self,
        value: serde_json::Value,
        since: &Since,
        here: Option<&str>,
        limit: usize,
    ) -> Result<(), End> {
        let strange =
            |error| Trouble::Unreachable(format!("the daemon's events are not understood: {error}"));
        let batch: Batch = serde_json::from_value(value).map_err(strange)?;
        if batch.missed > 0 {
            let _ = writeln!(self.error, "diehard: {} older events are forgotten", batch.missed);
        }
        let chosen = batch.events.iter().filter(|entry| since.includes(&entry.time));
        let chosen = chosen.filter(|entry| here.is_none_or(|here| entry.node == here));
        if self.arguments.json {
            let mut entries: Vec<_> = chosen.collect();
            entries.sort_by(|a, b| a.time.cmp(&b.time));
            for entry in &entries[entries.len().saturating_sub(limit)..] {
                let line = serde_json::to_string(entry).expect("an entry has string keys only");
                writeln!(self.out, "{line}")?;
            }
            return Ok(self.out.flush()?);
        }
        let story = story::story(chosen);
        for told in &story[story.len().saturating_sub(limit)..] {
            let (time, nodes, text) = (&told.entry.time, told.nodes.join(","), &told.entry.text);
            match self.look.colour {
                true => writeln!(self.out, "\x1b[2m{time}\x1b[0m  \x1b[1m{nodes}\x1b[0m: {text}")?,
                false => writeln!(self.out, "{time}  {nodes}: {text}")?,
            }
        }
        Ok(self.out.flush()?)
    }

    fn move_service(&mut self, service: &str, node: &str, wait: Wait) -> Result<(), End> {
        let mut client = self.connect()?;
        let status = client.status()?;
        known_service(&status, service)?;
        known_node(&status, node)?;
        let mut seen_moving = false;
        let goal = |status: &Status| wait::moved(status, service, node, &mut seen_moving);
        let question = Question::Move { service: service.into(), node: node.into() };
        let accepted = format!("{service} moves to {node}");
        self.command(&mut client, &question, &accepted, wait, goal)
    }

    fn failback(&mut self, service: &str, wait: Wait) -> Result<(), End> {
        let mut client = self.connect()?;
        let name = (service != "all").then_some(service);
        if let Some(name) = name {
            known_service(&client.status()?, name)?;
        }
        let goal = |status: &Status| wait::at_home(status, name);
        let question = Question::Failback { service: name.map(str::to_owned) };
        let accepted = match name {
            Some(name) => format!("{name} goes home"),
            None => "all services go home".into(),
        };
        self.command(&mut client, &question, &accepted, wait, goal)
    }

    fn standby(&mut self, node: &str, wait: Wait) -> Result<(), End> {
        let mut client = self.connect()?;
        known_node(&client.status()?, node)?;
        let goal = |status: &Status| wait::on_standby(status, node);
        let question = Question::Standby { node: node.into() };
        self.command(&mut client, &question, &format!("{node} goes on standby"), wait, goal)
    }

    fn online(&mut self, node: &str, wait: Wait) -> Result<(), End> {
        let mut client = self.connect()?;
        known_node(&client.status()?, node)?;
        let goal = |status: &Status| wait::in_service(status, node);
        let question = Question::Online { node: node.into() };
        self.command(&mut client, &question, &format!("{node} goes back into service"), wait, goal)
    }

    fn rotate(&mut self, wait: Wait) -> Result<(), End> {
        let mut client = self.connect()?;
        let mut value = versions::asked(&mut client, &Question::KeyRotate)?;
        let mut text = versions::rotated_text(&value);
        if wait.wait {
            let after = self.wait(&mut client, wait.timeout_s, wait::one_key)?.as_millis();
            value["after_ms"] = serde_json::json!(after);
            text = format!("all nodes use the new key alone: done after {after} ms");
        }
        self.say(&value, &text)
    }

    /// Until the goal is reached; a person sees how far it is if that takes longer than a second.
    fn wait(
        &mut self,
        client: &mut Client,
        timeout_s: u32,
        goal: impl FnMut(&Status) -> wait::Progress,
    ) -> Result<std::time::Duration, End> {
        let shown = io::stderr().is_terminal() && !self.arguments.json;
        wait::until(client, timeout_s, goal, shown.then_some(&mut *self.error))
    }

    fn command(
        &mut self,
        client: &mut Client,
        question: &Question,
        accepted: &str,
        wait: Wait,
        goal: impl FnMut(&Status) -> wait::Progress,
    ) -> Result<(), End> {
        client.ask(question)?;
        if !wait.wait {
            return self.say(&serde_json::json!({"ok": true}), accepted);
        }
        let after = self.wait(client, wait.timeout_s, goal)?;
        let after_ms = after.as_millis();
        let text = format!("{accepted}: done after {after_ms} ms");
        self.say(&serde_json::json!({"ok": true, "after_ms": after_ms}), &text)
    }
}

fn json_text(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string_pretty(value).expect("only string keys") + "\n"
}

fn known_service(status: &Status, name: &str) -> Result<(), End> {
    known("service", name, status.services.iter().map(|service| service.name.as_str()))
}

fn known_node(status: &Status, name: &str) -> Result<(), End> {
    known("node", name, status.nodes.iter().map(|node| node.name.as_str()))
}

fn known<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<(), End> {
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    let all = names.clone().collect::<Vec<_>>().join(", ");
    Err(refused(match nearest::nearest(name, names) {
        Some(near) => format!("there is no {what} {name}; did you mean {near}? ({what}s: {all})"),
        None => format!("there is no {what} {name} ({what}s: {all})"),
    }))
}

#[cfg(test)]
mod tests;
