//! `table`: rows for people to read, each drawn by its command.
//!
//! Rows are shown as they are computed, so columns have a fixed width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{BadRow, Kept, Row, RowWriter, Sink};

/// Writes rows for people to read.
pub(super) struct Table {
    sink: Sink,
    begun: bool,
}

impl Table {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, begun: false }
    }

    fn heading<R: Row>(&mut self) -> anyhow::Result<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        if first && !R::HEADING.is_empty() {
            self.sink.write(format!("{}\n", R::HEADING).as_bytes())?;
        }
        Ok(())
    }
}

impl<R: Row> RowWriter<R> for Table {
    fn row(&mut self, row: &R, _: &Kept) -> anyhow::Result<()> {
        self.heading::<R>()?;
        self.sink.write(row.lines().as_bytes())
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        self.heading::<R>()?;
        let error = visible(&bad.error, usize::MAX);
        self.sink
            .write(format!("{:>5}  error: {error}\n", bad.index).as_bytes())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.sink.finish()
    }
}

/// Makes a text safe to show on one line: escapes control characters, and shortens a text wider
/// than `width` columns with an ellipsis.
pub(crate) fn visible(text: &str, width: usize) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if unsafe_to_show(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        // Enough to know that it is too wide, without reading a long text to its end.
        if shown.len() / 4 > width {
            break;
        }
    }
    if shown.width() <= width {
        return shown;
    }
    let mut used = 0;
    let cut = shown
        .char_indices()
        .find(|(_, character)| {
            used += character.width().unwrap_or(0);
            used >= width
        })
        .map_or(shown.len(), |(start, _)| start);
    shown.truncate(cut);
    shown.push('…');
    shown
}

/// Returns true for control characters, which can move the cursor, and for bidirectional ones,
/// which can reorder the text after them.
fn unsafe_to_show(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Formats a text, or a pair, for the rest of a line.
pub(crate) fn shown(text: &str, pair: Option<&str>) -> String {
    const WIDTH: usize = 60;
    match pair {
        Some(pair) => format!(
            "{} | {}",
            visible(text, WIDTH / 2),
            visible(pair, WIDTH / 2)
        ),
        None => visible(text, WIDTH),
    }
}

/// The width in columns of the bar for a score of 1.
pub(crate) const BAR_WIDTH: usize = 24;

/// Draws a bar whose length is proportional to the score, to an eighth of a character.
pub(crate) fn bar(score: f32) -> String {
    bar_of(score, BAR_WIDTH)
}

/// Draws a [`bar`] that has `width` columns for a score of 1.
pub(crate) fn bar_of(score: f32, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (score.clamp(0.0, 1.0) * width as f32 * 8.0).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Aligns the columns of rows of cells, those in `right` to the right, with two spaces between
/// columns.
pub(crate) fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.width())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..count).map(width).collect();
    let mut lines = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[column] - cell.width());
            let between = if column == 0 { "" } else { "  " };
            line.push_str(between);
            if right.contains(&column) {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible("a\u{1b}[31m\n\0", 80), "a\\u{1b}[31m\\n\\u{0}");
        assert_eq!(visible("\u{202e}x", 80), "\\u{202e}x");
        assert_eq!(visible("héllo 世界", 80), "héllo 世界");
    }

    #[test]
    fn a_wide_text_is_cut_to_the_width() {
        assert_eq!(visible("abcdef", 6), "abcdef");
        assert_eq!(visible("abcdefg", 6), "abcde…");
        assert!(visible(&"世".repeat(100), 7).width() <= 7);
        assert!(visible(&"e\u{301}".repeat(100), 7).width() <= 7);
    }

    #[test]
    fn columns_line_up_whatever_the_script() {
        let rows = [
            vec!["1".to_string(), "世界".into()],
            vec!["10".into(), "a".into()],
        ];
        assert_eq!(columns(&rows, &[0]), " 1  世界\n10  a\n");
    }

    #[test]
    fn a_bar_is_as_long_as_its_score() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(1.0), "█".repeat(24));
        assert_eq!(bar(0.5), "█".repeat(12));
        assert_eq!(bar(1.0 / 48.0), "▌");
        assert_eq!(
            (bar_of(1.0, 3), bar_of(0.5, 0)),
            ("███".to_string(), String::new())
        );
        assert_eq!(bar(f32::NAN), "");
    }
}
