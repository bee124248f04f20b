//! `http`: GET over HTTP/1.1. 2xx and 3xx are well; redirects are not followed, they are an answer.

use super::{no_answer, why};
use crate::recovery::Finding;
use std::time::Duration;
use ureq::{Agent, Error};

/// Says who asks, in the server's log.
const USER_AGENT: &str = concat!("diehard/", env!("CARGO_PKG_VERSION"));

pub(super) fn look(target: &str, timeout: Duration) -> Finding {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        // The server is asked, not what the environment of this daemon says.
        .proxy(None)
        .user_agent(USER_AGENT)
        .build();
    match Agent::new_with_config(config).get(target).call() {
        Ok(answer) => {
            let status = answer.status();
            let words = status.canonical_reason().map(|words| format!(" {words}")).unwrap_or_default();
            let message = format!("HTTP status {}{words}", status.as_u16());
            if status.is_success() || status.is_redirection() {
                Finding::well(message)
            } else {
                Finding::bad(message)
            }
        }
        Err(Error::Timeout(_)) => no_answer(timeout),
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => no_answer(timeout),
        Err(Error::Io(error)) => Finding::bad(why(&error)),
        Err(Error::HostNotFound) => Finding::bad("its host name is not known"),
        Err(error) => Finding::bad(error.to_string()),
    }
}
