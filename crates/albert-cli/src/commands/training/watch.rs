//! The messages of a run in progress, and its curve at the end.

use std::path::Path;
use std::time::Instant;

use albert_train::{End, Event, Summary};

use crate::progress::{Steps, Talk};

/// Columns of the curve on a terminal.
const COLUMNS: usize = 48;

/// Eighths of a line's height.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Reports steps and evaluations.
pub(crate) struct Watch {
    talk: Talk,
    started: Instant,
    log_every: u64,
    metric: String,
    tokens: usize,
    losses: Vec<f64>,
    metrics: Vec<f64>,
}

impl Watch {
    pub(crate) fn new(talk: Talk, log_every: u64, metric: String) -> Self {
        Self {
            talk,
            started: Instant::now(),
            log_every,
            metric,
            tokens: 0,
            losses: Vec::new(),
            metrics: Vec::new(),
        }
    }

    pub(crate) fn see(&mut self, event: &Event<'_>, progress: &Steps) {
        match event {
            Event::Step { row, .. } => {
                self.tokens += row.tokens;
                self.losses.push(row.loss);
                let speed = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
                progress.update(row.step, row.loss, speed);
                if row.step.is_multiple_of(self.log_every) && !progress.is_visible() {
                    progress.say(format_args!(
                        "step {}, epoch {:.3}: loss {:.4}, learning rate {:.2e}, {speed:.0} tokens/s",
                        row.step, row.epoch, row.loss, row.learning_rate
                    ));
                }
            }
            Event::Evaluated {
                step,
                evaluation,
                is_best,
            } => {
                let own = evaluation.iter().find(|(name, _)| *name == self.metric);
                self.metrics.extend(own.map(|(_, value)| *value));
                let metrics = evaluation
                    .iter()
                    .map(|(name, value)| format!("{name} {value:.4}"));
                let metrics = metrics.collect::<Vec<_>>().join(", ");
                let best = if *is_best { " (best so far)" } else { "" };
                progress.say(format_args!("step {step}, evaluation: {metrics}{best}"));
            }
            _ => {}
        }
    }

    pub(crate) fn end(&self, summary: &Summary, folder: &Path) {
        for (name, values) in [("loss", &self.losses), (&*self.metric, &self.metrics)] {
            if values.len() > 1 {
                self.talk.say(line(name, values));
            }
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let end = if summary.end == End::EarlyStop {
            "stopped early"
        } else {
            "done"
        };
        self.talk.say(format_args!(
            "{end} after {} steps, {} tokens, {seconds:.1} s; loss {:.4}",
            summary.step, self.tokens, summary.loss
        ));
        self.talk.say(format_args!(
            "the weights of step {} are in `{}`, the curve in `{}`",
            summary.result_step,
            folder.display(),
            folder.join("training").join("loss.svg").display()
        ));
    }
}

/// Draws values as one line of blocks, with the first and the last of them.
fn line(name: &str, values: &[f64]) -> String {
    let points = thinned(values);
    let least = points.iter().copied().fold(f64::INFINITY, f64::min);
    let most = points.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let height = |value: &f64| {
        let part = if most > least {
            (value - least) / (most - least)
        } else {
            0.0
        };
        BLOCKS[((part * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
    };
    let blocks: String = points.iter().map(height).collect();
    let [first, last] = [points[0], points[points.len() - 1]];
    format!("{name:<12} {blocks} {first:.4} to {last:.4}")
}

/// Returns the means of at most [`COLUMNS`] stretches of equal length.
fn thinned(values: &[f64]) -> Vec<f64> {
    let each = values.len().div_ceil(COLUMNS).max(1);
    let means = values.chunks(each);
    means
        .map(|part| part.iter().sum::<f64>() / part.len() as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_its_ends_and_its_extremes() {
        let text = line("loss", &[4.0, 2.0, 0.0]);
        assert_eq!(text, "loss         █▅▁ 4.0000 to 0.0000");
    }

    #[test]
    fn a_long_curve_is_thinned_and_a_flat_one_drawn() {
        assert!(thinned(&[1.0; 1000]).len() <= COLUMNS);
        assert_eq!(line("f1", &[0.5, 0.5]), "f1           ▁▁ 0.5000 to 0.5000");
    }
}
