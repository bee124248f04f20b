//! Aliases: our addresses on a card, beside what the machine had before, which stays as it was.
//!
//! An IPv4 alias is made by ioctl on a label of its own, `DEVICE:dN`; then netlink gives it our tag, a
//! lifetime, so that the kernel drops it when nobody renews it (the dead man's switch), and
//! `preferred_lft 0`, so that it is never picked as a source address. A device name that leaves no room for
//! a label (13 bytes and more), and every IPv6 address (which has no label, and no duplicate address
//! detection: the cluster looks before it takes), go by netlink alone.
//!
//! What is ours, and nothing else is touched: where the kernel keeps the tag (IFA_PROTO, Linux 5.18), what
//! has it; elsewhere what has such a label (or can have none), is deprecated and mortal.
//! Every change is read back. Owned by the faker thread; a `Card` is two descriptors, and dropping it
//! changes nothing.

use super::address_timer::AddressTimer;
use super::clock;
use super::netlink::{Message, Netlink, Request, attributes, number_at};
#[cfg(test)]
use nix::sys::socket::SockProtocol;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

mod removal;

/// «For ever» in the kernel's lifetimes.
const FOR_EVER: u32 = u32::MAX;
/// The mark of our routes (RTA protocol): not used by any routing daemon of iproute2's rt_protos.
const ROUTE_MARK: u8 = 0xd1;
/// The tag of our addresses (IFA_PROTO): the kernel's own are 1 to 3.
const ADDRESS_MARK: u8 = 0xd1;
/// linux/if_addr.h, since Linux 5.18; older kernels ignore it.
const IFA_PROTO: u16 = 11;
/// Labels tried on one card: more service addresses than any cluster has.
const MOST_LABELS: u32 = 36 * 36;

/// One address on a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub address: IpAddr,
    /// Length of the network part in bits.
    pub prefix: u8,
    /// Made by us: by its tag, or (on kernels without tags) by its label, lifetime and deprecation.
    pub ours: bool,
    /// Of its card.
    index: u32,
    /// Has a label such as we make.
    labelled: bool,
    tag: Option<u8>,
    label: String,
    broadcast: Option<Ipv4Addr>,
    scope: u8,
    preferred_s: u32,
    valid_s: u32,
    /// When the kernel made it, and when it wrote it last, in 1/100 s.
    created: u32,
    updated: u32,
}

impl Held {
    /// The very same, and not another one that was made in its place.
    pub fn is_same(&self, other: &Held) -> bool {
        (self.address, self.prefix, self.created) == (other.address, other.prefix, other.created)
    }
}

/// A card on which addresses come and go.
#[derive(Debug)]
pub struct Card {
    device: String,
    control: OwnedFd,
    netlink: Netlink,
    /// The kernel keeps IFA_PROTO.
    tags: bool,
    timer: AddressTimer,
    /// The card's index when it was there last: it may have another name now, and our addresses still.
    known: Option<u32>,
}

/// Does this error of a `Card` say that there is no such card any more, nor its addresses?
pub fn card_is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

impl Card {
    /// The card called `device` (1–15 bytes); it need not exist yet.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn open(device: &str) -> io::Result<Self> {
        assert!((1..16).contains(&device.len()) && !device.contains(':'), "a device name, not a label");
        let flags = SockFlag::SOCK_CLOEXEC;
        let control = socket::socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        let netlink = Netlink::open(0)?;
        // Lets a dump be restricted to one card; a kernel without it sends all, and we select.
        let one: libc::c_int = 1;
        // SAFETY: `one` is an int, as the option wants, and lives until after the call.
        unsafe {
            libc::setsockopt(
                netlink.as_fd().as_raw_fd(),
                libc::SOL_NETLINK,
                libc::NETLINK_GET_STRICT_CHK,
                (&raw const one).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
        let timer = AddressTimer::new(clock::ticks());
        let (device, tags) = (device.to_owned(), kernel_keeps_tags());
        let mut card = Card { device, control, netlink, tags, timer, known: None };
        card.known = card.index().ok();
        Ok(card)
    }

    /// From now on the kernel understands nothing but ioctl, or everything again.
    #[cfg(test)]
    pub(crate) fn deafen(&mut self, deaf: bool) {
        let service = if deaf { SockProtocol::NetlinkSockDiag } else { SockProtocol::NetlinkRoute };
        self.netlink = Netlink::open_for(service, 0).expect("a descriptor");
    }

    /// The card's index.
    ///
    /// # Errors
    /// ENODEV: there is no card of that name now.
    pub fn index(&self) -> io::Result<u32> {
        // Asked each time, by one call on a socket that is there: a card may be taken away and come again.
        let mut interface = interface_request(&self.device);
        // SAFETY: SIOCGIFINDEX reads the name in a struct ifreq and writes the index into it.
        check(unsafe { libc::ioctl(self.control.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut interface) })?;
        // SAFETY: the call succeeded, so the index is what it wrote into the union.
        let index = unsafe { interface.ifr_ifru.ifru_ifindex };
        u32::try_from(index).map_err(io::Error::other)
    }

    /// What the card of this index is called now; `None`: there is none.
    fn name_of(&self, index: u32) -> io::Result<Option<String>> {
        let mut interface = interface_request("");
        interface.ifr_ifru.ifru_ifindex = i32::try_from(index).map_err(io::Error::other)?;
        // SAFETY: SIOCGIFNAME reads the index in a struct ifreq and writes the name into it.
        match check(unsafe { libc::ioctl(self.control.as_raw_fd(), libc::SIOCGIFNAME, &raw mut interface) }) {
            Err(error) if card_is_gone(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => {
                let name = interface.ifr_name.iter().take_while(|&&byte| byte != 0);
                let name: Vec<u8> = name.map(|byte| byte.cast_unsigned()).collect();
                Ok(Some(String::from_utf8_lossy(&name).into_owned()))
            }
        }
    }

    /// The index of the card that had the name last, and its name now, if that is another one: its addresses live on.
    fn renamed(&self, now: Option<u32>) -> io::Result<Option<(u32, String)>> {
        let Some(known) = self.known.filter(|&known| now != Some(known)) else { return Ok(None) };
        Ok(self.name_of(known)?.map(|name| (known, name)))
    }

    /// All addresses of the card, of both families, ours and others. Where the card has got another name: as long as it has
    /// addresses of ours, or no other card has the name, those of that card.
    ///
    /// # Errors
    /// ENODEV: there is no such card, under whatever name (`card_is_gone`). Any other: nobody knows what is there.
    pub fn addresses(&mut self) -> io::Result<Vec<Held>> {
        let named = match self.index() {
            Err(error) if !card_is_gone(&error) => return Err(error),
            other => other,
        };
        if let Some((index, name)) = self.renamed(named.as_ref().ok().copied())? {
            let held = self.read(index, &name)?;
            if named.is_err() || held.iter().any(|held| held.ours) {
                return Ok(held);
            }
        }
        let index = named?;
        self.known = Some(index);
        let device = self.device.clone();
        self.read(index, &device)
    }

    /// The same of the card of this index, where something of ours was a moment ago: it may have been the last of it.
    fn addresses_of(&mut self, index: u32) -> io::Result<Vec<Held>> {
        let name = self.name_of(index)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        self.read(index, &name)
    }

    fn read(&mut self, index: u32, name: &str) -> io::Result<Vec<Held>> {
        let tags = self.tags;
        let pick = |message: &Message<'_>| {
            let is_there = message.kind == libc::RTM_NEWADDR && number_at(message.content, 4) == index;
            is_there.then(|| held_of(name, tags, message.content))?
        };
        let ask = |family| Request::new(libc::RTM_GETADDR, 0, &address_header(family, 0, 0, index));
        let mut held = self.netlink.dump(ask(libc::AF_INET), pick)?;
        held.extend(self.netlink.dump(ask(libc::AF_INET6), pick)?);
        Ok(held)
    }

    /// Adds an address of ours; the kernel drops it after `lifetime` (whole seconds, at least 1) unless it
    /// is renewed. Fine if it is there already and ours.
    ///
    /// `may` is asked right before the call that puts it up, and right after: each call may wait for the kernel's lock as long as
    /// others hold it. `None`: it may not any more, and what was made has gone again, as far as the kernel let it.
    ///
    /// # Errors
    /// EEXIST: the machine has this address by itself. EADDRNOTAVAIL: not there when read back. EBUSY: another card has the
    /// name now, and the one that had it still has addresses of ours.
    pub fn add(
        &mut self,
        address: IpAddr,
        prefix: u8,
        lifetime: Duration,
        may: &dyn Fn() -> bool,
    ) -> io::Result<Option<Held>> {
        let before = self.addresses()?;
        match before.iter().find(|held| held.address == address) {
            Some(held) if held.ours && held.prefix == prefix => {
                if !may() {
                    return Ok(None);
                }
                return self.renew(held, lifetime).map(|()| Some(held.clone()));
            }
            Some(held) if held.ours => self.remove(address)?,
            Some(_) => return Err(io::Error::from_raw_os_error(libc::EEXIST)),
            None => {}
        }
        let index = self.index()?;
        if self.known != Some(index) {
            // It would not be seen there.
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        let label = if address.is_ipv4() { free_label(&self.device, &before) } else { None };
        let knew = self.timer.knows();
        let made = self.make(index, address, prefix, label.as_deref(), lifetime, may);
        if matches!(made, Ok(None)) {
            return Ok(None);
        }
        let present = self.addresses()?;
        let there = present.iter().find(|held| held.address == address && held.prefix == prefix && held.ours);
        if let (Ok(Some((before, after))), Some(held)) = (&made, there) {
            self.timer.learn(held.updated, *before, *after);
            let renewed =
                if knew || self.is_punctual() || !may() { Ok(()) } else { self.renew(held, lifetime) };
            return renewed.map(|()| Some(held.clone()));
        }
        let ours = |held: &Held| held.ours || is_half_made(held);
        if let Some(held) = present.iter().find(|held| held.address == address && ours(held)) {
            self.take_away(held, &present)?;
        }
        made.and(Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL)))
    }

    /// The calls of `add`, unread: between which times it was written. `None`: it may not any more.
    fn make(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        label: Option<&str>,
        lifetime: Duration,
        may: &dyn Fn() -> bool,
    ) -> io::Result<Option<(Duration, Duration)>> {
        if !may() {
            return Ok(None);
        }
        if let (IpAddr::V4(v4), Some(label)) = (address, label) {
            self.address_ioctl(libc::SIOCSIFADDR, label, v4)?;
            if !may() {
                self.unmake(index, address, prefix, Some(label));
                return Ok(None);
            }
            self.correct_by_ioctl(label, v4, prefix)?;
        }
        let before = clock::monotonic();
        self.write(index, address, prefix, label.unwrap_or_default(), self.seconds_now(lifetime))?;
        let after = clock::monotonic();
        if !may() {
            self.unmake(index, address, prefix, label);
            return Ok(None);
        }
        Ok(Some((before, after)))
    }

    /// As `add`, for an address that was ours a moment ago: what somebody put in its place, under another
    /// prefix or label, goes. True: there was such a thing.
    ///
    /// # Errors
    /// As `add`.
    pub fn retake(
        &mut self,
        address: IpAddr,
        prefix: u8,
        lifetime: Duration,
        may: &dyn Fn() -> bool,
    ) -> io::Result<Option<(Held, bool)>> {
        let present = self.addresses()?;
        let changed: Vec<&Held> =
            present.iter().filter(|held| held.address == address && !held.ours).collect();
        for held in &changed {
            self.take_away(held, &present)?;
        }
        Ok(self.add(address, prefix, lifetime, may)?.map(|held| (held, !changed.is_empty())))
    }

    /// Lets an address of ours live `lifetime` from now. One that has just vanished comes back (the kernel
    /// does not tell the two apart), still with our label.
    ///
    /// # Errors
    /// No such card.
    pub fn renew(&mut self, held: &Held, lifetime: Duration) -> io::Result<()> {
        assert!(held.ours, "{} is the machine's own address", held.address);
        let before = clock::monotonic();
        self.write(held.index, held.address, held.prefix, &held.label, self.seconds_now(lifetime))?;
        let after = clock::monotonic();
        if !self.timer.knows() {
            let same = |other: &&Held| (other.address, other.prefix) == (held.address, held.prefix);
            if let Some(held) = self.addresses()?.iter().find(same) {
                self.timer.learn(held.updated, before, after);
            }
        }
        Ok(())
    }

    /// How long from now to renew what is renewed each `interval`, so that the kernel ends its lifetime on time.
    pub fn next_renewal(&self, interval: Duration) -> Duration {
        self.timer.next(clock::monotonic(), interval, clock::processor())
    }

    /// What is written where the kernel would round the end up by nearly half a second gets a second less, if it has two:
    /// it ends too soon rather than too late, and the next renewal, a third of a second later as a rule, makes up for it.
    fn seconds_now(&self, lifetime: Duration) -> u32 {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(FOR_EVER - 1).clamp(1, FOR_EVER - 1);
        if seconds > 1 && !self.is_punctual() { seconds - 1 } else { seconds }
    }

    /// How long from now until the kernel would end on time what is renewed: as a rule zero.
    pub fn punctual_in(&self) -> Duration {
        self.timer.wait(clock::monotonic(), clock::processor())
    }

    fn is_punctual(&self) -> bool {
        self.punctual_in().is_zero()
    }

    /// Adds a default route over this card, with our mark. False: the machine has a default route.
    ///
    /// # Errors
    /// ENETUNREACH: the gateway is in no subnet of this card.
    pub fn add_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<bool> {
        let request =
            self.default_route(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, gateway)?;
        match self.netlink.request(request) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Removes the default route with our mark, and no other; fine if it is not there.
    ///
    /// # Errors
    /// No such card.
    pub fn remove_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let request = self.default_route(libc::RTM_DELROUTE, 0, gateway)?;
        gone_is_fine(self.netlink.request(request))
    }

    fn default_route(&self, kind: u16, flags: i32, gateway: Ipv4Addr) -> io::Result<Request> {
        // struct rtmsg: family, destination and source length, tos, table, protocol, scope, type, flags.
        let family = u8::try_from(libc::AF_INET).expect("2");
        let header =
            [family, 0, 0, 0, libc::RT_TABLE_MAIN, ROUTE_MARK, libc::RT_SCOPE_UNIVERSE, 1, 0, 0, 0, 0];
        Ok(Request::new(kind, flags, &header)
            .attribute(libc::RTA_GATEWAY, &gateway.octets())
            .attribute(libc::RTA_OIF, &self.place()?.to_ne_bytes()))
    }

    /// The card's index, whatever it is called now.
    fn place(&self) -> io::Result<u32> {
        self.index().or_else(|error| self.renamed(None)?.map(|(index, _)| index).ok_or(error))
    }

    /// By netlink: makes the address, or writes its lifetime where it is there.
    fn write(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        label: &str,
        valid_s: u32,
    ) -> io::Result<()> {
        let no_detection = u8::try_from(libc::IFA_F_NODAD).expect("2");
        let flags = if address.is_ipv6() { no_detection } else { 0 };
        let header = address_header(family_of(address), prefix, flags, index);
        let mut request = Request::new(libc::RTM_NEWADDR, libc::NLM_F_REPLACE | libc::NLM_F_CREATE, &header)
            .attribute(libc::IFA_LOCAL, &octets(address))
            .attribute(libc::IFA_ADDRESS, &octets(address))
            .attribute(libc::IFA_CACHEINFO, &cache_info(0, valid_s))
            .attribute(IFA_PROTO, &[ADDRESS_MARK]);
        if !label.is_empty() {
            request = request.attribute(libc::IFA_LABEL, &[label.as_bytes(), &[0]].concat());
        }
        if let (IpAddr::V4(v4), true) = (address, prefix < 31) {
            request = request.attribute(libc::IFA_BROADCAST, &broadcast_of(v4, prefix).octets());
        }
        self.netlink.request(request)
    }

    /// What SIOCSIFADDR guessed by the address's class.
    fn correct_by_ioctl(&self, label: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0));
        // A /32 keeps the broadcast of the classful network that SIOCSIFADDR guessed, unless it is cleared.
        let broadcast = if prefix < 31 { broadcast_of(address, prefix) } else { Ipv4Addr::UNSPECIFIED };
        self.address_ioctl(libc::SIOCSIFNETMASK, label, mask)?;
        self.address_ioctl(libc::SIOCSIFBRDADDR, label, broadcast)
    }

    fn address_ioctl(&self, request: libc::c_ulong, label: &str, address: Ipv4Addr) -> io::Result<()> {
        let mut interface = interface_request(label);
        interface.ifr_ifru.ifru_addr = sockaddr_of(address);
        // SAFETY: these requests read a struct ifreq with an address in it, which lives until after it.
        check(unsafe { libc::ioctl(self.control.as_raw_fd(), request, &raw const interface) })
    }
}

/// The index of the card called `device`.
///
/// # Errors
/// ENODEV.
pub fn index_of(device: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(device)?)
}

pub(super) fn ip_of(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// One RTM_NEWADDR. An IPv4 address with a peer has the peer in IFA_ADDRESS and itself in IFA_LOCAL.
fn held_of(device: &str, tags: bool, content: &[u8]) -> Option<Held> {
    let (prefix, scope) = (*content.get(1)?, *content.get(3)?);
    let mut held = Held {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        prefix,
        ours: false,
        index: number_at(content, 4),
        labelled: false,
        tag: None,
        label: String::new(),
        broadcast: None,
        scope,
        preferred_s: FOR_EVER,
        valid_s: FOR_EVER,
        created: 0,
        updated: 0,
    };
    let (mut local, mut address) = (None, None);
    for (kind, content) in attributes(content.get(8..)?) {
        match kind {
            libc::IFA_LOCAL => local = ip_of(content),
            libc::IFA_ADDRESS => address = ip_of(content),
            libc::IFA_BROADCAST => {
                held.broadcast = <[u8; 4]>::try_from(content).ok().map(Ipv4Addr::from);
            }
            libc::IFA_LABEL => {
                let name = content.strip_suffix(&[0]).unwrap_or(content);
                held.label = String::from_utf8_lossy(name).into_owned();
            }
            libc::IFA_CACHEINFO => {
                (held.preferred_s, held.valid_s) = (number_at(content, 0), number_at(content, 4));
                (held.created, held.updated) = (number_at(content, 8), number_at(content, 12));
            }
            IFA_PROTO => held.tag = content.first().copied(),
            _ => {}
        }
    }
    held.address = local.or(address)?;
    held.labelled = is_our_label(device, &held.label);
    held.ours = is_ours(device, tags, &held);
    Some(held)
}

fn is_ours(device: &str, tags: bool, held: &Held) -> bool {
    match held.tag {
        Some(tag) => tag == ADDRESS_MARK,
        // An untagged one is somebody else's, whatever it looks like.
        None if tags => false,
        None => {
            let unlabelled = held.label.is_empty() || label(device, 0).is_none();
            let mortal = held.preferred_s == 0 && held.valid_s != FOR_EVER;
            mortal && (unlabelled || held.labelled)
        }
    }
}

/// By its label ours, and neither tagged nor mortal: whoever made it by ioctl died before the rest.
fn is_half_made(held: &Held) -> bool {
    held.tag.is_none() && held.valid_s == FOR_EVER && held.labelled
}

/// Linux 5.18 and later.
fn kernel_keeps_tags() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    keeps_tags(&release)
}

fn keeps_tags(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= (5, 18)
}

/// `DEVICE:dN`, N in base 36; `None` if that is longer than the kernel's 15 bytes.
fn label(device: &str, number: u32) -> Option<String> {
    let digit = |value: u32| char::from_digit(value, 36).expect("less than 36");
    let mut label = format!("{device}:d");
    if number >= 36 {
        label.push(digit(number / 36));
    }
    label.push(digit(number % 36));
    (label.len() <= 15).then_some(label)
}

fn is_our_label(device: &str, label: &str) -> bool {
    let number = label.strip_prefix(device).and_then(|rest| rest.strip_prefix(":d"));
    let digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    number.is_some_and(|number| matches!(number.len(), 1 | 2) && number.bytes().all(digit))
}

/// SIOCSIFADDR on a label in use would replace its address: only a free one will do.
fn free_label(device: &str, present: &[Held]) -> Option<String> {
    (0..MOST_LABELS)
        .map_while(|number| label(device, number))
        .find(|label| !present.iter().any(|held| held.label == *label))
}

fn broadcast_of(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) | host)
}

fn family_of(address: IpAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// struct ifaddrmsg: family u8, prefix u8, flags u8, scope u8, index u32.
fn address_header(family: i32, prefix: u8, flags: u8, index: u32) -> [u8; 8] {
    let [a, b, c, d] = index.to_ne_bytes();
    [u8::try_from(family).expect("AF_INET or AF_INET6"), prefix, flags, 0, a, b, c, d]
}

/// struct ifa_cacheinfo: preferred, valid, created, updated.
fn cache_info(preferred_s: u32, valid_s: u32) -> Vec<u8> {
    [preferred_s.to_ne_bytes(), valid_s.to_ne_bytes(), [0; 4], [0; 4]].concat()
}

pub(super) fn interface_request(name: &str) -> libc::ifreq {
    assert!(name.len() < libc::IFNAMSIZ, "names and labels have at most 15 bytes");
    // SAFETY: all-zero bytes are a valid ifreq (integers, and a union of integers).
    let mut interface: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in interface.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    interface
}

fn sockaddr_of(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ESRCH)) => Ok(()),
        other => other,
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
