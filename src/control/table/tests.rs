use super::*;
use crate::control::status::samples::*;
use crate::control::status::status;

const PLAIN: Look = Look { colour: false, columns: 100 };

fn sample() -> Status {
    status(&view(), &config(), &lines())
}

#[test]
fn the_whole_status_on_one_screen() {
    let expected = "\
cluster www · quorum · controller web1 · epoch 3.17 · hello 100 ms · lease 112 ms · seen from web1

ring  +--> web1* [www1] ------+
      |                       |
      +--- web3 [www2 www3] <-+
      outside it: web2 (down)
      * the controller

NODE    STATE  PRIORITY  LOAD  CAPACITY  LINKS                       HEARD      LATE
web1 *  up     40        1.00  1         eth1 up, eth0 up            here       0.0 ms
web2    down   30        0.00  1         eth1 unknown, eth0 unknown  -          -
web3    up     20        2.00  1         eth1 up, eth0 up            37 ms ago  0.0 ms
* the controller

SERVICE  HOME  HOLDER  STATE  ADDRESSES        NOTE
www1     web1  web1    held   203.0.113.21/24
www2     web2  web3    held   203.0.113.22/24  away from home: web2 is down
www3     web3  web3    held   203.0.113.23/24
";
    assert_eq!(status_text(&sample(), PLAIN), expected);
}

#[test]
fn colours_change_nothing_but_colour() {
    let painted = status_text(&sample(), Look { colour: true, ..PLAIN });
    assert!(painted.contains("\x1b[31mdown\x1b[0m"), "{painted}");
    assert!(painted.contains("\x1b[33mheld\x1b[0m"), "away from home is not quite well: {painted}");
    let mut bare = String::new();
    for (index, part) in painted.split('\x1b').enumerate() {
        bare.push_str(if index == 0 { part } else { &part[part.find('m').unwrap() + 1..] });
    }
    assert_eq!(bare, status_text(&sample(), PLAIN));
}

#[test]
fn what_nobody_may_overlook_is_loud() {
    let mut status = sample();
    (status.quorum, status.frozen, status.controller, status.lease_ms) = (false, true, None, None);
    status.services[0].holder = None;
    status.services[0].state = "stopped".into();
    status.config_drift = vec!["web3".into()];
    status.key_change_waits_for = Some(vec!["web2".into()]);
    let text = status_text(&status, PLAIN);
    let head: Vec<&str> = text.lines().take(6).collect();
    assert_eq!(
        head,
        [
            "cluster www · no quorum · no controller · epoch 3.17 · hello 100 ms · seen from web1",
            " NO QUORUM: web1 serves nothing ",
            " FROZEN: no automatic moves except from the dead; `diehard thaw` ends it ",
            " NOT SERVED: www1 (203.0.113.21/24) ",
            " KEYS ARE BEING CHANGED: both are accepted; waits for web2 ",
            " CONFIGURATIONS DIFFER: web3 has another than the rest; `diehard config diff web3` shows it ",
        ]
    );
    assert!(!text.contains("* the controller"));
    assert!(services_text(&status, PLAIN).contains("www1     web1  nobody  stopped"), "{text}");
    let painted = status_text(&status, Look { colour: true, ..PLAIN });
    assert!(painted.contains("\x1b[1;97;41m NO QUORUM"), "{painted}");
}

#[test]
fn long_silence_is_told_in_longer_units() {
    for (millis, text) in [(37.2, "37 ms"), (9_999.0, "9999 ms"), (12_000.0, "12 s"), (900_000.0, "15 min")] {
        assert_eq!(duration_text(millis), text);
    }
}

#[test]
fn checks_are_listed_with_their_reason() {
    let mut status = sample();
    let expected = "\
CHECK      OF    TYPE  STATE  SINCE                     MESSAGE
www1-http  www1  http  ok     2027-01-15T08:00:00.000Z  HTTP status 200 OK
";
    assert_eq!(checks_text(&status, PLAIN), expected);
    let json = serde_json::to_value(own_checks(&status)).unwrap();
    assert_eq!((&json[0]["of"], &json[0]["state"]), (&serde_json::json!("www1"), &serde_json::json!("ok")));
    status.services[0].checks[0].state = "failing".into();
    status.services[0].checks[0].message = "connection refused".into();
    let loud = " CHECK FAILS on web1: www1-http of www1: connection refused ";
    assert!(status_text(&status, PLAIN).lines().any(|line| line == loud));
    status.services[0].checks.clear();
    assert_eq!(checks_text(&status, PLAIN), "no check is configured\n");
}

#[test]
fn the_forecast_is_a_line_for_each_node_and_what_is_lost_stands_at_the_top() {
    let mut view = view_with_ground();
    let show = |view: &crate::controller::View| {
        status_text(&status(view, &config(), &lines()), Look { colour: false, columns: 100 })
    };
    let text = show(&view);
    let end =
        "\nif web1 dies  www1 → web3, load then 3.00\nif web3 dies  www2, www3 → web1, load then 3.00\n";
    assert!(text.ends_with(end), "{text}");
    assert!(text.contains(" DAMPED: web3 comes and goes; it gets nothing back for 504 s \n"), "{text}");
    let ground = view.ground.as_mut().expect("a sample");
    ground.nodes.get_mut(&WEB1).expect("a member").obstacle = Some(crate::controller::Obstacle::Standby);
    let text = show(&view);
    assert!(text.ends_with("\nif web3 dies  www2, www3 → NOBODY can take it\n"), "{text}");
    assert!(text.contains(" NO SPARE: if web3 dies, services are lost; see the forecast \n"), "{text}");
}
