//! Rows in columns, for people.
//!
//! Owns what reaches a terminal: text of clients and producers is shown without the characters that command one.

use std::fmt;

const GAP: &str = "  ";
/// Characters of one cell, at most.
const WIDEST: usize = 60;

/// A table with a head. A column whose cells are all figures is set to the right.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| shorten(&printable(&cell))).collect());
    }

    fn column(&self, number: usize) -> Column {
        let cells = || self.rows.iter().filter_map(move |row| row.get(number));
        let head = self.head.get(number).map_or(0, |head| head.chars().count());
        Column {
            width: cells().map(|cell| cell.chars().count()).fold(head, usize::max),
            is_figures: cells().all(|cell| cell == "-" || is_figure(cell)),
        }
    }
}

fn is_figure(cell: &str) -> bool {
    cell.trim_start_matches(['+', '-']).starts_with(|first: char| first.is_ascii_digit())
}

struct Column {
    width: usize,
    is_figures: bool,
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<Column> = (0..self.head.len()).map(|number| self.column(number)).collect();
        let line = |cells: Vec<&str>| {
            let padded = cells.iter().zip(&columns).map(|(cell, column)| {
                let width = column.width;
                if column.is_figures { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        };
        formatter.write_str(&line(self.head.clone()))?;
        for row in &self.rows {
            write!(formatter, "\n{}", line(row.iter().map(String::as_str).collect()))?;
        }
        Ok(())
    }
}

/// Shows control characters, and those that turn the direction of text, by their names.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Shows bytes in the unit that leaves few digits.
pub(super) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut figure = bytes as f64;
    let mut unit = 0;
    while figure >= 1_024.0 && unit + 1 < UNITS.len() {
        figure /= 1_024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{figure:.digits$} {}", UNITS.get(unit).copied().unwrap_or_default())
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some(_) => text.chars().take(WIDEST - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_to_the_right_and_words_to_the_left() {
        let mut table = Table::new(&["NAME", "COUNT", "AGE"]);
        table.row(["a".to_owned(), "5".to_owned(), "-".to_owned()]);
        table.row(["longer".to_owned(), "1200000".to_owned(), "1m 3s".to_owned()]);
        let expected = "NAME      COUNT    AGE\na             5      -\nlonger  1200000  1m 3s";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        assert_eq!(Table::new(&["NAME", "COUNT"]).to_string(), "NAME  COUNT");
    }

    #[test]
    fn a_terminal_gets_no_commands() {
        assert_eq!(printable("\u{1b}[2Jgone\r\n\u{202e}"), "\\u{1b}[2Jgone\\r\\n\\u{202e}");
        assert_eq!(printable("zwölf 你好"), "zwölf 你好");
        let mut table = Table::new(&["X"]);
        table.row(["\u{7}".to_owned()]);
        assert_eq!(table.to_string(), "X\n\\u{7}");
    }

    #[test]
    fn long_cells_are_cut() {
        let mut table = Table::new(&["X"]);
        table.row(["ü".repeat(100)]);
        table.row(["b".repeat(60)]);
        let widths: Vec<usize> = table.to_string().lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths, [1, 60, 60]);
    }

    #[test]
    fn bytes_have_units() {
        for (bytes, text) in [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (64 << 20, "64.0 MiB")] {
            assert_eq!(show_bytes(bytes), text);
        }
        assert!(show_bytes(u64::MAX).ends_with(" GiB"));
    }
}
