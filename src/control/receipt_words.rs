//! The receipt of a takeover in words, for the log and `diehard events`, and as fields, for programs. PURE.
//!
//! The thread `receipts` calls it, once or twice for each takeover.

use super::event_words::object;
use super::status::hardware_address;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long each step of a takeover took; `None`: it had no such step, or nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steps {
    /// From the old holder's last sign of life to the verdict.
    pub detect: Option<Duration>,
    /// From there to the state that a majority has stored.
    pub decide: Option<Duration>,
    /// From there to the address on the card.
    pub claim: Option<Duration>,
}

/// What came of asking the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// Everybody who answered sees this node; nobody could be asked if the list is empty.
    Confirmed {
        /// Who.
        by: Vec<String>,
        /// From the address on the card to the last answer.
        after: Duration,
    },
    /// Somebody sees another machine, or none.
    Doubted {
        /// Who.
        by: Vec<Doubt>,
        /// It will not be asked again.
        given_up: bool,
    },
}

/// One node that does not see this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Who.
    pub node: String,
    /// Who answered its ARP; `None`: nobody.
    pub answers: Option<[u8; 6]>,
    /// Whom its neighbour cache names, if that is not this node.
    pub cached: Option<[u8; 6]>,
}

fn steps_text(steps: Steps, confirm: Option<Duration>) -> String {
    let known =
        [("detect", steps.detect), ("decide", steps.decide), ("claim", steps.claim), ("confirm", confirm)];
    let words =
        known.iter().filter_map(|(name, took)| took.map(|took| format!("{name} {:.1} ms", millis(took))));
    words.collect::<Vec<_>>().join(", ")
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// One line.
pub fn receipt_text(service: &str, steps: Steps, receipt: &Receipt) -> String {
    match receipt {
        Receipt::Confirmed { by, after } => {
            let seen = if by.is_empty() {
                "no other node could be asked".to_owned()
            } else {
                format!("{} see it here", by.join(", "))
            };
            let confirm = (!by.is_empty()).then_some(*after);
            format!("takeover of {service}: {}; {seen}", steps_text(steps, confirm))
        }
        Receipt::Doubted { by, given_up } => {
            let doubts: Vec<String> = by.iter().map(doubt_text).collect();
            let next = if *given_up {
                "it was announced again and again: look at the switch, and for static or filtered ARP"
            } else {
                "announcing again"
            };
            format!("takeover of {service} is not seen everywhere: {}; {next}", doubts.join("; "))
        }
    }
}

fn doubt_text(doubt: &Doubt) -> String {
    match (doubt.cached, doubt.answers) {
        (Some(mac), _) => format!("{}'s neighbour cache has {}", doubt.node, hardware_address(mac)),
        (None, Some(mac)) => format!("{} answers {}'s ARP", hardware_address(mac), doubt.node),
        (None, None) => format!("nobody answers {}'s ARP", doubt.node),
    }
}

/// The same for programs.
pub fn receipt_fields(service: &str, steps: Steps, receipt: &Receipt) -> Map<String, Value> {
    let ms = |took: Option<Duration>| took.map(millis);
    let fields = match receipt {
        Receipt::Confirmed { by, after } => json!({
            "event": "confirmed", "service": service, "seen_by": by,
            "detect_ms": ms(steps.detect), "decide_ms": ms(steps.decide), "claim_ms": ms(steps.claim),
            "confirm_ms": ms((!by.is_empty()).then_some(*after)),
        }),
        Receipt::Doubted { by, given_up } => {
            let doubt = |doubt: &Doubt| {
                json!({
                    "node": doubt.node, "answers": doubt.answers.map(hardware_address),
                    "cached": doubt.cached.map(hardware_address),
                })
            };
            let by: Vec<Value> = by.iter().map(doubt).collect();
            json!({"event": "doubted", "service": service, "by": by, "given_up": given_up})
        }
    };
    object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_retells_the_takeover() {
        let ms = Duration::from_millis;
        let steps =
            Steps { detect: Some(ms(134)), decide: Some(ms(21)), claim: Some(Duration::from_micros(2_340)) };
        let by = vec!["web1".to_owned(), "web4".to_owned()];
        let confirmed = Receipt::Confirmed { by, after: ms(1) };
        let expected = "takeover of www2: detect 134.0 ms, decide 21.0 ms, claim 2.3 ms, confirm 1.0 ms; web1, web4 see it here";
        assert_eq!(receipt_text("www2", steps, &confirmed), expected);
        let fields = receipt_fields("www2", steps, &confirmed);
        assert_eq!((&fields["detect_ms"], &fields["claim_ms"]), (&json!(134.0), &json!(2.34)));
        let alone = Receipt::Confirmed { by: vec![], after: ms(9) };
        let expected = "takeover of www2: claim 2.3 ms; no other node could be asked";
        assert_eq!(receipt_text("www2", Steps { claim: steps.claim, ..Steps::default() }, &alone), expected);
        assert_eq!(receipt_fields("www2", steps, &alone)["confirm_ms"], Value::Null);
    }

    #[test]
    fn a_doubt_says_whose_and_about_whom() {
        let mac = Some([2, 0, 0, 0, 0, 9]);
        let doubt = |answers, cached| Doubt { node: "web3".into(), answers, cached };
        let text = |doubt| {
            receipt_text("www2", Steps::default(), &Receipt::Doubted { by: vec![doubt], given_up: false })
        };
        let lead = "takeover of www2 is not seen everywhere: ";
        let stale = text(doubt(None, mac));
        assert_eq!(stale, format!("{lead}web3's neighbour cache has 02:00:00:00:00:09; announcing again"));
        assert!(text(doubt(mac, None)).contains("02:00:00:00:00:09 answers web3's ARP"));
        assert!(text(doubt(None, None)).contains("nobody answers web3's ARP"));
        let given_up = Receipt::Doubted { by: vec![doubt(mac, mac)], given_up: true };
        assert_eq!(
            receipt_fields("www2", Steps::default(), &given_up)["by"][0]["cached"],
            "02:00:00:00:00:09"
        );
    }
}
