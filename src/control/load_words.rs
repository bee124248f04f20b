//! That a load cannot be measured, or can again, in words and as fields. PURE. The thread `load` calls it, once for
//! each change.

use super::event_words::object;
use crate::config::LoadSource;
use serde_json::{Map, Value, json};

/// One line. `why`: it cannot be measured.
pub fn load_text(source: LoadSource, why: Option<&str>) -> String {
    let word = word(source);
    match why {
        Some(why) => {
            format!("the load ({word}) cannot be measured here: {why}; this node's services are counted")
        }
        None => format!("the load ({word}) is measured here again"),
    }
}

/// `event` (its name) and what belongs to it.
pub fn load_fields(source: LoadSource, why: Option<&str>) -> Map<String, Value> {
    let word = word(source);
    object(match why {
        Some(why) => json!({"event": "load-unmeasured", "load": word, "message": why}),
        None => json!({"event": "load-measured", "load": word}),
    })
}

fn word(source: LoadSource) -> &'static str {
    match source {
        LoadSource::Services => "services",
        LoadSource::Loadavg => "loadavg",
        LoadSource::Cpu => "cpu",
        LoadSource::Connections => "connections",
        LoadSource::Script => "script",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_done_meanwhile() {
        assert_eq!(
            load_text(LoadSource::Script, Some("exit code 3")),
            "the load (script) cannot be measured here: exit code 3; this node's services are counted"
        );
        assert_eq!(load_text(LoadSource::Cpu, None), "the load (cpu) is measured here again");
        assert_eq!(load_fields(LoadSource::Cpu, None)["event"], "load-measured");
        assert_eq!(load_fields(LoadSource::Script, Some("x"))["message"], "x");
    }
}
