//! A warning for a model that learns nothing from context.

use albert_train::Event;

use crate::progress::Steps;

/// Steps over which the loss is averaged to check that the model learns, and the steps before the
/// first check.
const WATCHED_STEPS: usize = 100;
const UNWATCHED_STEPS: u64 = 1000;

/// Compares the loss of masked tokens with that of guessing by token frequencies.
pub(super) struct Guess {
    /// The entropy of single tokens.
    entropy: f64,
    warmup_steps: u64,
    losses: Vec<f64>,
    is_warned: bool,
}

impl Guess {
    pub(super) fn new(entropy: f64, warmup_steps: u64) -> Self {
        Self {
            entropy,
            warmup_steps,
            losses: Vec::new(),
            is_warned: false,
        }
    }

    /// Warns once if the loss of masked tokens stays above their entropy.
    pub(super) fn see(&mut self, event: &Event<'_>, progress: &Steps) {
        let Event::Step { row, terms } = event else {
            return;
        };
        let step = row.step;
        let Some((_, loss)) = terms.iter().find(|(name, _)| *name == "masked_lm") else {
            return;
        };
        if self.losses.len() == WATCHED_STEPS {
            self.losses.remove(0);
        }
        self.losses.push(*loss);
        let is_due = step >= UNWATCHED_STEPS.max(2 * self.warmup_steps);
        if self.is_warned || !is_due || self.losses.len() < WATCHED_STEPS {
            return;
        }
        let mean = self.losses.iter().sum::<f64>() / self.losses.len() as f64;
        if mean > self.entropy {
            self.is_warned = true;
            progress.say(format_args!(
                "the loss of masked tokens is {mean:.2} over the last {WATCHED_STEPS} steps, above the \
                 {:.2} of guessing by token frequencies",
                self.entropy
            ));
            progress.say(
                "hint: try another --learning-rate, a longer --warmup or a larger --batch-size",
            );
        }
    }
}
