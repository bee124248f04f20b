//! Server-sent events: `state` (the whole picture, when it changed), `log` (what happened), `pulse` (ages, twice
//! a second). On the connection's own thread, until the client ends it or stops reading.
//!
//! A client is told the newest picture, never a backlog of old ones, so it costs its thread and its socket's
//! buffer, whatever it does; what it does not take within `READING` drops it.

use super::board::{Board, News, Seen};
use super::http;
use std::fmt::Write;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// Without any news a client hears so often that the monitor lives: longer than a pulse.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Tells the client everything, until it has gone.
///
/// # Errors
/// Always in the end: why it ended.
pub fn run(stream: &TcpStream, board: &Arc<Board>) -> io::Result<()> {
    let _viewer = board.look();
    http::write_within(stream, http::head(200, "text/event-stream", None).as_bytes(), http::READING)?;
    // How soon a browser comes back when the connection is lost.
    let mut text = "retry: 1000\n\n".to_owned();
    let mut seen = Seen::default();
    loop {
        http::write_within(stream, text.as_bytes(), http::READING)?;
        text = lines(&board.news(&mut seen, SIGN_OF_LIFE));
    }
}

fn lines(news: &News) -> String {
    let mut text = String::new();
    if !news.events.is_empty() {
        let entries: Vec<_> = news.events.iter().map(Arc::as_ref).collect();
        let entries = serde_json::to_string(&entries).expect("entries have string keys only");
        let _ = write!(text, "event: log\ndata: {entries}\n\n");
    }
    for (name, told) in [("state", &news.state), ("pulse", &news.pulse)] {
        if let Some(told) = told {
            let _ = write!(text, "event: {name}\ndata: {told}\n\n");
        }
    }
    if text.is_empty() {
        text.push_str(": alive\n\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_one_line_each_and_silence_is_told_too() {
        let board = Board::new(false);
        let mut seen = Seen::default();
        let text = lines(&board.news(&mut seen, Duration::ZERO));
        assert!(text.starts_with("event: state\ndata: {") && text.ends_with("}\n\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
        assert_eq!(lines(&board.news(&mut seen, Duration::ZERO)), ": alive\n\n");
    }
}
