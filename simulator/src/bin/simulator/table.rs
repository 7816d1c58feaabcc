//! Tables on a terminal: columns as wide as they must be, colours where a terminal shows them.

use console::{Style, measure_text_width};

/// Rows under headings. The first columns hold words, the others numbers.
pub(crate) struct Table {
    words: usize,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// A table whose first `words` columns hold words.
    pub(crate) fn new<'a>(words: usize, headings: impl IntoIterator<Item = &'a str>) -> Table {
        let bold = |heading: &str| (heading.to_owned(), Style::new().bold());
        Table { words, rows: vec![headings.into_iter().map(bold).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(cells.into_iter().collect());
        let columns = self.rows[0].len();
        assert!(self.rows.iter().all(|row| row.len() == columns), "rows are as long as headings");
    }

    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| measure_text_width(&row[column].0));
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, style)) in row.iter().enumerate() {
                let space = " ".repeat(widths[column] - measure_text_width(cell));
                let cell = style.apply_to(cell);
                match column < self.words {
                    true => line += &format!("{cell}{space} "),
                    false => line += &format!("{space}{cell} "),
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// A cell without a colour of its own.
pub(crate) fn plain(text: impl Into<String>) -> (String, Style) {
    (text.into(), Style::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(1, ["fault", "runs"]);
        table.row([plain("P1"), plain("7")]);
        table.row([("D10".to_owned(), Style::new().red()), plain("12345")]);
        let text = console::strip_ansi_codes(&table.text()).into_owned();
        assert_eq!(text, "fault  runs\nP1        7\nD10   12345\n");
    }
}
