//! Sentence embeddings.

mod prepared;

use std::borrow::Cow;

use albert_model::{AlbertConfig, AlbertModel, AlbertOutput, Pretrained as _};
use rayon::prelude::*;
use serde::Serialize;

use crate::batching::{self, to_f32};
use crate::options::{Purpose, Setup};
use crate::pooling::{LoadedStage, Pass, Pool, Reduction, add_to, finite, normalize};
use crate::runner::{Runner, TEXT_AT_ONCE};
use crate::tokenizer::TokenIds;
use crate::{Error, ModelFiles, Pooling, PoolingMode, Result, RunOptions, Tokenizer};
use prepared::{Prepared, Windows};

/// One text's embedding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// Tokens that entered the model, special tokens included, over all windows.
    pub tokens: usize,
    /// Whether the text was cut to fit.
    pub truncated: bool,
    /// The embedding.
    pub vector: Vec<f32>,
}

/// The vectors of one text's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenEmbeddings {
    /// The tokens' pieces, special tokens included.
    pub pieces: Vec<String>,
    /// Tokens that entered the model, over all windows.
    #[serde(skip)]
    pub tokens: usize,
    /// Whether the text was cut to fit.
    pub truncated: bool,
    /// One vector a piece.
    pub vectors: Vec<Vec<f32>>,
}

/// Turns texts into embeddings as sentence-transformers does.
///
/// Pooling and what follows it, length and prompt come from the model's own files; the `with_`
/// methods override them.
///
/// ```
/// use albert_tasks::{Embedder, ModelFiles, PoolingMode, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let embedder = Embedder::load(&ModelFiles::builtin()?, &RunOptions::default())?.with_pooling(PoolingMode::Mean)?;
/// assert_eq!(embedder.embed(&["A short text"])?[0].vector.len(), embedder.dim());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Embedder {
    model: AlbertModel,
    tokenizer: Tokenizer,
    pooling: Pooling,
    stages: Vec<LoadedStage>,
    /// The width behind the stages.
    full_dim: usize,
    has_pooler: bool,
    max_length: usize,
    runner: Runner,
    /// Tokens that windows have in common, where texts are read in windows.
    stride: Option<usize>,
    /// What the caller asked for, as opposed to the model's files.
    asked_to_normalize: Option<bool>,
}

impl Embedder {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, or the tokenizer does not belong to the network.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let pooling = Pooling::from_files(files)?;
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Embedding)?;
        let full_dim = pooling.check_width(checkpoint.config().hidden_size)?;
        let stages = pooling.load_stages(files)?;
        let (model, _) = AlbertModel::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        Ok(Self {
            has_pooler: checkpoint.has_pooler(),
            model,
            tokenizer,
            pooling,
            stages,
            full_dim,
            max_length,
            runner,
            stride: None,
            asked_to_normalize: None,
        })
    }

    /// Pools with `mode` instead of the model's modes; what the model has behind its pooling stays.
    ///
    /// # Errors
    /// If `mode` is the pooler and the model has none, or the model's dense layer takes another
    /// width.
    pub fn with_pooling(mut self, mode: PoolingMode) -> Result<Self> {
        if mode == PoolingMode::Pooler && !self.has_pooler {
            return Err(Error::NoPooler);
        }
        self.pooling.modes = vec![mode];
        self.pooling.why = format!("{mode} by the caller");
        self.full_dim = self.pooling.check_width(self.config().hidden_size)?;
        Ok(self)
    }

    /// Scales embeddings to length 1, or does not.
    pub fn with_normalize(mut self, normalize: bool) -> Self {
        self.pooling.normalize = normalize;
        self.asked_to_normalize = Some(normalize);
        self
    }

    /// Cuts embeddings to their first `dim` dimensions.
    ///
    /// A model that normalizes by itself does so before the cut; the cut vector is normalized again
    /// only by [`Embedder::with_normalize`], or where the model's files say nothing about pooling.
    ///
    /// # Errors
    /// If `dim` is zero or more than the model has.
    pub fn with_truncate_dim(mut self, dim: usize) -> Result<Self> {
        if dim == 0 || dim > self.full_dim {
            return Err(Error::TruncateDim {
                asked: dim,
                dim: self.full_dim,
            });
        }
        self.pooling.truncate_dim = Some(dim);
        Ok(self)
    }

    /// Puts `prompt` before every text, instead of the model's default prompt; an empty one is
    /// none.
    pub fn with_prompt(mut self, prompt: &str) -> Self {
        self.pooling.prompt = Some(prompt.to_string()).filter(|prompt| !prompt.is_empty());
        self
    }

    /// Reads a text that is longer than the model in windows, each beginning with the last `stride`
    /// tokens of the one before, instead of cutting its end off.
    ///
    /// Special tokens and a prompt stand in every window. The windows' vectors of one token are
    /// weighted so that it counts once: a token of text that is in `c` windows has the weight `1 /
    /// c` in each, and the tokens around it have the window's share of the text, `Σ (1 / c)` over
    /// its tokens of text by their number in all of it. The weighted sums are then pooled as those
    /// of a short text:
    ///
    /// ```text
    /// mean, mean-sqrt-len, weighted-mean   the same formula over every token of the text
    /// cls, last, pooler                    the windows' vectors, weighted by their shares
    /// max                                  the largest value in any window
    /// ```
    ///
    /// A text that fits has the embedding that it has without windows.
    ///
    /// # Errors
    /// If a window has no more tokens of text than the stride, or the prompt leaves no room for
    /// text.
    pub fn with_window(mut self, stride: usize) -> Result<Self> {
        self.stride = Some(stride);
        if let Some(windows) = self.windows()? {
            windows.room(&self.tokenizer, self.max_length)?;
        }
        Ok(self)
    }

    /// How this embedder pools, and why.
    pub fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    /// The width of an embedding.
    pub fn dim(&self) -> usize {
        self.pooling
            .truncate_dim
            .map_or(self.full_dim, |dim| dim.min(self.full_dim))
    }

    /// The longest text in tokens, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// One embedding for each text, in order.
    ///
    /// A text is computed with others of like length; its embedding does not depend on them beyond
    /// rounding. An empty text is `[CLS] [SEP]` and has an embedding.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails, such as for want of memory.
    pub fn embed<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Embedding>> {
        let prompted: Vec<Cow<'_, str>> = texts
            .iter()
            .map(|text| self.prompted(text.as_ref()))
            .collect();
        let inputs: Vec<(&str, Option<&str>)> =
            prompted.iter().map(|text| (text.as_ref(), None)).collect();
        self.embed_inputs(&inputs)
    }

    /// One embedding for each pair of texts, joined as `[CLS] first [SEP] second [SEP]`.
    ///
    /// # Errors
    /// As [`Embedder::embed`], and if windows are asked for, which divide single texts only.
    pub fn embed_pairs<S: AsRef<str>, P: AsRef<str>>(
        &self,
        pairs: &[(S, P)],
    ) -> Result<Vec<Embedding>> {
        if self.stride.is_some() {
            return Err(Error::PairInWindows);
        }
        let first: Vec<Cow<'_, str>> = pairs
            .iter()
            .map(|(text, _)| self.prompted(text.as_ref()))
            .collect();
        let second = pairs.iter().map(|(_, pair)| Some(pair.as_ref()));
        let inputs: Vec<(&str, Option<&str>)> =
            first.iter().map(AsRef::as_ref).zip(second).collect();
        self.embed_inputs(&inputs)
    }

    /// The vectors of each text's tokens, in order.
    ///
    /// They are the network's own: neither pooled nor taken through what follows the pooling, and
    /// normalized only by [`Embedder::with_normalize`]`(true)`. A token that is in several windows
    /// has the weighted mean of its vectors.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn embed_tokens<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<TokenEmbeddings>> {
        let prompted: Vec<Cow<'_, str>> = texts
            .iter()
            .map(|text| self.prompted(text.as_ref()))
            .collect();
        let inputs: Vec<(&str, Option<&str>)> =
            prompted.iter().map(|text| (text.as_ref(), None)).collect();
        let hidden_size = self.config().hidden_size;
        let start = |text: &Prepared| Ok(vec![vec![0f32; hidden_size]; text.ids().len()]);
        let reduce = |output: &AlbertOutput, passes: &[Pass]| {
            let states = to_f32(&output.last_hidden_state)?;
            let of_rows = states
                .chunks_exact(states.len() / passes.len().max(1))
                .zip(passes);
            let own = of_rows.map(|(states, pass)| &states[..pass.occurrences.len() * hidden_size]);
            own.map(|states| finite(states).map(|()| states.to_vec()))
                .collect()
        };
        let add = |vectors: &mut Vec<Vec<f32>>, pass: &Pass, states: Vec<f32>| {
            for (occurrence, vector) in pass
                .occurrences
                .iter()
                .zip(states.chunks_exact(hidden_size))
            {
                add_to(&mut vectors[occurrence.position], occurrence.weight, vector);
            }
        };
        self.run(&inputs, start, reduce, add, |text, mut vectors| {
            for vector in &mut vectors {
                self.cut(vector);
                if self.asked_to_normalize == Some(true) {
                    normalize(vector);
                }
            }
            let pieces = text
                .ids()
                .iter()
                .map(|&id| self.tokenizer.id_to_token(id).unwrap_or_default());
            Ok(TokenEmbeddings {
                pieces: pieces.collect(),
                tokens: text.entered(),
                truncated: text.truncated(),
                vectors,
            })
        })
    }

    fn embed_inputs(&self, inputs: &[(&str, Option<&str>)]) -> Result<Vec<Embedding>> {
        let skipped = if self.pooling.include_prompt {
            0
        } else {
            self.prompt_tokens()?
        };
        let hidden_size = self.config().hidden_size;
        let start = |text: &Prepared| -> Result<Vec<Pool>> {
            let tokens = text.ids().len();
            if skipped >= tokens {
                return Err(Error::PromptTooLong {
                    prompt: skipped,
                    max_length: self.max_length,
                });
            }
            Ok(self
                .pooling
                .modes
                .iter()
                .map(|&mode| Pool::new(mode, hidden_size, tokens, skipped))
                .collect())
        };
        let reduction = Reduction {
            modes: &self.pooling.modes,
            skipped,
        };
        let reduce = |output: &AlbertOutput, passes: &[Pass]| {
            reduction.of_batch(
                &output.last_hidden_state,
                output.pooler_output.as_ref(),
                passes,
            )
        };
        let add = |pools: &mut Vec<Pool>, _: &Pass, vectors: Vec<f32>| {
            pools
                .iter_mut()
                .zip(vectors.chunks_exact(hidden_size))
                .for_each(|(pool, vector)| pool.add(vector));
        };
        self.run(inputs, start, reduce, add, |text, pools| {
            let pooled = pools.into_iter().flat_map(Pool::finish).collect();
            let vector = self.finish(pooled)?;
            Ok(Embedding {
                tokens: text.entered(),
                truncated: text.truncated(),
                vector,
            })
        })
    }

    /// Tokenizes, computes in batches, and adds what `reduce` keeps of every pass to what `start`
    /// made of its text; when the last one is in, `finish` has the text's result. Results in input
    /// order.
    fn run<A, P: Send, T: Send>(
        &self,
        inputs: &[(&str, Option<&str>)],
        start: impl Fn(&Prepared) -> Result<A> + Sync,
        reduce: impl Fn(&AlbertOutput, &[Pass]) -> Result<Vec<P>> + Sync,
        add: impl Fn(&mut A, &Pass, P) + Sync,
        finish: impl Fn(&Prepared, A) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let windows = self.windows()?;
        self.runner.in_portions(
            inputs,
            TEXT_AT_ONCE,
            |(text, _)| text.len(),
            |inputs| {
                let prepare = |input: &(&str, Option<&str>)| {
                    Prepared::new(&self.tokenizer, *input, self.max_length, windows.as_ref())
                };
                let texts: Vec<Prepared> = inputs.par_iter().map(prepare).collect::<Result<_>>()?;
                let mut sums: Vec<A> = texts.iter().map(&start).collect::<Result<_>>()?;
                self.compute(&texts, &reduce, |text, pass, kept| {
                    add(&mut sums[text], pass, kept)
                })?;
                texts
                    .iter()
                    .zip(sums)
                    .map(|(text, sum)| finish(text, sum))
                    .collect()
            },
        )
    }

    /// Takes every pass of every text through the network; those of one text come in their order.
    fn compute<P: Send>(
        &self,
        texts: &[Prepared],
        reduce: impl Fn(&AlbertOutput, &[Pass]) -> Result<Vec<P>> + Sync,
        mut add: impl FnMut(usize, &Pass, P),
    ) -> Result<()> {
        let passes: Vec<(usize, usize)> = texts
            .iter()
            .enumerate()
            .flat_map(|(index, text)| (0..text.passes()).map(move |pass| (index, pass)))
            .collect();
        let lengths: Vec<usize> = passes
            .iter()
            .map(|&(text, pass)| texts[text].pass_len(pass))
            .collect();
        let forward = |batch: &[usize]| {
            let of_batch = || {
                batch
                    .iter()
                    .map(|&row| (&texts[passes[row].0], passes[row].1))
            };
            let tokens: Vec<Cow<'_, TokenIds>> =
                of_batch().map(|(text, pass)| text.pass(pass)).collect();
            let rows: Vec<&TokenIds> = tokens.iter().map(AsRef::as_ref).collect();
            let output = self
                .model
                .forward(&batching::model_input(&rows, self.model.device())?)?;
            let places: Vec<Pass> = of_batch().map(|(text, pass)| text.places(pass)).collect();
            let kept = reduce(&output, &places)?;
            Ok((places, kept))
        };
        // The longest first, and those of one length in order: a text's windows are of one length
        // but the last.
        self.runner.run(&lengths, forward, |batch, (places, kept)| {
            let rows = batch.iter().zip(places.iter().zip(kept));
            rows.for_each(|(&index, (pass, kept))| add(passes[index].0, pass, kept));
            Ok(())
        })
    }

    /// What follows the pooling; then normalizes and cuts, in the order that
    /// [`Embedder::with_truncate_dim`] tells.
    fn finish(&self, pooled: Vec<f32>) -> Result<Vec<f32>> {
        let mut vector = self
            .stages
            .iter()
            .try_fold(pooled, |vector, stage| stage.forward(vector))?;
        let last = self.asked_to_normalize.is_some() || !self.pooling.from_modules;
        if self.pooling.normalize && !last {
            normalize(&mut vector);
        }
        self.cut(&mut vector);
        if self.pooling.normalize && last {
            normalize(&mut vector);
        }
        Ok(vector)
    }

    fn cut(&self, vector: &mut Vec<f32>) {
        vector.truncate(self.pooling.truncate_dim.unwrap_or(vector.len()));
    }

    fn prompted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.pooling.prompt {
            Some(prompt) => Cow::Owned(format!("{prompt}{text}")),
            None => Cow::Borrowed(text),
        }
    }

    /// How texts that are too long are divided, if they are.
    fn windows(&self) -> Result<Option<Windows>> {
        let Some(stride) = self.stride else {
            return Ok(None);
        };
        // The first special token is not the prompt's.
        Ok(Some(Windows {
            stride,
            prompt: self.prompt_tokens()?.saturating_sub(1),
        }))
    }

    /// The prompt's tokens with the `[CLS]` before them, counted as sentence-transformers does, by
    /// the prompt alone; 0 without a prompt.
    fn prompt_tokens(&self) -> Result<usize> {
        match &self.pooling.prompt {
            Some(prompt) => {
                let alone = self.tokenizer.encode_ids(prompt, None, self.max_length)?;
                Ok(alone.ids.len().saturating_sub(1))
            }
            None => Ok(0),
        }
    }
}
