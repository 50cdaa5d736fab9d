//! The input in chunks: read, computed several at a time, and passed on in order.

use std::sync::Arc;

use albert_data::{Cell, ChunkLimits, Line, Place, Text};
use albert_tasks::{RunOptions, pipelined};
use serde_json::Value;

use crate::input::Input;
use crate::interruption::Interruption;
use crate::output::Kept;

/// A text to work on and its number in the input.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) text: Text,
}

/// The division of the input into chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunks {
    pub(crate) limits: ChunkLimits,
    /// The number of chunks in flight.
    pub(crate) in_flight: usize,
}

impl Chunks {
    /// Creates the chunks of a command that runs texts through a model.
    pub(crate) fn new(options: &RunOptions) -> Self {
        Self {
            in_flight: options.chunks_in_flight(),
            ..Self::with_batch_tokens(options.most_batch_tokens())
        }
    }

    /// Sizes chunks to fill several batches of `batch_tokens` tokens.
    pub(crate) fn with_batch_tokens(batch_tokens: usize) -> Self {
        /// The number of batches in a chunk: several, so that texts of similar length share a
        /// batch.
        const BATCHES: usize = 4;
        /// Bytes per token: a little more than four in English.
        const BYTES_PER_TOKEN: usize = 4;
        let tokens = batch_tokens.clamp(256, 1 << 20) * BATCHES;
        Self {
            limits: ChunkLimits {
                rows: tokens / 4,
                bytes: tokens * BYTES_PER_TOKEN,
            },
            in_flight: 1,
        }
    }
}

/// The lines of a chunk.
struct Chunk {
    items: Vec<Item>,
    /// For each line its place, its kept columns, and its error if it is bad.
    places: Vec<(Place, Kept, Option<albert_data::Error>)>,
    /// An error that ends the input after these lines.
    end: albert_data::Result<()>,
    /// The number of input bytes read so far.
    bytes_read: u64,
}

/// The results of a chunk.
pub(super) struct Answered<T> {
    /// For each line its place, its kept columns, and its result.
    pub(super) lines: Vec<(Place, Kept, anyhow::Result<T>)>,
    pub(super) end: anyhow::Result<()>,
    pub(super) bytes_read: u64,
}

/// Reads chunks, processes several at a time, and passes on the results in order.
pub(super) fn each_chunk<T: Send>(
    input: Input,
    chunks: Chunks,
    interruption: &Interruption,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<T>>> + Sync,
    mut take: impl FnMut(Answered<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (skip_bad, mut index) = (input.skip_bad, input.skipped);
    let bytes_read = input.bytes_read.clone();
    let mut feed = input.feed().with_stop(interruption.stop());
    let mut has_ended = false;
    let next = |may_wait| {
        if has_ended {
            return None;
        }
        let (lines, end) = feed.chunk(chunks.limits, may_wait);
        if lines.is_empty() && end.is_ok() {
            return None;
        }
        let chunk = Chunk::new(lines, end, index, skip_bad, Input::position(&bytes_read));
        index += chunk.places.len();
        has_ended = chunk.end.is_err();
        Some(chunk)
    };
    pipelined(
        chunks.in_flight,
        next,
        |chunk: Chunk| chunk.answered(&work),
        |answered| take(answered?),
    )
}

impl Chunk {
    /// Takes lines up to the first bad one, or all of them if bad ones are skipped; the first has
    /// the number `index`.
    fn new(
        lines: Vec<Line>,
        mut end: albert_data::Result<()>,
        index: usize,
        skip_bad: bool,
        bytes_read: u64,
    ) -> Self {
        let (mut items, mut places) = (Vec::new(), Vec::new());
        for (offset, line) in lines.into_iter().enumerate() {
            let kept = kept(line.kept);
            match line.text {
                Ok(text) => {
                    items.push(Item {
                        index: index + offset,
                        text,
                    });
                    places.push((line.place, kept, None));
                }
                Err(error) if skip_bad => places.push((line.place, kept, Some(error))),
                Err(error) => {
                    end = Err(line.place.locate(error));
                    break;
                }
            }
        }
        Self {
            items,
            places,
            end,
            bytes_read,
        }
    }

    fn answered<T>(
        self,
        work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<T>>>,
    ) -> anyhow::Result<Answered<T>> {
        let mut answers = if self.items.is_empty() {
            Vec::new()
        } else {
            work(self.items)?
        }
        .into_iter();
        let lines = self.places.into_iter().map(|(place, kept, error)| {
            let answer = match error {
                Some(error) => Err(error.into()),
                None => answers
                    .next()
                    .unwrap_or_else(|| Err(anyhow::anyhow!("no answer"))),
            };
            (place, kept, answer)
        });
        Ok(Answered {
            lines: lines.collect(),
            end: self.end.map_err(Into::into),
            bytes_read: self.bytes_read,
        })
    }
}

/// Turns the kept columns of a line into the values of a row.
pub(crate) fn kept(cells: Vec<(Arc<str>, Cell)>) -> Kept {
    let value = |cell: &Cell| match serde_json::to_value(cell) {
        Ok(value) => value,
        // An integer of more than 64 bits, which `serde_json` numbers cannot hold.
        Err(_) => match cell {
            Cell::Integer(number) => Value::String(number.to_string()),
            _ => Value::Null,
        },
    };
    let kept = cells
        .iter()
        .map(|(name, cell)| (Arc::clone(name), value(cell)));
    kept.collect()
}
