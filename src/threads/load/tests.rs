//! The thread itself: what the driver is told, and that nothing is left of a script.

use super::*;
use crate::control::scratch::Directory;
use crate::threads::mailbox::{Mailbox, Received, mailbox};
use std::thread::JoinHandle;

/// Anything here takes moments; this is for a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    published: Arc<Published>,
    told: Mailbox<Told>,
    bell: Doorbell,
    thread: JoinHandle<()>,
}

fn configuration(lines: &str) -> String {
    format!(
        "[cluster]\nname = t\n{lines}\n[node a]\npriority = 1\ninternal = eth1 10.0.0.1/24\nexternal = eth0\n\
         [service s]\nhome = a\naddress = 192.0.2.1/24\n"
    )
}

fn running(lines: &str) -> Running {
    let published = Published::of(&configuration(lines));
    let me = published.config().nodes[0].id;
    let (driver, told) = mailbox(64);
    let bell = Doorbell::new().expect("an eventfd");
    let load = Load { me, driver, published: published.clone(), bell: bell.clone() };
    let thread = crate::threads::start("load", crate::threads::Urgency::Ordinary, move || load.run());
    Running { published, told, bell, thread: thread.expect("a thread") }
}

impl Running {
    /// What the driver is told next.
    fn next(&mut self) -> Option<u32> {
        match self.told.receive_until(clock::now() + PATIENCE) {
            Received::Message(Told::Happened(input)) => match *input {
                Input::Load(load) => load,
                other => panic!("{other:?}"),
            },
            _ => panic!("nothing is told"),
        }
    }

    /// As the driver does.
    fn reload(&self, lines: &str) {
        *self.published.config.write() = Published::of(&configuration(lines)).config();
        self.bell.ring();
    }

    fn end(self) {
        self.published.stopping.store(true, std::sync::atomic::Ordering::Release);
        self.bell.ring();
        self.thread.join().expect("it ends");
    }

    fn event(&self) -> Option<String> {
        let batch = self.published.events.after(0, usize::MAX);
        batch.events.last().map(|entry| entry.text.clone())
    }
}

#[test]
fn a_script_is_asked_and_what_it_says_is_told_in_steps() {
    let mut running = running("load = script\nload_script = echo 0.52; echo 7");
    assert_eq!(running.next(), Some(500));
    assert_eq!(running.event(), None);
    running.end();
}

#[test]
fn a_script_that_fails_is_told_once_and_counts_no_more_until_it_works_again() {
    let mut running = running("load = script\nload_script = echo 0.2");
    assert_eq!(running.next(), Some(200));
    *running.published.config.write() =
        Published::of(&configuration("load = script\nload_script = echo 0.2; exit 3")).config();
    assert_eq!(running.next(), None);
    let text = running.event().expect("an event");
    assert!(
        text.contains("cannot be measured here: exit code 3; this node's services are counted"),
        "{text}"
    );
    running.reload("load = script\nload_script = echo 0.4");
    assert_eq!(running.next(), Some(400));
    assert_eq!(running.event().as_deref(), Some("the load (script) is measured here again"));
    running.end();
}

#[test]
fn another_source_takes_over_at_a_reload_and_services_need_no_measuring() {
    let mut running = running("load = script\nload_script = echo 900");
    assert_eq!(running.next(), Some(900_000));
    running.reload("load = services");
    assert_eq!(running.next(), None);
    running.reload("load = cpu");
    assert!(running.next().is_some_and(|load| load <= 1000));
    running.end();
}

#[test]
fn a_script_that_ignores_term_is_gone_when_the_daemon_has_ended() {
    let directory = Directory::new("load");
    let mark = directory.path.join("pid");
    let script = format!("trap '' TERM; echo $$ > {}; while :; do sleep 1; done", mark.display());
    let running = running(&format!("load = script\nload_script = {script}"));
    let until = clock::now() + PATIENCE;
    let pid = loop {
        let text = std::fs::read_to_string(&mark).unwrap_or_default();
        if let Ok(pid) = text.trim().parse::<u32>() {
            break pid;
        }
        assert!(clock::now() < until, "the script does not begin");
        clock::sleep_until(clock::now() + Duration::from_millis(5));
    };
    running.end();
    let gone = || !std::path::Path::new(&format!("/proc/{pid}")).exists();
    while !gone() {
        assert!(clock::now() < until, "the script lives on");
        clock::sleep_until(clock::now() + Duration::from_millis(5));
    }
}
