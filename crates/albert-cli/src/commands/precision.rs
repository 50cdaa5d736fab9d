//! `--precision` and `--calibration`: what becomes of an embedding's numbers.

use std::path::{Path, PathBuf};

use albert_data::{Pairs, Window};
use albert_tasks::{Embedder, Embedding, QuantizedVector, Ranges, VectorQuantizer};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::embed::embed_window;
use crate::args::{InputArgs, PairArgs};
use crate::failure::{Hint, usage};
use crate::input::{Input, vectors};
use crate::output::{Element, Vector, VectorType};
use crate::progress::{Extent, Progress, Talk, Tally};
use crate::stream::{self, Item};

/// The numbers of an embedding.
#[derive(Debug, Args)]
#[command(next_help_heading = "Embedding")]
pub(super) struct PrecisionArgs {
    /// The numbers to write
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    precision: Precision,

    /// Texts like those to come, or their vectors as npy, whose ranges int8 and uint8 divide
    ///
    /// Some hundred of them. Texts are embedded with the same options; tables have them in the
    /// field `text`.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

/// The type of the numbers that are written.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Precision {
    /// 32-bit floats
    F32,
    /// 256 steps over each dimension's range, from -128
    Int8,
    /// 256 steps over each dimension's range, from 0
    Uint8,
    /// A bit a number, 1 where it is above 0; eight to a byte, minus 128
    Binary,
    /// A bit a number, 1 where it is above 0; eight to a byte
    Ubinary,
}

/// A row's numbers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Numbers {
    Floats(Vec<f32>),
    Bytes(QuantizedVector),
}

impl PrecisionArgs {
    /// Whether embeddings become bytes.
    pub(super) fn is_quantized(&self) -> bool {
        self.precision != Precision::F32
    }

    /// Checks that the options go together.
    ///
    /// # Errors
    /// If ranges are needed and there is no file to take them from, or the other way round.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let needs_ranges = matches!(self.precision, Precision::Int8 | Precision::Uint8);
        match &self.calibration {
            None if needs_ranges => {
                Err(usage("`--precision int8` and `uint8` need `--calibration FILE`").hint(
                    "give some hundred texts of the kind, or their vectors as `embed` wrote them into an npy file",
                ))
            }
            Some(_) if !needs_ranges => Err(usage("`--calibration` goes with `--precision int8` and `uint8`")),
            Some(path) if path.as_os_str() == "-" => {
                Err(usage("`--calibration -`: expected a file, as standard input may have the texts"))
            }
            _ => Ok(()),
        }
    }

    /// The file that the ranges come from.
    pub(super) fn calibration(&self) -> Option<&Path> {
        self.calibration.as_deref()
    }

    /// What makes bytes of embeddings; `None` where they stay as they are.
    ///
    /// # Errors
    /// If the calibration cannot be read, or its vectors are of another width.
    pub(super) fn quantizer(
        &self,
        embedder: &Embedder,
        pairs: Pairs,
        window: Window,
        talk: Talk,
    ) -> anyhow::Result<Option<VectorQuantizer>> {
        let calibrated = |quantizer: fn(Ranges) -> albert_tasks::Result<VectorQuantizer>| {
            let (calibration, path) = self.calibrate(embedder, pairs, window, talk)?;
            quantizer(calibration).with_context(|| format!("`{}`", path.display()))
        };
        Ok(match self.precision {
            Precision::F32 => None,
            Precision::Int8 => Some(calibrated(VectorQuantizer::int8)?),
            Precision::Uint8 => Some(calibrated(VectorQuantizer::uint8)?),
            Precision::Binary => Some(VectorQuantizer::binary()),
            Precision::Ubinary => Some(VectorQuantizer::ubinary()),
        })
    }

    /// The ranges over the embeddings of a file, and the file.
    fn calibrate(
        &self,
        embedder: &Embedder,
        pairs: Pairs,
        window: Window,
        talk: Talk,
    ) -> anyhow::Result<(Ranges, &Path)> {
        let path = self
            .calibration
            .as_deref()
            .context("`--calibration` is missing")?;
        let mut calibration = Ranges::new(embedder.dim());
        let count = match path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
        {
            true => add_vectors(&mut calibration, path)?,
            false => add_texts(&mut calibration, path, embedder, pairs, window, talk)?,
        };
        talk.say(format_args!(
            "calibration: {count} embeddings of `{}`",
            path.display()
        ));
        Ok((calibration, path))
    }
}

fn add_vectors(calibration: &mut Ranges, path: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for row in vectors(path)? {
        if let Some((vector, _)) = row? {
            calibration
                .add(&vector)
                .with_context(|| format!("`{}`, row {}", path.display(), count + 1))?;
        }
        count += 1;
    }
    Ok(count)
}

fn add_texts(
    calibration: &mut Ranges,
    path: &Path,
    embedder: &Embedder,
    pairs: Pairs,
    window: Window,
    talk: Talk,
) -> anyhow::Result<usize> {
    let args = InputArgs {
        input: Some(path.to_path_buf()),
        ..InputArgs::default()
    };
    let input = Input::open(args, PairArgs::default(), pairs)?;
    let progress = Progress::new(talk, Extent::Short, false);
    let mut tally = Tally::default();
    let work = |items: Vec<Item>| {
        Ok(embed_window(embedder, &items)?
            .into_iter()
            .map(Ok)
            .collect())
    };
    // A bad line is a failure here.
    let add = |embedding: Option<Embedding>| match embedding {
        Some(embedding) => Ok(calibration.add(&embedding.vector)?),
        None => Ok(()),
    };
    stream::consume(input, window, &progress, &mut tally, work, add)?;
    Ok(tally.rows)
}

/// The type of the vectors of `dim` numbers that `quantizer` makes.
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
    /// An embedding as it is, or as bytes.
    pub(super) fn new(
        vector: Vec<f32>,
        quantizer: Option<&VectorQuantizer>,
    ) -> anyhow::Result<Self> {
        Ok(match quantizer {
            Some(quantizer) => Self::Bytes(quantizer.quantize(&vector)?),
            None => Self::Floats(vector),
        })
    }

    /// As an output takes them.
    pub(super) fn as_vector(&self) -> Vector<'_> {
        match self {
            Self::Floats(values) => Vector::F32(values),
            Self::Bytes(QuantizedVector::I8(values)) => Vector::I8(values),
            Self::Bytes(QuantizedVector::U8(values)) => Vector::U8(values),
        }
    }
}
