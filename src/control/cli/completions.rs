//! Completion scripts for shells, made from the command line's own definition. PURE.

use crate::control::arguments::{Arguments, Shell};
use clap::CommandFactory;
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, Zsh};

/// The script of one shell.
pub fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let command = &mut Arguments::command();
    match shell {
        Shell::Bash => generate(Bash, command, "diehard", &mut script),
        Shell::Zsh => generate(Zsh, command, "diehard", &mut script),
        Shell::Fish => generate(Fish, command, "diehard", &mut script),
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn every_shell_knows_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(script(shell)).expect("text");
            for command in Arguments::command().get_subcommands() {
                assert!(text.contains(command.get_name()), "{shell:?}: {}", command.get_name());
            }
            assert!(text.contains("timeout"), "{shell:?} knows options");
        }
    }

    #[test]
    fn bash_itself_completes_with_it() {
        let text = String::from_utf8(script(Shell::Bash)).expect("text");
        let ask = "COMP_WORDS=(diehard stat); COMP_CWORD=1; _diehard diehard stat diehard; echo \"${COMPREPLY[@]}\"";
        let output = Command::new("bash").args(["--norc", "-c", &format!("{text}\n{ask}")]).output();
        let output = output.expect("bash is on every machine that builds this");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "status", "{output:?}");
    }
}
