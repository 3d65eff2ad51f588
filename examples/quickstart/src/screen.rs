//! What the demonstration looks like: headings, and rows of aligned columns with a mark before each.

use std::fmt::Write;
use std::io::IsTerminal;

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal.
    On,
    /// In files and pipes, and where `NO_COLOR` asks for it (<https://no-color.org>).
    Off,
}

impl Colours {
    /// What fits standard output.
    pub fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !refused { Self::On } else { Self::Off }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what matters less.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// ✓
    pub fn tick(self) -> String {
        self.paint("32", "✓")
    }

    /// ✗
    pub fn cross(self) -> String {
        self.paint("31", "✗")
    }
}

/// Rows under a header; every column is as wide as its widest cell.
#[derive(Debug)]
pub struct Table<const COLUMNS: usize> {
    header: [&'static str; COLUMNS],
    rows: Vec<(bool, [String; COLUMNS])>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// An empty table.
    pub fn new(header: [&'static str; COLUMNS]) -> Self {
        Self { header, rows: Vec::new() }
    }

    /// Adds a row that went as it should.
    pub fn right(&mut self, cells: [String; COLUMNS]) {
        self.rows.push((true, cells));
    }

    /// Adds a row that did not.
    pub fn wrong(&mut self, cells: [String; COLUMNS]) {
        self.rows.push((false, cells));
    }

    /// The table as text, with a newline after every row and no blanks before one.
    pub fn render(&self, colours: Colours) -> String {
        let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|(_, cells)| cells[column].chars().count());
            cells.chain([self.header[column].chars().count()]).max().unwrap_or(0)
        });
        let line = |cells: &[String; COLUMNS]| {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{cell:width$}  ");
            }
            text.trim_end().to_owned()
        };
        let header = line(&self.header.map(str::to_owned));
        let mut text = format!("    {}\n", colours.dim(&header));
        for (right, cells) in &self.rows {
            let mark = if *right { colours.tick() } else { colours.cross() };
            let _ = writeln!(text, "  {mark} {}", line(cells));
        }
        text
    }
}

/// A text of the log or of a peer, fit for a terminal: one line, no control characters, at most `chars_max`.
pub fn one_line(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == chars_max {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<2> {
        let mut table = Table::new(["asked for", "served"]);
        table.right(["–".into(), "CN=localhost".into()]);
        table.wrong(["mqtt.acme.example.org".into(), "nothing".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let expected = concat!(
            "    asked for              served\n",
            "  ✓ –                      CN=localhost\n",
            "  ✗ mqtt.acme.example.org  nothing\n",
        );
        assert_eq!(table().render(Colours::Off), expected);
    }

    #[test]
    fn colours_appear_only_where_they_are_wanted() {
        assert!(table().render(Colours::On).contains("\x1b[32m✓\x1b[0m"));
        assert!(!table().render(Colours::Off).contains('\x1b'));
    }

    #[test]
    fn a_peers_text_cannot_move_the_cursor_or_fill_the_screen() {
        assert_eq!(one_line("a\x1b[2J\nb", 80), "a\\u{1b}[2J\\nb");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
    }
}
