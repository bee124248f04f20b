//! The three ways to tell: a command, the local sendmail, HTTP POST. Each blocks for the target's timeout at most.

use super::notice::Notice;
use crate::config::{Notify, NotifyWay};
use crate::os::doorbell::Doorbell;
use crate::os::process::{self, Outcome};
use crate::threads::http::{self, Secure, Trust, Watched};

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
    let watched = Watched::default();
    let trust = Trust { verify: true, ca_file: to.ca_file.as_deref(), host: None };
    let secure = Secure::new(&to.target, false, trust, to.timeout, &watched)?;
    let request = http::agent(to.timeout, None, secure).post(&to.target).content_type("application/json");
    let answer = request.send(body);
    let status = answer.map_err(|error| watched.tls_problem().unwrap_or(error.to_string()))?.status();
    if status.is_success() { Ok(()) } else { Err(format!("HTTP status {}", status.as_u16())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::http::site::Site;

    #[test]
    fn a_receiver_with_tls_must_have_a_good_certificate() {
        let site = Site::with_days("webhook", 90);
        let to = Notify {
            way: NotifyWay::Webhook,
            target: format!("https://localhost:{}/hook", site.address.port()),
            ca_file: Some(site.ca_file.clone()),
            ..Notify::plain("")
        };
        assert_eq!(post(&to, b"{}"), Ok(()));
        let stranger = Notify { ca_file: None, ..to.clone() };
        let signed = "the certificate is signed by nobody whom this machine trusts";
        let nobody = "this machine trusts no signer of certificates: is ca-certificates installed?";
        let refused = post(&stranger, b"{}").expect_err("who has signed it is unknown");
        assert!([signed, nobody].contains(&refused.as_str()), "{refused}");
        let other = Notify { target: format!("https://{}/hook", site.address), ..to };
        assert_eq!(post(&other, b"{}"), Err("the certificate is not for 127.0.0.1".to_owned()));
    }
}
