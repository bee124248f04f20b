//! `diehard check run NAME`: asks the daemon, says what it found. Ends with the answer.

use super::{End, Session, known, refused};
use crate::control::protocol::Question;
use crate::control::table::own_checks;
use serde_json::Value;

impl Session<'_> {
    pub(super) fn run_check(&mut self, name: &str) -> Result<(), End> {
        let mut client = self.connect()?;
        let status = client.status()?;
        known("check", name, own_checks(&status).into_iter().map(|it| it.check.name.as_str()))?;
        let found = client.ask_patiently(&Question::Check { check: name.to_owned() })?;
        let text = words(name, &found);
        if self.arguments.json || found["well"] == true {
            self.say(&found, &text)?;
        }
        if found["well"] == true { Ok(()) } else { Err(refused(text)) }
    }
}

/// `check www1-http of www1 is well after 2.1 ms: HTTP status 200 OK`
fn words(name: &str, found: &Value) -> String {
    let word = |key: &str| found[key].as_str().unwrap_or_default();
    let how = match (found["well"] == true, found["warning"] == true) {
        (false, _) => "FAILS",
        (true, true) => "warns",
        (true, false) => "is well",
    };
    let took = found["took_ms"].as_f64().unwrap_or_default();
    let measured = found["performance"].as_str().map_or_else(String::new, |data| format!("\n{data}"));
    format!("check {name} of {} {how} after {took:.1} ms: {}{measured}", word("of"), word("message"))
}
