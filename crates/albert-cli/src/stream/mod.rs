//! The loop of every command with one result per text: read a chunk, process it, write its rows.
//!
//! Each text has one row, in input order. Memory holds one chunk, or on a GPU as many as keep it
//! busy, however long the stream is.

mod chunks;
mod job;
mod terms;

use std::time::Instant;

use albert_data::Place;
use anyhow::Context;

use crate::failure::{Hint, Report, usage};
use crate::input::Input;
use crate::interruption::Interruption;
use crate::options::{InputArgs, OutputArgs, RowArgs};
use crate::output::{BadRow, Kept, Layout, Output, Row, RowWriter, Saved, VectorType};
use crate::progress::{Progress, Talk, Tally, rows};
use chunks::each_chunk;
pub(crate) use chunks::{Chunks, Item, kept};
pub(crate) use job::Job;
pub(crate) use terms::Terms;

/// An open input and the output for its rows.
pub(crate) struct Stream {
    pub(crate) input: Input,
    pub(crate) output: Output,
    shows_rows: bool,
    pub(crate) talk: Talk,
}

impl Stream {
    /// Opens input and output.
    pub(crate) fn open(
        input: InputArgs,
        output: &OutputArgs,
        rows: RowArgs,
        terms: Terms,
        talk: Talk,
    ) -> anyhow::Result<Self> {
        let mut request = input.request(terms.pair, terms.pairs)?;
        request.keep = rows.columns.keep.clone();
        let mut target = output.target(terms.formats)?;
        target.layout = rows.columns.layout(target.format)?;
        request.keeps_batches = rows.keeps_batches(target.format)?;
        if terms.resumes == Some(true) && !rows.columns.is_plain() {
            return Err(usage(
                "`--resume` cannot be used with `--keep` or `--column-name`",
            ));
        }
        let input = Input::open(&request)?;
        let mut read = request.origin.paths()?;
        read.extend(terms.also_reads);
        let mut opened = target.open(&read)?;
        opened.has_resume = terms.resumes.is_some();
        opened.row_batches = request.keeps_batches.then(|| input.row_batches());
        if terms.resumes == Some(true) {
            opened.resume()?;
        }
        Ok(Self {
            input,
            output: opened,
            shows_rows: output.is_terminal(),
            talk,
        })
    }

    /// Runs every text through `work`, which returns one result for each, in order; writes the rows
    /// and a final summary. `vectors` is the type of each row's vector, if any.
    ///
    /// # Errors
    /// If reading, processing or writing fails, at a bad line without `--skip-bad`, or if a signal
    /// ends the run. By then the rows before it are written and the output is completed: an array
    /// is closed, a header has the number of rows. An error before the first row leaves an existing
    /// output unchanged.
    pub(crate) fn run<R: Row + Send + 'static>(
        self,
        vectors: Option<VectorType>,
        chunks: Chunks,
        work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>> + Sync,
    ) -> anyhow::Result<()> {
        let Self {
            mut input,
            mut output,
            shows_rows,
            talk,
        } = self;
        let progress = Progress::new(talk, input.extent, shows_rows);
        let started = Instant::now();
        let mut complete = None;
        if let Some(saved) = output.saved::<R>(vectors, input.skip_bad)? {
            let (name, count) = (output.name().to_string(), saved.rows);
            check(&saved, &name, &mut input, &work)?;
            output.continue_after(saved);
            if input.is_at_end()? {
                complete = Some(format!(
                    "{name} is complete: it has {}, as many as there are texts",
                    rows(count)
                ));
            } else if count > 0 {
                progress.say(format_args!(
                    "{name} has {}: continuing with the next text",
                    rows(count)
                ));
            }
        }
        let layout = output.layout.clone();
        let (name, can_resume) = (output.name().to_string(), output.can_resume());
        let mut writer = output.writer::<R>(vectors, input.skip_bad)?;
        if let Some(complete) = complete {
            writer.finish()?;
            progress.say(complete);
            return Ok(());
        }
        let interruption = Interruption::watch(talk);
        let before = input.skipped;
        let mut tally = Tally::default();
        let answered = answer(
            input,
            chunks,
            &progress,
            &interruption,
            (writer.as_mut(), &layout),
            &mut tally,
            work,
        );
        let is_cut_short = answered.is_err() || interruption.signal().is_some();
        if tally.rows == 0 && is_cut_short {
            // Nothing is written: an existing output stays unchanged.
            answered?;
        } else {
            // The first failure is the one to report.
            let finished = writer.finish();
            answered.and(finished)?;
        }
        progress.finish();
        if let Some(signal) = interruption.signal() {
            return Err(signal.error(&name, before + tally.rows, can_resume));
        }
        tally.elapsed = started.elapsed();
        progress.say(tally);
        Ok(())
    }
}

/// Skips the texts whose rows are saved, and computes the first and the last of them again to check
/// that the rows belong to them.
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
        .hint("the file belongs to another input: write to another file"));
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

/// Writes the rows, one chunk after another.
fn answer<R: Row + Send>(
    input: Input,
    chunks: Chunks,
    progress: &Progress,
    interruption: &Interruption,
    (writer, layout): (&mut dyn RowWriter<R>, &Layout),
    tally: &mut Tally,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>> + Sync,
) -> anyhow::Result<()> {
    let (skip_bad, before) = (input.skip_bad, input.skipped);
    let remarks = input.remarks();
    each_chunk(input, chunks, interruption, work, |answered| {
        let has_rows = !answered.lines.is_empty();
        for (place, kept, answer) in answered.lines {
            match answer {
                Ok(row) => {
                    if tally.rows == tally.bad {
                        // Checked before the first row, while an existing output is unchanged.
                        layout.check_kept::<R>(&kept)?;
                    }
                    count(tally, &row);
                    writer.row(&row, &kept)?;
                }
                Err(error) => {
                    let error = locate(&place, error);
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
        if has_rows {
            writer.flush()?;
        }
        progress.update(tally.rows, answered.bytes_read);
        answered.end
    })?;
    for remark in remarks.at_end(before + tally.rows) {
        progress.say(remark);
    }
    Ok(())
}

/// Runs every text of the input through `work`, like [`Stream::run`], and passes the results to
/// `add`, in order; `None` is a bad line.
///
/// # Errors
/// If reading, `work` or `add` fails, or at a bad line without `--skip-bad`.
pub(crate) fn consume<T: Send>(
    input: Input,
    chunks: Chunks,
    progress: &Progress,
    tally: &mut Tally,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<T>>> + Sync,
    mut add: impl FnMut(Option<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    consume_with_kept(input, chunks, progress, tally, work, |answer, _| {
        add(answer)
    })
}

/// Runs every text of the input through `work`, as [`consume`] does, and hands over the columns that
/// its line keeps with each result.
///
/// # Errors
/// As [`consume`].
pub(crate) fn consume_with_kept<T: Send>(
    input: Input,
    chunks: Chunks,
    progress: &Progress,
    tally: &mut Tally,
    work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<T>>> + Sync,
    mut add: impl FnMut(Option<T>, Kept) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (skip_bad, remarks) = (input.skip_bad, input.remarks());
    // Nothing is written yet, so a signal may just end the process.
    let interruption = Interruption::default();
    each_chunk(input, chunks, &interruption, work, |answered| {
        for (place, kept, answer) in answered.lines {
            match answer {
                Ok(answer) => add(Some(answer), kept)?,
                Err(error) => {
                    let error = locate(&place, error);
                    if !skip_bad {
                        return Err(error);
                    }
                    progress.say(format_args!("skipped: {}", Report::message(&error)));
                    add(None, Kept::new())?;
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

/// Puts the place of a text before the error of working on it.
fn locate(place: &Place, error: anyhow::Error) -> anyhow::Error {
    match place.describe() {
        Some(place) => error.context(place),
        None => error,
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

    use albert_data::{ChunkLimits, Pairs};
    use serde::Serialize;

    use super::*;
    use crate::input::Request;
    use crate::output::{Column, Kept};
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

    /// Collects the rows as JSON.
    #[derive(Default)]
    struct Written(Vec<String>);

    impl RowWriter<LengthRow> for Written {
        fn row(&mut self, row: &LengthRow, _: &Kept) -> anyhow::Result<()> {
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

    /// Fifty lines, the later ones of a chunk quicker to work on, and perhaps a bad one.
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
        let request = Request {
            skip_bad,
            ..Request::from_file(file.path(), Pairs::Refused)
        };
        let input = Input::open(&request).unwrap();
        (file, input)
    }

    fn chunks(in_flight: usize) -> Chunks {
        Chunks {
            limits: ChunkLimits {
                rows: 4,
                bytes: usize::MAX,
            },
            in_flight,
        }
    }

    /// A row for each text; a chunk that holds the text number `fails_at` fails.
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

    /// Returns the written rows, the error of the run if any, and its counts.
    fn run_with(
        in_flight: usize,
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
            chunks(in_flight),
            &progress,
            &Interruption::default(),
            (&mut written, &Layout::default()),
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
    fn several_chunks_in_flight_write_what_one_does() {
        for (bad_line, skip_bad, fails_at) in [
            (None, false, NEVER),
            (Some(21), true, NEVER),
            (Some(21), false, NEVER),
            (None, false, 30),
            (Some(9), true, 8),
        ] {
            let expected = run_with(1, bad_line, skip_bad, fails_at);
            for in_flight in [2, 3, 20] {
                assert_eq!(run_with(in_flight, bad_line, skip_bad, fails_at), expected);
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
        // The chunk of the text that fails has no rows.
        let (rows, error, _) = run_with(3, None, false, 30);
        assert_eq!(
            (rows.len(), error.as_deref()),
            (28, Some("cannot work on 30"))
        );
    }

    #[test]
    fn a_corpus_takes_texts_and_bad_lines_in_their_order() {
        for in_flight in [1, 3] {
            let (_file, input) = input(Some(21), true);
            let progress = Progress::new(Talk::new(true), Extent::Short, false);
            let (mut seen, mut tally) = (Vec::new(), Tally::default());
            let add = |row: Option<LengthRow>| {
                seen.push(row.map(|row| row.index));
                Ok(())
            };
            let work = |items| lengths(items, NEVER);
            consume(input, chunks(in_flight), &progress, &mut tally, work, add).unwrap();
            let expected: Vec<Option<usize>> = (0..50)
                .map(|index| Some(index).filter(|_| index != 21))
                .collect();
            assert_eq!((seen, tally.rows, tally.bad), (expected, 50, 1));
        }
    }
}
