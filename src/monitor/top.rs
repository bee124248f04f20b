//! `diehard top`: the cluster in a terminal, as it changes, until q.
//!
//! The feed's two threads ask the daemon; this thread draws and hears keys. Only what changed goes to the
//! terminal, at most four times a second: a slow line is enough. The terminal is given back in every case.

use super::board::{Board, Seen};
use super::door::{Door, LOOK_PATIENCE};
use super::feed;
use crate::control::cli::{DONE, FAILED, UNREACHABLE};
use crate::os::clock;
use crate::vocabulary::Instant;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

mod draw;

/// Between two pictures: more often nobody can read it, and a slow line falls behind.
const FRAME: Duration = Duration::from_millis(250);
/// How soon a key is heard.
const KEYS: Duration = Duration::from_millis(50);

/// The whole of `diehard top`.
pub fn serve(socket: &Path) -> ExitCode {
    let (code, why) = match run(socket) {
        Ok(()) => return ExitCode::from(DONE),
        Err(End::Unreachable(why)) => (UNREACHABLE, why),
        Err(End::Failed(why)) => (FAILED, why),
    };
    // Where the standard error is closed, the exit code has to do.
    let _ = writeln!(io::stderr(), "diehard: {why}");
    ExitCode::from(code)
}

enum End {
    Unreachable(String),
    Failed(String),
}

fn run(socket: &Path) -> Result<(), End> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(End::Failed("top needs a terminal; `diehard status` prints the same once".to_owned()));
    }
    let door = Arc::new(Door::own(socket, false));
    // Whoever starts it without a daemon wants to know why, and not on a screen that goes again.
    drop(door.open(LOOK_PATIENCE).map_err(|trouble| End::Unreachable(trouble.to_string()))?);
    let board = Arc::new(Board::new(false));
    let failed = |what: &str, error: io::Error| End::Failed(format!("{what}: {error}"));
    feed::start(&door, &board).map_err(|error| failed("cannot start a thread", error))?;
    let _viewer = board.look();
    let mut terminal = ratatui::try_init().map_err(|error| failed("cannot use the terminal", error))?;
    let shown = show(&mut terminal, &board);
    ratatui::restore();
    shown.map_err(|error| failed("lost the terminal", error))
}

fn show(terminal: &mut ratatui::DefaultTerminal, board: &Board) -> io::Result<()> {
    let mut seen = Seen::default();
    let (mut next, mut stale) = (Instant::ZERO, true);
    loop {
        let news = board.news(&mut seen, Duration::ZERO);
        stale |= news.state.is_some() || news.pulse.is_some() || !news.events.is_empty();
        let now = clock::now();
        if stale && now >= next {
            let glance = board.glance();
            terminal.draw(|frame| draw::picture(frame, &glance))?;
            (next, stale) = (now + FRAME, false);
        }
        if event::poll(KEYS)? {
            match event::read()? {
                Event::Key(key) if ends(key) => return Ok(()),
                // Of another size, everything is drawn anew, and at once.
                Event::Resize(..) => (next, stale) = (Instant::ZERO, true),
                _ => {}
            }
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let ending = match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
        KeyCode::Char('c') => control,
        _ => false,
    };
    ending && key.kind != KeyEventKind::Release
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_end_it_and_nothing_else_does() {
        let key = |code, modifiers| ends(KeyEvent::new(code, modifiers));
        for code in [KeyCode::Char('q'), KeyCode::Char('Q'), KeyCode::Esc] {
            assert!(key(code, KeyModifiers::NONE), "{code:?}");
        }
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        for code in [KeyCode::Char('c'), KeyCode::Enter, KeyCode::Char('x'), KeyCode::Up] {
            assert!(!key(code, KeyModifiers::NONE), "{code:?}");
        }
    }
}
