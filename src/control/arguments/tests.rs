//! The man pages say what the programs understand, no more and no less.

use super::*;
use clap::CommandFactory;
use std::collections::BTreeSet;

const PAGES: [&str; 2] = [include_str!("../../../man/diehard.8"), include_str!("../../../man/diehardd.8")];

fn commands() -> [clap::Command; 2] {
    [Arguments::command(), DaemonArguments::command()]
}

/// `-x` and `--long` of the command and everything below it, as mdoc's `Fl` writes them.
fn options_of(command: &mut clap::Command, found: &mut BTreeSet<String>) {
    command.build();
    for argument in command.get_arguments() {
        found.extend(argument.get_short().map(|short| short.to_string()));
        found.extend(argument.get_long().map(|long| format!("-{long}")));
    }
    for below in command.get_subcommands_mut() {
        options_of(below, found);
    }
}

/// Every flag that the page's macros name: `Fl x`, `Fl -long`, `Fl fv`, `Fl h | V`.
fn options_in(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with('.')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2).filter(|pair| pair[0].trim_start_matches('.') == "Fl") {
            match pair[1].strip_prefix('-') {
                Some(_) => drop(found.insert(pair[1].to_owned())),
                None => found.extend(pair[1].chars().map(|letter| letter.to_string())),
            }
        }
        if let [.., "|", last] = words.as_slice()
            && words[0] == ".Fl"
        {
            found.insert((*last).to_owned());
        }
    }
    found
}

#[test]
fn the_definitions_are_sound() {
    commands().into_iter().for_each(clap::Command::debug_assert);
}

#[test]
fn every_option_is_in_the_man_page_and_no_other() {
    for (mut command, page) in commands().into_iter().zip(PAGES) {
        let mut known = BTreeSet::new();
        options_of(&mut command, &mut known);
        assert_eq!(options_in(page), known, "{}", command.get_name());
    }
}

#[test]
fn every_command_is_in_the_man_page_and_no_other() {
    fn paths(command: &clap::Command, above: &str, found: &mut BTreeSet<String>) {
        for below in command.get_subcommands() {
            let path = format!("{above} {}", below.get_name());
            // `help` has a shadow of the whole tree below it.
            if below.get_subcommands().next().is_none() || below.get_name() == "help" {
                found.insert(path.trim_start().to_owned());
            } else {
                paths(below, &path, found);
            }
        }
    }
    let mut known = BTreeSet::new();
    let mut command = Arguments::command();
    command.build();
    paths(&command, "", &mut known);
    // Every command that has commands has its own `help`; the page names the first.
    known.retain(|path| path == "help" || !path.ends_with(" help"));
    let headings = PAGES[0].lines().filter_map(|line| line.strip_prefix(".It Cm "));
    let named: BTreeSet<String> = headings
        .map(|heading| {
            let words = heading.split_whitespace();
            words.take_while(|word| !["Ar", "Op", "Oo"].contains(word)).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(named, known);
}

#[test]
fn the_arguments_of_every_command_are_in_the_man_page() {
    let mut command = Arguments::command();
    command.build();
    for below in command.get_subcommands() {
        for argument in below.get_positionals().filter(|_| below.get_name() != "help") {
            let name = argument.get_id().as_str();
            let heading =
                PAGES[0].lines().find(|line| line.starts_with(&format!(".It Cm {} ", below.get_name())));
            let heading = heading.unwrap_or_else(|| panic!("no heading for {}", below.get_name()));
            assert!(heading.contains(&format!("Ar {name}")), "{name} in {heading}");
        }
    }
}

#[test]
fn every_default_is_in_the_man_page() {
    for (mut command, page) in commands().into_iter().zip(PAGES) {
        command.build();
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let above: Vec<_> = command.get_subcommands().collect();
        let below = above.iter().flat_map(|command| command.get_subcommands());
        let arguments = [&command].into_iter().chain(above.iter().copied()).chain(below);
        for argument in arguments.flat_map(clap::Command::get_arguments) {
            for value in argument.get_default_values().iter().filter_map(|value| value.to_str()) {
                let told = ["{}.", "{},", ".Pa {} .", ".Ql {} ."].map(|it| it.replace("{}", value));
                let told = told.map(|it| format!("The default is {it}"));
                // Flags have the silent default `false`.
                if value != "false" {
                    assert!(told.iter().any(|it| page.contains(it)), "{value} in {}", command.get_name());
                }
            }
        }
    }
}

#[test]
fn both_pages_tell_the_exit_codes() {
    for (page, codes) in PAGES.into_iter().zip([4, 3]) {
        let (_, rest) = page.split_once(".Sh EXIT STATUS").expect("a section on exit codes");
        let section = rest.split(".Sh").next().expect("split gives one part at least");
        for code in 0..codes {
            assert!(section.contains(&format!(".It {code}\n")), "{code}");
        }
        assert!(!section.contains(&format!(".It {codes}\n")));
    }
}

#[test]
fn the_socket_is_in_the_run_directory() {
    let run_dir = DaemonArguments::parse_from(["diehardd"]).run_dir;
    assert_eq!(run_dir.join(crate::control::server::SOCKET_NAME), PathBuf::from(DEFAULT_SOCKET));
}
