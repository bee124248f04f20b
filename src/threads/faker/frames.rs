//! What the faker says on the external LAN: announcements, probes, questions to the arbiters.

use super::*;

impl Work {
    /// Request, then reply: some neighbours listen only to one of them. True: all of it went out.
    pub(super) fn announce(&mut self, service: ServiceId) -> bool {
        let config = self.faker.published.config();
        let Some(service) = config.service(service) else { return false };
        let mut complete = true;
        for Prefixed { address, .. } in &service.addresses {
            let is_up = self.up.iter().any(|held| held.address == *address);
            // The lease again, at the last moment: a late announcement would draw clients here.
            if !is_up || self.faker.published.lease.is_over(clock::now()) {
                complete = false;
                continue;
            }
            let sent = self.send_frames(|mac| match address {
                IpAddr::V4(v4) => vec![
                    ArpFrame::announcement_request(mac, *v4).to_bytes().to_vec(),
                    ArpFrame::announcement_reply(mac, *v4).to_bytes().to_vec(),
                ],
                IpAddr::V6(v6) => {
                    let message = wire::unsolicited_advertisement(mac, *v6);
                    vec![frame::icmpv6_multicast(mac, *v6, wire::ALL_NODES, &message)]
                }
            });
            if sent {
                self.faker.published.counters.announced.fetch_add(1, Ordering::Relaxed);
            }
            complete &= sent;
        }
        complete
    }

    pub(super) fn probe(&mut self, service: ServiceId) {
        let config = self.faker.published.config();
        let Some(service) = config.service(service) else { return };
        for Prefixed { address, .. } in &service.addresses {
            self.send_frames(|mac| match address {
                IpAddr::V4(v4) => vec![ArpFrame::probe(mac, *v4).to_bytes().to_vec()],
                IpAddr::V6(v6) => {
                    let message = wire::duplicate_probe(*v6);
                    let to = wire::solicited_node(*v6);
                    vec![frame::icmpv6_multicast(mac, Ipv6Addr::UNSPECIFIED, to, &message)]
                }
            });
        }
    }

    /// F1: the controller counts a probe when it asks for it. After a stall many leave at once, and the order to take what
    /// they are for waits right behind them: answers have their time before it is carried out, and whoever is heard
    /// meanwhile stops it.
    pub(super) fn see_when_it_left(&mut self, service: ServiceId, asked: Instant, leeway: Duration) {
        let left = clock::now();
        if left.since(asked) > leeway {
            // A probe interval, at least.
            let time = self.faker.published.config().cluster.hello_interval / 8;
            self.doubted.insert(service, left + time);
        }
    }

    /// The addresses that wait for that, each until when.
    pub(super) fn doubted_addresses(&mut self, config: &Config) -> BTreeMap<IpAddr, Instant> {
        let now = clock::now();
        self.doubted.retain(|_, until| *until > now);
        let services = self.doubted.iter().filter_map(|(&id, &until)| Some((config.service(id)?, until)));
        let addresses =
            services.flat_map(|(it, until)| it.addresses.iter().map(move |it| (it.address, until)));
        addresses.collect()
    }

    /// Q2. As itself where the card has an address of its own; else as a probe (RFC 5227), which a Linux or
    /// BSD gateway answers as well.
    pub(super) fn ask_arbiters(&mut self) {
        let config = self.faker.published.config();
        let own = config.node(self.faker.me).and_then(|node| node.external.address);
        let own = own.map_or(Ipv4Addr::UNSPECIFIED, |own| own.address);
        for &arbiter in &config.cluster.arbiter {
            self.send_frames(|mac| vec![ArpFrame::question(mac, own, arbiter).to_bytes().to_vec()]);
        }
    }

    /// True: all of them went out.
    fn send_frames(&mut self, frames: impl FnOnce([u8; 6]) -> Vec<Vec<u8>>) -> bool {
        if self.frames.is_none() {
            self.frames = PacketSocket::open(&self.faker.device, Hears::Nothing).ok();
        }
        let Some(socket) = &self.frames else {
            self.send_failed(LocalFault::Down);
            return false;
        };
        for frame in frames(socket.mac()) {
            if let Err(error) = socket.send(&frame) {
                if packet_socket::card_is_gone(&error) {
                    self.frames = None;
                }
                self.send_failed(crate::threads::local_fault(&error));
                return false;
            }
        }
        true
    }

    fn send_failed(&self, fault: LocalFault) {
        self.faker.published.counters.failed.fetch_add(1, Ordering::Relaxed);
        // Full: the next failure tells the same.
        let role = LinkRole::External;
        let _ = self.faker.driver.offer(Told::Happened(Box::new(Input::SendFailed { role, fault })));
    }
}
