//! `[notify NAME]` → draft → `Notify`. Called by `parse` for each such section.

use super::{Fields, HOUR, Located, ms};
use crate::config::notify::{
    EVENTS, LEVEL, NOTIFY_WAY, Notify, NotifyWay, PLAIN_TARGET, QUEUE, RETRIES, SENDMAIL, Severity, TIMEOUT,
    event, target,
};
use crate::config::values::{self, Value};
use crate::vocabulary::ServiceId;
use std::path::PathBuf;
use std::time::Duration;

/// Services that one target may name: as many as there may be.
const MOST_SERVICES: usize = super::MAX_SERVICES;

#[derive(Debug)]
pub(in crate::config) struct NotifyDraft {
    pub name: String,
    pub way: Option<NotifyWay>,
    pub target: Option<String>,
    pub events: Vec<&'static str>,
    /// Their names; none: all.
    pub services: Option<Located<Vec<String>>>,
    pub level: Severity,
    pub timeout: Duration,
    pub retries: u32,
    pub queue: u32,
    pub sendmail: PathBuf,
    pub ca_file: Option<PathBuf>,
}

pub(super) fn notify(fields: &mut Fields) -> NotifyDraft {
    use values::{duration, number, reference};
    let way = fields.required("type", values::word(NOTIFY_WAY)).map(|way| way.value);
    let told = match way {
        Some(way) => fields.required("target", |text| target(way, text)),
        None => fields.optional("target", |text| Ok(text.to_owned())),
    };
    let services = values::list(MOST_SERVICES, reference("`all` or names of [service] sections"));
    NotifyDraft {
        name: fields.name(&[(PLAIN_TARGET, "the target of `notify` in [cluster]")]),
        way,
        target: told.map(|told| told.value),
        events: fields.or("events", Vec::new(), or_all(values::list(EVENTS.len(), event))),
        services: fields.optional("services", or_all(services)),
        level: fields.or("level", Severity::Info, values::word(LEVEL)),
        timeout: fields.or("timeout", TIMEOUT, duration(ms(100), HOUR)),
        retries: fields.or("retries", RETRIES, number(0, 1000)),
        queue: fields.or("queue", QUEUE, number(1, 10_000)),
        sendmail: fields.or("sendmail", PathBuf::from(SENDMAIL), values::path),
        ca_file: fields.or("ca_file", None, values::or_none(values::path)),
    }
}

/// `all` is no filter.
fn or_all<T>(parse: impl Fn(&str) -> Value<Vec<T>>) -> impl Fn(&str) -> Value<Vec<T>> {
    move |text| if text == "all" { Ok(Vec::new()) } else { parse(text) }
}

impl NotifyDraft {
    pub(super) fn finish(self) -> Option<Notify> {
        let services = self.services.map(|services| services.value).unwrap_or_default();
        Some(Notify {
            name: self.name,
            way: self.way?,
            target: self.target?,
            events: self.events,
            services: services.iter().map(|name| ServiceId::of(name)).collect(),
            level: self.level,
            timeout: self.timeout,
            retries: self.retries,
            queue: self.queue,
            sendmail: self.sendmail,
            ca_file: self.ca_file,
        })
    }
}
