//! `search`: the texts of a corpus that are most like a query, in constant memory.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use albert_data::{Pairs, Vectors, Window};
use albert_tasks::{Embedding, Hit, Search, Searcher};
use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::embed::embed_window;
use crate::args::{ComputeArgs, InputArgs, ModelArgs, OutputArgs, PairArgs, number};
use crate::failure::{Hint, usage};
use crate::input::{Input, InputFormat, vectors};
use crate::output::{Column, Kind, RECORDS, Row, visible};
use crate::progress::{Progress, Talk, Tally};
use crate::stream::{self, Item};

/// The options of `search`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  printf 'A cat sleeps.\\nStocks fell.\\n' | albert-cli search 'pets' --top-k 1
  albert-cli search 'a resting animal' --embeddings vectors.npy --top-k 3")]
pub(crate) struct SearchArgs {
    /// What to look for
    #[arg(value_name = "QUERY")]
    query: String,
    #[command(flatten)]
    corpus: CorpusArgs,
    #[command(flatten)]
    task: HitArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to look through.
#[derive(Debug, Args)]
#[command(next_help_heading = "Corpus")]
struct CorpusArgs {
    /// The texts; - is standard input, which is also the default
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// How the texts are written [default: by the file's ending, else lines]
    #[arg(long, value_name = "FORMAT", value_enum)]
    input_format: Option<InputFormat>,

    /// The field or column of a table that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    field: Option<String>,

    /// Pass over lines that cannot be read, which still count
    #[arg(long)]
    skip_bad: bool,

    /// Vectors that `embed` wrote, in any format but table; the texts are then only looked up
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
}

impl CorpusArgs {
    fn texts(&self) -> anyhow::Result<Input> {
        let args = InputArgs {
            texts: Vec::new(),
            input: self.input.clone(),
            input_format: self.input_format,
            field: self.field.clone(),
            skip_bad: self.skip_bad,
            ..InputArgs::default()
        };
        Input::open(args, PairArgs { pair: None }, Pairs::Refused)
    }
}

/// How much to show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Hits")]
struct HitArgs {
    /// How many texts to show, the most alike first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    top_k: usize,
}

/// One hit.
#[derive(Debug, Serialize)]
struct SearchRow {
    query: String,
    rank: usize,
    index: usize,
    /// Null where only the vector is known.
    text: Option<String>,
    cosine: f32,
}

impl Row for SearchRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("query", Kind::Text),
        Column::new("rank", Kind::Integer),
        Column::new("index", Kind::Integer),
        Column::optional("text", Kind::Text),
        Column::new("cosine", Kind::Float),
    ];
    const HEADING: &'static str = " rank   cosine   index  text";

    fn lines(&self) -> String {
        let text = visible(self.text.as_deref().unwrap_or_default(), 80);
        let line = format!(
            "{:>5}  {:>7.4}  {:>6}  {text}",
            self.rank, self.cosine, self.index
        );
        format!("{}\n", line.trim_end())
    }
}

/// Runs the command.
pub(crate) fn run(args: SearchArgs, talk: Talk) -> anyhow::Result<()> {
    let corpus = &args.corpus;
    let texts = match (&corpus.embeddings, &corpus.input) {
        (Some(_), None) if corpus.field.is_some() || corpus.input_format.is_some() => {
            return Err(usage(
                "`--field` and `--input-format` go with `--input`, and there is none",
            ));
        }
        (Some(_), None) => None,
        (None, None) if io::stdin().is_terminal() => {
            return Err(usage("no corpus to search").hint(
                "give `--input FILE` or `--embeddings FILE`, or pipe lines into the command",
            ));
        }
        _ => Some(corpus.texts()?),
    };
    let inputs: Vec<&Path> = [&corpus.embeddings, &corpus.input]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect();
    let vectors = corpus.embeddings.as_deref().map(vectors).transpose()?;
    let output = args.output.open(RECORDS, &inputs)?;
    let options = args.compute.run_options(&args.model, talk)?;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let searcher = Searcher::load(&files, &options)?;
    let pooling = searcher.embedder().pooling();
    if !pooling.from_modules {
        talk.say(format_args!("pooling: {}", pooling.why));
    }
    let started = Instant::now();
    let mut search = searcher.start(&args.query, args.task.top_k)?;
    let mut tally = Tally::default();
    let window = stream::window_of(&options);
    let hits = match (vectors, texts) {
        (Some(vectors), texts) => {
            let name = corpus.embeddings.as_deref().unwrap_or(Path::new(""));
            add_vectors(&mut search, vectors, name)?;
            tally.rows = search.seen();
            let mut hits = search.hits();
            if let Some(texts) = texts {
                look_up(&mut hits, texts, window, tally.rows)?;
            }
            hits
        }
        (None, Some(texts)) => {
            let progress = Progress::new(talk, texts.extent, false);
            let (mut tokens, mut truncated) = (0, 0);
            let work = |items: Vec<Item>| {
                let embeddings = embed_window(searcher.embedder(), &items)?;
                Ok(items
                    .into_iter()
                    .map(|item| item.text.text)
                    .zip(embeddings)
                    .map(Ok)
                    .collect())
            };
            let add = |embedded: Option<(String, Embedding)>| {
                let Some((text, embedding)) = embedded else {
                    search.skip();
                    return Ok(());
                };
                tokens += embedding.tokens;
                truncated += usize::from(embedding.truncated);
                Ok(search.add_vector(&embedding.vector, Some(&text))?)
            };
            stream::consume(texts, window, &progress, &mut tally, work, add)?;
            (tally.tokens, tally.truncated) = (Some(tokens), Some(truncated));
            search.hits()
        }
        (None, None) => search.hits(),
    };
    let mut writer = output.writer::<SearchRow>(None, false)?;
    for (
        rank,
        Hit {
            index,
            text,
            cosine,
        },
    ) in hits.into_iter().enumerate()
    {
        writer.row(&SearchRow {
            query: args.query.clone(),
            rank: rank + 1,
            index,
            text,
            cosine,
        })?;
    }
    writer.finish()?;
    tally.elapsed = started.elapsed();
    talk.say(tally);
    Ok(())
}

/// Compares with saved vectors.
fn add_vectors(search: &mut Search<'_>, vectors: Vectors, path: &Path) -> anyhow::Result<()> {
    for row in vectors {
        match row? {
            Some((vector, text)) => search
                .add_vector(&vector, text.as_deref())
                .with_context(|| format!("`{}`, row {}", path.display(), search.seen() + 1))?,
            None => search.skip(),
        }
    }
    Ok(())
}

/// Gives hits the texts that stand at their numbers in the corpus, which has one for each vector.
fn look_up(hits: &mut [Hit], input: Input, window: Window, vectors: usize) -> anyhow::Result<()> {
    let skip_bad = input.skip_bad;
    let mut places: HashMap<usize, &mut Hit> =
        hits.iter_mut().map(|hit| (hit.index, hit)).collect();
    let mut feed = input.feed();
    let mut texts = 0;
    loop {
        let (lines, end) = feed.window(window, true);
        if lines.is_empty() {
            end?;
            break;
        }
        for line in lines {
            if let Some(hit) = places.get_mut(&texts) {
                match line.text {
                    Ok(text) => hit.text = Some(text.text),
                    Err(_) if skip_bad => {}
                    Err(error) => return Err(line.place.locate(error)),
                }
            }
            texts += 1;
        }
        end?;
    }
    if texts != vectors {
        bail!("the corpus does not belong to the vectors: expected {vectors} texts, found {texts}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let mut row = SearchRow {
            query: "q".into(),
            rank: 1,
            index: 17,
            text: Some("t".into()),
            cosine: 0.5,
        };
        let json = r#"{"query":"q","rank":1,"index":17,"text":"t","cosine":0.5}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(row.lines(), "    1   0.5000      17  t\n");
        row.text = None;
        assert!(
            serde_json::to_string(&row)
                .unwrap()
                .contains(r#""text":null"#)
        );
        assert_eq!(row.lines(), "    1   0.5000      17\n");
    }
}
