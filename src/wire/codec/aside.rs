//! The bytes of `Aside`, drawn in `wire/aside.rs`.

use super::DecodeError;
use super::cursor::{Cursor, Wire, put_list, put_text};
use crate::wire::{Aside, Happening, MAX_ASIDE, MAX_EVENT_FIELDS, MAX_EVENT_TEXT, Sighting};
use std::net::Ipv4Addr;

impl Wire for Aside {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Aside::Events { log, now_us, after, newest, events } => {
                out.push(1);
                (*log, *now_us).put(out);
                (*after, *newest).put(out);
                put_list(events, out);
            }
            Aside::More { log, after } => {
                out.push(2);
                (*log, *after).put(out);
            }
            Aside::WhoHas { service, nonce } => {
                out.push(3);
                (*service, *nonce).put(out);
            }
            Aside::Sees { service, nonce, sightings } => {
                out.push(4);
                (*service, *nonce).put(out);
                put_list(sightings, out);
            }
        }
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(match from.take::<u8>()? {
            1 => {
                let (log, now_us) = (from.take()?, from.take()?);
                let (after, newest) = (from.take()?, from.take()?);
                let events: Vec<Happening> = from.list(MAX_ASIDE)?;
                let ascending = events.is_sorted_by(|a, b| a.number < b.number);
                let inside = events.iter().all(|event| event.number > after && event.number <= newest);
                if !ascending || !inside || newest < after {
                    return Err(DecodeError::Order);
                }
                Aside::Events { log, now_us, after, newest, events }
            }
            2 => Aside::More { log: from.take()?, after: from.take()? },
            3 => Aside::WhoHas { service: from.take()?, nonce: from.take()? },
            4 => Aside::Sees { service: from.take()?, nonce: from.take()?, sightings: from.list(MAX_ASIDE)? },
            _ => return Err(DecodeError::Value),
        })
    }
}

impl Wire for Happening {
    fn put(&self, out: &mut Vec<u8>) {
        (self.number, self.time_us).put(out);
        put_text(&self.text, MAX_EVENT_TEXT, out);
        put_text(&self.fields, MAX_EVENT_FIELDS, out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let (number, time_us) = (from.take()?, from.take()?);
        let text = from.text(MAX_EVENT_TEXT)?;
        Ok(Happening { number, time_us, text, fields: from.text(MAX_EVENT_FIELDS)? })
    }
}

impl Wire for Sighting {
    fn put(&self, out: &mut Vec<u8>) {
        u32::from(self.address).put(out);
        for mac in [self.answers, self.cached] {
            out.push(u8::from(mac.is_some()));
            out.extend(mac.iter().flatten());
        }
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let address = Ipv4Addr::from(from.take::<u32>()?);
        let mut mac = || -> Result<Option<[u8; 6]>, DecodeError> {
            if !from.take::<bool>()? {
                return Ok(None);
            }
            let mut mac = [0; 6];
            mac.copy_from_slice(from.bytes(6)?);
            Ok(Some(mac))
        };
        Ok(Sighting { address, answers: mac()?, cached: mac()? })
    }
}
