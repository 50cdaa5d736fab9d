//! The loop of every command that answers text by text: read a window, work on it, write it.
//!
//! One row for each input, in input order. Memory holds one window, or with a GPU as many as keep
//! it busy, however long the stream.

use std::time::Instant;

use albert_data::{Line, Pairs, Place, Text, Window};
use albert_tasks::{ModelFiles, RunOptions, pipelined};
use anyhow::Context;

use crate::args::{PairArgs, TextArgs};
use crate::failure::{Hint, Report};
use crate::input::Input;
use crate::output::{BadRow, Output, RECORDS, Row, RowWriter, Saved, VectorType};
use crate::progress::{Progress, Talk, Tally, rows};

/// A text to work on and its number in the input.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) text: Text,
}

/// A command that takes texts to a model and writes a record for each: all that is opened before
/// the model is loaded.
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
    /// Opens input and output, then the device, then finds the model: what the user mistyped is
    /// told before anything is downloaded or computed.
    pub(crate) fn open(
        args: TextArgs,
        pair: PairArgs,
        pairs: Pairs,
        talk: Talk,
    ) -> anyhow::Result<Self> {
        let path = args.input.input.clone();
        let input = Input::open(args.input, pair, pairs)?;
        let output = args.output.open(RECORDS, path.as_deref().as_slice())?;
        let options = args.compute.run_options(&args.model, talk)?;
        let files = args.model.files(talk)?;
        output.spare(&files)?;
        Ok(Self {
            files,
            options,
            input,
            output,
            shows_rows: args.output.is_terminal(),
            talk,
        })
    }

    /// Takes every text through `work`, as [`run`] does, a batch's tokens at a time.
    pub(crate) fn run<R: Row + Send + 'static>(
        self,
        work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>> + Sync,
    ) -> anyhow::Result<()> {
        let progress = Progress::new(self.talk, self.input.extent, self.shows_rows);
        let window = window_of(&self.options);
        run(self.input, self.output, None, window, &progress, work)
    }
}

/// The window of a command that takes texts to a model.
pub(crate) fn window_of(options: &RunOptions) -> Window {
    Window {
        at_once: options.chunks_in_flight(),
        ..window_of_batches(options.most_batch_tokens())
    }
}

/// A window that fills several batches of so many tokens.
pub(crate) fn window_of_batches(batch_tokens: usize) -> Window {
    /// Several batches a window: texts of like length can be put together.
    const BATCHES: usize = 4;
    /// English takes a little more than four bytes a token.
    const BYTES_PER_TOKEN: usize = 4;
    let tokens = batch_tokens.clamp(256, 1 << 20) * BATCHES;
    Window {
        rows: tokens / 4,
        bytes: tokens * BYTES_PER_TOKEN,
        at_once: 1,
    }
}

/// Takes every text of the input through `work`, which gives one result for each, in order, writes
/// the rows, and sums up at the end. `vectors` is the type of each row's vector, where rows have
/// one.
///
/// # Errors
/// If reading, working or writing fails, or at a bad line without `--skip-bad`; the rows before it
/// are written by then, and the output is completed: an array is closed, a header tells their
/// number. Before that, if the output is to be continued and does not belong to the input.
pub(crate) fn run<R: Row + Send + 'static>(
    mut input: Input,
    mut output: Output,
    vectors: Option<VectorType>,
    window: Window,
    progress: &Progress,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>> + Sync,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut complete = None;
    if let Some(saved) = output.saved::<R>(vectors, input.skip_bad)? {
        let (name, count) = (output.name().to_string(), saved.rows);
        check(&saved, &name, &mut input, &work)?;
        output.go_on_after(saved);
        match input.is_at_end()? {
            true => {
                complete = Some(format!(
                    "{name} is complete: it has {}, as many as there are texts",
                    rows(count)
                ));
            }
            // A new file, or one of which not even a row was written.
            false if count == 0 => {}
            false => progress.say(format_args!(
                "{name} has {}: going on with the next text",
                rows(count)
            )),
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

/// Passes over the texts whose rows are saved, and works on the first and the last of them again to
/// see that the rows are theirs.
fn check<R: Row>(
    saved: &Saved,
    name: &str,
    input: &mut Input,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>>,
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
            Ok(text) => work(vec![Item { index, text }])?
                .pop()
                .transpose()
                .ok()
                .flatten(),
            Err(_) => None,
        };
        saved.check(index, row.as_ref()).with_context(cannot)?;
    }
    Ok(())
}

/// The rows, one window after another.
fn answer<R: Row + Send>(
    input: Input,
    window: Window,
    progress: &Progress,
    writer: &mut dyn RowWriter<R>,
    tally: &mut Tally,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>> + Sync,
) -> anyhow::Result<()> {
    let (skip_bad, before) = (input.skip_bad, input.skipped);
    let remarks = input.remarks();
    windows(input, window, work, |answered| {
        for (place, answer) in answered.lines {
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
                    let bad = BadRow {
                        index: before + tally.rows,
                        error: Report::message(&error),
                    };
                    progress.say(format_args!("skipped: {}", bad.error));
                    writer.bad(&bad)?;
                    tally.bad += 1;
                }
            }
            tally.rows += 1;
        }
        writer.flush()?;
        progress.update(tally.rows, answered.bytes_read);
        answered.end
    })?;
    for remark in remarks.at_end(before + tally.rows) {
        progress.say(remark);
    }
    Ok(())
}

/// Takes every text of the input through `work`, as [`run`] does, and hands what comes of it to
/// `add`, in order; `None` is a bad line.
///
/// # Errors
/// If reading, working or adding fails, or at a bad line without `--skip-bad`.
pub(crate) fn consume<T: Send>(
    input: Input,
    window: Window,
    progress: &Progress,
    tally: &mut Tally,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<T>>> + Sync,
    mut add: impl FnMut(Option<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (skip_bad, remarks) = (input.skip_bad, input.remarks());
    windows(input, window, work, |answered| {
        for (place, answer) in answered.lines {
            match answer {
                Ok(answer) => add(Some(answer))?,
                Err(error) => {
                    let error = place.locate(error);
                    if !skip_bad {
                        return Err(error);
                    }
                    progress.say(format_args!("skipped: {}", Report::message(&error)));
                    add(None)?;
                    tally.bad += 1;
                }
            }
            tally.rows += 1;
        }
        progress.update(tally.rows, answered.bytes_read);
        answered.end
    })?;
    for remark in remarks.at_end(tally.rows) {
        progress.say(remark);
    }
    Ok(())
}

/// The lines of a window.
struct Lines {
    items: Vec<Item>,
    /// For each line its place, and the error of a bad one.
    places: Vec<(Place, Option<anyhow::Error>)>,
    /// How the input ends with them, if it does.
    end: anyhow::Result<()>,
    /// How many bytes of the input are read.
    bytes_read: u64,
}

/// What came of them.
struct Answered<T> {
    lines: Vec<(Place, anyhow::Result<T>)>,
    end: anyhow::Result<()>,
    bytes_read: u64,
}

/// Reads windows, works on them, as many at a time as they say, and hands over what comes of them
/// in order.
fn windows<T: Send>(
    input: Input,
    window: Window,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<T>>> + Sync,
    mut take: impl FnMut(Answered<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (skip_bad, mut index) = (input.skip_bad, input.skipped);
    let bytes_read = input.bytes_read.clone();
    let mut feed = input.feed();
    let mut has_ended = false;
    let next = |may_wait| {
        if has_ended {
            return None;
        }
        let (lines, end) = feed.window(window, may_wait);
        if lines.is_empty() && end.is_ok() {
            return None;
        }
        let lines = Lines::new(lines, end, index, skip_bad, Input::position(&bytes_read));
        index += lines.places.len();
        has_ended = lines.end.is_err();
        Some(lines)
    };
    pipelined(
        window.at_once,
        next,
        |lines: Lines| lines.answered(&work),
        |answered| take(answered?),
    )
}

impl Lines {
    /// Lines up to the first bad one, unless bad ones are passed over; the first has the number
    /// `index`.
    fn new(
        lines: Vec<Line>,
        mut end: anyhow::Result<()>,
        index: usize,
        skip_bad: bool,
        bytes_read: u64,
    ) -> Self {
        let (mut items, mut places) = (Vec::new(), Vec::new());
        for (offset, line) in lines.into_iter().enumerate() {
            match line.text {
                Ok(text) => {
                    items.push(Item {
                        index: index + offset,
                        text,
                    });
                    places.push((line.place, None));
                }
                Err(error) if skip_bad => places.push((line.place, Some(error))),
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
        let lines = self.places.into_iter().map(|(place, error)| {
            let answer = match error {
                Some(error) => Err(error),
                None => answers
                    .next()
                    .unwrap_or_else(|| Err(anyhow::anyhow!("no answer"))),
            };
            (place, answer)
        });
        Ok(Answered {
            lines: lines.collect(),
            end: self.end,
            bytes_read: self.bytes_read,
        })
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;
    use std::time::Duration;

    use serde::Serialize;

    use super::*;
    use crate::args::InputArgs;
    use crate::output::Column;
    use crate::progress::Extent;

    #[derive(Debug, Serialize)]
    struct LengthRow {
        index: usize,
        length: usize,
    }

    impl Row for LengthRow {
        const COLUMNS: &'static [Column] = &[];

        fn lines(&self) -> String {
            String::new()
        }

        fn tokens(&self) -> Option<usize> {
            Some(self.length)
        }
    }

    /// The rows as JSON.
    #[derive(Default)]
    struct Written(Vec<String>);

    impl RowWriter<LengthRow> for Written {
        fn row(&mut self, row: &LengthRow) -> anyhow::Result<()> {
            self.0.push(serde_json::to_string(row)?);
            Ok(())
        }

        fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
            self.0.push(serde_json::to_string(bad)?);
            Ok(())
        }

        fn flush(&mut self) -> anyhow::Result<()> {
            Ok(())
        }

        fn finish(&mut self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    /// Fifty lines, the later ones of a window quicker to work on, and perhaps a bad one.
    fn input(bad_line: Option<usize>, skip_bad: bool) -> (tempfile::NamedTempFile, Input) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in 0..50 {
            let text = "x".repeat(line % 7);
            let end: &[u8] = if bad_line == Some(line) {
                b"\xff\n"
            } else {
                b"\n"
            };
            file.write_all(&[text.as_bytes(), end].concat()).unwrap();
        }
        let args = InputArgs {
            input: Some(file.path().to_path_buf()),
            skip_bad,
            ..InputArgs::default()
        };
        let input = Input::open(args, PairArgs::default(), Pairs::Refused).unwrap();
        (file, input)
    }

    fn window(at_once: usize) -> Window {
        Window {
            rows: 4,
            bytes: usize::MAX,
            at_once,
        }
    }

    /// A row for each text; a window that holds the text number `fails_at` fails.
    fn lengths(
        items: Vec<Item>,
        fails_at: usize,
    ) -> anyhow::Result<Vec<anyhow::Result<LengthRow>>> {
        let first = items.first().map_or(0, |item| item.index);
        thread::sleep(Duration::from_millis(first as u64 * 5 % 7));
        if items.iter().any(|item| item.index == fails_at) {
            anyhow::bail!("cannot work on {fails_at}");
        }
        let row = |item: Item| {
            Ok(LengthRow {
                index: item.index,
                length: item.text.len(),
            })
        };
        Ok(items.into_iter().map(row).collect())
    }

    /// What is written, how the run ends, and what it counts.
    fn run_with(
        at_once: usize,
        bad_line: Option<usize>,
        skip_bad: bool,
        fails_at: usize,
    ) -> (Vec<String>, Option<String>, Tally) {
        let (file, input) = input(bad_line, skip_bad);
        let progress = Progress::new(Talk::new(true), Extent::Short, false);
        let (mut written, mut tally) = (Written::default(), Tally::default());
        let work = |items| lengths(items, fails_at);
        let end = answer(
            input,
            window(at_once),
            &progress,
            &mut written,
            &mut tally,
            work,
        );
        let name = file.path().display().to_string();
        let error = end
            .err()
            .map(|error| format!("{error:#}").replace(&name, "FILE"));
        (
            written
                .0
                .iter()
                .map(|row| row.replace(&name, "FILE"))
                .collect(),
            error,
            tally,
        )
    }

    const NEVER: usize = usize::MAX;

    #[test]
    fn several_windows_at_once_write_what_one_does() {
        for (bad_line, skip_bad, fails_at) in [
            (None, false, NEVER),
            (Some(21), true, NEVER),
            (Some(21), false, NEVER),
            (None, false, 30),
            (Some(9), true, 8),
        ] {
            let expected = run_with(1, bad_line, skip_bad, fails_at);
            for at_once in [2, 3, 20] {
                assert_eq!(run_with(at_once, bad_line, skip_bad, fails_at), expected);
            }
        }
    }

    #[test]
    fn rows_before_a_failure_are_written_and_bad_lines_have_their_number() {
        let (rows, error, tally) = run_with(3, Some(21), false, NEVER);
        assert_eq!((rows.len(), tally.rows, tally.bad), (21, 21, 0));
        assert!(error.unwrap().contains("`FILE`, line 22"));
        let (rows, error, tally) = run_with(3, Some(21), true, NEVER);
        assert_eq!(
            (rows.len(), error, tally.rows, tally.bad),
            (50, None, 50, 1)
        );
        assert!(
            rows[21].starts_with(r#"{"index":21,"error":"#),
            "{}",
            rows[21]
        );
        assert_eq!(rows[22], r#"{"index":22,"length":1}"#);
        // The window of the text that fails has no rows.
        let (rows, error, _) = run_with(3, None, false, 30);
        assert_eq!(
            (rows.len(), error.as_deref()),
            (28, Some("cannot work on 30"))
        );
    }

    #[test]
    fn a_corpus_takes_texts_and_bad_lines_in_their_order() {
        for at_once in [1, 3] {
            let (_file, input) = input(Some(21), true);
            let progress = Progress::new(Talk::new(true), Extent::Short, false);
            let (mut seen, mut tally) = (Vec::new(), Tally::default());
            let add = |row: Option<LengthRow>| {
                seen.push(row.map(|row| row.index));
                Ok(())
            };
            let work = |items| lengths(items, NEVER);
            consume(input, window(at_once), &progress, &mut tally, work, add).unwrap();
            let expected: Vec<Option<usize>> = (0..50)
                .map(|index| Some(index).filter(|_| index != 21))
                .collect();
            assert_eq!((seen, tally.rows, tally.bad), (expected, 50, 1));
        }
    }
}
