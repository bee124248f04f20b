//! One picture of the cluster on a terminal of any size. PURE: a glance in, characters out.

use crate::control::events::Entry;
use crate::control::status::{NodeStatus, ServiceStatus, Status};
use crate::control::table;
use crate::monitor::board::Glance;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, Wrap};

/// From so many columns on, nodes and services stand side by side.
const WIDE: u16 = 130;

const ALARM: Style = Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD);
const QUIET: Style = Style::new().fg(Color::DarkGray);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const GOOD: Style = Style::new().fg(Color::Green);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// Draws all of it.
pub fn picture(frame: &mut Frame, glance: &Glance) {
    let alarms = alarms(glance);
    let alarm_lines = u16::try_from(alarms.len()).unwrap_or(u16::MAX).min(frame.area().height / 3);
    let [title, warnings, rest] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(alarm_lines), Constraint::Fill(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(title_line(glance)), title);
    let lines: Vec<Line> =
        alarms.into_iter().map(|alarm| Line::styled(format!(" {alarm} "), ALARM)).collect();
    frame.render_widget(Paragraph::new(lines), warnings);
    let Some(status) = &glance.status else { return };
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(2);
    let (nodes, services) = (rows(status.nodes.len()), rows(status.services.len()));
    let (nodes_area, services_area, events_area) = if rest.width >= WIDE {
        // A third for what happened, whatever there is to list.
        let tables = nodes.max(services).min(rest.height.saturating_sub(rest.height / 3));
        let [above, below] = Layout::vertical([Constraint::Length(tables), Constraint::Fill(1)]).areas(rest);
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(above);
        (left, right, below)
    } else {
        let room = rest.height.saturating_sub(rest.height / 4);
        let half = nodes.min(room.saturating_sub(services.min(room / 2)));
        let [one, two, three] = Layout::vertical([
            Constraint::Length(half),
            Constraint::Length(services.min(room.saturating_sub(half))),
            Constraint::Fill(1),
        ])
        .areas(rest);
        (one, two, three)
    };
    draw_nodes(frame, status, nodes_area);
    draw_services(frame, status, services_area);
    draw_events(frame, glance, events_area);
}

fn alarms(glance: &Glance) -> Vec<String> {
    if let Some(trouble) = &glance.trouble {
        let since = clock_of(&glance.since);
        return vec![
            format!("THE DAEMON DOES NOT ANSWER, since {since} UTC: what follows is OLD"),
            trouble.clone(),
        ];
    }
    let Some(status) = &glance.status else { return Vec::new() };
    let down = status.nodes.iter().filter(|node| node.state == "down");
    table::alarms(status).into_iter().chain(down.map(|node| format!("DOWN: {}", node.name))).collect()
}

fn title_line(glance: &Glance) -> Line<'static> {
    let Some(status) = &glance.status else {
        return Line::styled("diehard top · waiting for the daemon · q quits", BOLD);
    };
    let quorum = if status.quorum { Span::styled("quorum", GOOD) } else { Span::styled("NO QUORUM", BAD) };
    let controller = status.controller.as_deref().unwrap_or("none");
    Line::from(vec![
        Span::styled(status.cluster.clone(), BOLD),
        Span::raw(" · "),
        quorum,
        Span::raw(format!(
            " · controller {controller} · epoch {} · seen from {} ",
            status.epoch, status.node
        )),
        Span::styled("· q quits", QUIET),
    ])
}

fn block(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).border_style(QUIET).title(Span::styled(title, BOLD))
}

fn draw_nodes(frame: &mut Frame, status: &Status, area: Rect) {
    let row = |node: &NodeStatus| {
        let (sign, style) = node_sign(&node.state);
        let crown = if status.controller.as_ref() == Some(&node.name) { "◆" } else { "" };
        let links: Vec<String> = node
            .links
            .iter()
            .map(|link| format!("{}{}", if link.state == "up" { "" } else { "!" }, link.device))
            .collect();
        let down = node.links.iter().any(|link| link.state == "down");
        Row::new([
            Cell::from(format!("{}{crown}", node.name)).style(BOLD),
            Cell::from(format!("{sign} {}", node.state)).style(style),
            Cell::from(format!("{:.1}", node.load)),
            Cell::from(links.join(" ")).style(if down { BAD } else { Style::new() }),
            Cell::from(millis(node.heard_ms)),
            Cell::from(millis(node.round_trip_ms)),
            Cell::from(millis(node.lateness_ms)),
        ])
    };
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(9),
        Constraint::Length(5),
        Constraint::Fill(3),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let header = Row::new(["NODE", "STATE", "LOAD", "LINKS", "HEARD", "ROUND", "LATE"]).style(QUIET);
    let table = Table::new(status.nodes.iter().map(row), widths).header(header).block(block("nodes "));
    frame.render_widget(table, area);
}

fn draw_services(frame: &mut Frame, status: &Status, area: Rect) {
    let row = |service: &ServiceStatus| {
        let away =
            service.home.as_deref().is_some_and(|home| home != "any") && service.home != service.holder;
        let style = match service.state.as_str() {
            "held" if away => WARN,
            "held" => GOOD,
            "moving" => WARN,
            _ => BAD,
        };
        let holder = service.holder.as_deref().unwrap_or("nobody");
        let on = service.to.as_ref().map_or_else(|| holder.to_owned(), |to| format!("{holder}→{to}"));
        let failing = service.checks.iter().find(|check| check.state == "failing");
        let why = failing.map(|check| format!("{}: {}", check.name, check.message));
        Row::new([
            Cell::from(service.name.clone()).style(BOLD),
            Cell::from(service.state.clone()).style(style),
            Cell::from(on),
            Cell::from(service.home.clone().unwrap_or_default()),
            Cell::from(why.or_else(|| service.note.clone()).unwrap_or_else(|| service.addresses.join(" "))),
        ])
    };
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(9),
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Fill(4),
    ];
    let header = Row::new(["SERVICE", "STATE", "ON", "HOME", "WHY / ADDRESS"]).style(QUIET);
    let table = Table::new(status.services.iter().map(row), widths).header(header).block(block("services "));
    frame.render_widget(table, area);
}

/// The newest first: it is what somebody looks for, and a small window shows the top.
fn draw_events(frame: &mut Frame, glance: &Glance, area: Rect) {
    let outages = glance.outages.iter().map(|outage| {
        let from = outage.from.as_deref().unwrap_or("nobody");
        let text = match &outage.to {
            Some(to) => format!("OUTAGE of {}: {:.0} ms, {from} → {to}", outage.service, outage.outage_ms),
            None => format!("{} is served by NOBODY (was {from})", outage.service),
        };
        (outage.time.as_str(), text, BAD)
    });
    let plain = |entry: &Entry| (entry.text.clone(), Style::new());
    let events = glance.events.iter().map(|entry| {
        let (text, style) = plain(entry);
        (entry.time.as_str(), text, style)
    });
    let mut all: Vec<_> = events.chain(outages).collect();
    all.sort_by(|one, other| other.0.cmp(one.0));
    let lines = all.into_iter().take(usize::from(area.height)).map(|(time, text, style)| {
        Line::from(vec![Span::styled(format!("{} ", clock_of(time)), QUIET), Span::styled(text, style)])
    });
    let events = Paragraph::new(lines.collect::<Vec<_>>()).wrap(Wrap { trim: true });
    frame.render_widget(events.block(block("what happened (UTC) ")), area);
}

fn node_sign(state: &str) -> (&'static str, Style) {
    match state {
        "up" => ("✓", GOOD),
        "down" => ("✕", BAD),
        "standby" | "leaving" | "joining" => ("…", WARN),
        _ => ("?", WARN),
    }
}

fn millis(ms: Option<f64>) -> String {
    match ms {
        None => "–".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.0} s", ms / 1000.0),
    }
}

/// Of RFC 3339, hours to milliseconds.
fn clock_of(time: &str) -> &str {
    time.get(11..23).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Question;
    use crate::control::rehearsal::Rehearsal;
    use crate::monitor::board::Board;
    use crate::monitor::door::{Door, LOOK_PATIENCE};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn glance() -> (Board, Glance) {
        let rehearsal = Rehearsal::new();
        let mut client = Door::own(&rehearsal.socket(), false).open(LOOK_PATIENCE).expect("a daemon");
        let raw = client.ask(&Question::Status).expect("a status");
        let board = Board::new(false);
        board.answered(serde_json::from_value(raw.clone()).expect("a status"), raw);
        let glance = board.glance();
        (board, glance)
    }

    fn drawn(width: u16, height: u16, glance: &Glance) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| picture(frame, glance)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn every_size_shows_what_counts_and_none_breaks_it() {
        let (_, glance) = glance();
        for (width, height) in [(80, 24), (160, 50), (100, 30)] {
            let text = drawn(width, height, &glance);
            for word in ["www", "controller", "web1", "web2", "web3", "www1", "what happened"] {
                assert!(text.contains(word), "{word} at {width}x{height}:\n{text}");
            }
        }
        for (width, height) in [(1, 1), (20, 3), (40, 8), (300, 5), (2, 100)] {
            drawn(width, height, &glance);
        }
    }

    #[test]
    fn a_daemon_that_is_gone_is_said_first_and_what_was_known_stays() {
        let (board, _) = glance();
        board.lost("cannot reach the daemon at /run/x".to_owned());
        let text = drawn(80, 24, &board.glance());
        assert!(text.contains("THE DAEMON DOES NOT ANSWER") && text.contains("OLD"), "{text}");
        assert!(text.contains("/run/x") && text.contains("web2"), "{text}");
        let never = Board::new(false).glance();
        assert!(drawn(80, 24, &never).contains("waiting for the daemon"));
    }
}
