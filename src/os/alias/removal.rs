//! How addresses of ours go: one at a time, or many in one pass; and how what the kernel takes along comes back.
//!
//! Linux deletes the other addresses of a subnet with its first one (the primary) where `promote_secondaries` is 0. So
//! many go from the last to the first, and nothing is put back before all of them are gone.

use super::*;

/// How often what is still there is removed again, before that is an error.
const PASSES: u32 = 3;

impl Card {
    /// Removes an address of ours; fine if it is not there. Whatever the kernel takes along (the other
    /// addresses of that subnet, if this was its primary and `promote_secondaries` is 0) is put back at
    /// once, as it was.
    ///
    /// # Errors
    /// EPERM: the machine has this address by itself.
    pub fn remove(&mut self, address: IpAddr) -> io::Result<()> {
        let before = self.addresses()?;
        let Some(held) = before.iter().find(|held| held.address == address) else { return Ok(()) };
        if !held.ours {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        self.take_away(held, &before)
    }

    /// By ioctl where it has a label of ours.
    pub(super) fn take_away(&mut self, held: &Held, before: &[Held]) -> io::Result<()> {
        let address = held.address;
        // By its label only where that is ours: others may give several addresses one label.
        if held.labelled {
            self.switch_off(&held.label)?;
        } else {
            gone_is_fine(self.netlink.request(deletion(held)))?;
        }
        let after = self.addresses_of(held.index)?;
        if after.iter().any(|other| other.address == address && other.prefix == held.prefix) {
            return Err(io::Error::other(format!("{address} is still there after its removal")));
        }
        let lost = before.iter().filter(|held| held.address != address);
        for held in lost.filter(|held| !after.iter().any(|other| other.address == held.address)) {
            self.restore(held)?;
        }
        Ok(())
    }

    /// Takes back what was made a moment ago, without reading the card, for which there is no time. What does not go is still
    /// there when it is read next.
    pub(super) fn unmake(&mut self, index: u32, address: IpAddr, prefix: u8, label: Option<&str>) {
        let _ = match label {
            Some(label) => self.switch_off(label),
            None => self.netlink.request(deletion_of(index, address, prefix, "")),
        };
    }

    /// Removes everything of ours in one pass; others' addresses that the kernel takes along come back. What of ours or others'
    /// is there then. `known` is what was there last: that goes even if the card cannot be read.
    ///
    /// # Errors
    /// The card cannot be read: nobody knows whether anything is left.
    pub fn drop_all(&mut self, known: &[Held]) -> io::Result<Vec<Held>> {
        let dropped = match self.addresses() {
            Err(error) if card_is_gone(&error) => Err(error),
            Err(_) => self.remove_all(known, |held| held.ours, |held| !held.ours),
            Ok(present) => self.remove_all(&present, |held| held.ours, |held| !held.ours),
        };
        match dropped {
            // And its addresses with it.
            Err(error) if card_is_gone(&error) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Removes of `present`, which was there when the card was read last, all that `goes`, in one pass; what the kernel took
    /// along comes back if it `returns`. What is there then.
    ///
    /// # Errors
    /// The card cannot be read (all the same, the kernel was told); what was taken along does not come back.
    pub fn remove_all(
        &mut self,
        present: &[Held],
        goes: impl Fn(&Held) -> bool,
        returns: impl Fn(&Held) -> bool,
    ) -> io::Result<Vec<Held>> {
        let Some(&Held { index, .. }) = present.first() else { return self.addresses() };
        self.delete(&present.iter().filter(|held| goes(held)).collect::<Vec<_>>())?;
        let mut after = self.addresses_of(index)?;
        for _ in 1..PASSES {
            if !after.iter().any(&goes) {
                break;
            }
            self.delete(&after.iter().filter(|held| goes(held)).collect::<Vec<_>>())?;
            after = self.addresses_of(index)?;
        }
        let is_there = |held: &Held| after.iter().any(|other| other.address == held.address);
        let lost: Vec<&Held> = present.iter().filter(|held| !goes(held) && !is_there(held)).collect();
        if lost.is_empty() {
            return Ok(after);
        }
        let mut result = Ok(());
        for held in lost.into_iter().filter(|held| returns(held)) {
            result = result.and(self.restore(held));
        }
        result.and_then(|()| self.addresses_of(index))
    }

    /// One alone as it was made, by ioctl. Many by netlink in one call: 64 took 0.2 ms with what is read behind it, and 45 ms
    /// one after the other.
    fn delete(&mut self, held: &[&Held]) -> io::Result<()> {
        if let [one] = held
            && one.labelled
            && self.switch_off(&one.label).is_ok()
        {
            return Ok(());
        }
        self.netlink.request_all(held.iter().rev().map(|held| deletion(held)))
    }

    /// What an earlier life left on this card: whatever is ours by its tag or label, and those of
    /// `services` that are ours by their lifetime alone, or that it had only begun to make.
    ///
    /// # Errors
    /// No such card.
    pub fn leftovers(&mut self, services: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
        let held = self.addresses()?;
        Ok(held.iter().filter(|held| is_left(held, services)).map(|held| held.address).collect())
    }

    /// Removes what an earlier life left on this card. Says what it removed.
    ///
    /// # Errors
    /// No such card. Something could not be removed.
    pub fn clear_leftovers(&mut self, services: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
        let present = self.addresses()?;
        let goes = |held: &Held| is_left(held, services);
        let after = self.remove_all(&present, goes, |_| true)?;
        match after.iter().find(|held| goes(held)) {
            Some(Held { address, .. }) => {
                Err(io::Error::other(format!("{address} is still there after its removal")))
            }
            None => Ok(present.iter().filter(|held| goes(held)).map(|held| held.address).collect()),
        }
    }

    /// Puts back what the kernel took along.
    pub(super) fn restore(&mut self, held: &Held) -> io::Result<()> {
        let scope_at = 3;
        let mut header = address_header(family_of(held.address), held.prefix, 0, held.index);
        header[scope_at] = held.scope;
        let mut request = Request::new(libc::RTM_NEWADDR, libc::NLM_F_REPLACE | libc::NLM_F_CREATE, &header)
            .attribute(libc::IFA_LOCAL, &octets(held.address))
            .attribute(libc::IFA_ADDRESS, &octets(held.address))
            .attribute(libc::IFA_CACHEINFO, &cache_info(held.preferred_s, held.valid_s));
        if let Some(tag) = held.tag {
            request = request.attribute(IFA_PROTO, &[tag]);
        }
        if !held.label.is_empty() {
            request = request.attribute(libc::IFA_LABEL, &[held.label.as_bytes(), &[0]].concat());
        }
        if let Some(broadcast) = held.broadcast {
            request = request.attribute(libc::IFA_BROADCAST, &broadcast.octets());
        }
        self.netlink.request(request)
    }

    /// Deletes the alias with this label.
    fn switch_off(&self, label: &str) -> io::Result<()> {
        // Without the colon this would switch the card itself off.
        assert!(label.contains(':'), "{label} is a label, not a device");
        let mut interface = interface_request(label);
        interface.ifr_ifru.ifru_flags = 0;
        // SAFETY: SIOCSIFFLAGS reads a struct ifreq with flags in it, which lives until after the call.
        let done = unsafe { libc::ioctl(self.control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const interface) };
        gone_is_fine(check(done))
    }
}

fn is_left(held: &Held, services: &[IpAddr]) -> bool {
    let known = services.contains(&held.address);
    let marked = held.tag.is_some() || held.label.contains(':');
    held.ours && (marked || known) || known && is_half_made(held)
}

/// By its label too, where it has one: nothing else that somebody has put in its place.
fn deletion(held: &Held) -> Request {
    deletion_of(held.index, held.address, held.prefix, &held.label)
}

fn deletion_of(index: u32, address: IpAddr, prefix: u8, label: &str) -> Request {
    let header = address_header(family_of(address), prefix, 0, index);
    let request = Request::new(libc::RTM_DELADDR, 0, &header)
        .attribute(libc::IFA_LOCAL, &octets(address))
        .attribute(libc::IFA_ADDRESS, &octets(address));
    if label.is_empty() {
        return request;
    }
    request.attribute(libc::IFA_LABEL, &[label.as_bytes(), &[0]].concat())
}
