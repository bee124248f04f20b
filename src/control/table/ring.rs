//! The ring of `diehard status`, drawn as a ring in plain characters. PURE.
//!
//! ```text
//! ring  +--> web1* [www1] ---> web2 [www2] ---+
//!       |                                     |
//!       +--- web4 [www4] <--- web3? [www3] <--+
//! ```
//! More nodes than two rows hold go on in a snake of an even number of rows, so that the last one ends where
//! the way back to the first begins. Plain ASCII: a serial console at three in the morning shows it too.

use super::{Look, Paint, node_paint, walk};
use crate::control::status::{NodeStatus, Status};
use std::fmt::Write;

/// What stands before every line.
const TITLE: &str = "ring  ";
/// Between two cells at least: ` --> ` or ` <-- `.
const BETWEEN: usize = 5;
/// What the edges of a row take: `+--> ` or `|  +-> `, and ` --+`.
const EDGES: usize = 11;
/// A cell longer than this shows the node alone.
const LONGEST_CELL: usize = 26;
/// Services are shown beside their holders in rings of so many nodes at most.
const MOST_WITH_SERVICES: usize = 8;

/// One node on its place.
struct Cell {
    text: String,
    paint: Paint,
}

/// The ring, and what its marks mean.
pub(super) fn ring_text(status: &Status, look: Look) -> String {
    let members: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.incarnation.is_some()).collect();
    let names = match members.as_slice() {
        [] => return format!("{TITLE}nobody\n"),
        [alone] => vec![alone.name.as_str()],
        [first, ..] => walk(&members, first),
    };
    let whole = names.len() == members.len() + 1 && names.first() == names.last();
    let mut text = match members.as_slice() {
        [alone] => format!("{TITLE}{} (alone)\n", painted(&name_cell(status, alone), look)),
        _ if whole => drawn(&cells(status, &members, &names[..members.len()], look), look),
        _ => open_chain(status, &members, &names, look),
    };
    let outside: Vec<String> = status
        .nodes
        .iter()
        .filter(|node| node.incarnation.is_none())
        .map(|node| look.paint(node_paint(&node.state), &format!("{} ({})", node.name, node.state)))
        .collect();
    if !outside.is_empty() {
        let _ = writeln!(text, "{}outside it: {}", " ".repeat(TITLE.len()), outside.join(", "));
    }
    text.push_str(&legend(status, &members, look));
    text
}

fn mark(status: &Status, node: &NodeStatus) -> &'static str {
    let controls = status.controller.as_deref() == Some(node.name.as_str());
    match (node.state.as_str(), controls) {
        ("suspect", _) => "?",
        ("standby", _) => "~",
        ("leaving", _) => "^",
        (_, true) => "*",
        (_, false) => "",
    }
}

fn legend(status: &Status, members: &[&NodeStatus], look: Look) -> String {
    let used = |wanted: &str| members.iter().any(|node| mark(status, node) == wanted);
    let known = [("*", "the controller"), ("?", "suspect"), ("~", "on standby"), ("^", "leaving")];
    let words: Vec<String> =
        known.iter().filter(|(mark, _)| used(mark)).map(|(mark, what)| format!("{mark} {what}")).collect();
    if words.is_empty() {
        return String::new();
    }
    format!("{}{}\n", " ".repeat(TITLE.len()), look.paint(Paint::Dim, &words.join("   ")))
}

fn name_cell(status: &Status, node: &NodeStatus) -> Cell {
    let paint = if node.state == "up" { Paint::Plain } else { node_paint(&node.state) };
    Cell { text: format!("{}{}", node.name, mark(status, node)), paint }
}

fn painted(cell: &Cell, look: Look) -> String {
    look.paint(cell.paint, &cell.text)
}

/// With the services that each holds, if all of that fits.
fn cells(status: &Status, members: &[&NodeStatus], names: &[&str], look: Look) -> Vec<Cell> {
    let nodes = names.iter().filter_map(|name| members.iter().find(|node| node.name == **name));
    let plain: Vec<Cell> = nodes.map(|node| name_cell(status, node)).collect();
    let full = |(cell, name): (&Cell, &&str)| {
        let held = status.services.iter().filter(|service| service.holder.as_deref() == Some(*name));
        let held: Vec<&str> = held.map(|service| service.name.as_str()).collect();
        let services = if held.is_empty() { String::new() } else { format!(" [{}]", held.join(" ")) };
        Cell { text: format!("{}{services}", cell.text), paint: cell.paint }
    };
    let full: Vec<Cell> = plain.iter().zip(names).map(full).collect();
    let width = widest(&full);
    let fits = width <= LONGEST_CELL && TITLE.len() + EDGES + width <= look.columns;
    if names.len() <= MOST_WITH_SERVICES && fits { full } else { plain }
}

fn widest(cells: &[Cell]) -> usize {
    cells.iter().map(|cell| cell.text.chars().count()).max().unwrap_or(0)
}

fn drawn(cells: &[Cell], look: Look) -> String {
    let width = widest(cells);
    let room = look.columns.saturating_sub(TITLE.len() + EDGES) + BETWEEN;
    let most = (room / (width + BETWEEN)).max(1);
    // An even number of rows, each as long as the others or one shorter.
    let rows = cells.len().div_ceil(most).next_multiple_of(2);
    let (base, longer) = (cells.len() / rows, cells.len() % rows);
    let across = base + usize::from(longer > 0);
    let mut text = String::new();
    let mut rest = cells;
    for row in 0..rows {
        let (these, others) = rest.split_at(base + usize::from(row < longer));
        rest = others;
        let lead = if row == 0 { TITLE } else { "      " };
        let line = if row % 2 == 0 {
            format!("{} {}--+", left_edge(row, rows), rightwards(these, across, width, look))
        } else {
            let joint = if these.len() < across { '-' } else { ' ' };
            format!("{}{joint}{}<-+", left_edge(row, rows), leftwards(these, across, width, look))
        };
        let _ = writeln!(text, "{lead}{line}");
        if rows == 2 && row == 0 {
            // The edges and the space after the left one, the cells, what stands between and after them.
            let inner = 5 + across * width + (across - 1) * BETWEEN + 1 + 3 - 2;
            let _ = writeln!(text, "      |{}|", " ".repeat(inner));
        }
    }
    text
}

fn left_edge(row: usize, rows: usize) -> &'static str {
    match (row, rows) {
        (0, 2) => "+-->",
        (_, 2) => "+---",
        (0, _) => "+----->",
        (row, rows) if row + 1 == rows => "+------",
        (row, _) if row % 2 == 0 => "|  +-->",
        _ => "|  +---",
    }
}

/// Cells from left to right; a dash takes what room they leave.
fn rightwards(cells: &[Cell], across: usize, width: usize, look: Look) -> String {
    let mut line = String::new();
    for place in 0..across {
        let last = place + 1 == across;
        match cells.get(place) {
            Some(cell) => {
                line.push_str(&painted(cell, look));
                line.push(' ');
                line.extend(std::iter::repeat_n('-', width - cell.text.chars().count()));
            }
            None => line.extend(std::iter::repeat_n('-', width + 1)),
        }
        if !last {
            line.push_str(if place + 1 < cells.len() { "--> " } else { "----" });
        }
    }
    line
}

/// The same from right to left.
fn leftwards(cells: &[Cell], across: usize, width: usize, look: Look) -> String {
    let mut line = String::new();
    for place in (0..across).rev() {
        let fill = match cells.get(place) {
            Some(cell) => {
                line.push_str(&painted(cell, look));
                line.push_str(if place > 0 { " <" } else { " " });
                width - cell.text.chars().count() + if place > 0 { BETWEEN - 3 } else { 0 }
            }
            None => width + BETWEEN - 1,
        };
        line.extend(std::iter::repeat_n('-', fill));
        if place > 0 {
            line.push(' ');
        }
    }
    line
}

/// Neighbours that do not lead back to the first.
fn open_chain(status: &Status, members: &[&NodeStatus], names: &[&str], look: Look) -> String {
    let mut text = String::from(TITLE);
    let mut column = TITLE.len();
    for (place, name) in names.iter().enumerate() {
        let arrow = if place == 0 { "" } else { " --> " };
        let node = members.iter().find(|node| node.name == **name);
        let cell =
            node.map_or(Cell { text: (*name).to_owned(), paint: Paint::Red }, |node| name_cell(status, node));
        let width = arrow.len() + cell.text.chars().count();
        if place > 0 && column + width > look.columns {
            text.push_str("\n      ");
            column = TITLE.len();
        }
        text.push_str(arrow);
        text.push_str(&painted(&cell, look));
        column += width;
    }
    let _ = writeln!(text, "  {}", look.paint(Paint::Yellow, "(being rebuilt)"));
    text
}

#[cfg(test)]
mod tests;
