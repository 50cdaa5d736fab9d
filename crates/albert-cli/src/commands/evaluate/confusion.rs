//! The counts of labels and predictions as a small table.

use albert_train::metrics::classification::Confusion;
use unicode_width::UnicodeWidthStr;

/// A table of more labels would not fit a terminal.
const MOST_LABELS: usize = 8;

/// The most frequent confusions that are shown of many labels.
const MOST_PAIRS: usize = 5;

/// Returns the lines of a table with a row for each label and a column for each prediction; of many
/// labels, the most frequent confusions.
pub(super) fn table(confusion: &Confusion, labels: &[String]) -> Vec<String> {
    if labels.len() > MOST_LABELS {
        return frequent(confusion, labels);
    }
    let classes = 0..labels.len();
    let mut rows = vec![
        std::iter::once("label \\ prediction".to_string())
            .chain(labels.iter().cloned())
            .collect::<Vec<_>>(),
    ];
    rows.extend(classes.clone().map(|label| {
        let counts = classes
            .clone()
            .map(|prediction| confusion.count(label, prediction).to_string());
        std::iter::once(labels[label].clone())
            .chain(counts)
            .collect()
    }));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].width())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..=labels.len()).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            let space = " ".repeat(width - cell.width());
            match column {
                0 => format!("{cell}{space}"),
                _ => format!("{space}{cell}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    });
    lines.collect()
}

fn frequent(confusion: &Confusion, labels: &[String]) -> Vec<String> {
    let classes = 0..labels.len();
    let pairs = classes
        .clone()
        .flat_map(|label| classes.clone().map(move |prediction| (label, prediction)));
    let mut pairs: Vec<(usize, usize, usize)> = pairs
        .filter(|(label, prediction)| label != prediction)
        .map(|(label, prediction)| (confusion.count(label, prediction), label, prediction))
        .filter(|(count, ..)| *count > 0)
        .collect();
    pairs
        .sort_by_key(|(count, label, prediction)| (std::cmp::Reverse(*count), *label, *prediction));
    let lines = pairs
        .iter()
        .take(MOST_PAIRS)
        .map(|(count, label, prediction)| {
            format!(
                "{count} of `{}` predicted as `{}`",
                labels[*label], labels[*prediction]
            )
        });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("l{index}")).collect()
    }

    #[test]
    fn a_row_is_a_label_and_a_column_a_prediction() {
        let confusion = Confusion::new(2, [(0, 0), (0, 1), (1, 1), (1, 1)]);
        let lines = table(&confusion, &names(2));
        assert_eq!(
            lines,
            [
                "label \\ prediction  l0  l1",
                "l0                   1   1",
                "l1                   0   2"
            ]
        );
    }

    #[test]
    fn of_many_labels_the_most_frequent_confusions_are_shown() {
        let confusion = Confusion::new(9, [(3, 4), (3, 4), (1, 2), (5, 5)]);
        let lines = table(&confusion, &names(9));
        assert_eq!(
            lines,
            ["2 of `l3` predicted as `l4`", "1 of `l1` predicted as `l2`"]
        );
    }
}
