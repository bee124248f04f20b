use super::*;

#[test]
fn a_person_sees_how_far_it_is_after_a_second() {
    let going = |text: &str| Progress::Going(text.to_owned());
    let mut screen = Vec::new();
    let mut shown = show(&mut screen, 0, 0, false, &going("early"));
    assert_eq!((shown, screen.len()), (0, 0));
    for second in [1, 1, 2] {
        shown = show(&mut screen, shown, second, false, &going("www1 is moving"));
    }
    show(&mut screen, shown, 2, true, &Progress::Done);
    let expected = "\r\x1b[K1 s: www1 is moving\r\x1b[K2 s: www1 is moving\r\x1b[K";
    assert_eq!(String::from_utf8_lossy(&screen), expected);
    let mut quick = Vec::new();
    show(&mut quick, 0, 0, true, &Progress::Done);
    assert!(quick.is_empty(), "what takes no second shows nothing");
}
use crate::control::status::samples::{config, lines, view};
use crate::control::status::status;

fn sample() -> Status {
    status(&view(), &config(), &lines())
}

fn going(text: &str) -> Progress {
    Progress::Going(text.into())
}

fn failed(text: &str) -> Progress {
    Progress::Failed(text.into())
}

#[test]
fn a_move_arrives_or_is_given_up() {
    let mut status = sample();
    let mut seen = false;
    assert_eq!(moved(&status, "www1", "web3", &mut seen), going("www1 is held at web1"), "not begun");
    status.services[0].state = "moving".into();
    assert_eq!(moved(&status, "www1", "web3", &mut seen), going("www1 is on its way from web1"));
    status.services[0].state = "held".into();
    assert_eq!(
        moved(&status, "www1", "web3", &mut seen),
        failed("the move of www1 to web3 was given up, it is at web1; see `diehard events`")
    );
    status.services[0].holder = Some("web3".into());
    assert_eq!(moved(&status, "www1", "web3", &mut seen), Progress::Done);
    status.services[0].state = "failed".into();
    status.services[0].holder = None;
    assert_eq!(
        moved(&status, "www1", "web3", &mut seen),
        failed("www1 failed on every node that may serve it")
    );
    assert_eq!(
        moved(&status, "www9", "web3", &mut seen),
        failed("the service www9 is gone from the configuration")
    );
}

#[test]
fn home_is_where_the_configuration_says() {
    let mut status = sample();
    assert_eq!(at_home(&status, Some("www1")), Progress::Done);
    assert_eq!(at_home(&status, Some("www2")), going("www2 is held at web3"));
    assert_eq!(at_home(&status, None), going("www2 is held at web3"));
    status.services[1].home = Some("any".into());
    assert_eq!(at_home(&status, None), Progress::Done);
    assert_eq!(at_home(&status, Some("www9")), failed("the service www9 is gone from the configuration"));
}

#[test]
fn standby_is_reached_when_nothing_is_held() {
    let mut status = sample();
    assert_eq!(on_standby(&status, "web3"), going("web3 is up"));
    assert_eq!(in_service(&status, "web3"), Progress::Done);
    status.nodes[2].state = "standby".into();
    assert_eq!(on_standby(&status, "web3"), going("www2 is held at web3, www3 is held at web3"));
    assert_eq!(in_service(&status, "web3"), going("web3 is standby"));
    status.services.iter_mut().for_each(|service| service.holder = Some("web1".into()));
    assert_eq!(on_standby(&status, "web3"), Progress::Done);
    assert_eq!(on_standby(&status, "web9"), failed("the node web9 is gone from the configuration"));
    assert_eq!(in_service(&status, "web9"), failed("the node web9 is gone from the configuration"));
}

#[test]
fn a_change_of_keys_is_over_when_it_waits_for_nobody() {
    let mut status = sample();
    assert_eq!(one_key(&status), Progress::Done);
    status.key_change_waits_for = Some(vec!["web2".into(), "web3".into()]);
    assert_eq!(one_key(&status), going("waits for web2, web3"));
    status.key_change_waits_for = Some(Vec::new());
    assert_eq!(one_key(&status), going("all have the new key"));
}
