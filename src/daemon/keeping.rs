//! The configuration keeper's threads, and what it wants of the daemon's first thread: to read the
//! configuration or the keys again. Started and ended by `wiring`; `worker` does what is wished.

use super::{Plan, reload, worker};
use crate::config::Config;
use crate::control::server::Request;
use crate::os::doorbell::Doorbell;
use crate::threads::driver::Told;
use crate::threads::keeper::door::Door;
use crate::threads::keeper::{self, Front, Keeper, Order, Wish};
use crate::threads::mailbox::{Sender, mailbox};
use crate::threads::published::Published;
use crate::threads::{Urgency, start};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The keeper has one wish at a time.
const WISHES: usize = 1;
/// The first thread reads a file or two and hands the rest to others.
const PATIENCE: Duration = Duration::from_secs(4);

/// A wish, and where its answer goes.
type Wished = (Wish, crossbeam_channel::Sender<Result<(), String>>);

/// The running keeper.
pub(super) struct Keeping {
    orders: Sender<Order>,
    wishes: Receiver<Wished>,
    keeper: JoinHandle<()>,
    door: Option<Door>,
}

/// The keeper before its threads run: what can fail has not failed.
pub(super) struct Prepared {
    pub front: Front,
    keeper: Keeper,
    orders: Sender<Order>,
    wishes: Receiver<Wished>,
}

/// Opens the history.
///
/// # Errors
/// It cannot be opened or made.
pub(super) fn prepare(
    plan: &Plan,
    published: &Arc<Published>,
    driver: Sender<Told>,
    bell: Doorbell,
) -> Result<Prepared, String> {
    let (wishing, wishes) = bounded::<Wished>(WISHES);
    let daemon = move |wish| {
        let (reply, replied) = bounded(1);
        let ending = || "the daemon is ending".to_owned();
        wishing.send((wish, reply)).map_err(|_| ending())?;
        bell.ring();
        replied.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err("the daemon's first thread does not answer".to_owned()),
            RecvTimeoutError::Disconnected => Err(ending()),
        })
    };
    let (me, in_force) = (plan.me, published.clone());
    let follows = move |new: &Config| follows(&in_force.config(), new, me);
    let picture = move || {
        let (answer, answered) = bounded(1);
        driver.offer(Told::Asked(Request::View(answer))).ok()?;
        answered.recv_timeout(PATIENCE).ok().map(Arc::from)
    };
    let state_dir = &plan.arguments.state_dir;
    let parts = keeper::Parts {
        me,
        file: plan.arguments.config.clone(),
        state_dir: state_dir.clone(),
        published: published.clone(),
        daemon: Box::new(daemon),
        follows: Box::new(follows),
        picture: Arc::new(picture),
    };
    let told = |error: std::io::Error| format!("the history in {}: {error}", Path::display(state_dir));
    let (orders, orders_in) = mailbox(keeper::ORDERS);
    let (keeper, front) = Keeper::begin(parts, orders.clone(), orders_in).map_err(told)?;
    Ok(Prepared { front, keeper, orders, wishes })
}

/// Can a daemon that goes by the old one follow the new one as it runs?
fn follows(old: &Config, new: &Config, me: crate::vocabulary::NodeId) -> Result<(), Vec<String>> {
    let mut reasons: Vec<String> = match reload::merge(old, new.clone(), me) {
        Ok((_, later)) => {
            later.into_iter().map(|what| format!("{what}: needs a restart of the daemon here")).collect()
        }
        Err(why) => vec![why],
    };
    reasons.extend(worker::may_be_fast(new).err().map(|refusal| refusal.text));
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

impl Prepared {
    /// Starts the threads. A door that cannot be opened is no reason not to serve: it is told.
    pub(super) fn start(self, plan: &Plan, published: &Arc<Published>) -> std::io::Result<Keeping> {
        let Prepared { front, keeper, orders, wishes } = self;
        let address = SocketAddr::from((plan.me.address(), published.config().cluster.port));
        let answer = Arc::new(move |ask| front.answer(ask));
        let keeper = start("keeper", Urgency::Ordinary, move || keeper.run())?;
        let door = Door::open(address, published.clone(), answer);
        let door = door.inspect_err(|error| {
            log::error!(
                "no configuration can be pushed to this node: cannot listen on {address}, TCP: {error}"
            );
        });
        Ok(Keeping { orders, wishes, keeper, door: door.ok() })
    }
}

impl Keeping {
    /// What the keeper waits for, if it does.
    pub(super) fn next_wish(&self) -> Option<Wished> {
        self.wishes.try_recv().ok()
    }

    /// The file was read again because somebody wanted it.
    pub(super) fn file_was_read(&self) {
        // Full: the next look at the file sees the same.
        let _ = self.orders.offer(Order::Loaded);
    }

    /// Ends its threads.
    pub(super) fn end(self) {
        let Keeping { orders, wishes, keeper, door } = self;
        // Nobody grants wishes any more: the keeper does not wait.
        drop(wishes);
        if let Some(door) = door {
            door.close();
        }
        orders.send(Order::End);
        // A panic has ended the process already.
        let _ = keeper.join();
    }
}
