//! Nodes whose configuration differs from the others'. PURE: a function of digests; `status` shows its answer,
//! the configuration keeper tells it as an event.

/// Who of these differs from what most of them have: names, in their order. Where two configurations are
/// equally frequent, the one of the first node counts as what the others should have.
pub fn differing<'a>(digests: &[(&'a str, u64)]) -> Vec<&'a str> {
    let frequency = |digest: u64| digests.iter().filter(|(_, other)| *other == digest).count();
    let mut most: Option<(usize, u64)> = None;
    for &(_, digest) in digests {
        let count = frequency(digest);
        if most.is_none_or(|(known, _)| count > known) {
            most = Some((count, digest));
        }
    }
    let others = digests.iter().filter(|(_, digest)| most.is_some_and(|(_, usual)| usual != *digest));
    others.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_few_differ_from_the_many_and_of_two_the_second() {
        assert!(differing(&[]).is_empty());
        assert!(differing(&[("a", 1)]).is_empty());
        assert!(differing(&[("a", 1), ("b", 1)]).is_empty());
        assert_eq!(differing(&[("a", 1), ("b", 2)]), ["b"]);
        assert_eq!(differing(&[("a", 1), ("b", 2), ("c", 2)]), ["a"]);
        assert_eq!(differing(&[("a", 1), ("b", 2), ("c", 3)]), ["b", "c"]);
    }
}
