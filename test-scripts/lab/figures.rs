//! Figures of many runs, chance from a seed, tables.

use crate::systems::milliseconds;
use std::time::Duration;

/// SplitMix64: a seed gives the same moments and victims again.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    /// A place in a list of that length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// A time below `limit`.
    pub fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Measurements of one kind, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        self.add_value(milliseconds(duration));
    }

    /// One more that is no time.
    pub fn add_value(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest.
    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The middle one (of an even number: the mean of the two).
    pub fn median(&self) -> f64 {
        let (count, middle) = (self.0.len(), self.0.len() / 2);
        match count {
            0 => f64::NAN,
            _ if count % 2 == 1 => self.0[middle],
            _ => f64::midpoint(self.0[middle - 1], self.0[middle]),
        }
    }

    /// The largest.
    pub fn worst(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// All, in order of size.
    pub fn values(&self) -> &[f64] {
        &self.0
    }
}

/// Lines of cells as a table with aligned columns; the first line is the heading.
pub fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        if number == 0 {
            let rules = widths.iter().map(|width| "-".repeat(*width));
            text.push_str(&rules.collect::<Vec<_>>().join("  "));
            text.push('\n');
        }
    }
    text
}
