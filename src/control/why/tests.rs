use super::*;
use crate::control::checks;
use crate::control::status::samples::*;
use crate::control::table::Look;
use crate::controller::View;

const LOOK: Look = Look { colour: false, columns: 100 };

fn of(view: &View, number: u8) -> Why {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_060);
    why(view, &config(), &lines(), www(number), now).expect("it is known")
}

#[test]
fn everything_is_told_as_an_object_that_survives_the_socket() {
    let made = of(&view_with_ground(), 2);
    assert_eq!((made.holder.as_deref(), made.home.as_deref()), (Some("web3"), Some("web2")));
    assert_eq!(made.note.as_deref(), Some("away from home: web2 is down"));
    assert_eq!(made.next.as_deref(), Some("web1"), "unfit, and the only one left");
    let step = &made.moves[0];
    assert_eq!((step.time.as_str(), step.cause.as_str()), ("2027-01-15T08:00:00.000Z", "holder-down"));
    assert_eq!(step.text, "assigned to web3 instead of web2: its holder is down");
    let turns: Vec<_> =
        made.candidates.iter().map(|it| (it.node.as_str(), it.turn, it.rank.as_str())).collect();
    assert_eq!(turns, [("web3", Some(1), "damped"), ("web1", Some(2), "unfit")]);
    assert_eq!(made.candidates[0].reuse_ms, Some(504_000.0));
    assert!(made.candidates[0].holds && made.candidates[1].unfit);
    assert_eq!((made.candidates[1].load, made.candidates[1].load_with), (1.0, 2.0));
    let value = serde_json::to_value(&made).unwrap();
    assert_eq!(serde_json::from_value::<Why>(value).unwrap(), made, "diehard reads what the daemon writes");
}

#[test]
fn people_read_it_from_top_to_bottom() {
    let expected = "\
www2 is held by web3, its home is web2
away from home: web2 is down

WHAT MOVED IT LATELY
2027-01-15T08:00:00.000Z  assigned to web3 instead of web2: its holder is down

NODE  TURN  LOAD  WITH IT  CAPACITY  REMARKS
web3  1     1.00  2.00     1         holds it; comes and goes (penalty 2400), used again in 504 s
web1  2     1.00  2.00     1         its check fails there; penalty 1000

If web3 died now, web1 would get it.
";
    assert_eq!(why_text(&of(&view_with_ground(), 2), LOOK), expected);
}

#[test]
fn checks_are_told_with_their_counts_and_what_is_forgotten_when() {
    let mut lines = lines();
    let line = lines.get_mut("www1-http").expect("a sample");
    line.standing = Standing::Failing;
    line.message = "HTTP status 500".into();
    line.bad_in_a_row = 2;
    let forgotten = line.since + Duration::from_secs(60);
    line.tried = vec![checks::Tried { step: "restart:3/1min".into(), used: 3, of: 3, forgotten }];
    let now = line.since;
    let made = why(&view_with_ground(), &config(), &lines, www(1), now).expect("it is known");
    let text = why_text(&made, LOOK);
    let end = "\nCHECKS, AS web1 SEES THEM
www1-http  failing since 2027-01-15T08:00:00.000Z: HTTP status 500 (2 of 3 bad results)
  restart:3/1min taken 3 of 3 times, the first is forgotten at 2027-01-15T08:01:00.000Z
";
    assert!(text.ends_with(end), "{text}");
    assert!(text.contains("\nnothing, as far as web1 has heard since its daemon started\n"), "{text}");
}

#[test]
fn a_node_outside_the_cluster_says_that_it_cannot_tell() {
    let text = why_text(&of(&view(), 2), LOOK);
    assert!(text.contains("web1 is not in the cluster: it cannot say where it could go\n"), "{text}");
}

#[test]
fn where_nobody_could_get_it_stands_so() {
    let mut view = view_with_ground();
    let ground = view.ground.as_mut().expect("a sample");
    ground.nodes.get_mut(&WEB1).expect("a member").obstacle = Some(Obstacle::Standby);
    let made = of(&view, 2);
    assert_eq!((made.next.as_deref(), made.candidates[1].turn), (None, None));
    let text = why_text(&made, LOOK);
    assert!(text.contains("If web3 died now, nobody could get it.\n"), "{text}");
    assert!(
        text.contains("web1  -     1.00  2.00     1         on standby; its check fails there"),
        "{text}"
    );
}

#[test]
fn a_service_that_nobody_knows_has_no_answer() {
    let view = view_with_ground();
    let unknown = ServiceId::of("nobody-s");
    assert_eq!(why(&view, &config(), &lines(), unknown, SystemTime::UNIX_EPOCH), None);
}
