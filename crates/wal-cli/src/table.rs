//! Plain tables for people: a heading, columns as wide as their widest cell.

use std::io::{self, Write};

/// A table that is printed whole: its size is that of the list of segments, not of the log.
pub(crate) struct Table {
    left_columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; the first `left_columns` columns and the last one hold text and are
    /// set flush left, all others hold numbers and are set flush right.
    pub(crate) fn new(left_columns: usize, headings: &[&str]) -> Self {
        Self { left_columns, rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether there is nothing but headings.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Writes the table.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let left = column < self.left_columns || column + 1 == columns;
                let gap = if column == 0 { "" } else { "  " };
                line += &if left { format!("{gap}{cell:<width$}") } else { format!("{gap}{cell:>width$}") };
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn numbers_are_flush_right_and_text_is_flush_left() {
        let mut table = Table::new(1, &["file", "bytes", "ends"]);
        table.row(vec!["000001".into(), "8".into(), "exact".into()]);
        let mut text = Vec::new();
        table.write(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "file    bytes  ends\n000001      8  exact\n");
    }
}
