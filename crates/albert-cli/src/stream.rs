//! The loop of every command that answers text by text: read a window, work on it, write it.
//!
//! One row for each input, in input order. Memory holds one window, however long the stream.

use std::time::Instant;

use albert_tasks::{ModelFiles, RunOptions};
use anyhow::Context;

use crate::args::{PairArgs, TextArgs};
use crate::failure::{Hint, Report};
use crate::input::{Input, Pairs, Place, Text, Window};
use crate::output::{BadRow, Output, RECORDS, Row, RowWriter, Saved, VectorType};
use crate::progress::{Progress, Talk, Tally, rows};

/// A text to work on and its number in the input.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) text: Text,
}

/// A command that takes texts to a model and writes a record for each: all that is opened before the model
/// is loaded.
pub(crate) struct Job {
    /// The model's files.
    pub(crate) files: ModelFiles,
    /// How to load and run it.
    pub(crate) options: RunOptions,
    input: Input,
    output: Output,
    shows_rows: bool,
    talk: Talk,
}

impl Job {
    /// Opens input and output, then the device, then finds the model: what the user mistyped is told
    /// before anything is downloaded or computed.
    pub(crate) fn open(args: TextArgs, pair: PairArgs, pairs: Pairs, talk: Talk) -> anyhow::Result<Self> {
        let path = args.input.input.clone();
        let input = Input::open(args.input, pair, pairs)?;
        let output = args.output.open(RECORDS, path.as_deref().as_slice())?;
        let options = args.compute.run_options(&args.model)?;
        let files = args.model.files(talk)?;
        Ok(Self { files, options, input, output, shows_rows: args.output.is_terminal(), talk })
    }

    /// Takes every text through `work`, as [`run`] does, a batch's tokens at a time.
    pub(crate) fn run<R: Row + 'static>(
        self,
        work: impl FnMut(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>>,
    ) -> anyhow::Result<()> {
        let progress = Progress::new(self.talk, self.input.extent, self.shows_rows);
        let window = Window::of_batches(self.options.batch_tokens);
        run(self.input, self.output, None, window, &progress, work)
    }
}

/// Takes every text of the input through `work`, which gives one result for each, in order, writes the rows,
/// and sums up at the end. `vectors` is the type of each row's vector, where rows have one.
///
/// # Errors
/// If reading, working or writing fails, or at a bad line without `--skip-bad`; the rows before
/// it are written by then, and the output is completed: an array is closed, a header tells their number.
/// Before that, if the output is to be continued and does not belong to the input.
pub(crate) fn run<R: Row + 'static>(
    mut input: Input,
    mut output: Output,
    vectors: Option<VectorType>,
    window: Window,
    progress: &Progress,
    mut work: impl FnMut(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut complete = None;
    if let Some(saved) = output.saved::<R>(vectors, input.skip_bad)? {
        let (name, count) = (output.name().to_string(), saved.rows);
        check(&saved, &name, &mut input, &mut work)?;
        output.go_on_after(saved);
        match input.is_at_end()? {
            true => {
                complete =
                    Some(format!("{name} is complete: it has {}, as many as there are texts", rows(count)));
            }
            // A new file, or one of which not even a row was written.
            false if count == 0 => {}
            false => progress.say(format_args!("{name} has {}: going on with the next text", rows(count))),
        }
    }
    let mut writer = output.writer::<R>(vectors, input.skip_bad)?;
    if let Some(complete) = complete {
        writer.finish()?;
        progress.say(complete);
        return Ok(());
    }
    let mut tally = Tally::default();
    let answered = answer(input, window, progress, writer.as_mut(), &mut tally, work);
    // The first failure is the one to tell.
    answered.and(writer.finish())?;
    progress.finish();
    tally.elapsed = started.elapsed();
    progress.say(tally);
    Ok(())
}

/// Passes over the texts whose rows are saved, and works on the first and the last of them again to see that
/// the rows are theirs.
fn check<R: Row>(
    saved: &Saved,
    name: &str,
    input: &mut Input,
    work: &mut impl FnMut(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>>,
) -> anyhow::Result<()> {
    let cannot = || format!("cannot resume {name}");
    let ends = input.skip(saved.rows)?;
    if input.skipped < saved.rows {
        return Err(anyhow::anyhow!(
            "expected at most {}, as many as there are texts, found {}",
            rows(input.skipped),
            rows(saved.rows)
        )
        .context(cannot())
        .hint("it belongs to another input: write to another file"));
    }
    for (index, line) in ends {
        let row = match line.text {
            Ok(text) => work(vec![Item { index, text }])?.pop().transpose().ok().flatten(),
            Err(_) => None,
        };
        saved.check(index, row.as_ref()).with_context(cannot)?;
    }
    Ok(())
}

/// The rows, one window after another.
fn answer<R: Row>(
    input: Input,
    window: Window,
    progress: &Progress,
    writer: &mut dyn RowWriter<R>,
    tally: &mut Tally,
    mut work: impl FnMut(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>>,
) -> anyhow::Result<()> {
    let (skip_bad, before) = (input.skip_bad, input.skipped);
    let bytes_read = input.bytes_read.clone();
    let mut feed = input.feed();
    loop {
        let (lines, end) = feed.window(window);
        if lines.is_empty() {
            return end;
        }
        let first = before + tally.rows;
        let mut items = Vec::new();
        // For each line its place, and the error of a bad one.
        let mut places: Vec<(Place, Option<anyhow::Error>)> = Vec::new();
        let mut stop = None;
        for (offset, line) in lines.into_iter().enumerate() {
            match line.text {
                Ok(text) => {
                    items.push(Item { index: first + offset, text });
                    places.push((line.place, None));
                }
                Err(error) if skip_bad => places.push((line.place, Some(error))),
                Err(error) => {
                    stop = Some(line.place.locate(error));
                    break;
                }
            }
        }
        let mut answers = if items.is_empty() { Vec::new() } else { work(items)? }.into_iter();
        for (place, error) in places {
            let answer = match error {
                Some(error) => Err(error),
                None => answers.next().unwrap_or_else(|| Err(anyhow::anyhow!("no answer"))),
            };
            match answer {
                Ok(row) => {
                    count(tally, &row);
                    writer.row(&row)?;
                }
                Err(error) => {
                    let error = place.locate(error);
                    if !skip_bad {
                        return Err(error);
                    }
                    let bad = BadRow { index: before + tally.rows, error: Report::message(&error) };
                    progress.say(format_args!("skipped: {}", bad.error));
                    writer.bad(&bad)?;
                    tally.bad += 1;
                }
            }
            tally.rows += 1;
        }
        writer.flush()?;
        progress.update(tally.rows, Input::position(&bytes_read));
        if let Some(error) = stop {
            return Err(error);
        }
        end?;
    }
}

/// What takes in the texts of an input, all of them, before it has an answer.
pub(crate) trait Corpus {
    /// Takes the next texts in.
    fn add(&mut self, texts: &[String]) -> anyhow::Result<()>;

    /// Counts a line without a text.
    fn skip(&mut self);

    /// Texts and bad lines so far.
    fn seen(&self) -> usize;
}

/// Hands every text of the input to the corpus, a window at a time.
///
/// # Errors
/// If reading or the corpus fails, or at a bad line without `--skip-bad`.
pub(crate) fn consume(
    input: Input,
    window: Window,
    progress: &Progress,
    corpus: &mut impl Corpus,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let skip_bad = input.skip_bad;
    let bytes_read = input.bytes_read.clone();
    let mut feed = input.feed();
    let mut texts: Vec<String> = Vec::new();
    loop {
        let (lines, end) = feed.window(window);
        if lines.is_empty() {
            return end;
        }
        for line in lines {
            match line.text {
                Ok(text) => texts.push(text.text),
                Err(error) if skip_bad => {
                    // What came before it has to be counted before it.
                    corpus.add(&texts)?;
                    texts.clear();
                    progress.say(format_args!("skipped: {}", Report::message(&line.place.locate(error))));
                    corpus.skip();
                    tally.bad += 1;
                }
                Err(error) => return Err(line.place.locate(error)),
            }
        }
        corpus.add(&texts)?;
        texts.clear();
        tally.rows = corpus.seen();
        progress.update(tally.rows, Input::position(&bytes_read));
        end?;
    }
}

fn count<R: Row>(tally: &mut Tally, row: &R) {
    if let Some(tokens) = row.tokens() {
        *tally.tokens.get_or_insert(0) += tokens;
    }
    if let Some(truncated) = row.truncated() {
        *tally.truncated.get_or_insert(0) += usize::from(truncated);
    }
}
