//! What is wrong with a configuration, where, and what was probably meant.
//!
//! Owns `Problem`, which every caller of `parse` shows to people, and `Report`, the heap in which one run
//! of `parse` collects them; it ends when `parse` sorts it and hands it out.

use std::fmt;

/// One thing in a configuration file that is wrong (or, as a warning, unwise).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, as the caller of `parse` gave it.
    pub file: String,
    /// From 1; `None`: concerns the file as a whole.
    pub line: Option<u32>,
    /// `cluster`, `node web1` …; `None`: stands outside every section.
    pub section: Option<String>,
    /// `None`: concerns the section as a whole.
    pub key: Option<String>,
    /// What was expected, what there is instead, and what was probably meant.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `FILE:LINE: [section] key: message`, without the parts that there are not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(section) = &self.section {
            write!(f, "[{section}] ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Where in the file something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub line: Option<u32>,
    pub section: Option<String>,
    pub key: Option<String>,
}

impl Place {
    /// A line outside every section.
    pub fn line(line: u32) -> Self {
        Place { line: Some(line), section: None, key: None }
    }

    /// `[node web1] priority (line 7)`: how another message refers to this place.
    pub fn reference(&self) -> String {
        let section = self.section.as_deref().unwrap_or("?");
        let key = self.key.as_deref().map(|key| format!(" {key}")).unwrap_or_default();
        format!("[{section}]{key} (line {})", self.line.unwrap_or(0))
    }
}

/// All that one run of `parse` has found so far.
pub(super) struct Report {
    file: String,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl Report {
    pub fn new(file: &str) -> Self {
        Report { file: file.to_owned(), problems: Vec::new(), warnings: Vec::new() }
    }

    /// The file cannot be used.
    pub fn problem(&mut self, place: &Place, message: impl Into<String>) {
        let problem = self.at(place, message.into());
        self.problems.push(problem);
    }

    /// The file can be used, but somebody should know.
    pub fn warning(&mut self, place: &Place, message: impl Into<String>) {
        let problem = self.at(place, message.into());
        self.warnings.push(problem);
    }

    /// In the order of the file; what concerns the whole file comes first.
    pub fn sort(&mut self) {
        self.problems.sort_by_key(|problem| problem.line);
        self.warnings.sort_by_key(|warning| warning.line);
    }

    fn at(&self, place: &Place, message: String) -> Problem {
        Problem {
            file: self.file.clone(),
            line: place.line,
            section: place.section.clone(),
            key: place.key.clone(),
            message,
        }
    }
}

/// `expected WHAT, got …` with the value cut to a length that fits a line.
pub(super) fn wrong(expected: &str, got: &str) -> String {
    format!("expected {expected}, got {}", quoted(got))
}

/// The value in back quotes; `nothing` if it is empty.
pub(super) fn quoted(value: &str) -> String {
    const SHOWN: usize = 60; // A terminal's line also holds the file, the key and what was expected.
    if value.is_empty() {
        return "nothing".to_owned();
    }
    match value.char_indices().nth(SHOWN) {
        None => format!("`{value}`"),
        Some((end, _)) => format!("`{}…`", &value[..end]),
    }
}

/// `; did you mean …?`, or nothing if no known word is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// The known word with the fewest edits from `word`, if it is near enough to be a slip of the hand.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64; // Longer than every name that there can be: no slip, and no quadratic work.
    if word.len() > LONGEST {
        return None;
    }
    // A third of the letters wrong is still a slip; more is another word.
    known
        .into_iter()
        .map(|candidate| (edits(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many insertions, deletions, replacements and swaps of neighbours make `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
