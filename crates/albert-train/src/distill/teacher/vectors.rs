//! A file of sentence embeddings in place of a model.

use std::path::{Path, PathBuf};

use albert_data::{VectorFormat, Vectors};

use crate::error::{Error, Result};
use crate::examples::{Corpus, PretrainingExample};

/// The vectors of all sentences of a text, in the order of its lines.
#[derive(Debug)]
pub(in crate::distill) struct TeacherVectors {
    path: PathBuf,
    /// `(sentences, width)`
    vectors: Vec<f32>,
    width: usize,
}

impl TeacherVectors {
    /// Reads a file with one vector for each sentence of a corpus.
    ///
    /// # Errors
    /// If the file cannot be read, a vector is missing or has another width, or there are more or
    /// fewer vectors than sentences.
    pub(in crate::distill) fn open(path: &Path, corpus: &Corpus) -> Result<Self> {
        let name = || format!("`{}`", path.display());
        let wrong = |expected: String, found: String| Error::Setting {
            name: "teacher",
            expected: format!("{expected} in {}", name()),
            found,
        };
        let extension = path.extension().and_then(|extension| extension.to_str());
        let format = match extension {
            Some("npy") => VectorFormat::Npy,
            Some("safetensors") => VectorFormat::Safetensors,
            Some("parquet") => VectorFormat::Parquet,
            Some("arrow") => VectorFormat::Arrow,
            Some("jsonl") => VectorFormat::Jsonl,
            _ => {
                let expected =
                    "a folder, or vectors as .npy, .safetensors, .parquet, .arrow or .jsonl";
                return Err(Error::Setting {
                    name: "teacher",
                    expected: expected.into(),
                    found: name(),
                });
            }
        };
        let (mut vectors, mut width, mut rows) = (Vec::new(), 0, 0u64);
        for row in Vectors::open(path, format).map_err(Error::data)? {
            let row = row.map_err(Error::data)?;
            let (vector, _) = row.ok_or_else(|| {
                wrong(
                    "a vector for each sentence".into(),
                    format!("none in row {rows}"),
                )
            })?;
            if rows > 0 && vector.len() != width {
                let found = format!("{} values in row {rows}", vector.len());
                return Err(wrong(format!("vectors of {width} values"), found));
            }
            width = vector.len();
            vectors.extend(vector);
            rows += 1;
        }
        let sentences = corpus.sentences()?;
        if rows != sentences {
            let expected = format!("a vector for each of {sentences} sentences");
            return Err(wrong(expected, rows.to_string()));
        }
        Ok(Self {
            path: path.into(),
            vectors,
            width,
        })
    }

    /// Returns the path of the file.
    pub(in crate::distill) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the width of the vectors.
    pub(in crate::distill) fn width(&self) -> usize {
        self.width
    }

    /// Returns the vectors of sentences, `(B, width)`.
    pub(in crate::distill) fn of(&self, examples: &[PretrainingExample]) -> Vec<f32> {
        let rows = examples.iter().map(|example| example.index as usize);
        rows.flat_map(|row| &self.vectors[row * self.width..][..self.width])
            .copied()
            .collect()
    }
}
