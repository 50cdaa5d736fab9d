//! The quantizer of `embed --precision`, calibrated on a sample if it needs ranges.

use std::path::Path;

use albert_data::Pairs;
use albert_tasks::{Embedder, Embedding, Ranges, VectorQuantizer};
use anyhow::Context;

use super::embed_chunk;
use crate::input::{Input, Request, vectors};
use crate::options::vectors::{Precision, PrecisionArgs};
use crate::progress::{Extent, Progress, Talk, Tally};
use crate::stream::{self, Chunks, Item};

/// Returns the quantizer of the vectors; `None` if they stay 32-bit floats.
///
/// # Errors
/// If the calibration file cannot be read, or its vectors have another width.
pub(super) fn quantizer(
    args: &PrecisionArgs,
    embedder: &Embedder,
    pairs: Pairs,
    chunks: Chunks,
    talk: Talk,
) -> anyhow::Result<Option<VectorQuantizer>> {
    let calibrated = |quantizer: fn(Ranges) -> albert_tasks::Result<VectorQuantizer>| {
        let path = args.calibration().context("`--calibration` is missing")?;
        let calibration = calibrate(path, embedder, pairs, chunks, talk)?;
        quantizer(calibration).with_context(|| format!("`{}`", path.display()))
    };
    Ok(match args.precision {
        Precision::F32 => None,
        Precision::Int8 => Some(calibrated(VectorQuantizer::int8)?),
        Precision::Uint8 => Some(calibrated(VectorQuantizer::uint8)?),
        Precision::Binary => Some(VectorQuantizer::binary()),
        Precision::Ubinary => Some(VectorQuantizer::ubinary()),
    })
}

/// Computes the ranges of the embeddings of a file of texts or vectors.
fn calibrate(
    path: &Path,
    embedder: &Embedder,
    pairs: Pairs,
    chunks: Chunks,
    talk: Talk,
) -> anyhow::Result<Ranges> {
    let mut calibration = Ranges::new(embedder.dim());
    let is_npy = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    let count = if is_npy {
        add_vectors(&mut calibration, path)?
    } else {
        add_texts(&mut calibration, path, embedder, pairs, chunks, talk)?
    };
    talk.say(format_args!(
        "calibration: {count} embeddings of `{}`",
        path.display()
    ));
    Ok(calibration)
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
    chunks: Chunks,
    talk: Talk,
) -> anyhow::Result<usize> {
    let input = Input::open(&Request::from_file(path, pairs))?;
    let progress = Progress::new(talk, Extent::Short, false);
    let mut tally = Tally::default();
    let work = |items: Vec<Item>| Ok(embed_chunk(embedder, &items)?.into_iter().map(Ok).collect());
    // Unlike in the input, a bad line is always an error.
    let add = |embedding: Option<Embedding>| match embedding {
        Some(embedding) => Ok(calibration.add(&embedding.vector)?),
        None => Ok(()),
    };
    stream::consume(input, chunks, &progress, &mut tally, work, add)?;
    Ok(tally.rows)
}
