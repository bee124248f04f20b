//! The name that was probably meant. PURE.

/// The name with the fewest changes from `word`, if a third of its letters or fewer differ.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (changes(&word.to_lowercase(), &name.to_lowercase()), name));
    near.filter(|(changes, name)| changes * 3 <= name.chars().count().max(3)).min().map(|(_, name)| name)
}

/// Levenshtein's distance: letters put in, left out or replaced.
fn changes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_changes() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("web1", "wbe1", 2)]
        {
            assert_eq!(changes(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn the_nearest_is_near() {
        let names = ["web1", "web2", "mail"];
        assert_eq!(nearest("wev2", names.into_iter()), Some("web2"));
        assert_eq!(nearest("Mail", names.into_iter()), Some("mail"));
        assert_eq!(nearest("database", names.into_iter()), None);
    }
}
