//! The compound values inside packets: state, report, boot, status, command.
//!
//! ```text
//! list<T, N>  count 2, at most N; then the elements       text<N>  length 2, at most N; then UTF-8
//! option<T>   0, or 1 and T                                epoch    round 4, author 4, version 8
//!
//! State       epoch 16, lineage 8, hello interval in µs 4, probe divisor 1, longest interval in µs 4, coarsest divisor 1,
//!             frozen 1, list<member, 64>, base list<node 4, 64> (none: the members), list<slot, 256>, each strictly
//!             ascending
//! member      node 4, incarnation 8, flags 1: bit 0 standby, bit 1 leaving
//! slot        service 4, option<holder 4>, pinned 1, phase 1 (0 held, 1 prepare, 2 handover, 3 abort, 4 failed),
//!             to 4 with phases 1 to 3
//! Report      holding, ready, failed, ousted, blocked, unfit, given up: list<service 4, 256> each; external 1,
//!             leaving 1, lateness 4, option<load 4>, cut off 1
//! Vote        term 16, released 1
//! Boot        epoch 16, priority 2, may vote 1, standby 1
//! Status      name text<32>, load 4, digest 8, list<link, 16>, lateness 4, rejected 8,
//!             hardware address 6, list<stranger, 256>, measured 1, list<remark, 64>,
//!             list<moved, 32> (see `standing`), version 8, its digest 8, key 8, next key 8
//! stranger    service 4, hardware address 6, served 1
//! link        device text<15>, role 1, up 1, hears left 1, hears right 1
//! Command     1 move: service 4, node 4    2 failback: option<service 4>    3 standby: node 4
//!             4 online: node 4             5 freeze                         6 thaw
//! ```

use super::cursor::{Cursor, Wire, put_list, put_text};
use super::{
    DecodeError, MAX_DEVICE, MAX_LINKS, MAX_MEMBERS, MAX_MOVES, MAX_NAME, MAX_REMARKS, MAX_SERVICES,
};
use crate::vocabulary::{NodeId, ServiceId};
use crate::wire::{
    Boot, Command, ConfigVersion, LinkStatus, Member, Phase, Report, Slot, State, Status, Stranger, Vote,
};
use std::time::Duration;

/// Below, the heartbeat would be a storm; above, nobody would call it one. The configuration is
/// narrower (10 ms to 10 s); this only keeps a wrong number from becoming a timer.
const INTERVAL_US: std::ops::RangeInclusive<u32> = 1_000..=60_000_000;

impl Wire for State {
    fn put(&self, out: &mut Vec<u8>) {
        self.epoch.put(out);
        self.lineage.put(out);
        u32::try_from(self.hello_interval.as_micros()).unwrap_or(u32::MAX).put(out);
        self.probe_divisor.put(out);
        u32::try_from(self.longest_interval.as_micros()).unwrap_or(u32::MAX).put(out);
        self.coarsest_divisor.put(out);
        self.frozen.put(out);
        put_list(&self.members, out);
        put_list(&self.base, out);
        put_list(&self.table, out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let (epoch, lineage) = (from.take()?, from.take()?);
        let interval = from.take::<u32>()?;
        let probe_divisor = from.take()?;
        let longest = from.take::<u32>()?;
        let coarsest_divisor = from.take()?;
        let known = |divisor| matches!(divisor, 8 | 16);
        if !INTERVAL_US.contains(&interval) || !known(probe_divisor) || !known(coarsest_divisor) {
            return Err(DecodeError::Value);
        }
        if !(interval..=*INTERVAL_US.end()).contains(&longest) || coarsest_divisor > probe_divisor {
            return Err(DecodeError::Value);
        }
        let frozen = from.take()?;
        let members: Vec<Member> = from.list(MAX_MEMBERS)?;
        let base: Vec<NodeId> = from.list(MAX_MEMBERS)?;
        let table: Vec<Slot> = from.list(MAX_SERVICES)?;
        // The ring is this order: a node twice in it would be its own neighbour.
        let sorted = members.is_sorted_by(|a, b| a.id < b.id) && base.is_sorted_by(|a, b| a < b);
        if !sorted || !table.is_sorted_by(|a, b| a.service < b.service) {
            return Err(DecodeError::Order);
        }
        // One encoding: the same members are not written twice.
        if !base.is_empty() && base.iter().eq(members.iter().map(|member| &member.id)) {
            return Err(DecodeError::Value);
        }
        let hello_interval = Duration::from_micros(u64::from(interval));
        let longest_interval = Duration::from_micros(u64::from(longest));
        Ok(State {
            epoch,
            lineage,
            hello_interval,
            probe_divisor,
            longest_interval,
            coarsest_divisor,
            frozen,
            members,
            base,
            table,
        })
    }
}

impl Wire for Member {
    fn put(&self, out: &mut Vec<u8>) {
        self.id.put(out);
        self.incarnation.put(out);
        out.push(u8::from(self.standby) | u8::from(self.leaving) << 1);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let (id, incarnation) = (from.take()?, from.take()?);
        let flags = from.take::<u8>()?;
        if flags > 0b11 {
            return Err(DecodeError::Value);
        }
        Ok(Member { id, incarnation, standby: flags & 1 != 0, leaving: flags & 2 != 0 })
    }
}

impl Wire for Slot {
    fn put(&self, out: &mut Vec<u8>) {
        self.service.put(out);
        self.holder.put(out);
        self.pinned.put(out);
        let (number, to) = match self.phase {
            Phase::Held => (0, None),
            Phase::Prepare { to } => (1, Some(to)),
            Phase::Handover { to } => (2, Some(to)),
            Phase::Abort { to } => (3, Some(to)),
            Phase::Failed => (4, None),
        };
        out.push(number);
        if let Some(to) = to {
            to.put(out);
        }
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let (service, holder, pinned) = (from.take()?, from.take()?, from.take()?);
        let phase = match from.take::<u8>()? {
            0 => Phase::Held,
            1 => Phase::Prepare { to: from.take()? },
            2 => Phase::Handover { to: from.take()? },
            3 => Phase::Abort { to: from.take()? },
            4 => Phase::Failed,
            _ => return Err(DecodeError::Value),
        };
        Ok(Slot { service, holder, phase, pinned })
    }
}

impl Wire for Report {
    fn put(&self, out: &mut Vec<u8>) {
        for services in [&self.holding, &self.ready, &self.failed, &self.ousted] {
            put_list(services, out);
        }
        for services in [&self.blocked, &self.unfit, &self.given_up] {
            put_list(services, out);
        }
        self.external_ok.put(out);
        self.leaving.put(out);
        self.lateness_us.put(out);
        self.load_permille.put(out);
        self.cut_off.put(out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let mut services = || from.list::<ServiceId>(MAX_SERVICES);
        let (holding, ready, failed) = (services()?, services()?, services()?);
        let (ousted, blocked) = (services()?, services()?);
        let (unfit, given_up) = (services()?, services()?);
        let (external_ok, leaving, lateness_us) = (from.take()?, from.take()?, from.take()?);
        let (load_permille, cut_off) = (from.take()?, from.take()?);
        let lists = Report { holding, ready, failed, ousted, blocked, unfit, given_up, ..Report::default() };
        Ok(Report { external_ok, leaving, lateness_us, load_permille, cut_off, ..lists })
    }
}

impl Wire for Vote {
    fn put(&self, out: &mut Vec<u8>) {
        self.term.put(out);
        self.released.put(out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Vote { term: from.take()?, released: from.take()? })
    }
}

impl Wire for Boot {
    fn put(&self, out: &mut Vec<u8>) {
        self.remembers.put(out);
        self.priority.put(out);
        self.may_vote.put(out);
        self.standby.put(out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let (remembers, priority) = (from.take()?, from.take()?);
        Ok(Boot { remembers, priority, may_vote: from.take()?, standby: from.take()? })
    }
}

impl Wire for Status {
    fn put(&self, out: &mut Vec<u8>) {
        put_text(&self.name, MAX_NAME, out);
        self.load_permille.put(out);
        self.config_digest.put(out);
        put_list(&self.links, out);
        self.lateness_us.put(out);
        self.rejected.put(out);
        self.mac.put(out);
        put_list(&self.strangers, out);
        self.measured.put(out);
        put_list(&self.remarks, out);
        put_list(&self.moves, out);
        for number in [self.version.number, self.version.digest, self.key, self.next_key] {
            number.put(out);
        }
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Status {
            name: from.text(MAX_NAME)?,
            load_permille: from.take()?,
            config_digest: from.take()?,
            links: from.list(MAX_LINKS)?,
            lateness_us: from.take()?,
            rejected: from.take()?,
            mac: from.take()?,
            strangers: from.list(MAX_SERVICES)?,
            measured: from.take()?,
            remarks: from.list(MAX_REMARKS)?,
            moves: from.list(MAX_MOVES)?,
            version: ConfigVersion { number: from.take()?, digest: from.take()? },
            key: from.take()?,
            next_key: from.take()?,
        })
    }
}

impl Wire for Stranger {
    fn put(&self, out: &mut Vec<u8>) {
        self.service.put(out);
        self.mac.put(out);
        self.served.put(out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Stranger { service: from.take()?, mac: from.take()?, served: from.take()? })
    }
}

impl Wire for LinkStatus {
    fn put(&self, out: &mut Vec<u8>) {
        put_text(&self.device, MAX_DEVICE, out);
        self.role.put(out);
        for flag in [self.up, self.hears_left, self.hears_right] {
            flag.put(out);
        }
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(LinkStatus {
            device: from.text(MAX_DEVICE)?,
            role: from.take()?,
            up: from.take()?,
            hears_left: from.take()?,
            hears_right: from.take()?,
        })
    }
}

impl Wire for Command {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Command::Move { service, to } => {
                out.push(1);
                service.put(out);
                to.put(out);
            }
            Command::Failback { service } => {
                out.push(2);
                service.put(out);
            }
            Command::Standby { node } => {
                out.push(3);
                node.put(out);
            }
            Command::Online { node } => {
                out.push(4);
                node.put(out);
            }
            Command::Freeze => out.push(5),
            Command::Thaw => out.push(6),
        }
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(match from.take::<u8>()? {
            1 => Command::Move { service: from.take()?, to: from.take()? },
            2 => Command::Failback { service: from.take()? },
            3 => Command::Standby { node: from.take()? },
            4 => Command::Online { node: from.take()? },
            5 => Command::Freeze,
            6 => Command::Thaw,
            _ => return Err(DecodeError::Value),
        })
    }
}
