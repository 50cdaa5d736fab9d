//! Quantizes embeddings to a byte or a bit per value instead of four bytes.
//!
//! Source: sentence-transformers 6.2, `util/quantization.py`, `quantize_embeddings`.

use serde::Serialize;

use crate::{Error, Result};

/// The range of each dimension over sample embeddings.
///
/// Values outside the range are clipped later, so use a few hundred representative texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges {
    /// The smallest and the largest value of each dimension.
    ranges: Vec<(f32, f32)>,
}

impl Ranges {
    /// Creates empty ranges for embeddings with `dim` values.
    pub fn new(dim: usize) -> Self {
        Self {
            ranges: vec![(f32::INFINITY, f32::NEG_INFINITY); dim],
        }
    }

    /// Extends the ranges by an embedding. One that is not finite, as saved for a bad line, is
    /// skipped.
    ///
    /// # Errors
    /// If it has another width.
    pub fn add(&mut self, vector: &[f32]) -> Result<()> {
        check_width(self.ranges.len(), vector)?;
        if vector.iter().all(|value| value.is_finite()) {
            for ((least, largest), value) in self.ranges.iter_mut().zip(vector) {
                (*least, *largest) = (least.min(*value), largest.max(*value));
            }
        }
        Ok(())
    }

    /// Returns the ranges, if there was an embedding.
    fn finish(self) -> Result<Vec<(f32, f32)>> {
        match self.ranges.first() {
            Some((least, _)) if least.is_finite() => Ok(self.ranges),
            _ => Err(Error::Empty {
                what: "embeddings to take ranges from",
            }),
        }
    }
}

/// Converts embeddings to bytes, or to bits.
///
/// ```
/// use albert_tasks::{Embedder, QuantizedVector, Ranges, VectorQuantizer};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let embedder = Embedder::from_pretrained("albert-mini-en")?;
/// let mut ranges = Ranges::new(embedder.dim());
/// for embedding in embedder.embed(&["A quick test", "And another one", "The third"])? {
///     ranges.add(&embedding.vector)?;
/// }
/// let quantizer = VectorQuantizer::int8(ranges)?;
/// let embedding = &embedder.embed(&["A quick test"])?[0];
/// assert!(matches!(quantizer.quantize(&embedding.vector)?, QuantizedVector::I8(bytes) if bytes.len() == embedder.dim()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct VectorQuantizer(Precision);

#[derive(Debug, Clone, PartialEq)]
enum Precision {
    Int8(Vec<(f32, f32)>),
    Uint8(Vec<(f32, f32)>),
    Binary,
    Ubinary,
}

/// An embedding in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum QuantizedVector {
    /// Signed bytes.
    I8(Vec<i8>),
    /// Unsigned bytes.
    U8(Vec<u8>),
}

impl VectorQuantizer {
    /// Creates a quantizer with 256 steps over the range of each dimension, from −128.
    ///
    /// ```text
    /// q = clip(⌊(x − least) / step⌋, 0, 255) − 128,   step = (largest − least) / 255, or 1 where that is 0
    /// ```
    ///
    /// # Errors
    /// If the ranges are empty.
    pub fn int8(ranges: Ranges) -> Result<Self> {
        Ok(Self(Precision::Int8(ranges.finish()?)))
    }

    /// Creates a quantizer like [`int8`](Self::int8) whose steps begin at 0.
    ///
    /// # Errors
    /// If the ranges are empty.
    pub fn uint8(ranges: Ranges) -> Result<Self> {
        Ok(Self(Precision::Uint8(ranges.finish()?)))
    }

    /// Creates a quantizer with one bit for each value, 1 if the value is above 0. A byte holds
    /// eight bits, the first one highest, minus 128.
    pub fn binary() -> Self {
        Self(Precision::Binary)
    }

    /// Creates a quantizer like [`binary`](Self::binary) that does not subtract 128.
    pub fn ubinary() -> Self {
        Self(Precision::Ubinary)
    }

    /// Returns true if the bytes are signed.
    pub fn is_signed(&self) -> bool {
        matches!(self.0, Precision::Int8(_) | Precision::Binary)
    }

    /// Returns the bytes of an embedding with `dim` values.
    pub fn bytes(&self, dim: usize) -> usize {
        match &self.0 {
            Precision::Int8(_) | Precision::Uint8(_) => dim,
            Precision::Binary | Precision::Ubinary => dim.div_ceil(8),
        }
    }

    /// Quantizes an embedding.
    ///
    /// # Errors
    /// If it has another width than the ranges.
    pub fn quantize(&self, vector: &[f32]) -> Result<QuantizedVector> {
        let signed = |bytes: Vec<u8>| {
            bytes
                .into_iter()
                .map(|byte| (i16::from(byte) - 128) as i8)
                .collect()
        };
        Ok(match &self.0 {
            Precision::Int8(ranges) => QuantizedVector::I8(signed(steps(ranges, vector)?)),
            Precision::Uint8(ranges) => QuantizedVector::U8(steps(ranges, vector)?),
            Precision::Binary => QuantizedVector::I8(signed(bits(vector))),
            Precision::Ubinary => QuantizedVector::U8(bits(vector)),
        })
    }
}

fn steps(ranges: &[(f32, f32)], vector: &[f32]) -> Result<Vec<u8>> {
    check_width(ranges.len(), vector)?;
    let quantize = |(&(least, largest), value): (&(f32, f32), &f32)| {
        let step = match (largest - least) / 255.0 {
            0.0 => 1.0,
            step => step,
        };
        ((value - least) / step).floor().clamp(0.0, 255.0) as u8
    };
    Ok(ranges.iter().zip(vector).map(quantize).collect())
}

fn bits(vector: &[f32]) -> Vec<u8> {
    let bit = |(place, value): (usize, &f32)| u8::from(*value > 0.0) << (7 - place);
    vector
        .chunks(8)
        .map(|values| values.iter().enumerate().map(bit).sum())
        .collect()
}

fn check_width(expected: usize, vector: &[f32]) -> Result<()> {
    match vector.len() {
        found if found == expected => Ok(()),
        found => Err(Error::VectorWidth { expected, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibrated(dim: usize, vectors: &[&[f32]]) -> Result<VectorQuantizer> {
        let mut ranges = Ranges::new(dim);
        vectors.iter().try_for_each(|vector| ranges.add(vector))?;
        VectorQuantizer::uint8(ranges)
    }

    #[test]
    fn ranges_of_nothing_or_of_bad_rows_are_refused() {
        for vectors in [&[][..], &[&[f32::NAN, 1.0][..]]] {
            assert!(matches!(calibrated(2, vectors), Err(Error::Empty { .. })));
        }
    }

    #[test]
    fn a_bad_row_changes_no_range() {
        let rows: [&[f32]; 3] = [&[0.0, 0.0], &[f32::NAN, 9.0], &[1.0, 1.0]];
        assert_eq!(
            calibrated(2, &rows).unwrap(),
            calibrated(2, &[rows[0], rows[2]]).unwrap()
        );
    }

    #[test]
    fn vectors_of_another_width_are_refused() {
        assert!(matches!(
            calibrated(1, &[&[1.0, 2.0]]),
            Err(Error::VectorWidth {
                expected: 1,
                found: 2
            })
        ));
        let quantizer = calibrated(1, &[&[1.0]]).unwrap();
        assert!(matches!(
            quantizer.quantize(&[]),
            Err(Error::VectorWidth {
                expected: 1,
                found: 0
            })
        ));
    }

    #[test]
    fn bits_are_packed_from_the_highest() {
        let vector = [1.0, 0.0, -1.0, 0.5, 0.0, 0.0, 0.0, 2.0, 3.0];
        assert_eq!(
            VectorQuantizer::ubinary().quantize(&vector).unwrap(),
            QuantizedVector::U8(vec![0b1001_0001, 0b1000_0000])
        );
        assert_eq!(
            VectorQuantizer::binary().quantize(&vector).unwrap(),
            QuantizedVector::I8(vec![17, 0])
        );
        assert_eq!(VectorQuantizer::binary().bytes(vector.len()), 2);
    }
}
