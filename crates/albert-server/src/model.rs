//! The models that are served, each with the tasks that it can do.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use albert_tasks::albert_model::{AlbertConfig, Head};
use albert_tasks::{
    Answerer, Classifier, EmbedOptions, Embedder, MaskFiller, ModelFiles, PoolingMode, Reranker,
    RunOptions, SharedModel, Tagger, TextInput, Tokenizer, ZeroShotClassifier,
};

use crate::failure::Failure;

/// A task, loaded by the first request for it. A failure is kept, and returned each time.
type Task<T> = OnceLock<Result<Arc<T>, Failure>>;

/// A model, and the name that clients use for it.
///
/// Its main task is loaded at once, every other one with the first request for it. All share one copy
/// of the encoder's weights and one tokenizer; a task adds its head alone.
#[derive(Debug)]
pub struct Model {
    name: String,
    shared: SharedModel,
    embedding: EmbedOptions,
    pooling: Option<PoolingMode>,
    main: MainTask,
    embedder: Task<Embedder>,
    classifier: Task<Classifier>,
    reranker: Task<Reranker>,
    filler: Task<MaskFiller>,
    tagger: Task<Tagger>,
    answerer: Task<Answerer>,
    zero_shot: Task<ZeroShotClassifier>,
}

/// The task of `POST /`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MainTask {
    Embed,
    Predict,
    Rerank,
    Tag,
    Answer,
}

impl Model {
    /// Loads a model's main task: classification, tagging or answering if the checkpoint has that
    /// head, reranking if its classifier has one label, else embeddings.
    ///
    /// # Errors
    /// If a file is missing or wrong.
    pub fn load(files: ModelFiles, options: RunOptions) -> albert_tasks::Result<Self> {
        let mut model = Self {
            name: files.name().to_string(),
            shared: SharedModel::new(&files, &options)?,
            embedding: EmbedOptions::default(),
            pooling: None,
            main: MainTask::Embed,
            embedder: OnceLock::new(),
            classifier: OnceLock::new(),
            reranker: OnceLock::new(),
            filler: OnceLock::new(),
            tagger: OnceLock::new(),
            answerer: OnceLock::new(),
            zero_shot: OnceLock::new(),
        };
        model.main = model.load_main()?;
        Ok(model)
    }

    /// Sets the name that clients use for the model, instead of its own.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the options for embedding, which a request can override.
    pub fn with_embedding(mut self, options: EmbedOptions) -> Self {
        self.embedding = options;
        self
    }

    /// Pools embeddings in this mode, whatever the model's files say.
    pub fn with_pooling(mut self, pooling: PoolingMode) -> Self {
        self.pooling = Some(pooling);
        // The main task may have been loaded with the pooling of the files.
        self.embedder = OnceLock::new();
        self
    }

    /// Returns the name that clients use for the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Loads the first of the tasks that the checkpoint has a head for. Of the others, only the names
    /// of the head's tensors are read.
    fn load_main(&self) -> albert_tasks::Result<MainTask> {
        if self.reranker().is_ok() {
            return Ok(MainTask::Rerank);
        }
        if self.classifier().is_ok() {
            return Ok(MainTask::Predict);
        }
        if self.tagger().is_ok() {
            return Ok(MainTask::Tag);
        }
        if self.answerer().is_ok() {
            return Ok(MainTask::Answer);
        }
        let embedder = self.new_embedder()?;
        let _ = self.embedder.set(Ok(Arc::new(embedder)));
        Ok(MainTask::Embed)
    }

    /// Returns the heads that the checkpoint has.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.shared.checkpoint().heads()
    }

    /// Returns the name of the weights' type.
    pub(crate) fn dtype(&self) -> String {
        format!("{:?}", self.shared.options().load.weights).to_lowercase()
    }

    pub(crate) fn main(&self) -> MainTask {
        self.main
    }

    pub(crate) fn embedding(&self) -> &EmbedOptions {
        &self.embedding
    }

    pub(crate) fn embedder(&self) -> Result<Arc<Embedder>, Failure> {
        load(&self.embedder, || self.new_embedder())
    }

    pub(crate) fn classifier(&self) -> Result<Arc<Classifier>, Failure> {
        load(&self.classifier, || Classifier::from_model(&self.shared))
    }

    pub(crate) fn reranker(&self) -> Result<Arc<Reranker>, Failure> {
        load(&self.reranker, || Reranker::from_model(&self.shared))
    }

    pub(crate) fn filler(&self) -> Result<Arc<MaskFiller>, Failure> {
        load(&self.filler, || MaskFiller::from_model(&self.shared))
    }

    pub(crate) fn tagger(&self) -> Result<Arc<Tagger>, Failure> {
        load(&self.tagger, || Tagger::from_model(&self.shared))
    }

    pub(crate) fn answerer(&self) -> Result<Arc<Answerer>, Failure> {
        load(&self.answerer, || Answerer::from_model(&self.shared))
    }

    pub(crate) fn zero_shot(&self) -> Result<Arc<ZeroShotClassifier>, Failure> {
        load(&self.zero_shot, || {
            ZeroShotClassifier::from_model(&self.shared)
        })
    }

    fn new_embedder(&self) -> albert_tasks::Result<Embedder> {
        let embedder = Embedder::from_model(&self.shared)?;
        match self.pooling {
            Some(pooling) => embedder.with_pooling(pooling),
            None => Ok(embedder),
        }
    }

    /// Calls `read` with the main task's tokenizer, longest text and configuration.
    pub(crate) fn about<T>(
        &self,
        read: impl FnOnce(&Tokenizer, usize, &AlbertConfig) -> T,
    ) -> Result<T, Failure> {
        macro_rules! read {
            ($task:expr) => {{
                let task = $task?;
                Ok(read(task.tokenizer(), task.max_length(), task.config()))
            }};
        }
        match self.main {
            MainTask::Embed => read!(self.embedder()),
            MainTask::Predict => read!(self.classifier()),
            MainTask::Rerank => read!(self.reranker()),
            MainTask::Tag => read!(self.tagger()),
            MainTask::Answer => read!(self.answerer()),
        }
    }

    /// Computes `tokens` tokens with the main task, and returns the time it took.
    pub(crate) fn warm_up(&self, tokens: usize) -> Result<Duration, Failure> {
        let longest = self.about(|_, longest, _| longest)?;
        // A word is at least a token.
        let text = "a ".repeat(longest);
        let texts = vec![text.as_str(); (tokens / longest).max(1)];
        let begin = Instant::now();
        match self.main {
            MainTask::Embed => drop(self.embedder()?.embed(&texts)?),
            MainTask::Predict => {
                drop(
                    self.classifier()?
                        .classify(&texts, &albert_tasks::ClassifyOptions::default())?,
                );
            }
            MainTask::Rerank => {
                drop(self.reranker()?.score(
                    "a",
                    &texts,
                    &albert_tasks::RerankOptions::default(),
                )?);
            }
            MainTask::Tag => {
                drop(
                    self.tagger()?
                        .tag(&texts, &albert_tasks::TagOptions::default())?,
                );
            }
            MainTask::Answer => {
                let questions: Vec<(&str, &str)> = texts.iter().map(|&text| ("a", text)).collect();
                let options = albert_tasks::AnswerOptions::default();
                drop(self.answerer()?.answer(&questions, &options)?);
            }
        }
        Ok(begin.elapsed())
    }
}

fn load<T>(
    task: &Task<T>,
    new: impl FnOnce() -> albert_tasks::Result<T>,
) -> Result<Arc<T>, Failure> {
    task.get_or_init(|| new().map(Arc::new).map_err(Failure::from))
        .clone()
}

/// Returns the length in tokens of each text or pair.
pub(crate) fn lengths<I: TextInput>(
    tokenizer: &Tokenizer,
    max_length: usize,
    inputs: &[I],
    truncate: bool,
) -> Result<Vec<usize>, Failure> {
    let length = |(index, input): (usize, &I)| {
        let encoding = tokenizer.encode(input.first(), input.second(), Some(max_length))?;
        if encoding.truncated && !truncate {
            return Err(too_long(index, max_length));
        }
        Ok(encoding.ids.len())
    };
    inputs.iter().enumerate().map(length).collect()
}

/// Returns the failure for a text that is too long and must not be truncated.
pub(crate) fn too_long(index: usize, max_length: usize) -> Failure {
    Failure::invalid(format!(
        "text {index} has more than {max_length} tokens, which is the most that the model takes, and `truncate` is false"
    ))
}
