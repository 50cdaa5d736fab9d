//! Sentence embeddings in NumPy arrays.

use std::collections::BTreeMap;

use albert_tasks::{EmbedOptions, PreparedText, TruncationSide};
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::error::{invalid, raise};
use crate::model::ModelArgs;
use crate::pool::Threads;
use crate::steps::{in_steps, one_step};
use crate::texts::{Column, texts};

/// The texts that are tokenized together, in bytes.
const TOKENIZED_BYTES: usize = 1 << 20;

/// The tokens of a step, if the machine has few cores: about a second of a base model on one core.
const STEP_TOKENS: usize = 4096;

/// The tokens of a step for each thread, if it has many.
const THREAD_TOKENS: usize = 1024;

/// Computes sentence embeddings.
#[derive(Debug)]
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct Embedder {
    embedder: albert_tasks::Embedder,
    threads: Threads,
    name: String,
}

/// The pieces of a text's tokens, and their vectors.
type TokenVectors<'py> = (Vec<String>, Bound<'py, PyArray2<f32>>);

/// The options of one call.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct CallArgs {
    prompt: Option<String>,
    prompt_name: Option<String>,
    normalize: Option<bool>,
    truncate_dim: Option<usize>,
    stride: Option<usize>,
    truncation_side: String,
}

impl CallArgs {
    fn options(&self) -> PyResult<EmbedOptions> {
        let side = match self.truncation_side.as_str() {
            "right" => TruncationSide::Right,
            "left" => TruncationSide::Left,
            other => {
                return Err(invalid(format!(
                    "unknown truncation_side `{other}`: expected one of right, left"
                )));
            }
        };
        let mut options = EmbedOptions::default()
            .with_normalize(self.normalize)
            .with_truncate_dim(self.truncate_dim)
            .with_stride(self.stride)
            .with_truncation(side);
        options.prompt.clone_from(&self.prompt);
        options.prompt_name.clone_from(&self.prompt_name);
        Ok(options)
    }
}

#[pymethods]
impl Embedder {
    /// Loads a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let ((embedder, name), threads) = model.load(py, |files, options| {
            let embedder = albert_tasks::Embedder::load(files, options)?;
            Ok((embedder, files.name().to_string()))
        })?;
        Ok(Self {
            embedder,
            threads,
            name,
        })
    }

    /// Returns the vectors of texts, one row for each.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        options: CallArgs,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let texts = self::texts(texts)?;
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let rows: Vec<usize> = (0..texts.len()).collect();
        self.write(py, &texts, &rows, rows.len(), &options, progress)
    }

    /// Returns the vectors of a column of texts; the rows of nulls are zero.
    fn encode_column<'py>(
        &self,
        py: Python<'py>,
        data: PyReadonlyArray1<'py, u8>,
        offsets: PyReadonlyArray1<'py, i64>,
        valid: Option<PyReadonlyArray1<'py, bool>>,
        options: CallArgs,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let column = Column::new(data, offsets, valid);
        let (rows, texts) = column.texts(py)?;
        self.write(py, &texts, &rows, column.rows()?, &options, None)
    }

    /// Returns the vectors of the tokens of each text, with the tokens' pieces.
    fn encode_tokens<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        options: CallArgs,
    ) -> PyResult<Vec<TokenVectors<'py>>> {
        let texts = self::texts(texts)?;
        let options = options.options()?;
        self.check(py, &options)?;
        let answers = in_steps(py, &self.threads, &texts, |texts| {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            self.embedder.embed_tokens_with(&texts, &options)
        })?;
        let array = |answer: albert_tasks::TokenEmbeddings| {
            let vectors = PyArray2::from_vec2(py, &answer.vectors)?;
            Ok((answer.pieces, vectors))
        };
        answers.into_iter().map(array).collect()
    }

    /// Returns the number of tokens of each text that enter the network.
    fn count_tokens(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        options: CallArgs,
    ) -> PyResult<Vec<(usize, bool)>> {
        let texts = self::texts(texts)?;
        let options = options.options()?;
        self.check(py, &options)?;
        let prepared = in_steps(py, &self.threads, &texts, |texts| {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            self.embedder.prepare(&texts, &options)
        })?;
        let counts = prepared
            .iter()
            .map(|text| (text.tokens(), text.is_truncated()));
        Ok(counts.collect())
    }

    /// The name of the model: its name on the Hub, the built-in name, or a folder.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The width of a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.embedder.dim()
    }

    /// The maximum number of tokens of a text.
    #[getter]
    fn max_length(&self) -> usize {
        self.embedder.max_length()
    }

    /// The number of threads that compute.
    #[getter]
    fn threads(&self) -> PyResult<usize> {
        self.threads.count()
    }

    /// The prompts of the model, by name.
    #[getter]
    fn prompts(&self) -> BTreeMap<String, String> {
        self.embedder.prompts().clone()
    }

    /// The name of the prompt for queries.
    #[getter]
    fn query_prompt(&self) -> Option<String> {
        self.embedder.query_options().prompt_name
    }

    /// The name of the prompt for documents.
    #[getter]
    fn document_prompt(&self) -> Option<String> {
        self.embedder.document_options().prompt_name
    }
}

impl Embedder {
    fn check(&self, py: Python<'_>, options: &EmbedOptions) -> PyResult<()> {
        let checked = self.embedder.check(options);
        checked.map_err(|error| raise(py, &error))
    }

    /// Writes the vector of each text to its row of a new array with `height` rows.
    fn write<'py>(
        &self,
        py: Python<'py>,
        texts: &[&str],
        rows: &[usize],
        height: usize,
        options: &CallArgs,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let options = options.options()?;
        self.check(py, &options)?;
        let dim = self.embedder.dim_with(&options);
        let array = PyArray2::<f32>::zeros(py, [height, dim], false);
        let mut written = array.try_readwrite()?;
        let written = written.as_slice_mut()?;
        let mut first = 0;
        for texts in chunks(texts, TOKENIZED_BYTES, |text| text.len()) {
            let prepare = |texts: &[&str]| self.embedder.prepare(texts, &options);
            let prepared = one_step(py, &self.threads, texts, first, prepare)?;
            for prepared in chunks(&prepared, self.step_tokens()?, PreparedText::tokens) {
                let embeddings = self
                    .threads
                    .run(py, || self.embedder.embed_prepared(prepared))?
                    .map_err(|error| raise(py, &error))?;
                for (embedding, row) in embeddings.iter().zip(&rows[first..]) {
                    written[row * dim..][..dim].copy_from_slice(&embedding.vector);
                }
                first += prepared.len();
                py.check_signals()?;
                if let Some(progress) = &progress {
                    progress.call1((prepared.len(),))?;
                }
            }
        }
        Ok(array)
    }

    fn step_tokens(&self) -> PyResult<usize> {
        Ok(STEP_TOKENS.max(THREAD_TOKENS * self.threads.count()?))
    }
}

/// Divides items into chunks that exceed `limit` only by their last item.
fn chunks<T>(items: &[T], limit: usize, size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut total = 0;
        let fits = |item: &&T| {
            let is_below = total < limit;
            total += size(item);
            is_below
        };
        let count = rest.iter().take_while(fits).count();
        let (chunk, after) = rest.split_at(count);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}
