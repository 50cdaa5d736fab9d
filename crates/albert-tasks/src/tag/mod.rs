//! Token classification: labels for spans of a text, such as named entities (NER) or parts of
//! speech.
//!
//! Every token gets its most probable label; [`Aggregation`] joins tokens into words and entities
//! (`aggregation`). Source: transformers 4.46.3, `pipelines/token_classification.py`.

mod aggregation;
mod entities;
mod options;
mod words;

use std::ops::Range;

use albert_model::AlbertForTokenClassification;
use rayon::prelude::*;

use crate::engine::batching;
use crate::engine::runner::CHUNK_BYTES;
use crate::json::JsonObject;
use crate::pipeline::{Pipeline, Purpose};
use crate::probability::softmax;
use crate::sequence::{Characters, Owner, Sequence, windows};
use crate::task::{impl_access, impl_loading};
use crate::tokenizer::TokenIds;
use crate::{Error, ModelFiles, Result, SharedModel, Tokenizer};
pub use aggregation::Aggregation;
use aggregation::{Span, TokenScores};
pub use entities::{Entities, Entity};
pub use options::TagOptions;
use words::Words;

/// Token classification: finds the named entities of texts, or other labeled spans.
///
/// ```
/// use albert_tasks::{ModelFiles, RunOptions, TagOptions, Tagger};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/entities");
/// let tagger = Tagger::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let text = "The doctor went to Zürich.";
/// for entity in &tagger.tag(&[text], &TagOptions::default())?[0].entities {
///     let slice: String = text.chars().skip(entity.start).take(entity.end - entity.start).collect();
///     assert_eq!(slice, entity.text);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "NER")]
#[doc(alias = "named entity recognition")]
#[doc(alias = "part of speech")]
#[doc(alias = "token classification")]
#[doc(alias = "AlbertForTokenClassification")]
#[derive(Debug)]
pub struct Tagger {
    pipeline: Pipeline<AlbertForTokenClassification>,
    labels: Vec<String>,
    unknown_id: Option<u32>,
}

/// A tokenized text.
struct Prepared {
    sequence: Sequence,
    /// The tokens of the text in each window.
    windows: Vec<Range<usize>>,
    truncated: bool,
}

impl Prepared {
    /// Returns the token indices of each window, special tokens included.
    fn indices(&self) -> impl Iterator<Item = Vec<usize>> {
        let windows = self.windows.iter().cloned();
        windows.map(|range| self.sequence.window(range, 0..0))
    }
}

impl_loading!(Tagger);
impl_access!(Tagger);

impl Tagger {
    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no token classification head.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let pipeline = Pipeline::from_model(model, Purpose::Texts)?;
        let config = model.checkpoint().config();
        Ok(Self {
            labels: (0..config.num_labels())
                .map(|index| config.label(index))
                .collect(),
            unknown_id: unknown_id(model.files(), &pipeline.tokenizer)?,
            pipeline,
        })
    }

    /// Returns the maximum length of a text or a window in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Checks options, as [`tag`](Self::tag) does before it reads a text.
    ///
    /// # Errors
    /// If windows are requested with [`Aggregation::None`], which cannot join them, or a window has
    /// no more tokens than the stride.
    pub fn check(&self, options: &TagOptions) -> Result<()> {
        let Some(stride) = options.stride else {
            return Ok(());
        };
        if options.aggregation == Aggregation::None {
            return Err(Error::StrideWithoutAggregation);
        }
        let room = self.tokenizer().room(self.max_length(), false)?;
        if stride >= room {
            return Err(Error::Stride { stride, room });
        }
        Ok(())
    }

    /// Finds the entities of each text, in order.
    ///
    /// # Errors
    /// If the options do not fit ([`check`](Self::check)), the tokenizer refuses a text or the
    /// computation fails.
    pub fn tag<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &TagOptions,
    ) -> Result<Vec<Entities>> {
        self.check(options)?;
        let size = |text: &S| text.as_ref().len();
        self.pipeline
            .runner
            .in_chunks(texts, CHUNK_BYTES, size, |texts| {
                let texts: Vec<(&str, Option<&Words>)> =
                    texts.iter().map(|text| (text.as_ref(), None)).collect();
                self.tag_chunk(&texts, options)
            })
    }

    /// Finds the entities of texts that are already split into words, in order.
    ///
    /// The words are joined by spaces, and entities have the indices of their first and last word.
    /// [`Aggregation::First`], [`Aggregation::Average`] and [`Aggregation::Max`] take these words
    /// for the text's, whatever spaces they hold. Offsets and `text` are those of the joined text.
    ///
    /// ```
    /// use albert_tasks::{ModelFiles, RunOptions, TagOptions, Tagger};
    /// # fn main() -> albert_tasks::Result<()> {
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/entities");
    /// let tagger = Tagger::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
    /// let words = ["The", "doctor", "went", "to", "Zürich", "."];
    /// for entity in &tagger.tag_words(&[words], &TagOptions::default())?[0].entities {
    ///     assert!(entity.first_word <= entity.last_word && entity.last_word < Some(words.len()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`tag`](Self::tag).
    pub fn tag_words<W: AsRef<[S]> + Sync, S: AsRef<str>>(
        &self,
        texts: &[W],
        options: &TagOptions,
    ) -> Result<Vec<Entities>> {
        self.check(options)?;
        let size = |words: &W| words.as_ref().iter().map(|word| word.as_ref().len()).sum();
        self.pipeline
            .runner
            .in_chunks(texts, CHUNK_BYTES, size, |texts| {
                let words: Vec<Words> = texts.iter().map(|it| Words::new(it.as_ref())).collect();
                let texts: Vec<(&str, Option<&Words>)> =
                    words.iter().map(|it| (it.text(), Some(it))).collect();
                self.tag_chunk(&texts, options)
            })
    }

    fn tag_chunk(
        &self,
        texts: &[(&str, Option<&Words>)],
        options: &TagOptions,
    ) -> Result<Vec<Entities>> {
        let prepared: Vec<Prepared> = texts
            .par_iter()
            .map(|(text, _)| self.prepare(text, options))
            .collect::<Result<_>>()?;
        let rows: Vec<TokenIds> = prepared
            .iter()
            .flat_map(|text| text.indices().map(|window| text.sequence.tokens(&window)))
            .collect();
        let model = &self.pipeline.model;
        let logits = batching::token_logits(&rows, &self.pipeline.runner, |input| {
            Ok(model.forward(input)?.logits)
        })?;
        let mut logits = logits.into_iter();
        let finish = |(&(text, words), prepared): (&(&str, Option<&Words>), Prepared)| {
            let of_text: Vec<Vec<f32>> = logits.by_ref().take(prepared.windows.len()).collect();
            self.entities(text, words, &prepared, of_text, options)
        };
        Ok(texts.iter().zip(prepared).map(finish).collect())
    }

    fn prepare(&self, text: &str, options: &TagOptions) -> Result<Prepared> {
        let tokenizer = self.tokenizer();
        let text = match options.stride {
            None => tokenizer.beginning(text, self.max_length())?,
            Some(_) => text,
        };
        let sequence = Sequence::new(tokenizer, text, None)?;
        let room = tokenizer.room(self.max_length(), false)?;
        let count = sequence.count(Owner::First);
        let mut windows = windows(count, room, options.stride.unwrap_or(0));
        if options.stride.is_none() {
            windows.truncate(1);
        }
        let truncated = windows.last().is_some_and(|last| last.end < count);
        Ok(Prepared {
            sequence,
            windows,
            truncated,
        })
    }

    fn entities(
        &self,
        text: &str,
        words: Option<&Words>,
        prepared: &Prepared,
        logits: Vec<Vec<f32>>,
        options: &TagOptions,
    ) -> Entities {
        let characters = Characters::new(text);
        let mut spans: Vec<Span> = Vec::new();
        let mut entered = 0;
        for (window, mut logits) in prepared.indices().zip(logits) {
            entered += window.len();
            logits.chunks_exact_mut(self.labels.len()).for_each(softmax);
            let scores = window.iter().zip(logits.chunks_exact(self.labels.len()));
            let mut before = None;
            let tokens: Vec<TokenScores<'_>> = scores
                .filter(|(index, _)| prepared.sequence.owner(**index).is_some())
                .map(|(&index, scores)| {
                    let Range { start, end } = prepared.sequence.place(index);
                    let continues = match words {
                        _ if !options.align_to_words => false,
                        Some(words) => {
                            let word = words.at(start);
                            word == before.replace(word).unwrap_or(usize::MAX)
                        }
                        None => self.continues(&prepared.sequence, index, &characters),
                    };
                    TokenScores {
                        scores,
                        start,
                        end,
                        continues,
                    }
                })
                .collect();
            spans.extend(options.aggregation.apply(&tokens, &self.labels));
        }
        if prepared.windows.len() > 1 {
            spans = aggregation::without_overlaps(spans);
        }
        let entities = spans.into_iter().map(|span| Entity {
            text: characters.slice(span.start, span.end).to_string(),
            first_word: words.map(|words| words.at(span.start)),
            last_word: words.map(|words| words.at(span.end.saturating_sub(1))),
            label: span.label,
            start: span.start,
            end: span.end,
            score: span.score,
        });
        Entities {
            entities: entities.collect(),
            tokens: entered,
            truncated: prepared.truncated,
        }
    }

    /// Returns true if a token continues the word of the token before it.
    fn continues(&self, sequence: &Sequence, index: usize, characters: &Characters<'_>) -> bool {
        let start = sequence.place(index).start;
        let id = sequence.ids[index];
        let continues = match self.tokenizer().model_name() {
            "WordPiece" => {
                let piece = self.tokenizer().id_to_token(id);
                piece.is_some_and(|piece| piece.starts_with("##"))
            }
            // No space at the token's first character, nor before it.
            _ => start > 0 && !characters.slice(start - 1, start + 1).contains(' '),
        };
        continues && self.unknown_id != Some(id)
    }
}

/// Returns the id of the unknown token: that of `tokenizer_config.json`, else of a usual name.
fn unknown_id(files: &ModelFiles, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    let config = JsonObject::read(files, "tokenizer_config.json")?;
    let value = config.as_ref().and_then(|config| config.get("unk_token"));
    let named = value.and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str()));
    let names = named.into_iter().chain(["<unk>", "[UNK]"]);
    Ok(names.filter_map(|name| tokenizer.token_to_id(name)).next())
}
