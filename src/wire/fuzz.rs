//! A smoke test that needs no tools: random mutations of valid datagrams against the whole way in. The
//! seed is printed; `DIEHARD_FUZZ_SEED=N` repeats a run, `DIEHARD_FUZZ_RUNS=N` makes it longer.

use super::samples::{datagram, key, one_of_each};
use super::*;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

const RUNS: u64 = 200_000;
/// On a loaded machine the run ends here: enough of it to notice a decoder that panics early.
const BUDGET: Duration = Duration::from_secs(20);
/// Fewer than this within the budget is a decoder gone slow, which is a fault too.
const FEWEST: u64 = 10_000;

/// SplitMix64: small, seeded, good enough to choose bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// One to four changes: a bit, a byte, a likely byte, a cut, an insertion, a splice of another datagram.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)],
            3 => bytes.truncate(at),
            4 => bytes.insert(at, random.next() as u8),
            _ => {
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
}

#[test]
fn mutated_datagrams_change_nothing() {
    let fresh = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let seed = number("DIEHARD_FUZZ_SEED").unwrap_or(fresh);
    println!("DIEHARD_FUZZ_SEED={seed}");
    let runs = number("DIEHARD_FUZZ_RUNS").unwrap_or(RUNS);
    let (mut random, key) = (Random(seed), key());
    let valid: Vec<Vec<u8>> = one_of_each()
        .into_iter()
        .map(|(_, packet)| {
            let mut encoded = Vec::new();
            encode(&datagram(packet), &mut encoded);
            encoded
        })
        .collect();
    let mut windows = ReplayWindows::new();
    #[allow(clippy::disallowed_methods, reason = "a time budget for a test, no time of the protocol")]
    let begin = Instant::now();
    let (mut done, mut decoded) = (0, 0_u64);
    while done < runs && (done % 1024 != 0 || begin.elapsed() < BUDGET) {
        let mut bytes = valid[random.below(valid.len())].clone();
        mutate(&mut bytes, &valid[random.below(valid.len())], &mut random);
        // Once as an attacker without the key, once behind the seal, where only the codec stands.
        assert!(key.open(&bytes).is_err(), "seed {seed}, run {done}: opened without a seal");
        let mut sealed = bytes.clone();
        key.close(&mut sealed);
        if let Ok(datagram) = key.open(&sealed) {
            decoded += 1;
            let mut again = Vec::new();
            encode(&datagram, &mut again);
            assert_eq!(again, bytes, "seed {seed}, run {done}: a second encoding of one value");
            let Header { from, incarnation, sequence, .. } = datagram.header;
            let taken = windows.accept(from, incarnation, sequence);
            assert!(
                taken.is_err() || windows.accept(from, incarnation, sequence) == Err(Stale::Replayed),
                "seed {seed}, run {done}: taken twice"
            );
        }
        if let Some(frame) = ArpFrame::parse(&bytes) {
            assert!(bytes.len() >= 42, "seed {seed}, run {done}: {frame:?}");
        }
        done += 1;
    }
    println!("{done} datagrams, {decoded} of them still valid, {:?}", begin.elapsed());
    assert!(done >= FEWEST.min(runs), "seed {seed}: only {done} datagrams in {BUDGET:?}");
    assert!(decoded > done / 1000, "seed {seed}: the mutations never reach behind the header");
}
