//! What happens to checks in words, for the log and `diehard events`, and as fields, for programs. PURE.
//!
//! The thread `checks` calls it, once for each of them.

use super::event_words::{object, service_name};
use crate::config::{Check, CheckScope, Config, PolicyStep, step};
use serde_json::{Map, Value, json};

/// Something that happened to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEvent {
    /// `fail` results in a row were bad.
    Failing,
    /// `rise` results in a row were good again.
    Recovered,
    /// `fail` results in a row were well with a warning.
    Warns,
    /// `rise` results in a row were well without one.
    WarnsNoMore,
    /// A step of its policy is taken.
    Step(PolicyStep),
    /// No step of its policy has a budget left.
    Exhausted,
    /// The service was stopped and started.
    Restarted,
    /// The start after the stop failed, or could not be ordered.
    RestartFailed,
    /// It was to move, and is here still: no other node is fit.
    Stays,
    /// The step could not be taken.
    Refused(PolicyStep, String),
    /// Its worker hangs.
    Hangs,
}

/// One line. `message` is what the check's last result said.
pub fn check_text(config: &Config, check: &Check, event: &CheckEvent, message: &str) -> String {
    let name = &check.name;
    let concerned = concerned(config, check);
    match event {
        CheckEvent::Failing => format!("check {name} of {concerned} fails: {message}"),
        CheckEvent::Recovered => format!("check {name} of {concerned} is well again: {message}"),
        CheckEvent::Warns => format!("check {name} of {concerned} warns: {message}"),
        CheckEvent::WarnsNoMore => format!("check {name} of {concerned} warns no more: {message}"),
        CheckEvent::Step(taken) => {
            let what = match taken {
                PolicyStep::Alert => format!("ALERT for {concerned}"),
                PolicyStep::Restart { .. } => format!("{concerned} is restarted ({})", step(taken)),
                PolicyStep::Move => format!("{concerned} shall move to another node"),
                PolicyStep::Standby => "this node goes on standby".to_owned(),
                PolicyStep::Reboot => "this machine is RESTARTED".to_owned(),
            };
            format!("check {name}: {what}: {message}")
        }
        CheckEvent::Exhausted => {
            format!("check {name} of {concerned} goes on failing, nothing is left to try: {message}")
        }
        CheckEvent::Restarted => format!("check {name}: {concerned} was restarted"),
        CheckEvent::RestartFailed => format!("check {name}: {concerned} could not be restarted"),
        CheckEvent::Stays => format!("check {name}: {concerned} stays here, no other node is fit for it"),
        CheckEvent::Refused(wanted, why) => format!("check {name}: {} was refused: {why}", step(wanted)),
        CheckEvent::Hangs => format!("check {name} of {concerned} does not come back: {message}"),
    }
}

/// `event` (its name) and everything that belongs to it.
pub fn check_fields(config: &Config, check: &Check, event: &CheckEvent, message: &str) -> Map<String, Value> {
    let (word, extra) = match event {
        CheckEvent::Failing => ("check-failing", json!({})),
        CheckEvent::Recovered => ("check-recovered", json!({})),
        CheckEvent::Warns => ("check-warning", json!({})),
        CheckEvent::WarnsNoMore => ("check-warning-over", json!({})),
        CheckEvent::Step(taken) => ("check-step", json!({"step": step(taken)})),
        CheckEvent::Exhausted => ("check-exhausted", json!({})),
        CheckEvent::Restarted => ("check-restarted", json!({})),
        CheckEvent::RestartFailed => ("check-restart-failed", json!({})),
        CheckEvent::Stays => ("check-stays", json!({})),
        CheckEvent::Refused(wanted, why) => ("check-refused", json!({"step": step(wanted), "why": why})),
        CheckEvent::Hangs => ("check-hangs", json!({})),
    };
    let service = match check.scope {
        CheckScope::Node => Value::Null,
        CheckScope::Service(_) => json!(concerned(config, check)),
    };
    let mut fields =
        object(json!({"event": word, "check": check.name, "service": service, "message": message}));
    fields.extend(object(extra));
    fields
}

/// Is it bad news?
pub fn is_warning(event: &CheckEvent) -> bool {
    !matches!(event, CheckEvent::Recovered | CheckEvent::Restarted | CheckEvent::WarnsNoMore)
}

/// Whom a check's failure concerns: the service's name, or `this node`.
pub fn concerned(config: &Config, check: &Check) -> String {
    match check.scope {
        CheckScope::Node => "this node".to_owned(),
        CheckScope::Service(id) => service_name(config, id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::samples;

    #[test]
    fn every_event_has_words_and_fields() {
        let config = samples::config();
        let check = config.checks.first().expect("the sample has checks");
        let restart = PolicyStep::Restart { times: 3, window: std::time::Duration::from_secs(60) };
        let events = [
            CheckEvent::Failing,
            CheckEvent::Recovered,
            CheckEvent::Warns,
            CheckEvent::WarnsNoMore,
            CheckEvent::Step(PolicyStep::Alert),
            CheckEvent::Step(restart),
            CheckEvent::Step(PolicyStep::Move),
            CheckEvent::Step(PolicyStep::Standby),
            CheckEvent::Step(PolicyStep::Reboot),
            CheckEvent::Exhausted,
            CheckEvent::Restarted,
            CheckEvent::RestartFailed,
            CheckEvent::Stays,
            CheckEvent::Refused(PolicyStep::Standby, "no".to_owned()),
            CheckEvent::Hangs,
        ];
        let mut texts = Vec::new();
        for event in &events {
            let text = check_text(&config, check, event, "500");
            let fields = check_fields(&config, check, event, "500");
            assert!(text.contains(&check.name), "{text}");
            assert_eq!(fields["check"], check.name.as_str());
            assert_eq!(fields["message"], "500");
            assert!(!texts.contains(&text), "{text}");
            texts.push(text);
        }
        let fields = check_fields(&config, check, &CheckEvent::Step(restart), "500");
        assert_eq!((&fields["event"], &fields["step"]), (&json!("check-step"), &json!("restart:3/1min")));
    }
}
