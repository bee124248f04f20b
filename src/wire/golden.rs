//! Golden vectors: the format may not change unnoticed. One sealed datagram of each type in
//! `test-scripts/wire/NAME.hex`, made with the key of `samples`. A wanted change (with a new version):
//! `DIEHARD_BLESS=1 cargo test golden` writes them anew.

use super::samples::{datagram, key, one_of_each};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "test-scripts", "wire"].iter().collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.chunks(32).fold(String::new(), |mut text, line| {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes everything"));
        text.push('\n');
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("two hex digits"))
        .collect()
}

#[test]
fn golden_vectors_are_read_and_written_as_ever() {
    let bless = std::env::var_os("DIEHARD_BLESS").is_some();
    for (name, packet) in one_of_each() {
        let (mut sealed, expected) = (Vec::new(), datagram(packet));
        key().seal(&expected, &mut sealed);
        let file = directory().join(name).with_extension("hex");
        if bless {
            std::fs::create_dir_all(directory()).expect("the directory can be made");
            std::fs::write(&file, to_hex(&sealed)).expect("the vector can be written");
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert_eq!(key().open(&from_hex(&golden)).as_ref(), Ok(&expected), "{name} is read differently");
        assert_eq!(to_hex(&sealed), golden, "{name} is written differently");
    }
}

#[test]
fn every_golden_vector_is_of_a_known_packet() {
    let known: BTreeSet<_> = one_of_each().into_iter().map(|(name, _)| format!("{name}.hex")).collect();
    let files: BTreeSet<_> = std::fs::read_dir(directory())
        .expect("the vectors are there")
        .map(|entry| entry.expect("can be listed").file_name().into_string().expect("our names are ASCII"))
        .collect();
    assert_eq!(files, known);
}
