//! Tables for people: columns as wide as they must be, numbers to the right.

use console::{Style, measure_text_width};

/// Rows under a heading.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<(Style, Vec<String>)>,
}

struct Column {
    heading: &'static str,
    to_the_right: bool,
}

impl Table {
    /// Headings that begin with `>` are of columns of numbers.
    pub(crate) fn new(headings: &[&'static str]) -> Table {
        let column = |heading: &&'static str| match heading.strip_prefix('>') {
            Some(heading) => Column { heading, to_the_right: true },
            None => Column { heading, to_the_right: false },
        };
        Table { columns: headings.iter().map(column).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.styled_row(Style::new(), cells);
    }

    pub(crate) fn styled_row(&mut self, style: Style, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| printable(&cell)).collect();
        assert_eq!(cells.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push((style, cells));
    }

    /// The lines, without an end of line behind the last.
    pub(crate) fn text(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|c| c.heading.to_owned()).collect();
        let width = |index: usize| {
            let cells = self.rows.iter().map(|(_, cells)| &cells[index]);
            cells.chain([&headings[index]]).map(|cell| measure_text_width(cell)).max()
        };
        let widths: Vec<usize> =
            (0..self.columns.len()).map(|index| width(index).unwrap_or_default()).collect();
        let heading = Style::new().bold().cyan().apply_to(self.line(&headings, &widths));
        let rows = self
            .rows
            .iter()
            .map(|(style, cells)| style.apply_to(self.line(cells, &widths)).to_string());
        std::iter::once(heading.to_string()).chain(rows).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let room = " ".repeat(width - measure_text_width(cell));
            if index > 0 {
                line.push_str("  ");
            }
            match self.columns[index].to_the_right {
                true => line.extend([&room, cell.as_str()]),
                false => line.extend([cell.as_str(), &room]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Names may hold anything; a terminal must not act on it.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// A value, or a dash where there is none.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Bytes in the unit that leaves three digits.
pub(crate) fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = count as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1000.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let digits = if scaled < 10.0 { 1 } else { 0 };
    format!("{scaled:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_shown() {
        let mut table = Table::new(&["NAME", ">COUNT", "REST"]);
        table.row(["é".to_owned(), "5".to_owned(), "x".to_owned()]);
        table.row(["long\u{1b}[2J".to_owned(), "1000".to_owned(), String::new()]);
        let text = console::strip_ansi_codes(&table.text()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME           COUNT  REST");
        assert_eq!(lines[1], "é                  5  x");
        assert_eq!(lines[2], "long\\u{1b}[2J   1000");
    }

    #[test]
    fn bytes_have_a_unit() {
        for (count, wanted) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (20 << 20, "20 MiB"),
            (1000 << 20, "1.0 GiB"),
            (i64::MAX, "8192 PiB"),
        ] {
            assert_eq!(bytes(count), wanted);
        }
    }
}
