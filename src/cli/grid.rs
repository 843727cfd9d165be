//! A table of one-line rows that fits the width: the column that may give way is cut, the others stand.

use super::look::{Look, Tone, clean, columns, fit};

/// Spaces between two columns.
const GAP: usize = 2;
const INDENT: &str = "  ";
/// Columns a cut column keeps at least.
const CUT_MIN: usize = 8;

/// One cell; its text is cleaned when it is made.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Cell {
    #[must_use]
    pub fn new(tone: Tone, text: &str) -> Self {
        Self { text: clean(text).into_owned(), tone, side: Side::Left }
    }

    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }

    #[must_use]
    pub fn right(mut self) -> Self {
        self.side = Side::Right;
        self
    }
}

/// Rows of cells below a header.
#[derive(Debug)]
pub struct Grid {
    header: Vec<&'static str>,
    /// Columns that may be cut.
    gives: Vec<usize>,
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// `gives` names the columns that may be cut.
    #[must_use]
    pub fn new(header: &[&'static str], gives: &[usize]) -> Self {
        Self { header: header.to_vec(), gives: gives.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each with its newline.
    #[must_use]
    pub fn render(&self, look: &Look) -> String {
        let widths = self.widths(look.width);
        let mut out = String::new();
        if self.header.iter().any(|name| !name.is_empty()) {
            let header: Vec<Cell> = self.header.iter().map(|name| Cell::new(Tone::Faint, name)).collect();
            line(&mut out, look, &header, &widths);
        }
        for row in &self.rows {
            line(&mut out, look, row, &widths);
        }
        out
    }

    /// As [`Grid::render`], two columns further in.
    #[must_use]
    pub fn render_indented(&self, look: &Look) -> String {
        let narrower = Look { width: look.width.saturating_sub(INDENT.len()), ..look.clone() };
        self.render(&narrower).lines().flat_map(|line| [INDENT, line, "\n"]).collect()
    }

    fn widths(&self, total: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|name| columns(name)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(&cell.text));
            }
        }
        let used = widths.iter().filter(|w| **w > 0).map(|w| w + GAP).sum::<usize>().saturating_sub(GAP);
        // The widest gives way first, so that one long text does not eat its neighbours.
        for _ in total..used {
            let widest =
                self.gives.iter().filter_map(|column| widths.get(*column).map(|width| (*width, *column)));
            let Some((width, column)) = widest.max_by_key(|(width, _)| *width) else { break };
            if let Some(place) = widths.get_mut(column).filter(|_| width > CUT_MIN) {
                *place -= 1;
            }
        }
        widths
    }
}

fn line(out: &mut String, look: &Look, cells: &[Cell], widths: &[usize]) {
    let mut written = String::new();
    // Spaces are owed and paid only before text, so that no line ends in them.
    let mut owed = 0;
    for (cell, &width) in cells.iter().zip(widths) {
        if width == 0 {
            continue;
        }
        let text = fit(&cell.text, width);
        let spare = width - columns(&text);
        let (before, after) = match cell.side {
            Side::Left => (0, spare),
            Side::Right => (spare, 0),
        };
        owed += before;
        if !text.is_empty() {
            written.push_str(&" ".repeat(owed));
            written.push_str(&look.paint(cell.tone, &text));
            owed = 0;
        }
        owed += after + GAP;
    }
    out.push_str(&written);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    #[test]
    fn rows_stay_one_line_and_within_the_width() {
        let mut grid = Grid::new(&["TASK", "LAST", "TOOK"], &[0]);
        grid.row(vec![
            Cell::plain(&HOSTILE.repeat(4)),
            Cell::new(Tone::Good, "ok"),
            Cell::plain("4.2s").right(),
        ]);
        grid.row(vec![Cell::plain("日本語"), Cell::plain("failed exit 128"), Cell::plain("1m12s").right()]);
        grid.row(vec![Cell::plain("last"), Cell::plain(""), Cell::plain("")]);
        for paint in [Paint::Plain, Paint::Ansi] {
            let text = grid.render(&look(paint));
            assert_eq!(text.lines().count(), 4);
            assert!(!text.contains('\u{7}') && !text.contains('\r'));
        }
        let text = grid.render(&look(Paint::Plain));
        assert!(text.lines().all(|l| columns(l) <= 80 && l == l.trim_end()), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("ok                4.2s"), "{text}");
        assert_eq!(lines[3], "last");
    }
}
