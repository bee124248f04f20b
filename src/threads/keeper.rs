//! Thread `keeper`: the configuration's file, its versions, and the cluster's keys on this machine.
//!
//! ```text
//!   diehard ──▶ control ──▶ push (two phases) ──┬──▶ own mailbox ──▶ keeper ──▶ file, history, reload
//!                                               └──▶ TCP ──▶ door of another node ──▶ its keeper
//!   every second:  newer version elsewhere? ──▶ fetch it      not confirmed in time? ──▶ the one before
//! ```
//! It owns what it writes: one thread, one order after the other, and no lock. What others ask of it most, what
//! the newest version is, stands on a shelf that they read themselves, so two keepers never wait for each
//! other. It waits for the disk and for other nodes; nobody on the heartbeat's path waits for it. Ends when it
//! is told.
//!
//! A version is agreed on by being ready on every living node (`Ask::Prepare`) before it is taken anywhere
//! (`Ask::Apply`). Once one node has taken it there is no way back, only forward: whoever missed the word sees a
//! greater version in the others' STATUS and fetches it.

use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
use crate::config::Config;
use crate::controller::NodeState;
use crate::os::clock;
use crate::os::replace::{Draft, replace};
use crate::vocabulary::{Instant, NodeId};
use crate::wire::ConfigVersion;
use fits::Follows;
use history::{History, Mark, Unconfirmed, Version};
use parking_lot::Mutex;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use talk::{Ask, Parcel, Pusher, Reply};

mod adopt;
mod events;
mod fits;
mod front;
mod history;
mod keys;
mod push;
mod talk;

pub mod door;
pub use events::Happened;
pub use front::{Front, Picture};

/// Orders that may wait: every node that may push has one, and every connection of the control socket.
pub const ORDERS: usize = 64;
/// How often is looked at the others.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What was made ready is forgotten after this: who asked for it lives, and has lost its way.
const READY_FOR: Duration = Duration::from_secs(30);
/// After a version that was fetched did not fit.
const FETCH_AGAIN: Duration = Duration::from_secs(30);
/// A new file is for root, and for whom root lets read it.
const FILE_MODE: u32 = 0o644;

/// The origin of what somebody made of a version on this machine.
const EDITED: &str = "edited here";

/// What the keeper is told.
#[derive(Debug)]
pub enum Order {
    /// By a keeper, this node's own among them.
    Asked {
        /// What.
        ask: Ask,
        /// One answer.
        reply: crossbeam_channel::Sender<Reply>,
    },
    /// The file was read again (HUP).
    Loaded,
    /// End.
    End,
}

/// What only the daemon's first thread can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Read the file again, and go by it.
    Reload,
    /// Read the key file again.
    Keys,
}

/// How the daemon is asked for it.
pub type Daemon = dyn Fn(Wish) -> Result<(), String> + Send;

/// What others read without asking this thread.
#[derive(Debug, Default)]
pub struct Shelf {
    versions: Vec<Version>,
    current: Option<Mark>,
    agreed: Option<Version>,
}

/// The thread.
pub struct Keeper {
    me: NodeId,
    file: PathBuf,
    published: Arc<Published>,
    mailbox: Mailbox<Order>,
    daemon: Box<Daemon>,
    follows: Box<Follows>,
    history: History,
    shelf: Arc<Mutex<Arc<Shelf>>>,
    front: Front,
    ready: Option<Ready>,
    /// When the version in force goes again.
    goes: Option<(Mark, Instant)>,
    /// A version that did not fit, and when it is tried again.
    refused: Option<(ConfigVersion, Instant)>,
    drift: events::Drift,
    adoption: adopt::Adoption,
    changing: keys::Changing,
}

/// A version that is on the disk but not in force.
struct Ready {
    version: Version,
    kept: Draft,
    file: Draft,
    /// `None`: this node itself, which goes on at once.
    by: Option<Pusher>,
    until: Instant,
}

/// What the keeper is made of.
pub struct Parts {
    /// This node.
    pub me: NodeId,
    /// Where the daemon reads its configuration.
    pub file: PathBuf,
    /// Holds what must survive a restart.
    pub state_dir: PathBuf,
    /// Configuration, keys, the controller's picture.
    pub published: Arc<Published>,
    /// What the daemon's first thread does for it.
    pub daemon: Box<Daemon>,
    /// Can the daemon follow that configuration as it runs?
    pub follows: Box<Follows>,
    /// The controller's picture, when it is asked for.
    pub picture: Picture,
}

impl Keeper {
    /// Opens the history. Also how others speak to it.
    ///
    /// # Errors
    /// No such directory, no permission, a full disk.
    pub fn begin(parts: Parts, orders: Sender<Order>, mailbox: Mailbox<Order>) -> io::Result<(Self, Front)> {
        let Parts { me, file, state_dir, published, daemon, follows, picture } = parts;
        let history = History::open(&state_dir)?;
        let shelf = Arc::<Mutex<Arc<Shelf>>>::default();
        let front = Front::new(me, file.clone(), published.clone(), orders, shelf.clone(), picture);
        let mut keeper = Keeper {
            me,
            file,
            published,
            mailbox,
            daemon,
            follows,
            history,
            shelf,
            front: front.clone(),
            ready: None,
            goes: None,
            refused: None,
            drift: events::Drift::default(),
            adoption: adopt::Adoption::default(),
            changing: keys::Changing::default(),
        };
        keeper.show();
        Ok((keeper, front))
    }

    /// Keeps until it is told to end.
    pub fn run(mut self) {
        self.take_up();
        let mut next_look = clock::now() + LOOK_INTERVAL;
        loop {
            match self.mailbox.receive_until(next_look) {
                Received::Message(Order::Asked { ask, reply }) => {
                    // Who asked may have gone.
                    let _ = reply.try_send(self.answer(ask));
                }
                Received::Message(Order::Loaded) => self.note_file(),
                Received::Message(Order::End) | Received::Closed => return,
                Received::Nothing => {
                    self.look();
                    next_look = clock::now() + LOOK_INTERVAL;
                }
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> Reply {
        let done = match ask {
            Ask::Prepare(parcel, by) => self.prepare(parcel, Some(by)),
            Ask::Apply { number, digest } => self.apply(number, digest),
            Ask::Forget { number, digest } => {
                let same =
                    |ready: &Ready| (ready.version.mark.number, ready.version.digest) == (number, digest);
                self.ready.take_if(|ready| same(ready));
                Ok(())
            }
            Ask::Accept { secret } => self.accept_key(&secret),
            // The front answers these from the shelf.
            Ask::Newest | Ask::Text | Ask::Offered => Err(vec!["not a question for this thread".to_owned()]),
        };
        done.map_or_else(Reply::No, |()| Reply::Yes)
    }

    /// What a crash left half done is done; what was edited meanwhile is noted.
    fn take_up(&mut self) {
        let unfinished = self.history.agreed().filter(|agreed| {
            self.history.current().is_none_or(|current| current.mark.number < agreed.mark.number)
        });
        if let Some(version) = unfinished.cloned() {
            log::info!("configuration version {}: going on where this node was interrupted", version.mark);
            let done = self.redo(version).and_then(|()| (self.daemon)(Wish::Reload));
            if let Err(error) = done {
                self.tell(&Happened::NotTaken { version: self.agreed(), why: error });
            }
        }
        self.note_file();
        self.watch_confirmation();
        self.show();
    }

    fn redo(&mut self, version: Version) -> Result<(), String> {
        if self.text()? != version.text {
            self.keep_edit()?;
            replace(&self.file, version.text.as_bytes(), FILE_MODE).map_err(|error| error.to_string())?;
        }
        self.history.stands(version.mark).map_err(|error| error.to_string())
    }

    /// The file may have been edited: then it is one of the versions.
    fn note_file(&mut self) {
        if let Err(error) = self.keep_edit() {
            log::error!("the configuration's history: {error}");
        }
        self.show();
    }

    /// Nothing is overwritten that is not in the history.
    fn keep_edit(&mut self) -> Result<(), String> {
        let text = self.text()?;
        if self.history.current().is_some_and(|current| current.text == text) {
            return Ok(());
        }
        let first = self.history.versions().is_empty();
        let origin = if first { "the file at the first start" } else { EDITED };
        let digest = crate::config::parse("", text.as_bytes())
            .map_or(0, |parsed| crate::config::digest(&parsed.config));
        let mark = self.history.next_edit();
        let version = self.version(mark, digest, text, origin.to_owned(), None);
        let told = |error: io::Error| error.to_string();
        let draft = self.history.draft(&version).map_err(told)?;
        self.history.keep(version, draft).map_err(told)?;
        self.history.stands(mark).map_err(told)?;
        if !first {
            self.tell(&Happened::Edited { mark });
        }
        Ok(())
    }

    fn version(
        &self,
        mark: Mark,
        digest: u64,
        text: String,
        origin: String,
        unconfirmed: Option<Unconfirmed>,
    ) -> Version {
        let time = crate::control::events::rfc3339(clock::wall());
        Version { mark, digest, time, origin, text, unconfirmed }
    }

    fn text(&self) -> Result<String, String> {
        read_text(&self.file)
    }

    /// What the cluster agreed on last, as far as this node has it.
    fn agreed(&self) -> ConfigVersion {
        self.history.agreed().map_or(ConfigVersion::default(), |version| ConfigVersion {
            number: version.mark.number,
            digest: version.digest,
        })
    }

    /// Phase one.
    fn prepare(&mut self, parcel: Parcel, by: Option<Pusher>) -> Result<(), Vec<String>> {
        let now = clock::now();
        let asked = ConfigVersion { number: parcel.number, digest: parcel.digest };
        let agreed = self.agreed();
        if asked <= agreed {
            return Err(vec![format!("version {} is here already: try again", agreed.number)]);
        }
        self.ready.take_if(|ready| ready.until <= now);
        if let Some(ready) = &self.ready
            && (ready.version.mark.number, ready.version.digest) != (asked.number, asked.digest)
            && ready.by.is_some_and(|other| self.pushes_still(other, by))
        {
            return Err(vec!["another push is under way: try again".to_owned()]);
        }
        self.ready = None;
        let name = format!("version {}", parcel.number);
        let config = fits::fits(&name, &parcel.text, self.me, &self.published.config(), &*self.follows)?;
        if crate::config::digest(&config) != parcel.digest {
            let text = "this node's program reads it differently: all nodes need the same version of it";
            return Err(vec![text.to_owned()]);
        }
        let unconfirmed = parcel.unconfirmed.map(|(given, before)| Unconfirmed {
            until: clock::wall_seconds().saturating_add(given),
            given,
            before,
        });
        let mark = Mark { number: parcel.number, edit: 0 };
        let version = self.version(mark, parcel.digest, parcel.text, parcel.origin, unconfirmed);
        let told = |error: io::Error| vec![error.to_string()];
        let kept = self.history.draft(&version).map_err(told)?;
        let file = Draft::write(&self.file, version.text.as_bytes(), FILE_MODE).map_err(told)?;
        self.ready = Some(Ready { version, kept, file, by, until: now + READY_FOR });
        Ok(())
    }

    /// Whoever has made something ready here may still say «apply»: not if its life is over, nor if it pushes something
    /// else now. When its word has reached another node, that one has the version, and refuses a second of that number.
    fn pushes_still(&self, other: Pusher, now: Option<Pusher>) -> bool {
        let Ok(view) = self.front.picture() else { return true };
        let lives = view.nodes.iter().any(|node| {
            let life = node.incarnation.map(|life| life.0);
            node.id.0 == other.node && node.state != NodeState::Down && life == Some(other.life)
        });
        lives && now.is_none_or(|now| now.node != other.node)
    }

    /// Phase two.
    fn apply(&mut self, number: u64, digest: u64) -> Result<(), Vec<String>> {
        let asked = ConfigVersion { number, digest };
        if self.agreed() == asked {
            return Ok(());
        }
        let matching =
            |ready: &mut Ready| (ready.version.mark.number, ready.version.digest) == (number, digest);
        let ready =
            self.ready.take_if(matching).ok_or_else(|| vec![format!("version {number} is not ready")])?;
        self.take(ready).map_err(|error| {
            self.tell(&Happened::NotTaken { version: asked, why: error.clone() });
            vec![error]
        })
    }

    /// History first, then the file, then the daemon: after a crash in between, `take_up` goes on.
    fn take(&mut self, ready: Ready) -> Result<(), String> {
        let Ready { version, kept, file, .. } = ready;
        let (mark, origin) = (version.mark, version.origin.clone());
        let before = self.text()?;
        self.keep_edit()?;
        let edited = |current: &&Version| current.mark.edit > 0 && current.origin == EDITED;
        let edit = self.history.current().filter(edited).map(|current| current.mark);
        let same = before == version.text;
        // Who pushes has mostly edited the file here before, and nobody has read it.
        let in_force = crate::config::digest(&self.published.config()) == version.digest;
        let told = |error: io::Error| error.to_string();
        self.history.keep(version, kept).map_err(told)?;
        let placed = if same { Ok(()) } else { file.place().map_err(told) };
        let reloaded =
            placed.and_then(|()| if same && in_force { Ok(()) } else { (self.daemon)(Wish::Reload) });
        if let Err(error) = reloaded {
            // It goes on with the old one; so must its next life, and nobody may think that it has the new one.
            self.history.forget(mark);
            replace(&self.file, before.as_bytes(), FILE_MODE).map_err(told)?;
            self.note_file();
            return Err(error);
        }
        if let Err(error) = self.history.stands(mark) {
            log::error!("the configuration's history: {error}");
        }
        let instead = self.published.told.lock().version;
        self.watch_confirmation();
        self.show();
        let (instead, confirm) = (instead.number, self.seconds_left());
        self.tell(&Happened::Taken { mark, origin, instead, edit, confirm });
        Ok(())
    }

    /// The version in force may have to be confirmed.
    fn watch_confirmation(&mut self) {
        let unconfirmed = self.history.agreed().and_then(|version| {
            let it = version.unconfirmed.as_ref()?;
            Some((version.mark, it.until.saturating_sub(clock::wall_seconds()).min(it.given)))
        });
        self.goes = unconfirmed.map(|(mark, left)| (mark, clock::now() + Duration::from_secs(left)));
    }

    fn seconds_left(&self) -> Option<u64> {
        self.goes.map(|(_, at)| at.since(clock::now()).as_secs_f64().round() as u64)
    }

    /// For those who read.
    fn show(&mut self) {
        let agreed = self.agreed();
        self.published.told.lock().version = agreed;
        *self.shelf.lock() = Arc::new(Shelf {
            versions: self.history.versions().to_vec(),
            current: self.history.current().map(|version| version.mark),
            agreed: self.history.agreed().cloned(),
        });
    }

    /// Every second.
    fn look(&mut self) {
        let now = clock::now();
        self.ready.take_if(|ready| ready.until <= now);
        if self.ready.is_none() && self.goes.is_some_and(|(_, at)| at <= now) {
            self.take_back();
        }
        let Some(view) = self.published.view.lock().clone() else { return };
        let config = self.published.config();
        self.fetch(&view, &config, now);
        let drift = crate::control::status::config_drift(&view, &config);
        if let Some(happened) = self.drift.seen(drift, now) {
            self.tell(&happened);
        }
        self.look_at_keys(&view, &config, now);
        self.adoption.look(&view, &config, &self.front, self.agreed());
    }

    /// Nobody confirmed: every node makes the same next version of what was before.
    fn take_back(&mut self) {
        self.goes = None;
        let Some(version) = self.history.agreed() else { return };
        let Some(unconfirmed) = version.unconfirmed.clone() else { return };
        let number = version.mark.number;
        let digest = crate::config::parse("", unconfirmed.before.as_bytes());
        let digest = digest.map_or(0, |parsed| crate::config::digest(&parsed.config));
        let origin = format!("version {number} was not confirmed in time");
        let (text, number) = (unconfirmed.before, number + 1);
        let parcel = Parcel { number, digest, text, origin, unconfirmed: None };
        if let Err(reasons) = self.prepare(parcel, None).and_then(|()| self.apply(number, digest)) {
            let why = reasons.join("; ");
            self.tell(&Happened::NotTaken { version: ConfigVersion { number, digest }, why });
            // Neither did the disk or the machine let it: tried again.
            self.goes = Some((Mark { number, edit: 0 }, clock::now() + FETCH_AGAIN));
        }
    }

    /// Somebody has a newer version: this node was away, or the word did not reach it.
    fn fetch(&mut self, view: &crate::controller::View, config: &Config, now: Instant) {
        let others = view.nodes.iter().filter(|node| node.id != self.me && node.state != NodeState::Down);
        let newest = others.filter_map(|node| Some((node.status.as_ref()?.version, node.id))).max();
        let Some((version, from)) = newest.filter(|(version, _)| *version > self.agreed()) else { return };
        let ConfigVersion { number, digest } = version;
        if self
            .ready
            .as_ref()
            .is_some_and(|it| (it.version.mark.number, it.version.digest) == (number, digest))
        {
            // It was ready for it already.
            let _ = self.apply(number, digest);
            return;
        }
        if self.ready.is_some() || self.refused.is_some_and(|(it, until)| it == version && now < until) {
            return;
        }
        let address = SocketAddr::from((from.address(), config.cluster.port));
        let fetched = match talk::ask(address, &self.published.keys(), &Ask::Newest) {
            Ok(Reply::Newest(Some(parcel))) => {
                let (number, digest) = (parcel.number, parcel.digest);
                let done = self.prepare(parcel, None).and_then(|()| self.apply(number, digest));
                done.map_err(|why| why.join("; "))
            }
            Ok(_) => Err("it does not have it any more".to_owned()),
            Err(error) => Err(error),
        };
        if let Err(why) = fetched {
            if self.refused.is_none_or(|(it, _)| it != version) {
                self.tell(&Happened::NotTaken { version, why });
            }
            self.refused = Some((version, clock::now() + FETCH_AGAIN));
        }
    }

    fn tell(&self, happened: &Happened) {
        events::tell(happened, &self.published);
    }
}

/// A file as text, of a length that a version may have.
fn read_text(file: &Path) -> Result<String, String> {
    let bytes = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{} is no text", file.display()))
}

#[cfg(test)]
mod tests;
