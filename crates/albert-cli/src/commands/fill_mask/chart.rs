//! Draws the candidates of masks for a terminal.

use albert_tasks::{FilledMask, Filling};
use unicode_width::UnicodeWidthStr;

use crate::output::{BAR_WIDTH, bar_of, columns, visible};

/// Draws the candidates of each mask in turn, each with a bar for its score, and below them the
/// filled texts if the masks were filled jointly. Lines with a bar fit into `width` columns.
pub(super) fn chart(masks: &[FilledMask], fillings: &[Filling], width: usize) -> String {
    /// The maximum length shown of a filled text, which may wrap on the terminal.
    const TEXT_WIDTH: usize = 200;
    let mut lines = String::new();
    for (number, mask) in masks.iter().enumerate() {
        if masks.len() > 1 {
            lines.push_str(&format!("mask {} of {}\n", number + 1, masks.len()));
        }
        let candidates = mask.candidates.iter();
        let scored = candidates.map(|candidate| (candidate.token.as_str(), candidate.score));
        lines.push_str(&bars(scored, width));
    }
    // With a single mask the fillings would repeat its candidates.
    if masks.len() > 1 && !fillings.is_empty() {
        lines.push_str("together\n");
        let cells: Vec<_> = fillings
            .iter()
            .enumerate()
            .map(|(rank, filling)| {
                let text = visible(&filling.text, TEXT_WIDTH);
                vec![format!("  {}", rank + 1), score_cell(filling.score), text]
            })
            .collect();
        lines.push_str(&columns(&cells, &[0]));
    }
    lines
}

/// The width of rank, score and the gaps around them.
const RANK_AND_SCORE: usize = 20;

/// Draws one line for each: rank, token, score, and a bar relative to the best score. In a narrow
/// terminal the bars shrink first.
fn bars<'a>(scored: impl Iterator<Item = (&'a str, f32)>, width: usize) -> String {
    const TOKEN: usize = 40;
    let room = width.saturating_sub(RANK_AND_SCORE).max(1);
    let scored: Vec<_> = scored
        .map(|(token, score)| (visible(token, TOKEN.min(room)), score))
        .collect();
    let longest = scored
        .iter()
        .map(|(token, _)| token.width())
        .max()
        .unwrap_or(0);
    let bar_width = room.saturating_sub(longest).min(BAR_WIDTH);
    let best = scored
        .first()
        .map_or(1.0, |(_, score)| *score)
        .max(f32::MIN_POSITIVE);
    let cells: Vec<_> = scored
        .into_iter()
        .enumerate()
        .map(|(rank, (token, score))| {
            let bar = bar_of(score / best, bar_width);
            vec![
                format!("  {}", rank + 1),
                token,
                score_cell(score.into()),
                bar,
            ]
        })
        .collect();
    columns(&cells, &[0])
}

/// Formats a score in six columns: `0.0722`, and a score that would be `0.0000` as `7.2e-9`.
fn score_cell(score: f64) -> String {
    match score {
        0.0 | 0.0001.. => format!("{score:.4}"),
        _ => format!("{score:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_keep_their_digits_and_their_width() {
        for (score, cell) in [
            (0.0722, "0.0722"),
            (1.0, "1.0000"),
            (7.2e-9, "7.2e-9"),
            (0.0, "0.0000"),
        ] {
            assert_eq!(score_cell(score), cell);
        }
    }
}
