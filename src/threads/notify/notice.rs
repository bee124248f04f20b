//! One notification: an event as its target hears of it, as JSON, as environment variables, as mail.

use crate::config::Severity;
use crate::control::events::Entry;
use serde_json::{Map, Value, json};

/// One notification.
#[derive(Debug, Clone)]
pub struct Notice {
    entry: Entry,
    severity: Severity,
    cluster: String,
    node: String,
    target: String,
    number: u64,
    /// How many the target lacks between the last one that it got and this.
    pub lost: u64,
}

impl Notice {
    /// The `number`-th for that target, of an event on the node `node`.
    pub fn new(
        entry: &Entry,
        severity: Severity,
        cluster: &str,
        node: &str,
        target: &str,
        number: u64,
    ) -> Self {
        let (cluster, node, target) = (cluster.to_owned(), node.to_owned(), target.to_owned());
        Notice { entry: entry.clone(), severity, cluster, node, target, number, lost: 0 }
    }

    /// For the log: `17 (down)`.
    pub fn label(&self) -> String {
        format!("{} ({})", self.number, self.word())
    }

    fn word(&self) -> &str {
        self.entry.fields.get("event").and_then(Value::as_str).unwrap_or("unknown")
    }

    /// One line, ended.
    pub fn json(&self) -> Vec<u8> {
        let Entry { sequence, time, text, fields, .. } = &self.entry;
        let whole = json!({
            "cluster": self.cluster,
            "node": self.node,
            "target": self.target,
            "number": self.number,
            "lost": self.lost,
            "sequence": sequence,
            "time": time,
            "level": self.severity.word(),
            "event": self.word(),
            "text": text,
            "fields": fields,
        });
        format!("{whole}\n").into_bytes()
    }

    /// The main fields, and each one of the event's own as `DIEHARD_EVENT_` and its name.
    pub fn environment(&self) -> Vec<(String, String)> {
        let fixed = [
            ("DIEHARD_CLUSTER", self.cluster.clone()),
            ("DIEHARD_NODE", self.node.clone()),
            ("DIEHARD_TARGET", self.target.clone()),
            ("DIEHARD_NUMBER", self.number.to_string()),
            ("DIEHARD_LOST", self.lost.to_string()),
            ("DIEHARD_SEQUENCE", self.entry.sequence.to_string()),
            ("DIEHARD_TIME", self.entry.time.clone()),
            ("DIEHARD_LEVEL", self.severity.word().to_owned()),
            ("DIEHARD_EVENT", self.word().to_owned()),
            ("DIEHARD_TEXT", one_line(&self.entry.text)),
        ];
        let fixed = fixed.into_iter().map(|(key, value)| (key.to_owned(), value));
        let own = self.entry.fields.iter().filter(|(key, _)| *key != "event").map(|(key, value)| {
            let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            (format!("DIEHARD_EVENT_{}", name.to_ascii_uppercase()), plain(value))
        });
        fixed.chain(own).collect()
    }

    /// A whole message with its header (RFC 5322), for `sendmail -t`.
    pub fn mail(&self, recipients: &str) -> Vec<u8> {
        // A header is ASCII unless it is encoded; the text below has all of it.
        let subject: String = one_line(&format!("[{}] {}: {}", self.cluster, self.node, self.entry.text))
            .chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .take(200)
            .collect();
        let mut text = format!(
            "To: {recipients}\nSubject: {subject}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: 8bit\nAuto-Submitted: auto-generated\n\n{}\n\n",
            self.entry.text
        );
        let own: Map<String, Value> =
            self.entry.fields.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let fixed = [
            ("time", self.entry.time.clone()),
            ("cluster", self.cluster.clone()),
            ("told by", self.node.clone()),
            ("level", self.severity.word().to_owned()),
            ("number", self.number.to_string()),
        ];
        for (key, value) in
            fixed.into_iter().chain(own.iter().map(|(key, value)| (key.as_str(), plain(value))))
        {
            text += &format!("{key:<16}{value}\n");
        }
        if self.lost > 0 {
            text += &format!("\n{} earlier events could not be told.\n", self.lost);
        }
        text.into_bytes()
    }
}

/// A value without JSON's quotes; nothing for null.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text),
        other => other.to_string(),
    }
}

/// What a check prints goes into headers and environments: no line may end there, and no NUL stand.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
