//! `[part NAME]` → draft → `Part`. Called by `parse` for each such section.

use super::{Agent, Fields, Located};
use crate::config::error::Place;
use crate::config::types::Part;
use crate::config::values;

#[derive(Debug)]
pub(in crate::config) struct PartDraft {
    pub name: String,
    pub place: Place,
    /// The service's name.
    pub service: Option<Located<String>>,
    pub start: Option<Located<String>>,
    pub stop: Option<String>,
    pub status: Option<String>,
}

pub(super) fn part(fields: &mut Fields) -> PartDraft {
    let start = fields.required("start", values::agent);
    let whole = whole(start.as_ref().map(|start| start.value.as_str()));
    PartDraft {
        name: fields.name(&[]),
        place: fields.section.place(),
        service: fields.required("service", values::reference("the name of a [service]")),
        stop: fields.or("stop", whole.clone(), values::or_none(values::agent)),
        status: fields.or("status", whole, values::or_none(values::agent)),
        start,
    }
}

impl PartDraft {
    /// With the name of its service.
    pub(super) fn finish(self) -> Option<(String, Part)> {
        let part = Part { name: self.name, start: self.start?.value, stop: self.stop, status: self.status };
        Some((self.service?.value, part))
    }
}

/// An agent can do all three: it need not be named three times.
pub(super) fn whole(start: Option<&str>) -> Option<String> {
    start.filter(|start| Agent::parse(start).is_ok_and(|agent| agent.is_whole())).map(str::to_owned)
}
