//! How everybody else speaks to the keeper: other nodes through the door, operators through the control
//! socket. Runs in their threads: what stands on the shelf is answered at once, the rest waits for the keeper.

use super::history::{Mark, Version};
use super::talk::{self, ANSWER_PATIENCE, Ask, Parcel, Reply};
use super::{Order, Shelf, read_text};
use crate::config;
use crate::control::protocol::{Answer, Question};
use crate::controller::View;
use crate::os::clock;
use crate::threads::mailbox::Sender;
use crate::threads::published::Published;
use crate::vocabulary::NodeId;
use crate::wire::hex;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Asks the driver for the controller's picture; `None`: it does not answer.
pub type Picture = Arc<dyn Fn() -> Option<Arc<View>> + Send + Sync>;

/// A handle on the keeper; clones are the same.
#[derive(Clone)]
pub struct Front {
    pub(super) me: NodeId,
    file: PathBuf,
    pub(super) published: Arc<Published>,
    orders: Sender<Order>,
    shelf: Arc<Mutex<Arc<Shelf>>>,
    picture: Picture,
    /// Held while this node coordinates a push.
    pub(super) pushing: Arc<Mutex<()>>,
}

impl Front {
    pub(super) fn new(
        me: NodeId,
        file: PathBuf,
        published: Arc<Published>,
        orders: Sender<Order>,
        shelf: Arc<Mutex<Arc<Shelf>>>,
        picture: Picture,
    ) -> Front {
        Front { me, file, published, orders, shelf, picture, pushing: Arc::default() }
    }

    /// Who lives and who does not, at this moment.
    pub(super) fn picture(&self) -> Result<Arc<View>, String> {
        (self.picture)().ok_or_else(|| "the daemon does not answer: try again".to_owned())
    }

    /// Another node's question.
    pub fn answer(&self, ask: Ask) -> Reply {
        match ask {
            Ask::Newest => {
                let now = clock::wall_seconds();
                Reply::Newest(self.shelf().agreed.as_ref().map(|version| Parcel::of(version, now)))
            }
            Ask::Text => Reply::Text(config::print(&self.published.config())),
            Ask::Offered => Reply::Offered(self.published.keys().offered().map(hex)),
            ask => self.own(ask),
        }
    }

    /// What the keeper's own thread has to do.
    pub(super) fn own(&self, ask: Ask) -> Reply {
        let (reply, replied) = crossbeam_channel::bounded(1);
        let no = |why: &str| Reply::No(vec![why.to_owned()]);
        if self.orders.offer(Order::Asked { ask, reply }).is_err() {
            return no("its configuration keeper is too busy or stopping");
        }
        replied
            .recv_timeout(ANSWER_PATIENCE)
            .unwrap_or_else(|_| no("its configuration keeper does not answer"))
    }

    pub(super) fn shelf(&self) -> Arc<Shelf> {
        self.shelf.lock().clone()
    }

    /// Another node's keeper, or this one's.
    pub(super) fn ask(&self, node: NodeId, ask: &Ask) -> Result<Reply, String> {
        if node == self.me {
            return Ok(self.answer(ask.clone()));
        }
        let address = SocketAddr::from((node.address(), self.published.config().cluster.port));
        talk::ask(address, &self.published.keys(), ask)
    }

    /// An operator's question, if it is one for the keeper.
    pub fn serve(&self, question: &Question) -> Answer {
        match question {
            Question::ConfigPush { name, text, confirm_s } => {
                let origin = format!("{name} pushed from {}", self.name(self.me));
                self.push(name, text, origin, *confirm_s)
            }
            Question::ConfigRollback { version, confirm_s } => self.rollback(version.as_deref(), *confirm_s),
            Question::ConfigConfirm => self.confirm(),
            Question::ConfigHistory => Ok(self.history()),
            Question::ConfigDiff { of } => self.two_texts(of.as_deref()),
            Question::KeyRotate => self.rotate(),
            _ => Err("this is no question for the configuration keeper".to_owned()),
        }
    }

    fn rollback(&self, wanted: Option<&str>, confirm_s: Option<u64>) -> Answer {
        let shelf = self.shelf();
        let version = match wanted {
            Some(word) => find(&shelf, word)?,
            None => {
                let now = shelf.current().map(|version| &version.text);
                let before = shelf.versions.iter().rev().skip_while(|it| Some(it.mark) != shelf.current);
                let mut before = before.filter(|version| Some(&version.text) != now);
                before.next().ok_or("there is no version before this one in the history of this node")?
            }
        };
        let name = format!("version {}", version.mark);
        let origin = format!("rollback to {} from {}", version.mark, self.name(self.me));
        self.push(&name, &version.text, origin, confirm_s)
    }

    fn confirm(&self) -> Answer {
        let shelf = self.shelf();
        let agreed = shelf.agreed.as_ref().filter(|version| version.unconfirmed.is_some());
        let Some(version) = agreed else {
            return Err("nothing waits to be confirmed".to_owned());
        };
        let name = format!("version {}", version.mark);
        let origin = format!("version {} confirmed from {}", version.mark, self.name(self.me));
        self.push(&name, &version.text, origin, None)
    }

    fn push(&self, name: &str, text: &str, origin: String, confirm_s: Option<u64>) -> Answer {
        let pushed = super::push::push(self, name, text, origin, confirm_s)?;
        Ok(pushed.json())
    }

    /// Newest first.
    fn history(&self) -> Value {
        let shelf = self.shelf();
        let now = clock::wall_seconds();
        let agreed = shelf.agreed.as_ref().map(|version| version.mark);
        let line = |version: &Version| {
            let left = version.unconfirmed.as_ref().filter(|_| Some(version.mark) == agreed);
            json!({
                "version": version.mark.to_string(),
                "current": Some(version.mark) == shelf.current,
                "config_digest": format!("{:016x}", version.digest),
                "time": version.time,
                "origin": version.origin,
                "confirm_ms": left.map(|it| it.until.saturating_sub(now).min(it.given) * 1000),
            })
        };
        shelf.versions.iter().rev().map(line).collect()
    }

    /// What is in force here, and what it is compared with: as effective configurations, with names.
    fn two_texts(&self, of: Option<&str>) -> Answer {
        let here = self.name(self.me);
        let own = config::print(&self.published.config());
        let (name, other) = match of {
            None => {
                let name = self.file.display().to_string();
                (name.clone(), effective(&name, &read_text(&self.file)?)?)
            }
            Some(word) if self.node_named(word).is_some() => {
                let node = self.node_named(word).unwrap_or(self.me);
                match self.ask(node, &Ask::Text).map_err(|error| format!("{word}: {error}"))? {
                    Reply::Text(text) => (word.to_owned(), text),
                    other => return Err(format!("{word} answers with {other:?}")),
                }
            }
            Some(word) => {
                let shelf = self.shelf();
                let version = find(&shelf, word)?;
                let name = format!("version {}", version.mark);
                (name.clone(), effective(&name, &version.text)?)
            }
        };
        Ok(json!({"from": {"name": here, "text": own}, "to": {"name": name, "text": other}}))
    }

    fn node_named(&self, name: &str) -> Option<NodeId> {
        if let Some(node) = self.published.config().node_named(name) {
            return Some(node.id);
        }
        let view = self.published.view.lock().clone()?;
        let named = view.nodes.iter().find(|it| it.status.as_ref().is_some_and(|status| status.name == name));
        named.map(|node| node.id)
    }

    /// As this node's configuration has it, or as it calls itself.
    pub(super) fn name(&self, id: NodeId) -> String {
        if let Some(node) = self.published.config().node(id) {
            return node.name.clone();
        }
        let view = self.published.view.lock().clone();
        let told = view.as_ref().and_then(|view| view.nodes.iter().find(|node| node.id == id));
        let status = told.and_then(|node| node.status.as_ref()).filter(|status| !status.name.is_empty());
        status.map_or_else(|| id.to_string(), |status| status.name.clone())
    }
}

impl Shelf {
    pub(super) fn current(&self) -> Option<&Version> {
        self.versions.iter().find(|version| Some(version.mark) == self.current)
    }
}

fn find<'a>(shelf: &'a Shelf, word: &str) -> Result<&'a Version, String> {
    let wanted = word.parse::<Mark>().ok();
    let found = shelf.versions.iter().find(|version| Some(version.mark) == wanted);
    found.ok_or_else(|| {
        let known: Vec<String> = shelf.versions.iter().map(|version| version.mark.to_string()).collect();
        format!("there is no node and no version {word} (versions here: {})", known.join(", "))
    })
}

fn effective(name: &str, text: &str) -> Result<String, String> {
    let parsed = config::parse(name, text.as_bytes());
    let lines = |problems: Vec<config::Problem>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    parsed.map(|parsed| config::print(&parsed.config)).map_err(lines)
}
