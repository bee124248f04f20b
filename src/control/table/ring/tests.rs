use super::*;
use crate::control::status::samples::*;
use crate::control::status::status;

const PLAIN: Look = Look { colour: false, columns: 80 };

fn sample() -> Status {
    status(&view(), &config(), &lines())
}

/// Nodes server00, server01 … in a whole ring; server00 controls, and nobody holds anything.
fn ring_of(count: usize) -> Status {
    let mut status = sample();
    let one = status.nodes[0].clone();
    let name = |number: usize| format!("server{:02}", number % count);
    let node = |number: usize| {
        let mut node = one.clone();
        (node.name, node.right) = (name(number), Some(name(number + 1)));
        node
    };
    status.nodes = (0..count).map(node).collect();
    status.controller = Some(name(0));
    status.services.clear();
    status
}

#[test]
fn two_nodes_and_one_that_is_down() {
    let expected = "\
ring  +--> web1* [www1] ------+
      |                       |
      +--- web3 [www2 www3] <-+
      outside it: web2 (down)
      * the controller
";
    assert_eq!(ring_text(&sample(), PLAIN), expected);
}

#[test]
fn a_few_nodes_go_round_a_rectangle() {
    let mut status = ring_of(5);
    status.nodes[2].state = "suspect".into();
    status.nodes[3].state = "standby".into();
    let expected = "\
ring  +--> server00* --> server01 ---> server02? --+
      |                                            |
      +----------------- server04 <--- server03~ <-+
      * the controller   ? suspect   ~ on standby
";
    assert_eq!(ring_text(&status, PLAIN), expected);
}

#[test]
fn sixty_four_nodes_fit_a_small_terminal() {
    for count in [2, 3, 7, 12, 13, 33, 63, 64] {
        let status = ring_of(count);
        let text = ring_text(&status, PLAIN);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{count}:\n{text}");
        let widths: Vec<usize> =
            text.lines().filter(|line| line.ends_with('+')).map(|line| line.chars().count()).collect();
        assert!(widths.len().is_multiple_of(2) && widths.iter().all(|width| *width == widths[0]), "{text}");
        for node in &status.nodes {
            assert_eq!(text.matches(&node.name).count(), 1, "{count}: {}\n{text}", node.name);
        }
    }
    assert!(ring_text(&ring_of(64), PLAIN).lines().count() <= 24, "it fits a screen");
}

#[test]
fn who_reads_along_the_arrows_meets_the_nodes_in_their_order() {
    let text = ring_text(&ring_of(23), PLAIN);
    let mut met = Vec::new();
    for (row, line) in text.lines().filter(|line| line.ends_with('+')).enumerate() {
        let mut names: Vec<&str> =
            line.split(|c: char| !c.is_alphanumeric()).filter(|it| it.contains("server")).collect();
        if row % 2 == 1 {
            names.reverse();
        }
        met.extend(names);
    }
    let expected: Vec<String> = (0..23).map(|number| format!("server{number:02}")).collect();
    assert_eq!(met, expected, "{text}");
}

#[test]
fn a_ring_that_is_none_is_not_drawn_as_one() {
    let mut status = sample();
    status.nodes.retain(|node| node.name == "web1");
    assert_eq!(ring_text(&status, PLAIN), "ring  web1* (alone)\n      * the controller\n");
    status.nodes.clear();
    assert_eq!(ring_text(&status, PLAIN), "ring  nobody\n");
    let mut status = sample();
    status.nodes[2].right = None;
    assert!(ring_text(&status, PLAIN).starts_with("ring  web1* --> web3  (being rebuilt)\n"));
    status.nodes[2].right = Some("web3".into());
    assert!(
        ring_text(&status, PLAIN).starts_with("ring  web1* --> web3 --> web3  (being rebuilt)\n"),
        "it ends all the same"
    );
}

#[test]
fn colours_move_nothing() {
    let painted = ring_text(&ring_of(9), Look { colour: true, ..PLAIN });
    let mut bare = String::new();
    for (index, part) in painted.split('\x1b').enumerate() {
        bare.push_str(if index == 0 { part } else { &part[part.find('m').expect("a code ends") + 1..] });
    }
    assert_eq!(bare, ring_text(&ring_of(9), PLAIN));
}
