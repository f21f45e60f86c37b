//! Tables for a terminal, with columns as wide as their content.

use std::fmt::Write;

/// Lays rows out in columns. The last cell of a row is not padded, and may be wider than its column.
pub fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let followed = rows.iter().filter(|row| row.len() > column + 1).filter_map(|row| row.get(column));
        followed.map(|cell| cells(cell)).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let pad = width.saturating_sub(cells(cell));
            // Writing into a String cannot fail.
            let _infallible = write!(line, "{cell}{:pad$}  ", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Columns of a terminal that a text takes: Chinese characters take two.
fn cells(text: &str) -> usize {
    text.chars().map(|c| if matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ff00}'..='\u{ff60}') { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_also_with_chinese() {
        let rows = [["名称", "x"], ["a", "yy"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(lay_out(&rows), "名称  x\na     yy\n");
    }

    #[test]
    fn a_long_last_cell_makes_no_column_wider() {
        let rows = [&["a", "b", "c"][..], &[], &["a", "as long as it is"]];
        let rows: Vec<_> = rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        assert_eq!(lay_out(&rows), "a  b  c\n\na  as long as it is\n");
    }
}
