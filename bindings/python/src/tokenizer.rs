//! The tokenizer of a model.

use albert_tasks::TokenizerOptions;
use albert_tasks::tokenizer::Encoding;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::error::raise;
use crate::model::ModelArgs;
use crate::texts::texts;

/// Turns texts into token ids.
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct Tokenizer(albert_tasks::Tokenizer);

/// The tokens of a text, a dictionary in Python.
#[derive(Debug, IntoPyObject)]
pub(crate) struct Tokens {
    ids: Vec<u32>,
    pieces: Vec<String>,
    type_ids: Vec<u32>,
    special_tokens_mask: Vec<u32>,
    offsets: Vec<(usize, usize)>,
    truncated: bool,
}

impl From<Encoding> for Tokens {
    fn from(encoding: Encoding) -> Self {
        Self {
            ids: encoding.ids,
            pieces: encoding.pieces,
            type_ids: encoding.type_ids,
            special_tokens_mask: encoding.special_tokens_mask,
            offsets: encoding.offsets,
            truncated: encoding.truncated,
        }
    }
}

#[pymethods]
impl Tokenizer {
    /// Loads the tokenizer of a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let files = model.files(py)?;
        let tokenizer = albert_tasks::Tokenizer::load(&files, &TokenizerOptions::default());
        tokenizer.map(Self).map_err(|error| raise(py, &error))
    }

    /// Returns the tokens of a text, or of a pair of texts.
    fn encode(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        max_length: Option<usize>,
    ) -> PyResult<Tokens> {
        let texts = texts(text)?;
        let mut texts = texts.iter().map(|text: &PyBackedStr| &**text);
        let text = texts.next().unwrap_or_default();
        let encoding = self.0.encode(text, texts.next(), max_length);
        encoding
            .map(Tokens::from)
            .map_err(|error| raise(py, &error))
    }

    /// Returns the text of token ids.
    fn decode(&self, py: Python<'_>, ids: Vec<u32>) -> PyResult<String> {
        self.0.decode(&ids).map_err(|error| raise(py, &error))
    }

    /// Returns the id of a piece.
    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }

    /// Returns the piece of an id.
    fn id_to_token(&self, id: u32) -> Option<String> {
        self.0.id_to_token(id)
    }

    /// The number of pieces.
    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    /// The mask token.
    #[getter]
    fn mask_token(&self) -> &str {
        self.0.mask_token()
    }
}
