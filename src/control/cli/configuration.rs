//! `diehard config check` and `diehard config show`: a file, looked at without the daemon.

use super::{End, json_text, refused};
use crate::config::{self, Parsed, Problem};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::Path;

/// Reports every problem of the file to `error`; says to `out` that it is right.
///
/// # Errors
/// The file cannot be read, or is wrong.
pub fn check(file: &Path, json: bool, out: &mut dyn Write, error: &mut dyn Write) -> Result<(), End> {
    let parsed = read(file, error)?;
    let config = &parsed.config;
    let text = if json {
        let warnings: Vec<String> = parsed.warnings.iter().map(Problem::to_string).collect();
        json_text(&json!({"ok": true, "warnings": warnings, "config_digest": digest(&parsed)}))
    } else {
        format!(
            "{}: right: cluster {}, {} nodes, {} services, {} checks, digest {}\n",
            file.display(),
            config.cluster.name,
            config.nodes.len(),
            config.services.len(),
            config.checks.len(),
            digest(&parsed)
        )
    };
    Ok(out.write_all(text.as_bytes())?)
}

/// Prints the file with every default filled in: what is printed parses to the same again.
///
/// # Errors
/// As `check`.
pub fn show(file: &Path, json: bool, out: &mut dyn Write, error: &mut dyn Write) -> Result<(), End> {
    let parsed = read(file, error)?;
    let text = config::print(&parsed.config);
    let text = if json { json_text(&json!({"text": text, "config_digest": digest(&parsed)})) } else { text };
    Ok(out.write_all(text.as_bytes())?)
}

fn digest(parsed: &Parsed) -> String {
    format!("{:016x}", config::digest(&parsed.config))
}

fn read(file: &Path, error: &mut dyn Write) -> Result<Parsed, End> {
    let name = file.display().to_string();
    let bytes = fs::read(file).map_err(|error| refused(format!("cannot read {name}: {error}")))?;
    // A closed standard error must not hide the exit code.
    let mut tell = |kind: &str, problem: &Problem| {
        let _ = writeln!(error, "{kind}{problem}");
    };
    match config::parse(&name, &bytes) {
        Ok(parsed) => {
            parsed.warnings.iter().for_each(|warning| tell("warning: ", warning));
            Ok(parsed)
        }
        Err(problems) => {
            problems.iter().for_each(|problem| tell("", problem));
            let count = problems.len();
            Err(refused(format!("{name}: {count} error{}", if count == 1 { "" } else { "s" })))
        }
    }
}
