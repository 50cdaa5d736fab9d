//! Embeddings in fewer bits: a byte or a bit a number in place of four bytes.
//!
//! Source: sentence-transformers 6.2, `util/quantization.py`, `quantize_embeddings`; the numbers
//! are its.

use serde::Serialize;

use crate::{Error, Result};

/// The range of each dimension over embeddings of texts like those to come.
///
/// Numbers outside it are cut to it later, so a calibration takes some hundred texts of the kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Of each dimension the least and the largest number.
    ranges: Vec<(f32, f32)>,
}

impl Calibration {
    /// Of embeddings of `dim` numbers, none of them seen yet.
    pub fn new(dim: usize) -> Self {
        Self {
            ranges: vec![(f32::INFINITY, f32::NEG_INFINITY); dim],
        }
    }

    /// Takes an embedding in. One that is not a number, as saved embeddings have it for a bad line,
    /// is passed over.
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

    /// The ranges, where there was an embedding at all.
    fn ranges(self) -> Result<Vec<(f32, f32)>> {
        match self.ranges.first() {
            Some((least, _)) if least.is_finite() => Ok(self.ranges),
            _ => Err(Error::NoCalibration),
        }
    }
}

/// Turns embeddings into bytes.
///
/// ```
/// use albert_tasks::{Calibration, Embedder, ModelFiles, Quantized, Quantizer, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let embedder = Embedder::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let mut calibration = Calibration::new(embedder.dim());
/// for embedding in embedder.embed(&["A quick test", "And another one", "The third"])? {
///     calibration.add(&embedding.vector)?;
/// }
/// let quantizer = Quantizer::int8(calibration)?;
/// let embedding = &embedder.embed(&["A quick test"])?[0];
/// assert!(matches!(quantizer.quantize(&embedding.vector)?, Quantized::I8(bytes) if bytes.len() == embedder.dim()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Quantizer(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Int8(Vec<(f32, f32)>),
    Uint8(Vec<(f32, f32)>),
    Binary,
    Ubinary,
}

/// An embedding as bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Quantized {
    /// Signed bytes.
    I8(Vec<i8>),
    /// Unsigned bytes.
    U8(Vec<u8>),
}

impl Quantizer {
    /// 256 steps over each dimension's range, from −128.
    ///
    /// ```text
    /// q = clip(⌊(x − least) / step⌋, 0, 255) − 128,   step = (largest − least) / 255, or 1 where that is 0
    /// ```
    ///
    /// # Errors
    /// If no embedding was added to the calibration.
    pub fn int8(calibration: Calibration) -> Result<Self> {
        Ok(Self(Kind::Int8(calibration.ranges()?)))
    }

    /// The same from 0.
    ///
    /// # Errors
    /// As [`Quantizer::int8`].
    pub fn uint8(calibration: Calibration) -> Result<Self> {
        Ok(Self(Kind::Uint8(calibration.ranges()?)))
    }

    /// A bit for each number, 1 where it is above 0: eight to a byte, the first the highest, minus
    /// 128.
    pub fn binary() -> Self {
        Self(Kind::Binary)
    }

    /// The same without the 128.
    pub fn ubinary() -> Self {
        Self(Kind::Ubinary)
    }

    /// Whether the bytes are signed.
    pub fn is_signed(&self) -> bool {
        matches!(self.0, Kind::Int8(_) | Kind::Binary)
    }

    /// How many bytes an embedding of `dim` numbers has.
    pub fn bytes(&self, dim: usize) -> usize {
        match &self.0 {
            Kind::Int8(_) | Kind::Uint8(_) => dim,
            Kind::Binary | Kind::Ubinary => dim.div_ceil(8),
        }
    }

    /// The embedding as bytes.
    ///
    /// # Errors
    /// If it has another width than those of the calibration.
    pub fn quantize(&self, vector: &[f32]) -> Result<Quantized> {
        let signed = |bytes: Vec<u8>| {
            bytes
                .into_iter()
                .map(|byte| (i16::from(byte) - 128) as i8)
                .collect()
        };
        Ok(match &self.0 {
            Kind::Int8(ranges) => Quantized::I8(signed(steps(ranges, vector)?)),
            Kind::Uint8(ranges) => Quantized::U8(steps(ranges, vector)?),
            Kind::Binary => Quantized::I8(signed(bits(vector))),
            Kind::Ubinary => Quantized::U8(bits(vector)),
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

    fn calibrated(dim: usize, vectors: &[&[f32]]) -> Result<Quantizer> {
        let mut calibration = Calibration::new(dim);
        vectors
            .iter()
            .try_for_each(|vector| calibration.add(vector))?;
        Quantizer::uint8(calibration)
    }

    #[test]
    fn a_calibration_of_nothing_or_of_bad_rows_is_refused() {
        for vectors in [&[][..], &[&[f32::NAN, 1.0][..]]] {
            assert!(matches!(calibrated(2, vectors), Err(Error::NoCalibration)));
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
            Quantizer::ubinary().quantize(&vector).unwrap(),
            Quantized::U8(vec![0b1001_0001, 0b1000_0000])
        );
        assert_eq!(
            Quantizer::binary().quantize(&vector).unwrap(),
            Quantized::I8(vec![17, 0])
        );
        assert_eq!(Quantizer::binary().bytes(vector.len()), 2);
    }
}
