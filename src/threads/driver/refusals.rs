//! What the faker's full mailbox did not take, as far as the controller has to know it: a probe that never went out is
//! not answered, and would count as silence.

use crate::controller::LocalFault;
use crate::threads::faker::Order;
use crate::vocabulary::Instant;
use std::time::Duration;

/// Kept by the driver.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Nothing is said before: the controller remembers it for three times as long.
    next_word: Instant,
}

impl Refusals {
    /// An order was refused: why sends on the external link failed, as the controller is told once in T at most.
    pub fn refused(&mut self, now: Instant, hello_interval: Duration, order: &Order) -> Option<LocalFault> {
        if !matches!(order, Order::Probe { .. }) || now < self.next_word {
            return None;
        }
        self.next_word = now + hello_interval;
        Some(LocalFault::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::ServiceId;

    #[test]
    fn a_probe_that_did_not_go_out_is_told_once_in_an_interval() {
        let (mut refusals, t) = (Refusals::default(), Duration::from_millis(100));
        let (start, service) = (Instant::ZERO + Duration::from_secs(1), ServiceId::of("www"));
        for order in [Order::Compare, Order::Announce(service), Order::AskArbiters] {
            assert_eq!(refusals.refused(start, t, &order), None, "{order:?}: nobody counts it as silence");
        }
        let probe = Order::Probe { service, asked: start, leeway: t };
        assert_eq!(refusals.refused(start, t, &probe), Some(LocalFault::Full));
        assert_eq!(refusals.refused(start + t / 2, t, &probe), None);
        assert_eq!(refusals.refused(start + t, t, &probe), Some(LocalFault::Full));
    }
}
