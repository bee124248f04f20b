use super::*;
use crate::control::rehearsal::Rehearsal;
use crate::control::scratch::Directory;
use crate::control::status::samples::{WEB2, www};
use crate::wire::Command;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

fn request(token: &str, body: &str) -> Request {
    let headers = [("authorization", format!("Bearer {token}")), ("content-type", "application/json".into())];
    Request {
        method: "POST".into(),
        path: "/actions".into(),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        body: body.as_bytes().to_vec(),
    }
}

fn words(answer: &Answer) -> (u16, String) {
    (answer.status, String::from_utf8_lossy(&answer.body).trim().to_owned())
}

#[test]
fn the_token_opens_and_nothing_else_does() {
    let rehearsal = Rehearsal::new();
    let door = Door::own(&rehearsal.socket(), true);
    let gate = Gate::open(None).expect("a gate");
    let token = gate.new_token().expect("a new token").to_owned();
    assert_eq!(token.len(), 32);
    assert_ne!(Some(token.as_str()), Gate::open(None).expect("another").new_token());
    let body = r#"{"action":"move","service":"www1","node":"web2"}"#;
    for wrong in ["", "x", &token[1..], &token.to_uppercase().replace('A', "b")] {
        assert_eq!(gate.act(&request(wrong, body), &door).status, 403, "{wrong}");
    }
    let mut without = request(&token, body);
    without.headers.remove(0);
    assert_eq!(gate.act(&without, &door).status, 401);
    let mut form = request(&token, body);
    form.headers[1].1 = "text/plain".into();
    assert_eq!(gate.act(&form, &door).status, 415, "what a foreign form could send");
    assert!(rehearsal.commands.lock().is_empty());
    assert_eq!(words(&gate.act(&request(&token, body), &door)), (200, "accepted".into()));
    assert_eq!(*rehearsal.commands.lock(), [Command::Move { service: www(1), to: WEB2 }]);
}

#[test]
fn what_is_no_action_and_what_is_refused_says_why() {
    let mut rehearsal = Rehearsal::with(Box::new(|_, _| Some(Err("web2 is down".into()))));
    let door = Door::own(&rehearsal.socket(), true);
    let gate = Gate::open(None).expect("a gate");
    let token = gate.new_token().expect("a new token").to_owned();
    let act = |body: &str| words(&gate.act(&request(&token, body), &door));
    for wrong in ["", "{}", r#"{"action":"stop"}"#, r#"{"action":"move"}"#, r#"{"action":"freeze","x":1}"#] {
        assert_eq!(act(wrong).0, 400, "{wrong}");
    }
    assert_eq!(act(r#"{"action":"standby","node":"web2"}"#), (409, "web2 is down".into()));
    rehearsal.stop();
    let (status, why) = act(r#"{"action":"thaw"}"#);
    assert!(status == 503 && why.contains("start the daemon"), "{status} {why}");
}

#[test]
fn a_token_file_is_private_and_long_enough() {
    let directory = Directory::new("token");
    let path = directory.path.join("token");
    let refused = |what: &str| {
        let why = Gate::open(Some(&path)).err().expect("refused");
        assert!(why.contains(what) && why.contains("token"), "{why}");
    };
    refused("No such file");
    fs::write(&path, "0123456789abcdef\n").expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("changed");
    refused("others may read");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("changed");
    let gate = Gate::open(Some(&path)).expect("a gate");
    assert!(gate.lets_pass("0123456789abcdef") && gate.new_token().is_none());
    fs::write(&path, "short\n").expect("written");
    refused("at least 16 characters");
}
