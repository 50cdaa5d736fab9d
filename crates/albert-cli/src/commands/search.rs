//! `search`: semantic search over the texts of a corpus, in constant memory.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use albert_data::Vectors;
use albert_tasks::{EmbedOptions, Embedding, Hit, Search, Searcher};
use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::embed::embed_chunk_with;
use crate::input::{Input, Request, vectors};
use crate::options::{ColumnArgs, ComputeArgs, FileArgs, ModelArgs, OutputArgs, number};
use crate::output::{Column, Kept, Kind, Layout, RECORDS, Row, visible};
use crate::progress::{Progress, Talk, Tally};
use crate::stream::{self, Chunks, Item};

/// The options of `search`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  printf 'A cat sleeps.\\nStocks fell.\\n' | albert-cli search 'pets' --top-k 1
  albert-cli search 'a resting animal' --embeddings vectors.npy --top-k 3")]
pub(crate) struct SearchArgs {
    /// The query
    #[arg(value_name = "QUERY")]
    query: String,
    #[command(flatten, next_help_heading = "Texts")]
    corpus: FileArgs,
    #[command(flatten)]
    vectors: VectorArgs,
    #[command(flatten)]
    task: HitArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    columns: ColumnArgs,
}

/// Vectors in place of the corpus.
#[derive(Debug, Args)]
#[command(next_help_heading = "Texts")]
struct VectorArgs {
    /// Vectors written by `embed`, in any format but table; --input then only provides the texts of
    /// the hits
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
}

/// The number of hits.
#[derive(Debug, Args)]
#[command(next_help_heading = "Hits")]
struct HitArgs {
    /// Texts to show, best first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    top_k: usize,

    /// Prefix the query [default: the model's prompt `query`, if it has one]
    #[arg(long, value_name = "TEXT")]
    query_prompt: Option<String>,

    /// Prefix the texts [default: the model's prompt `document`, if it has one]
    #[arg(long, value_name = "TEXT")]
    document_prompt: Option<String>,

    /// Prefix query and texts with the model's prompt of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["query_prompt", "document_prompt"])]
    prompt_name: Option<String>,
}

impl HitArgs {
    /// Sets the prompts.
    fn apply(&self, mut searcher: Searcher) -> anyhow::Result<Searcher> {
        if let Some(name) = &self.prompt_name {
            let named = EmbedOptions::default().with_prompt_name(name);
            searcher = searcher
                .with_query_options(named.clone())?
                .with_document_options(named)?;
        }
        if let Some(prompt) = &self.query_prompt {
            searcher = searcher.with_query_options(EmbedOptions::default().with_prompt(prompt))?;
        }
        if let Some(prompt) = &self.document_prompt {
            searcher =
                searcher.with_document_options(EmbedOptions::default().with_prompt(prompt))?;
        }
        Ok(searcher)
    }
}

/// One hit.
#[derive(Debug, Serialize)]
struct SearchRow {
    query: String,
    rank: usize,
    index: usize,
    /// Null if only the vector is known.
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

/// The columns of the input that the best hits so far keep, by the index of their text.
struct KeptByIndex {
    layout: Layout,
    kept: HashMap<usize, Kept>,
}

impl KeptByIndex {
    /// Adds the columns of the last text that was added to `search`.
    ///
    /// # Errors
    /// If one has the name of a row's column.
    fn add(&mut self, search: &Search<'_>, kept: Kept) -> anyhow::Result<()> {
        /// Looking for the texts that are no hits any more pays off for many together.
        const SLACK: usize = 1024;
        if kept.is_empty() {
            return Ok(());
        }
        self.layout.check_kept::<SearchRow>(&kept)?;
        self.kept.insert(search.seen() - 1, kept);
        if self.kept.len() > search.top_k().saturating_mul(2).saturating_add(SLACK) {
            let best: HashSet<usize> = search.indices().collect();
            self.kept.retain(|index, _| best.contains(index));
        }
        Ok(())
    }

    fn take(&mut self, index: usize) -> Kept {
        self.kept.remove(&index).unwrap_or_default()
    }
}

impl SearchArgs {
    /// Settles the texts to read, if any: with vectors they are optional.
    fn request(&self) -> anyhow::Result<Option<Request>> {
        let keep = self.columns.keep.as_ref();
        if self.vectors.embeddings.is_some() && self.corpus.input.is_empty() {
            self.corpus.refuse_without_input(keep)?;
            return Ok(None);
        }
        let hint = "give `--input FILE` or `--embeddings FILE`, or pipe lines into the command";
        self.corpus.request(keep, hint).map(Some)
    }
}

/// Runs the command.
pub(crate) fn run(args: SearchArgs, talk: Talk) -> anyhow::Result<()> {
    let request = args.request()?;
    let mut target = args.output.target(RECORDS)?;
    target.layout = args.columns.layout(target.format)?;
    target.layout.check::<SearchRow>()?;
    let mut kept = KeptByIndex {
        layout: target.layout.clone(),
        kept: HashMap::new(),
    };
    let texts = request.as_ref().map(Input::open).transpose()?;
    let mut read: Vec<PathBuf> = args.vectors.embeddings.iter().cloned().collect();
    if let Some(request) = &request {
        read.extend(request.origin.paths()?);
    }
    let vectors = args
        .vectors
        .embeddings
        .as_deref()
        .map(vectors)
        .transpose()?;
    let output = target.open(&read)?;
    let options = args.compute.run_options(&args.model, talk)?;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let searcher = args.task.apply(Searcher::load(&files, &options)?)?;
    let pooling = searcher.embedder().pooling();
    if !pooling.from_modules {
        talk.say(format_args!("pooling: {}", pooling.why));
    }
    let started = Instant::now();
    let mut search = searcher.start(&args.query, args.task.top_k)?;
    let mut tally = Tally::default();
    let chunks = Chunks::new(&options);
    let hits = match (vectors, texts) {
        (Some(vectors), texts) => {
            let name = args.vectors.embeddings.as_deref().unwrap_or(Path::new(""));
            let not_finite = add_vectors(&mut search, vectors, name)?;
            tally.rows = search.seen();
            if not_finite > 0 {
                talk.say(format_args!(
                    "{not_finite} of {} vectors are not finite and cannot be hits",
                    tally.rows
                ));
            }
            let mut hits = search.hits();
            if let Some(texts) = texts {
                look_up(&mut hits, &mut kept.kept, texts, chunks, tally.rows)?;
                let layout = &kept.layout;
                kept.kept
                    .values()
                    .try_for_each(|kept| layout.check_kept::<SearchRow>(kept))?;
            }
            hits
        }
        (None, Some(texts)) => {
            let progress = Progress::new(talk, texts.extent, false);
            let (mut tokens, mut truncated) = (0, 0);
            let work = |items: Vec<Item>| {
                let options = searcher.document_options();
                let embeddings = embed_chunk_with(searcher.embedder(), &items, options)?;
                Ok(items
                    .into_iter()
                    .map(|item| item.text.text)
                    .zip(embeddings)
                    .map(Ok)
                    .collect())
            };
            let add = |embedded: Option<(String, Embedding)>, columns: Kept| {
                let Some((text, embedding)) = embedded else {
                    search.skip();
                    return Ok(());
                };
                tokens += embedding.tokens;
                truncated += usize::from(embedding.truncated);
                search.add_vector(&embedding.vector, Some(&text))?;
                kept.add(&search, columns)
            };
            stream::consume_with_kept(texts, chunks, &progress, &mut tally, work, add)?;
            (tally.tokens, tally.truncated) = (Some(tokens), Some(truncated));
            search.hits()
        }
        (None, None) => search.hits(),
    };
    let mut writer = output.writer::<SearchRow>(None, false)?;
    for (rank, hit) in hits.into_iter().enumerate() {
        let Hit {
            index,
            text,
            cosine,
        } = hit;
        let row = SearchRow {
            query: args.query.clone(),
            rank: rank + 1,
            index,
            text,
            cosine,
        };
        writer.row(&row, &kept.take(index))?;
    }
    writer.finish()?;
    tally.elapsed = started.elapsed();
    talk.say(tally);
    Ok(())
}

/// Compares the query with saved vectors, and returns the number of vectors that are not finite,
/// which cannot be a hit.
fn add_vectors(search: &mut Search<'_>, vectors: Vectors, path: &Path) -> anyhow::Result<usize> {
    let mut not_finite = 0;
    for row in vectors {
        match row? {
            Some((vector, text)) => {
                not_finite += usize::from(vector.iter().any(|value| !value.is_finite()));
                search
                    .add_vector(&vector, text.as_deref())
                    .with_context(|| format!("`{}`, row {}", path.display(), search.seen() + 1))?;
            }
            None => search.skip(),
        }
    }
    Ok(not_finite)
}

/// Looks up the texts of the hits and their kept columns in the corpus, which has one text per
/// vector.
fn look_up(
    hits: &mut [Hit],
    kept: &mut HashMap<usize, Kept>,
    input: Input,
    chunks: Chunks,
    vectors: usize,
) -> anyhow::Result<()> {
    let skip_bad = input.skip_bad;
    let mut places: HashMap<usize, &mut Hit> =
        hits.iter_mut().map(|hit| (hit.index, hit)).collect();
    let mut feed = input.feed();
    let mut texts = 0;
    loop {
        let (lines, end) = feed.chunk(chunks.limits, true);
        if lines.is_empty() {
            end?;
            break;
        }
        for line in lines {
            if let Some(hit) = places.get_mut(&texts) {
                match line.text {
                    Ok(text) => {
                        hit.text = Some(text.text);
                        kept.insert(texts, stream::kept(line.kept));
                    }
                    Err(_) if skip_bad => {}
                    Err(error) => return Err(line.place.locate(error).into()),
                }
            }
            texts += 1;
        }
        end?;
    }
    if texts != vectors {
        bail!("the corpus does not match the vectors: expected {vectors} texts, found {texts}");
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
