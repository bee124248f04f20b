//! `disk`: read-only, full, out of inodes, or a write that does not reach it. It may hang as long as the disk does.

use crate::os::disk::{filling, write_through};
use crate::os::errors::why;
use crate::recovery::Finding;
use std::path::Path;

/// How full it may be where the file says nothing.
const DEFAULT_PERCENT: f64 = 95.0;

pub(super) fn look(target: &str, name: &str) -> Finding {
    let (path, limit) = parts(target);
    let path = Path::new(path);
    let shown = path.display();
    let filling = match filling(path) {
        Ok(filling) => filling,
        Err(error) => return Finding::bad(format!("{shown}: {}", why(&error))),
    };
    if filling.read_only {
        return Finding::bad(format!("{shown} is mounted read-only"));
    }
    if filling.space > limit {
        return Finding::bad(format!("{shown} is {:.0}% full, {limit}% is the limit", filling.space));
    }
    if let Some(inodes) = filling.inodes.filter(|inodes| *inodes > limit) {
        return Finding::bad(format!("{shown} has {inodes:.0}% of its inodes in use, {limit}% is the limit"));
    }
    match write_through(path, &format!("diehard-{name}")) {
        Ok(()) => Finding::well(format!("{shown} is {:.0}% full", filling.space)),
        Err(error) => Finding::bad(format!("cannot write to {shown}: {}", why(&error))),
    }
}

/// `/PATH PERCENT%`
fn parts(target: &str) -> (&str, f64) {
    let given = target.rsplit_once(char::is_whitespace).and_then(|(path, limit)| {
        let percent = limit.strip_suffix('%')?.parse().ok()?;
        Some((path.trim_end(), percent))
    });
    given.unwrap_or((target, DEFAULT_PERCENT))
}
