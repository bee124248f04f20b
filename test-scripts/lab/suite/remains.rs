//! Is anything left on the machine?

use crate::namespace::{Outcome, own_directory, own_prefix, run};
use std::fs;

/// What the machine has that a lab could change.
pub struct Picture(Vec<(&'static str, String)>);

/// Looks at the machine, outside all namespaces of the lab.
pub fn look() -> Outcome<Picture> {
    Ok(Picture(vec![
        ("links", run("ip", &["-o", "link", "show"])?),
        ("addresses", strip_lifetimes(&run("ip", &["-o", "addr", "show"])?)),
        ("routes", run("ip", &["route", "show", "table", "all"])?),
    ]))
}

/// Fails if the machine is not as it was, or if anything of this lab is left.
pub fn compare(before: &Picture) -> Outcome<()> {
    let now = look()?;
    for ((what, was), (_, is)) in before.0.iter().zip(&now.0) {
        if was != is {
            return Err(format!("{what} were\n{was}and are\n{is}"));
        }
    }
    let left = crate::namespace::names(&own_prefix());
    if !left.is_empty() {
        return Err(format!("namespaces {left:?} are left"));
    }
    let directory = own_directory();
    if directory.exists() {
        return Err(format!("{} is left", directory.display()));
    }
    let processes = processes_of(&directory.display().to_string());
    if processes.is_empty() { Ok(()) } else { Err(format!("processes {processes:?} are left")) }
}

/// Processes that name the lab's directory on their command line, or work in it.
fn processes_of(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) || name == std::process::id().to_string() {
            continue;
        }
        // A process that ends while it is looked at is not left.
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let place = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(directory) || place.starts_with(directory) {
            found.push(format!("{name} {}", String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// The remaining seconds of an address from a DHCP server are no difference.
fn strip_lifetimes(text: &str) -> String {
    let without = text.lines().map(|line| line.split(" valid_lft").next().unwrap_or(line).trim_end());
    without.collect::<Vec<_>>().join("\n") + "\n"
}
