//! Thread `notifier`, one for each target: takes the next notification and tries until it is told, or given up.
//!
//! Ends when its queue has ended and is empty; at the end each attempt is the last one.

use super::notice::Notice;
use super::queue::Queue;
use super::ways;
use crate::config::Notify;
use crate::os::doorbell::Doorbell;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait between two attempts.
const MOST_PATIENCE: Duration = Duration::from_secs(60);

pub struct Notifier {
    pub settings: Arc<Mutex<Notify>>,
    pub queue: Arc<Queue>,
    /// Rung: what runs is ended.
    pub call_off: Doorbell,
    pub patience: Duration,
}

impl Notifier {
    pub fn run(self) {
        // Given up since the last one that was told.
        let mut lost = 0;
        while let Some(mut notice) = self.queue.next() {
            let before = notice.lost;
            notice.lost += lost;
            if self.queue.is_called_off() {
                lost = notice.lost + 1;
                break;
            }
            if before > 0 {
                let name = &self.settings.lock().name;
                log::warn!("notify {name}: {before} events were lost: it is slower than what happened");
            }
            lost = if self.tell(&notice) { 0 } else { notice.lost + 1 };
        }
        let lost = lost + self.queue.give_up();
        if lost > 0 {
            log::warn!("notify {}: ends, {lost} events were not told", self.settings.lock().name);
        }
    }

    /// True: it was told.
    fn tell(&self, notice: &Notice) -> bool {
        let mut patience = self.patience;
        for attempt in 1.. {
            // At the end no time is left to wait for better times.
            let ending = self.queue.is_ended();
            // Each time anew: a reload may have mended what was wrong.
            let to = self.settings.lock().clone();
            let Err(why) = ways::tell(&to, notice, &self.call_off) else { return true };
            let (name, label) = (&to.name, notice.label());
            if ending || attempt > to.retries || self.queue.is_called_off() {
                log::error!("notify {name}: {label} is given up: {why}");
                return false;
            }
            let wait = patience.as_millis();
            log::warn!("notify {name}: {label}: {why}; retry {attempt} of {} in {wait} ms", to.retries);
            self.queue.pause(patience);
            patience = (patience * 2).min(MOST_PATIENCE);
        }
        false
    }
}
