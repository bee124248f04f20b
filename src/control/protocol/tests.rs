use super::*;

fn refused(line: &str) -> String {
    read_question(line.as_bytes()).expect_err(line).0
}

#[test]
fn every_question_survives_its_line() {
    let name = || "www1".to_owned();
    for question in [
        Question::Status,
        Question::Why { service: name() },
        Question::Events { follow: true, since: Some(17), limit: None },
        Question::Move { service: name(), node: "web2".into() },
        Question::Failback { service: None },
        Question::Failback { service: Some(name()) },
        Question::Standby { node: "web1".into() },
        Question::Online { node: "web1".into() },
        Question::Freeze,
        Question::Thaw,
    ] {
        let line = write_question(&question);
        assert!(line.ends_with('\n') && line.len() < REQUEST_BYTES_MAX, "{line}");
        assert_eq!(read_question(line.as_bytes()), Ok(question), "{line}");
    }
}

#[test]
fn optional_fields_may_be_left_out() {
    let line = br#"{"version":1,"request":"events"}"#;
    assert_eq!(read_question(line), Ok(Question::Events { follow: false, since: None, limit: None }));
}

#[test]
fn every_wrong_line_gets_its_own_words() {
    assert!(refused("status").starts_with("the request is not one line of JSON"));
    assert!(refused("").starts_with("the request is not one line of JSON"));
    assert_eq!(refused("[1]"), "the request is not a JSON object");
    assert_eq!(refused(r#"{"request":"status"}"#), "the request names no protocol version (here 1)");
    assert_eq!(
        refused(r#"{"version":2,"request":"status"}"#),
        "the request is of protocol version 2, this daemon speaks 1"
    );
    assert!(refused(r#"{"version":1,"request":"explode"}"#).contains("unknown variant `explode`"));
    assert!(refused(r#"{"version":1,"request":"move","service":"www1"}"#).contains("missing field `node`"));
    assert!(
        refused(r#"{"version":1,"request":"online","node":"a","force":1}"#).contains("unknown field `force`")
    );
    assert!(refused(r#"{"version":1,"request":"online","node":7}"#).contains("invalid type"));
}

#[test]
fn answers_survive_their_line() {
    let done: Answer = Ok(serde_json::json!({"name": "a\nb"}));
    let refused: Answer = Err("web2 is down".into());
    for answer in [done, refused] {
        let line = write_answer(&answer);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(read_answer(line.as_bytes()), Ok(answer));
    }
}

#[test]
fn a_strange_answer_is_not_believed() {
    let words = |line: &str| read_answer(line.as_bytes()).expect_err(line).0;
    assert!(words("{").starts_with("the daemon's answer is not one line of JSON"));
    assert_eq!(
        words(r#"{"version":9,"ok":true}"#),
        "the daemon's answer is of protocol version 9, this program speaks 1"
    );
    assert_eq!(words(r#"{"version":1}"#), "the daemon's answer does not say whether it worked");
}
