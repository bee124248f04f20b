use super::*;
use crate::control::scratch::Directory;
use std::os::unix::fs::FileExt;

fn line(number: u64) -> Line {
    let text = format!("event {number}");
    Line {
        id: 7,
        node: "web1".into(),
        log: 3,
        number,
        time_us: 1_790_000_000_000_000,
        text,
        fields: Map::new(),
    }
}

fn numbers(lines: &[Line]) -> Vec<u64> {
    lines.iter().map(|line| line.number).collect()
}

#[test]
fn events_survive_a_restart_and_torn_and_foreign_lines_do_not() {
    let scratch = Directory::new("torn");
    let (mut file, before) = ChronicleFile::open(&scratch.path, SIZE_MAX);
    assert!(before.is_empty());
    file.append(&line(1));
    file.append(&line(2));
    drop(file);
    let (mut file, lines) = ChronicleFile::open(&scratch.path, SIZE_MAX);
    assert_eq!(lines, [line(1), line(2)]);
    file.append(&line(3));
    file.sync();
    drop(file);
    // The last line is cut in its middle, as by a crash; another is overwritten with anything.
    let path = scratch.path.join(NAME);
    let raw = OpenOptions::new().write(true).open(&path).expect("there");
    raw.set_len(fs::metadata(&path).expect("there").len() - 9).expect("cut");
    raw.write_all_at(&[0xff, 0, b'{'], 4).expect("garbled");
    let (mut file, lines) = ChronicleFile::open(&scratch.path, SIZE_MAX);
    assert_eq!(numbers(&lines), [2]);
    file.append(&line(4));
    assert_eq!(
        numbers(&ChronicleFile::open(&scratch.path, SIZE_MAX).1),
        [2, 4],
        "it begins a line of its own"
    );
}

#[test]
fn it_is_bounded_and_the_newest_stay() {
    let scratch = Directory::new("bounded");
    let (mut file, _) = ChronicleFile::open(&scratch.path, 1_000);
    for number in 1..=200 {
        file.append(&line(number));
        let size = |name| fs::metadata(scratch.path.join(name)).map_or(0, |found| found.len());
        assert!(size(NAME) <= 1_000 && size(OLD) <= 1_000);
    }
    let (_, lines) = ChronicleFile::open(&scratch.path, 1_000);
    let kept = numbers(&lines);
    assert!(kept.len() >= 8, "{kept:?}");
    assert_eq!(kept, (201 - kept.len() as u64..=200).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_fails_and_comes_back_costs_the_events_meanwhile() {
    let scratch = Directory::new("full");
    let state = scratch.path.join("state");
    fs::create_dir(&state).expect("made");
    let (mut file, _) = ChronicleFile::open(&state, SIZE_MAX);
    file.append(&line(1));
    // What a disk that is full does to a write: there is a device for it.
    file.file = Some(OpenOptions::new().append(true).open("/dev/full").expect("a device of Linux"));
    file.append(&line(2));
    assert!(file.failing);
    file.append(&line(3));
    assert!(!file.failing);
    assert_eq!(numbers(&ChronicleFile::open(&state, SIZE_MAX).1), [1, 3]);
    fs::remove_dir_all(&state).expect("removed");
    file.file = None;
    file.append(&line(4));
    assert!(file.failing, "no directory");
    let (_, nothing) = ChronicleFile::open(&state, SIZE_MAX);
    assert!(nothing.is_empty(), "and that keeps nobody from starting");
}
