//! The lines on the control socket: one JSON request a line, one JSON answer a line. PURE.
//!
//! ```text
//! → {"version":1,"request":"status"}
//! ← {"version":1,"ok":true,"result":{…}}
//! → {"version":1,"request":"move","service":"www1","node":"web2"}
//! ← {"version":1,"ok":false,"error":"web2 is down"}
//! → {"version":1,"request":"events","follow":true,"since":17}
//! ← {"version":1,"ok":true,"result":{"events":[…],"missed":0}}     and again whenever something happens
//! ```
//! A connection may ask many questions, one after the other; after `events` with `follow` it only listens.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Of this protocol; a request of another version is answered with an error that names both.
pub const VERSION: u32 = 1;
/// Longest request line in bytes, newline included: a configuration of the greatest length as JSON.
pub const REQUEST_BYTES_MAX: usize = 640 << 10;
/// Longest answer line in bytes that a client takes: 64 nodes with 256 services need under 200 kB.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase", deny_unknown_fields)]
pub enum Question {
    /// The object of `diehard status --json`.
    Status,
    /// What the daemon measures about itself and its links.
    Vitals,
    /// The object of `diehard why SERVICE --json`.
    Why {
        /// Name.
        service: String,
    },
    /// What happened.
    Events {
        /// Go on answering.
        #[serde(default)]
        follow: bool,
        /// Only events with a greater number.
        #[serde(default)]
        since: Option<u64>,
        /// At most so many, the newest.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Run a check now, beside its schedule.
    Check {
        /// Name.
        check: String,
    },
    /// Move a service to a node.
    Move {
        /// Name.
        service: String,
        /// Name.
        node: String,
    },
    /// Bring a service home.
    Failback {
        /// Name; none: all.
        #[serde(default)]
        service: Option<String>,
    },
    /// Take a node out of service.
    Standby {
        /// Name.
        node: String,
    },
    /// The opposite.
    Online {
        /// Name.
        node: String,
    },
    /// From here on this connection only looks: commands on it are refused. Said before the connection is
    /// handed to a process without privileges.
    Observe,
    /// No automatic moves.
    Freeze,
    /// The opposite.
    Thaw,
    /// A configuration for all nodes.
    #[serde(rename = "config-push")]
    ConfigPush {
        /// What it is called in messages: its path.
        name: String,
        /// The file.
        text: String,
        /// It goes again after so many seconds unless it is confirmed.
        #[serde(default)]
        confirm_s: Option<u64>,
    },
    /// The newest one stays.
    #[serde(rename = "config-confirm")]
    ConfigConfirm,
    /// An older one for all nodes.
    #[serde(rename = "config-rollback")]
    ConfigRollback {
        /// Which; none: the one before.
        #[serde(default)]
        version: Option<String>,
        /// As of a push.
        #[serde(default)]
        confirm_s: Option<u64>,
    },
    /// The configurations that this node has had.
    #[serde(rename = "config-history")]
    ConfigHistory,
    /// This node's and another, to be compared.
    #[serde(rename = "config-diff")]
    ConfigDiff {
        /// A node or a version; none: the file as it stands.
        #[serde(default)]
        of: Option<String>,
    },
    /// A new key for all nodes.
    #[serde(rename = "key-rotate")]
    KeyRotate,
}

impl Question {
    /// Changes nothing, whoever asks it.
    pub fn only_looks(&self) -> bool {
        matches!(self, Question::Status | Question::Events { .. } | Question::Observe)
    }
}

/// A line from the client could not be understood; `Display` is the answer's `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misunderstood(pub String);

/// One request as a line, newline included.
pub fn write_question(question: &Question) -> String {
    let mut value = serde_json::to_value(question).expect("a question has string keys only");
    value["version"] = VERSION.into();
    format!("{value}\n")
}

/// One line of a client as a question.
///
/// # Errors
/// Not JSON, another version, an unknown request, a missing or unknown field: in words.
pub fn read_question(line: &[u8]) -> Result<Question, Misunderstood> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| Misunderstood(format!("the request is not one line of JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(Misunderstood("the request is not a JSON object".into()));
    };
    match fields.remove("version") {
        Some(version) if version == VERSION => {}
        Some(version) => {
            return Err(Misunderstood(format!(
                "the request is of protocol version {version}, this daemon speaks {VERSION}"
            )));
        }
        None => return Err(Misunderstood(format!("the request names no protocol version (here {VERSION})"))),
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| Misunderstood(format!("the request is not understood: {error}")))
}

/// What the daemon answers: the result, or why not.
pub type Answer = Result<Value, String>;

/// An answer as a line, newline included.
pub fn write_answer(answer: &Answer) -> String {
    let value = match answer {
        Ok(result) => serde_json::json!({"version": VERSION, "ok": true, "result": result}),
        Err(error) => serde_json::json!({"version": VERSION, "ok": false, "error": error}),
    };
    format!("{value}\n")
}

/// One line of the daemon as an answer.
///
/// # Errors
/// It is none, or of another version: in words.
pub fn read_answer(line: &[u8]) -> Result<Answer, Misunderstood> {
    let wrong = |what: &str| Misunderstood(format!("the daemon's answer {what}"));
    let mut value: Value =
        serde_json::from_slice(line).map_err(|error| wrong(&format!("is not one line of JSON: {error}")))?;
    if value["version"] != VERSION {
        return Err(wrong(&format!(
            "is of protocol version {}, this program speaks {VERSION}",
            value["version"]
        )));
    }
    match value["ok"].as_bool() {
        Some(true) => Ok(Ok(value["result"].take())),
        Some(false) => Ok(Err(value["error"].as_str().unwrap_or("refused without a reason").to_owned())),
        None => Err(wrong("does not say whether it worked")),
    }
}

#[cfg(test)]
mod tests;
