//! `http`: GET over HTTP/1.1, plain or over TLS: status, what the answer holds, and how long the certificate lasts.
//! The answer is read whole, up to a bound: a server that begins one and never ends it is not well.

use super::no_answer;
use crate::config::{Check, Redirect};
use crate::os::clock;
use crate::os::errors::why;
use crate::recovery::Finding;
use crate::threads::http::{self, Secure, Trust, Watched};
use regex_lite::Regex;
use std::io::{self, Read};
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::{Body, Error};

/// As much of an answer as is read and searched, in bytes.
const MOST_BODY: u64 = 1 << 20;
/// A longer way is a circle.
const MOST_REDIRECTS: u32 = 5;
const DAY: u64 = 86_400;

pub(super) fn look(check: &Check) -> Finding {
    let options = &check.options;
    let follows = options.redirect == Redirect::Follow;
    let trust =
        Trust { verify: options.verify, ca_file: options.ca_file.as_deref(), host: options.host.as_deref() };
    let watched = Watched::default();
    let secure = match Secure::new(&check.target, follows, trust, check.timeout, &watched) {
        Ok(secure) => secure,
        Err(why) => return Finding::bad(why),
    };
    let agent = http::agent(check.timeout, follows.then_some(MOST_REDIRECTS), secure);
    let mut request = agent.get(&check.target);
    if let Some(host) = &options.host {
        request = request.header("Host", host);
    }
    let found = match request.call() {
        Ok(mut answer) => judged(check, &mut answer),
        Err(error) => failed(&error, check.timeout, &watched),
    };
    with_certificate(check, &watched, found)
}

/// Status and content of an answer that has begun.
fn judged(check: &Check, answer: &mut Response<Body>) -> Finding {
    let status = answer.status();
    let words = status.canonical_reason().map(|words| format!(" {words}")).unwrap_or_default();
    let message = format!("HTTP status {}{words}", status.as_u16());
    if !is_good(status, &check.options.status) {
        return Finding::bad(message);
    }
    let mut body = Vec::new();
    let read = answer.body_mut().as_reader().take(MOST_BODY).read_to_end(&mut body);
    if let Err(error) = read {
        let came = body.len();
        return Finding::bad(match is_timeout(&error) {
            true => format!(
                "{message}, its content not complete within {} ms ({came} bytes came)",
                check.timeout.as_millis()
            ),
            false => format!("{message}, its content ends after {came} bytes: {}", why(&error)),
        });
    }
    match lacks(check, &String::from_utf8_lossy(&body)) {
        Some(lack) => Finding::bad(format!("{message}, but {lack}")),
        None => Finding::well(message),
    }
}

fn is_good(status: StatusCode, ranges: &[(u16, u16)]) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&status.as_u16()))
}

/// What the answer should hold and does not.
pub(super) fn lacks(check: &Check, text: &str) -> Option<String> {
    let options = &check.options;
    if let Some(wanted) = options.expect.as_ref().filter(|wanted| !text.contains(wanted.as_str())) {
        return Some(format!("the answer does not hold `{wanted}`"));
    }
    let pattern = options.expect_regex.as_ref()?;
    match Regex::new(pattern) {
        Ok(regex) if regex.is_match(text) => None,
        Ok(_) => Some(format!("nothing in the answer matches `{pattern}`")),
        // The configuration has tried it.
        Err(error) => Some(format!("`{pattern}` cannot be used: {error}")),
    }
}

fn failed(error: &Error, timeout: Duration, watched: &Watched) -> Finding {
    if let Some(why) = watched.tls_problem() {
        return Finding::bad(why);
    }
    let within = timeout.as_millis();
    match error {
        Error::Io(error) if !is_timeout(error) => Finding::bad(why(error)),
        Error::Timeout(_) | Error::Io(_) if !watched.is_connected() => {
            Finding::bad(format!("no connection within {within} ms"))
        }
        Error::Timeout(_) | Error::Io(_) if watched.shakes_hands() => {
            Finding::bad(format!("connected, but no TLS within {within} ms"))
        }
        Error::Timeout(_) | Error::Io(_) => no_answer(timeout),
        Error::HostNotFound => Finding::bad("its host name is not known"),
        Error::TooManyRedirects => Finding::bad(format!("redirected more than {MOST_REDIRECTS} times")),
        error => Finding::bad(error.to_string()),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let wrapped = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(wrapped, Some(Error::Timeout(_)))
        || matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// What the certificate adds: that it has ended explains everything else.
fn with_certificate(check: &Check, watched: &Watched, found: Finding) -> Finding {
    let Some(end) = watched.certificate_end() else { return found };
    let now = clock::wall_seconds();
    if end < now {
        return Finding::bad(format!("the certificate expired {} ago", days((now - end) / DAY)));
    }
    if !found.well {
        return found;
    }
    let left = (end - now) / DAY;
    let message = format!("{}, certificate for {}", found.message, days(left));
    if left < u64::from(check.options.certificate_days) {
        let least = days(u64::from(check.options.certificate_days));
        return Finding::bad(format!("the certificate ends in {}, {least} are the least", days(left)));
    }
    if left < u64::from(check.options.certificate_warning) {
        return Finding::warns(message);
    }
    Finding { message, ..found }
}

fn days(number: u64) -> String {
    if number == 1 { "1 day".to_owned() } else { format!("{number} days") }
}

#[cfg(test)]
mod tests;
