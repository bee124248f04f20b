//! Thread `process watch`: sees the end of every process that a check looks at, the moment it happens.
//!
//! Owns nothing but the list; the thread `checks` puts processes in and is told of their ends. Ends when its bell
//! rings and the list is closed.

use super::Order;
use super::kinds::Process;
use crate::os::doorbell::{self, Doorbell};
use crate::threads::mailbox::Sender;
use crate::threads::{Urgency, start};
use crate::vocabulary::Instant;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The list's end that the thread `checks` has.
pub struct Watch {
    list: Arc<Mutex<List>>,
    bell: Doorbell,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct List {
    processes: BTreeMap<String, Process>,
    closed: bool,
}

impl Watch {
    /// Starts the thread, with nothing to watch.
    ///
    /// # Errors
    /// No descriptor or process left.
    pub fn begin(orders: Sender<Order>) -> io::Result<Self> {
        let (list, bell) = (Arc::new(Mutex::new(List::default())), Doorbell::new()?);
        let (shared, rung) = (list.clone(), bell.clone());
        let thread = start("process watch", Urgency::Ordinary, move || watch(&shared, &rung, &orders))?;
        Ok(Watch { list, bell, thread })
    }

    /// This is the process of that check from now on.
    pub fn see(&self, check: &str, process: Process) {
        let mut list = self.list.lock();
        let known = list.processes.get(check).is_some_and(|known| known.pid == process.pid);
        if !known {
            list.processes.insert(check.to_owned(), process);
            drop(list);
            self.bell.ring();
        }
    }

    /// That check looks at no process any more.
    pub fn forget(&self, check: &str) {
        if self.list.lock().processes.remove(check).is_some() {
            self.bell.ring();
        }
    }

    /// Ends the thread.
    pub fn end(self) {
        self.list.lock().closed = true;
        self.bell.ring();
        // A panic has ended the process already.
        let _ = self.thread.join();
    }
}

fn watch(list: &Mutex<List>, bell: &Doorbell, orders: &Sender<Order>) {
    loop {
        let watched: Vec<(String, Process)> = {
            let list = list.lock();
            if list.closed {
                return;
            }
            list.processes.iter().map(|(check, process)| (check.clone(), process.clone())).collect()
        };
        let ends = watched.iter().map(|(_, process)| process.end.as_fd());
        let descriptors: Vec<_> = [bell.as_fd()].into_iter().chain(ends).collect();
        let ready = match doorbell::wait_any(&descriptors, Instant::MAX) {
            Ok(ready) => ready,
            Err(error) => {
                // Then the polls of the checks are all there is.
                log::error!("cannot watch processes: {error}");
                bell.wait_until(Instant::MAX);
                continue;
            }
        };
        bell.hush();
        for ((check, process), _) in watched.iter().zip(&ready[1..]).filter(|(_, ended)| **ended) {
            let mut list = list.lock();
            // It may have been replaced by its successor meanwhile.
            if list.processes.get(check).is_some_and(|known| known.pid == process.pid) {
                list.processes.remove(check);
            }
            drop(list);
            orders.send(Order::Ended { check: check.clone(), pid: process.pid });
        }
    }
}
