//! `diehard why` for people at three in the morning: where it is, what brought it there, what would come next. PURE.

use super::{Candidate, Check, Why};
use crate::control::table::{Look, Paint, duration_text, header, table};
use std::fmt::Write;

/// `diehard why SERVICE`
pub fn why_text(why: &Why, look: Look) -> String {
    let mut text = headline(why, look);
    let _ = writeln!(text, "\n{}", look.paint(Paint::Dim, "WHAT MOVED IT LATELY"));
    if why.moves.is_empty() {
        let _ = writeln!(text, "nothing, as far as {} has heard since its daemon started", why.node);
    }
    for step in &why.moves {
        let _ = writeln!(text, "{}  {}", look.paint(Paint::Dim, &step.time), step.text);
    }
    if why.candidates.is_empty() {
        let _ = writeln!(text, "\n{} is not in the cluster: it cannot say where it could go", why.node);
    } else {
        let _ = write!(text, "\n{}\n{}\n", candidates_text(&why.candidates, look), next_text(why, look));
    }
    if !why.checks.is_empty() {
        let _ = writeln!(text, "\n{}", look.paint(Paint::Dim, &format!("CHECKS, AS {} SEES THEM", why.node)));
        for check in &why.checks {
            text.push_str(&check_text(check, look));
        }
    }
    text
}

fn headline(why: &Why, look: Look) -> String {
    let name = look.paint(Paint::Bold, &why.service);
    let place = match (&why.holder, why.state.as_str()) {
        (Some(holder), "held") => format!("is held by {}", look.paint(Paint::Bold, holder)),
        (Some(holder), state) => format!("is {state}, by the table at {}", look.paint(Paint::Bold, holder)),
        (None, state) => look.paint(Paint::Red, &format!("is {state}: nobody serves it")),
    };
    let home = match (&why.home, &why.holder) {
        (Some(home), Some(holder)) if home == holder => ", its home".to_owned(),
        (Some(home), _) if home != "any" => format!(", its home is {home}"),
        _ => String::new(),
    };
    let note =
        why.note.as_ref().map_or_else(String::new, |note| format!("\n{}", look.paint(Paint::Yellow, note)));
    format!("{name} {place}{home}{note}\n")
}

fn candidates_text(candidates: &[Candidate], look: Look) -> String {
    let mut rows = vec![header(&["NODE", "TURN", "LOAD", "WITH IT", "CAPACITY", "REMARKS"])];
    for candidate in candidates {
        let dash = || "-".to_owned();
        let remarks = remarks(candidate);
        let paint = match (candidate.turn, remarks.is_empty()) {
            (None, _) => Paint::Red,
            (Some(_), false) => Paint::Yellow,
            (Some(_), true) => Paint::Dim,
        };
        let holds = if candidate.holds { Some("holds it".to_owned()) } else { None };
        rows.push(vec![
            (Paint::Bold, candidate.node.clone()),
            (Paint::Plain, candidate.turn.map_or_else(dash, |turn| turn.to_string())),
            (Paint::Plain, format!("{:.2}", candidate.load)),
            (Paint::Plain, format!("{:.2}", candidate.load_with)),
            (Paint::Plain, candidate.capacity.map_or_else(dash, |capacity| format!("{capacity}"))),
            (paint, holds.into_iter().chain(remarks).collect::<Vec<_>>().join("; ")),
        ]);
    }
    table(&rows, look)
}

fn remarks(candidate: &Candidate) -> Vec<String> {
    let mut remarks: Vec<String> = candidate.obstacle.iter().cloned().collect();
    if let Some(left) = candidate.failed_ms {
        remarks.push(format!("could not start it, forgotten in {}", duration_text(left)));
    }
    if candidate.cut_off {
        remarks.push("the gateway does not answer it".into());
    }
    if candidate.unfit {
        remarks.push("its check fails there".into());
    }
    match candidate.reuse_ms {
        Some(left) => remarks.push(format!(
            "comes and goes (penalty {}), used again in {}",
            candidate.penalty,
            duration_text(left)
        )),
        None if candidate.penalty > 0 => remarks.push(format!("penalty {}", candidate.penalty)),
        None => {}
    }
    remarks
}

fn next_text(why: &Why, look: Look) -> String {
    match (&why.holder, &why.next) {
        (Some(holder), Some(next)) => {
            format!("If {holder} died now, {next} would get it.")
        }
        (Some(holder), None) => {
            look.paint(Paint::Red, &format!("If {holder} died now, nobody could get it."))
        }
        (None, Some(next)) => format!("{next} is the first to get it."),
        (None, None) => look.paint(Paint::Red, "No node may hold it."),
    }
}

fn check_text(check: &Check, look: Look) -> String {
    let paint = match check.state.as_str() {
        "ok" => Paint::Green,
        "failing" => Paint::Red,
        _ => Paint::Dim,
    };
    let mut text = format!("{}  {}", look.paint(Paint::Bold, &check.name), look.paint(paint, &check.state));
    if let Some(since) = &check.since {
        let _ = write!(text, " since {since}");
    }
    if !check.message.is_empty() {
        let _ = write!(text, ": {}", check.message);
    }
    if check.bad_in_a_row > 0 {
        let _ = write!(text, " ({} of {} bad results)", check.bad_in_a_row, check.fail);
    }
    text.push('\n');
    for tried in &check.tried {
        let _ = writeln!(
            text,
            "  {} taken {} of {} times, the first is forgotten at {}",
            tried.step, tried.used, tried.of, tried.forgotten
        );
    }
    text
}
