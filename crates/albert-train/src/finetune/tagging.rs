//! A tag for each word of a sentence.

use std::ops::Range;

use albert_data::{Cell, Format, Kind};
use albert_tasks::Tokenizer;
use albert_tasks::albert_model::train::{FlatLayout, Objective, TokenLabels, TrainingBatch};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::classification::class_weights;
use super::examples::{Assessment, Examples};
use super::files::{DataFiles, Role, Row, read};
use super::labels::Labels;
use super::options::ExampleOptions;
use super::sequences::Sequences;
use super::texts::label_name;
use crate::error::Result;
use crate::metrics::classification::largest;
use crate::metrics::entities::EntityCounts;

/// Words with the names of their tags.
#[derive(Debug)]
pub(super) struct TaggingData {
    rows: Vec<Row>,
    words: Vec<Vec<String>>,
    tags: Vec<Vec<String>>,
}

impl TaggingData {
    pub(super) fn read(data: &DataFiles, options: &ExampleOptions) -> Result<Self> {
        let words = options.text_fields(&[&["tokens"]]);
        let roles = [
            Role::new(words.into_iter().next().unwrap_or_default(), Kind::Texts),
            Role::optional(options.label_fields(&["tags"]), Kind::Any),
        ];
        let mut rows = read(data, Format::Conll, options.columns(), &roles)?;
        let (mut words, mut tags) = (Vec::new(), Vec::new());
        for row in &mut rows {
            let found = row.texts(0)?;
            let cell = row.take(1);
            let names = tag_names(row, cell, options)?;
            if names.len() != found.len() {
                return Err(row.error(format!(
                    "expected a tag for each of {} words, found {} tags",
                    found.len(),
                    names.len()
                )));
            }
            words.push(found);
            tags.push(names);
        }
        Ok(Self { rows, words, tags })
    }

    /// Returns the tags that occur.
    ///
    /// # Errors
    /// If there is only one.
    pub(super) fn labels(&self, options: &ExampleOptions) -> Result<Labels> {
        let found = Labels::from_data(self.tags.iter().flatten().map(String::as_str));
        if found.len() < 2 {
            let row = self.rows.last().expect("there are rows");
            let shown = if found.is_empty() {
                "none".into()
            } else {
                format!("{} alone", found.shown())
            };
            return Err(row.error(format!(
                "expected at least two tags, found {shown} up to this row, the last"
            )));
        }
        let ordered = options.preset.and_then(|preset| preset.ordered(&found));
        Ok(ordered.unwrap_or(found))
    }

    pub(super) fn encode(
        self,
        tokenizer: &Tokenizer,
        labels: &Labels,
        options: &ExampleOptions,
    ) -> Result<TaggingExamples> {
        let mut targets = Vec::new();
        for (row, tags) in self.rows.iter().zip(&self.tags) {
            let indices = tags.iter().map(|tag| {
                labels.index(tag).map(|label| label as u32).ok_or_else(|| {
                    let known = labels.shown();
                    row.error(format!("tags: expected tags among {known}, found `{tag}`"))
                })
            });
            targets.push(indices.collect::<Result<Vec<u32>>>()?);
        }
        let encoded: albert_tasks::Result<Vec<_>> = self
            .words
            .par_iter()
            .map(|words| encode(tokenizer, words, options.length()))
            .collect();
        let encoded = encoded?;
        let mut sequences = Sequences::default();
        let mut labeled = Vec::new();
        for ((encoding, starts), targets) in encoded.iter().zip(&targets) {
            sequences.push(&encoding.ids, &encoding.type_ids);
            let first_tokens = starts.iter().map(|(word, token)| Labeled {
                word: *word,
                token: *token,
                label: targets[*word],
            });
            labeled.push(first_tokens.collect());
        }
        let all: Vec<u32> = targets.concat();
        let weights = class_weights(&options.class_weights, labels, &all)?;
        Ok(TaggingExamples {
            words: self.words.iter().map(Vec::len).collect(),
            sequences,
            labeled,
            labels: labels.clone(),
            weights,
            label_smoothing: options.label_smoothing,
        })
    }
}

/// Returns the tags of a row: a list of names or integers, or such a list as JSON in a text.
fn tag_names(row: &Row, cell: Cell, options: &ExampleOptions) -> Result<Vec<String>> {
    let names = match cell {
        Cell::List(cells) => {
            let names = cells.iter().map(|cell| label_name(row, cell));
            names.collect::<Result<Vec<_>>>()?
        }
        Cell::Null => return Err(row.error("expected a tag for each word, found none")),
        other => other
            .into_texts()
            .map_err(|error| row.error(format!("tags: {error:#}")))?,
    };
    Ok(match options.preset {
        Some(preset) => names
            .into_iter()
            .map(|name| preset.label_name(name))
            .collect(),
        None => names,
    })
}

type Encoded = (albert_tasks::tokenizer::Encoding, Vec<(usize, usize)>);

/// Tokenizes words joined by spaces; returns with them the first token of each word that fits.
fn encode(
    tokenizer: &Tokenizer,
    words: &[String],
    max_length: usize,
) -> albert_tasks::Result<Encoded> {
    let text = words.join(" ");
    let encoding = tokenizer.encode(&text, None, Some(max_length))?;
    let ranges = ranges(words);
    let mut starts = Vec::new();
    let mut next = 0;
    for (token, (start, _)) in encoding.offsets.iter().enumerate() {
        if encoding.special_tokens_mask[token] != 0 {
            continue;
        }
        // A space belongs to the word after it.
        let word = ranges.partition_point(|range| range.end <= *start);
        if word >= next && word < words.len() {
            starts.push((word, token));
            next = word + 1;
        }
    }
    Ok((encoding, starts))
}

/// Returns the characters of each word in the text of all words joined by spaces.
fn ranges(words: &[String]) -> Vec<Range<usize>> {
    let mut start = 0;
    let ranges = words.iter().map(|word| {
        let end = start + word.chars().count();
        let range = start..end;
        start = end + 1;
        range
    });
    ranges.collect()
}

/// The first token of a word.
#[derive(Debug, Clone, Copy)]
struct Labeled {
    word: usize,
    token: usize,
    label: u32,
}

/// Sentences with tags.
#[derive(Debug)]
pub(super) struct TaggingExamples {
    sequences: Sequences,
    labeled: Vec<Vec<Labeled>>,
    /// The number of words of each sentence, including those that do not fit.
    words: Vec<usize>,
    labels: Labels,
    weights: Vec<f32>,
    label_smoothing: f32,
}

impl Examples for TaggingExamples {
    fn len(&self) -> usize {
        self.sequences.len()
    }

    fn weight(&self, index: usize) -> f64 {
        let weight = |labeled: &Labeled| {
            let weight = self.weights.get(labeled.label as usize);
            f64::from(weight.copied().unwrap_or(1.0))
        };
        self.labeled[index].iter().map(weight).sum()
    }

    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)> {
        let (mut batch, mut labels) = (TrainingBatch::new(), Vec::new());
        for &index in examples {
            let (ids, types) = self.sequences.at(index);
            let sequence = batch.push(ids, types);
            let start = batch.rows(sequence).start;
            let own = self.labeled[index].iter();
            labels.extend(own.map(|labeled| (start + labeled.token, labeled.label)));
        }
        let objective = TokenLabels::new(layout, labels)?
            .with_class_weights(self.weights.clone())
            .with_label_smoothing(self.label_smoothing)
            .with_divisor(divisor);
        Ok((batch, Box::new(objective)))
    }

    fn note(&self) -> Option<String> {
        let found: usize = self.labeled.iter().map(Vec::len).sum();
        let words: usize = self.words.iter().sum();
        (found < words).then(|| {
            let lost = words - found;
            format!(
                "{lost} of {words} words have no token within the maximum length and are left out"
            )
        })
    }

    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment {
        let mut counts = EntityCounts::default();
        let mut predictions = Vec::new();
        for (index, (labeled, logits)) in self.labeled.iter().zip(outputs).enumerate() {
            let predicted = logits.chunks_exact(self.labels.len()).map(largest);
            let predicted: Vec<&str> = predicted.map(|label| self.labels.name(label)).collect();
            let tags = labeled.iter();
            let tags: Vec<&str> = tags
                .map(|word| self.labels.name(word.label as usize))
                .collect();
            counts.add(&tags, &predicted);
            let words: Vec<usize> = labeled.iter().map(|labeled| labeled.word).collect();
            predictions.push(json!({
                "index": index, "words": words, "label": tags, "prediction": predicted,
            }));
        }
        let total = counts.total();
        let mut assessment = Assessment::new([
            ("precision", total.precision()),
            ("recall", total.recall()),
            ("f1", total.f1()),
            ("accuracy", counts.accuracy()),
        ]);
        let types = counts.types().iter().map(|(name, counts)| {
            let figures = json!({
                "precision": counts.precision(),
                "recall": counts.recall(),
                "f1": counts.f1(),
                "support": counts.actual,
            });
            (name.clone(), figures)
        });
        let types: Map<String, Value> = types.collect();
        assessment.details.insert("labels".into(), types.into());
        assessment.predictions = predictions;
        assessment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let dir = tempfile::tempdir().unwrap();
        let pieces = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "##er", "york", ",",
        ];
        std::fs::write(dir.path().join("vocab.txt"), pieces.join("\n")).unwrap();
        let files = albert_tasks::ModelFiles::from_dir(dir.path()).unwrap();
        Tokenizer::load(&files, &albert_tasks::TokenizerOptions::default()).unwrap()
    }

    #[test]
    fn the_first_token_of_each_word_is_labeled() {
        let words = ["Newer", "york,", "", "new"].map(String::from);
        let (encoding, starts) = encode(&tokenizer(), &words, 128).unwrap();
        assert_eq!(encoding.pieces.len(), 7);
        assert_eq!(starts, [(0, 1), (1, 3), (3, 5)]);
    }

    #[test]
    fn words_that_do_not_fit_have_no_token() {
        let words = ["new", "york", "new"].map(String::from);
        let (_, starts) = encode(&tokenizer(), &words, 4).unwrap();
        assert_eq!(starts, [(0, 1), (1, 2)]);
    }
}
