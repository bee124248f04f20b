//! The demo's picture of the cluster: redrawn in place on a terminal, told in lines elsewhere.

use crate::figures::table;
use crate::namespace::Outcome;
use crate::stage::Stage;
use crate::world::World;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// More often nobody can read it, and looking costs the machine something.
const PERIOD: Duration = Duration::from_millis(100);

/// What is on the terminal.
pub struct Screen {
    terminal: bool,
    start: Instant,
    drawn: Vec<String>,
    looked: Option<Instant>,
    holders: Vec<Option<usize>>,
}

impl Screen {
    /// Nothing yet.
    pub fn new() -> Screen {
        Screen {
            terminal: stdout().is_terminal(),
            start: Instant::now(),
            drawn: Vec::new(),
            looked: None,
            holders: Vec::new(),
        }
    }

    /// A line that stays, above the picture.
    pub fn say(&mut self, line: &str) {
        let picture = std::mem::take(&mut self.drawn);
        self.erase(picture.len());
        println!("{:6.2} s  {line}", self.start.elapsed().as_secs_f64());
        self.draw(picture);
    }

    /// Looks at the cluster, and draws it if something has changed.
    pub fn refresh(&mut self, stage: &Stage) -> Outcome<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < PERIOD) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        self.tell_changes(stage)?;
        if self.terminal {
            let picture = picture(stage)?;
            if picture != self.drawn {
                self.erase(self.drawn.len());
                self.draw(picture);
            }
        }
        Ok(())
    }

    /// The picture stays as it is; what follows comes below.
    pub fn finish(&mut self) {
        self.drawn.clear();
    }

    fn tell_changes(&mut self, stage: &Stage) -> Outcome<()> {
        let prober = stage.prober()?;
        let count = stage.world.nodes.len();
        let now: Vec<Option<usize>> =
            (0..count).map(|service| prober.holder(service, Duration::from_millis(60))).collect();
        let before = std::mem::replace(&mut self.holders, now.clone());
        for (service, who) in now.iter().enumerate() {
            if before.get(service).copied().flatten() != *who {
                let who = who.map_or("nobody", |index| &stage.world.nodes[index].name);
                self.say(&format!("  the client gets www{} from {who}", service + 1));
            }
        }
        Ok(())
    }

    fn erase(&self, lines: usize) {
        if self.terminal && lines > 0 {
            print!("\x1b[{lines}A\x1b[J");
        }
    }

    fn draw(&mut self, picture: Vec<String>) {
        for line in &picture {
            println!("{line}");
        }
        self.drawn = picture;
        // A terminal that went away is noticed by whoever reads the exit code.
        let _ = stdout().flush();
    }
}

fn picture(stage: &Stage) -> Outcome<Vec<String>> {
    let world = &stage.world;
    let holders = world.holders()?;
    let status = world.living().first().and_then(|index| world.status(*index).ok()).unwrap_or_default();
    let heading = ["server", "power", "state", "left", "right", "holds"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for (index, node) in world.nodes.iter().enumerate() {
        let entry = status["nodes"]
            .as_array()
            .and_then(|nodes| nodes.iter().find(|entry| entry["name"] == *node.name));
        let word = |key: &str| entry.and_then(|entry| entry[key].as_str()).unwrap_or("-").to_owned();
        let role = if status["controller"] == *node.name { "* " } else { "  " };
        let held = (0..world.nodes.len()).filter(|service| holders[*service].contains(&index));
        let held: Vec<String> =
            held.map(|service| format!("www{} {}", service + 1, World::service_address(service))).collect();
        lines.push(vec![
            format!("{role}{}", node.name),
            if node.powered { "on" } else { "OFF" }.to_owned(),
            word("state"),
            word("left"),
            word("right"),
            held.join(", "),
        ]);
    }
    let text = table(&lines);
    let epoch = status["epoch"].as_str().unwrap_or("-");
    let foot = format!("  (* controller, state {epoch})");
    Ok(text.lines().map(|line| format!("  {line}")).chain([foot]).collect())
}
