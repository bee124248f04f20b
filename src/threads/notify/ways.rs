//! The three ways to tell: a command, the local sendmail, HTTP POST. Each blocks for the target's timeout at most.

use super::notice::Notice;
use crate::config::{Notify, NotifyWay};
use crate::os::doorbell::Doorbell;
use crate::os::process::{self, Outcome};
use ureq::Agent;

/// Says who tells, in the server's log.
const USER_AGENT: &str = concat!("diehard/", env!("CARGO_PKG_VERSION"));

/// One attempt.
///
/// # Errors
/// Why it counts as not told. It may have been heard all the same.
pub fn tell(to: &Notify, notice: &Notice, call_off: &Doorbell) -> Result<(), String> {
    match to.way {
        NotifyWay::Command => run(to, &to.target, &notice.json(), notice, call_off),
        NotifyWay::Mail => {
            // -i: a line with a single dot is no end.
            let path = to.sendmail.display().to_string().replace('\'', r"'\''");
            let recipients: Vec<&str> = to.target.split(',').map(str::trim).collect();
            run(to, &format!("exec '{path}' -t -i"), &notice.mail(&recipients.join(", ")), notice, call_off)
        }
        NotifyWay::Webhook => post(to, &notice.json()),
    }
}

fn run(to: &Notify, command: &str, input: &[u8], notice: &Notice, call_off: &Doorbell) -> Result<(), String> {
    let environment = notice.environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let say = |line: &str| log::info!("notify {}: {line}", to.name);
    match process::feed(command, input, &environment, to.timeout, call_off, say) {
        Ok(Outcome::Done) => Ok(()),
        Ok(Outcome::Failed(code)) => Err(format!("exit code {code}")),
        Ok(Outcome::Killed(signal)) => Err(format!("ended by signal {signal}")),
        Ok(Outcome::TimedOut) => Err(format!("not done within {} ms, ended", to.timeout.as_millis())),
        Ok(Outcome::CalledOff) => Err("called off".to_owned()),
        Err(error) => Err(format!("cannot be run: {error}")),
    }
}

/// 2xx is an answer; a redirect of a POST is not followed.
fn post(to: &Notify, body: &[u8]) -> Result<(), String> {
    let config = Agent::config_builder()
        .timeout_global(Some(to.timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        // The receiver is told, not who the environment of this daemon names.
        .proxy(None)
        .user_agent(USER_AGENT)
        .build();
    let request = Agent::new_with_config(config).post(&to.target).content_type("application/json");
    let status = request.send(body).map_err(|error| error.to_string())?.status();
    if status.is_success() { Ok(()) } else { Err(format!("HTTP status {}", status.as_u16())) }
}
