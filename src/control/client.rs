//! `diehard`'s end of the control socket.

use super::protocol::{self, ANSWER_BYTES_MAX, Answer, Question};
use super::status::Status;
use super::vitals::Vitals;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The server needs at most 10 s for a command.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
    patience: Duration,
}

/// Why something did not work; `Display` is what `diehard` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Exit 1.
    Refused(String),
    /// Exit 3.
    Unreachable(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused(why) | Trouble::Unreachable(why) => f.write_str(why),
        }
    }
}

impl Client {
    /// Connects to the daemon of this machine.
    ///
    /// # Errors
    /// `Unreachable`, with the socket's path, what is wrong with it and what to do.
    pub fn connect(socket: &Path) -> Result<Client, Trouble> {
        Self::connect_for(socket, ANSWER_PATIENCE)
    }

    /// `connect`, and waits only so long for each answer.
    ///
    /// # Errors
    /// As `connect`.
    pub fn connect_for(socket: &Path, patience: Duration) -> Result<Client, Trouble> {
        let stream = UnixStream::connect(socket);
        let stream = stream.map_err(|error| Trouble::Unreachable(unreachable_text(socket, &error)))?;
        Self::adopt(socket, stream, patience)
    }

    /// A connection to the daemon at `socket` that somebody else opened.
    ///
    /// # Errors
    /// As `connect`.
    pub fn adopt(socket: &Path, stream: UnixStream, patience: Duration) -> Result<Client, Trouble> {
        stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .map_err(|error| Trouble::Unreachable(unreachable_text(socket, &error)))?;
        Ok(Client { socket: socket.to_owned(), stream: BufReader::new(stream), patience })
    }

    /// The connection, for somebody else to go on with. Nothing is lost between two questions.
    pub fn into_stream(self) -> UnixStream {
        self.stream.into_inner()
    }

    /// One question, one answer.
    ///
    /// # Errors
    /// `Refused` with the daemon's reason, `Unreachable` if it went away or speaks nonsense.
    pub fn ask(&mut self, question: &Question) -> Result<serde_json::Value, Trouble> {
        let line = protocol::write_question(question);
        // A full server says so and closes before it was asked: the answer counts, not the failed write.
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        match (self.read_answer(), sent) {
            (Ok(answer), _) => answer.map_err(Trouble::Refused),
            (Err(_), Err(error)) => Err(self.lost(&error.to_string())),
            (Err(trouble), Ok(())) => Err(trouble),
        }
    }

    /// One question whose answer may take as long as it likes: a check's run.
    ///
    /// # Errors
    /// As `ask`.
    pub fn ask_patiently(&mut self, question: &Question) -> Result<serde_json::Value, Trouble> {
        if let Err(error) = self.stream.get_ref().set_read_timeout(None) {
            return Err(self.lost(&error.to_string()));
        }
        let answer = self.ask(question);
        // It worked just now.
        let _ = self.stream.get_ref().set_read_timeout(Some(ANSWER_PATIENCE));
        answer
    }

    /// The next line after `Question::Events` with `follow`, whenever it comes.
    ///
    /// # Errors
    /// As `ask`.
    pub fn listen(&mut self) -> Result<serde_json::Value, Trouble> {
        if let Err(error) = self.stream.get_ref().set_read_timeout(None) {
            return Err(self.lost(&error.to_string()));
        }
        self.read_answer()?.map_err(Trouble::Refused)
    }

    /// The status.
    ///
    /// # Errors
    /// As `ask`.
    pub fn status(&mut self) -> Result<Status, Trouble> {
        let value = self.ask(&Question::Status)?;
        serde_json::from_value(value)
            .map_err(|error| self.lost(&format!("its status is not understood ({error})")))
    }

    /// What the daemon measures about itself.
    ///
    /// # Errors
    /// As `ask`.
    pub fn vitals(&mut self) -> Result<Vitals, Trouble> {
        let value = self.ask(&Question::Vitals)?;
        serde_json::from_value(value)
            .map_err(|error| self.lost(&format!("its vitals are not understood ({error})")))
    }

    fn read_answer(&mut self) -> Result<Answer, Trouble> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(ANSWER_BYTES_MAX as u64);
        match bounded.read_until(b'\n', &mut line) {
            Ok(_) if line.is_empty() => Err(self.lost("it closed the connection (is it stopping?)")),
            Ok(_) if line.last() != Some(&b'\n') => Err(self.lost("its answer is cut off")),
            Ok(_) => protocol::read_answer(&line).map_err(|misunderstood| self.lost(&misunderstood.0)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(self.lost(&format!("no answer within {} s", self.patience.as_secs_f64())))
            }
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    fn lost(&self, what: &str) -> Trouble {
        Trouble::Unreachable(format!("lost the daemon at {}: {what}", self.socket.display()))
    }
}

/// Which socket, what is wrong with it, what to do.
fn unreachable_text(socket: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::NotFound => {
            "it does not exist: start the daemon (/etc/init.d/diehard start), or name its socket with -s"
        }
        ErrorKind::PermissionDenied => "it is for root alone: try again with sudo",
        ErrorKind::ConnectionRefused => {
            "it exists, but no daemon listens: it ended without clearing up; start it (/etc/init.d/diehard start)"
        }
        _ => return format!("cannot reach the daemon at {}: {error}", socket.display()),
    };
    format!("cannot reach the daemon at {}: {advice}", socket.display())
}
