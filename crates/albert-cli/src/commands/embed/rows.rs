//! The rows of `embed`: a text with its vector, or with one vector per token.

use albert_tasks::{QuantizedVector, VectorQuantizer};
use serde::Serialize;

use crate::output::{Column, Element, Kind, Row, Vector, VectorType, columns, shown, visible};

/// One text's vector.
#[derive(Debug, Serialize)]
pub(super) struct EmbedRow {
    pub(super) index: usize,
    pub(super) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pair: Option<String>,
    pub(super) tokens: usize,
    pub(super) truncated: bool,
    pub(super) embedding: Numbers,
}

impl Row for EmbedRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::optional("pair", Kind::Text),
        Column::new("tokens", Kind::Integer),
        Column::new("truncated", Kind::Boolean),
        Column::new("embedding", Kind::Vector),
    ];
    const HEADING: &'static str = "index  tokens  embedding                            text";

    fn lines(&self) -> String {
        let vector = self.embedding.as_vector().preview();
        let text = shown(&self.text, self.pair.as_deref());
        format!(
            "{:>5}  {:>6}  {vector:<35}  {text}\n",
            self.index, self.tokens
        )
    }

    fn vector(&self) -> Option<Vector<'_>> {
        Some(self.embedding.as_vector())
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// The tokens of a text, each with its vector.
#[derive(Debug, Serialize)]
pub(super) struct TokensRow {
    pub(super) index: usize,
    pub(super) text: String,
    pub(super) pieces: Vec<String>,
    pub(super) embeddings: Vec<Vec<f32>>,
    #[serde(skip)]
    pub(super) tokens: usize,
    #[serde(skip)]
    pub(super) truncated: bool,
}

impl Row for TokensRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::new("pieces", Kind::List(&Kind::Text)),
        Column::new("embeddings", Kind::List(&Kind::Vector)),
    ];

    fn lines(&self) -> String {
        let pieces = self.pieces.iter().zip(&self.embeddings);
        let cells: Vec<_> = pieces
            .map(|(piece, vector)| {
                vec![
                    format!("      {}", visible(piece, 30)),
                    Vector::F32(vector).preview(),
                ]
            })
            .collect();
        format!(
            "{:>5}  {}\n{}",
            self.index,
            shown(&self.text, None),
            columns(&cells, &[])
        )
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// The vector of a row.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Numbers {
    Floats(Vec<f32>),
    Bytes(QuantizedVector),
}

/// Returns the type of the vectors of `dim` values that `quantizer` produces.
pub(super) fn vector_type(quantizer: Option<&VectorQuantizer>, dim: usize) -> VectorType {
    match quantizer {
        None => VectorType {
            element: Element::F32,
            dim,
        },
        Some(quantizer) => {
            let element = if quantizer.is_signed() {
                Element::I8
            } else {
                Element::U8
            };
            VectorType {
                element,
                dim: quantizer.bytes(dim),
            }
        }
    }
}

impl Numbers {
    /// Creates the vector of an embedding, quantized if there is a quantizer.
    pub(super) fn new(
        vector: Vec<f32>,
        quantizer: Option<&VectorQuantizer>,
    ) -> anyhow::Result<Self> {
        Ok(match quantizer {
            Some(quantizer) => Self::Bytes(quantizer.quantize(&vector)?),
            None => Self::Floats(vector),
        })
    }

    /// Returns a view of the values for the output.
    pub(super) fn as_vector(&self) -> Vector<'_> {
        match self {
            Self::Floats(values) => Vector::F32(values),
            Self::Bytes(QuantizedVector::I8(values)) => Vector::I8(values),
            Self::Bytes(QuantizedVector::U8(values)) => Vector::U8(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order_and_floats_as_short_as_f32_allows() {
        let row = EmbedRow {
            index: 0,
            text: "a".into(),
            pair: None,
            tokens: 3,
            truncated: false,
            embedding: Numbers::Floats(vec![0.1, -1e-9]),
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"index":0,"text":"a","tokens":3,"truncated":false,"embedding":[0.1,-1e-9]}"#
        );
    }
}
