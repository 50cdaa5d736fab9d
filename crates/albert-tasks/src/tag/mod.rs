//! Labels for stretches of a text: names, places, parts of speech.
//!
//! Every token gets its most probable label; [`Aggregation`] makes words and entities of them
//! (`aggregation`). Source: transformers 4.46.3, `pipelines/token_classification.py`.

mod aggregation;

use albert_model::{AlbertConfig, AlbertForTokenClassification, Pretrained as _};
use rayon::prelude::*;
use serde::Serialize;

use crate::batching;
use crate::json::JsonObject;
use crate::options::{Purpose, Setup};
use crate::probability::softmax;
use crate::runner::{Runner, TEXT_AT_ONCE};
use crate::sequence::{Characters, Owner, Sequence, windows};
use crate::tokenizer::TokenIds;
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};
pub use aggregation::Aggregation;
use aggregation::{Span, TokenScores};

/// How a text is tagged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagOptions {
    /// How tokens become entities.
    pub aggregation: Aggregation,
    /// Tag the whole of a long text in windows that have this many tokens in common with the one
    /// before; `None` cuts the text to the model's length. Of entities that overlap the longer one
    /// is kept, of equally long ones the more probable.
    pub stride: Option<usize>,
}

/// A labelled stretch of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entity {
    /// Its label; without `B-` or `I-`, unless tokens are left as they are.
    pub label: String,
    /// Its first character, counted in Unicode scalar values.
    pub start: usize,
    /// The character behind its last.
    pub end: usize,
    /// What stands there.
    pub text: String,
    /// Its probability, as the aggregation defines it.
    pub score: f32,
}

/// One text's entities.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tagged {
    /// The entities in the order of the text; what is labelled `O` is left out.
    pub entities: Vec<Entity>,
    /// Tokens that entered the model, special tokens included, over all windows.
    #[serde(skip)]
    pub tokens: usize,
    /// Whether the text was cut to fit.
    #[serde(skip)]
    pub truncated: bool,
}

/// Finds the entities of texts.
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
#[derive(Debug)]
pub struct Tagger {
    model: AlbertForTokenClassification,
    tokenizer: Tokenizer,
    labels: Vec<String>,
    unknown_id: Option<u32>,
    max_length: usize,
    runner: Runner,
}

/// A text ready to be tagged.
struct Prepared {
    sequence: Sequence,
    /// The token indices of each window.
    windows: Vec<Vec<usize>>,
    truncated: bool,
}

impl Tagger {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no token classification head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Tokens)?;
        let (model, _) = AlbertForTokenClassification::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        let config = checkpoint.config();
        Ok(Self {
            labels: (0..config.num_labels())
                .map(|index| config.label(index))
                .collect(),
            unknown_id: unknown_id(files, &tokenizer)?,
            model,
            tokenizer,
            max_length,
            runner,
        })
    }

    /// The longest text, or window, in tokens, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// Checks options, which [`tag`](Self::tag) would do too.
    ///
    /// # Errors
    /// If windows are asked for together with [`Aggregation::None`], which cannot join them, or a
    /// window has no more tokens than the stride.
    pub fn check(&self, options: &TagOptions) -> Result<()> {
        let Some(stride) = options.stride else {
            return Ok(());
        };
        if options.aggregation == Aggregation::None {
            return Err(Error::StrideWithoutAggregation);
        }
        let room = self.tokenizer.room(self.max_length, false)?;
        if stride >= room {
            return Err(Error::Stride { stride, room });
        }
        Ok(())
    }

    /// The entities of each text, in order.
    ///
    /// # Errors
    /// If the options do not fit ([`check`](Self::check)), the tokenizer refuses a text or the
    /// computation fails.
    pub fn tag<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &TagOptions,
    ) -> Result<Vec<Tagged>> {
        self.check(options)?;
        let size = |text: &S| text.as_ref().len();
        self.runner.in_portions(texts, TEXT_AT_ONCE, size, |texts| {
            self.tag_portion(texts, options)
        })
    }

    fn tag_portion<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &TagOptions,
    ) -> Result<Vec<Tagged>> {
        let prepared: Vec<Prepared> = texts
            .par_iter()
            .map(|text| self.prepare(text.as_ref(), options))
            .collect::<Result<_>>()?;
        let rows: Vec<TokenIds> = prepared
            .iter()
            .flat_map(|text| {
                text.windows
                    .iter()
                    .map(|window| text.sequence.tokens(window))
            })
            .collect();
        let logits = batching::logits(&rows, &self.runner, |rows, device| {
            Ok(self
                .model
                .forward(&batching::model_input(rows, device)?)?
                .logits)
        })?;
        let mut logits = logits.into_iter();
        let finish = |(text, prepared): (&S, Prepared)| {
            let of_text: Vec<Vec<f32>> = logits.by_ref().take(prepared.windows.len()).collect();
            self.entities(text.as_ref(), &prepared, of_text, options)
        };
        Ok(texts.iter().zip(prepared).map(finish).collect())
    }

    fn prepare(&self, text: &str, options: &TagOptions) -> Result<Prepared> {
        let sequence = Sequence::new(&self.tokenizer, text, None)?;
        let room = self.tokenizer.room(self.max_length, false)?;
        let mut ranges = windows(
            sequence.count(Owner::First),
            room,
            options.stride.unwrap_or(0),
        );
        if options.stride.is_none() {
            ranges.truncate(1);
        }
        let truncated = ranges
            .last()
            .is_some_and(|last| last.end < sequence.count(Owner::First));
        let windows = ranges
            .into_iter()
            .map(|range| sequence.window(range, 0..0))
            .collect();
        Ok(Prepared {
            sequence,
            windows,
            truncated,
        })
    }

    fn entities(
        &self,
        text: &str,
        prepared: &Prepared,
        logits: Vec<Vec<f32>>,
        options: &TagOptions,
    ) -> Tagged {
        let characters = Characters::new(text);
        let mut spans: Vec<Span> = Vec::new();
        for (window, mut logits) in prepared.windows.iter().zip(logits) {
            logits.chunks_exact_mut(self.labels.len()).for_each(softmax);
            let scores = window.iter().zip(logits.chunks_exact(self.labels.len()));
            let tokens: Vec<TokenScores<'_>> = scores
                .filter(|(index, _)| prepared.sequence.owner(**index).is_some())
                .map(|(&index, scores)| self.token(&prepared.sequence, index, scores, &characters))
                .collect();
            spans.extend(options.aggregation.apply(&tokens, &self.labels));
        }
        if prepared.windows.len() > 1 {
            spans = aggregation::without_overlaps(spans);
        }
        let entities = spans.into_iter().map(|span| Entity {
            text: characters.slice(span.start, span.end).to_string(),
            label: span.label,
            start: span.start,
            end: span.end,
            score: span.score,
        });
        Tagged {
            entities: entities.collect(),
            tokens: prepared.windows.iter().map(Vec::len).sum(),
            truncated: prepared.truncated,
        }
    }

    fn token<'a>(
        &self,
        sequence: &Sequence,
        index: usize,
        scores: &'a [f32],
        characters: &Characters<'_>,
    ) -> TokenScores<'a> {
        let (start, end) = sequence.encoding.offsets[index];
        let unknown = self.unknown_id == Some(sequence.encoding.ids[index]);
        let continues = match self.tokenizer.model_name() {
            "WordPiece" => sequence.encoding.pieces[index].starts_with("##"),
            // No space at the token's first character, nor before it.
            _ => start > 0 && !characters.slice(start - 1, start + 1).contains(' '),
        };
        TokenScores {
            scores,
            start,
            end,
            continues: continues && !unknown,
        }
    }
}

/// The id of the unknown token: that of `tokenizer_config.json`, else of a usual name.
fn unknown_id(files: &ModelFiles, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    let config = JsonObject::read(files, "tokenizer_config.json")?;
    let value = config.as_ref().and_then(|config| config.get("unk_token"));
    let named = value.and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str()));
    let names = named.into_iter().chain(["<unk>", "[UNK]"]);
    Ok(names.filter_map(|name| tokenizer.token_to_id(name)).next())
}
