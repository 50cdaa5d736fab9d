//! Tensors in a file: each is a range of it, which is read when the tensor is loaded.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use albert_formats::crc32c::crc32c;
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::checkpoint::companions::Companions;
use crate::checkpoint::rounded::RoundedWeight;
use crate::checkpoint::strides::{gather, is_dense};
use crate::checkpoint::weight_file::WeightFile;
use crate::error::{Error, Result, shown};

/// The values of a tensor in a file, with their type and shape.
#[derive(Debug, Clone)]
pub(super) struct StoredTensor {
    file: Arc<WeightFile>,
    dtype: Dtype,
    pub(super) shape: Vec<usize>,
    values: Values,
    /// The CRC-32C of the bytes, if the file has one.
    checksum: Option<u32>,
    /// The tensors that belong to an int8 weight.
    pub(super) companions: Option<Arc<Companions>>,
}

#[derive(Debug, Clone)]
enum Values {
    /// In row-major order, without gaps.
    Dense(Range<usize>),
    /// The element `(i, j, …)` is `i·strides[0] + j·strides[1] + …` elements into the range.
    Strided {
        range: Range<usize>,
        strides: Vec<usize>,
    },
    /// The identity, which is not in the file but implied by its architecture.
    Identity,
    /// Zeros, implied in the same way.
    Zeros,
    /// `W + s·B·A`, a weight with the update of an adapter.
    Adapted(Arc<Adapted>),
    /// A description of an unsupported tensor or object.
    Unread(String),
}

/// A weight and the low-rank update that an adapter adds to it.
#[derive(Debug)]
pub(super) struct Adapted {
    /// `W`, `(out, in)`.
    pub(super) weight: StoredTensor,
    /// `A`, `(r, in)`.
    pub(super) a: StoredTensor,
    /// `B`, `(out, r)`.
    pub(super) b: StoredTensor,
    /// `s`, which is `α / r` or `α / √r`.
    pub(super) scale: f64,
    /// True if `W` is transposed, as in an embedding.
    pub(super) is_transposed: bool,
}

impl Adapted {
    fn load(&self) -> candle_core::Result<Tensor> {
        let [weight, a, b] = [&self.weight, &self.a, &self.b].map(|tensor| {
            let tensor = tensor.load()?;
            tensor.to_dtype(DType::F32)
        });
        let update = (b?.matmul(&a?)? * self.scale)?;
        let update = if self.is_transposed {
            update.t()?
        } else {
            update
        };
        weight? + update
    }
}

impl StoredTensor {
    /// Creates a dense tensor from byte `range.start` on; `None` if its elements are not exactly
    /// the range, or the range exceeds the file.
    pub(super) fn dense(
        file: &Arc<WeightFile>,
        dtype: Dtype,
        shape: Vec<usize>,
        range: Range<usize>,
    ) -> Option<Self> {
        file.bytes.get(range.clone())?;
        (byte_len(dtype, &shape)? == range.len()).then(|| Self {
            file: Arc::clone(file),
            dtype,
            shape,
            values: Values::Dense(range),
            checksum: None,
            companions: None,
        })
    }

    /// Creates a strided tensor from byte `range.start` on; `None` if an element is outside the
    /// range, the range exceeds the file, or the number of elements exceeds `usize`.
    pub(super) fn strided(
        file: &Arc<WeightFile>,
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        range: Range<usize>,
    ) -> Option<Self> {
        if is_dense(&shape, &strides) {
            let end = range.start.checked_add(byte_len(dtype, &shape)?)?;
            return if end <= range.end {
                Self::dense(file, dtype, shape, range.start..end)
            } else {
                None
            };
        }
        file.bytes.get(range.clone())?;
        byte_len(dtype, &shape)?;
        // An empty tensor has no last element.
        if !shape.contains(&0) {
            let mut last = 0usize;
            for (size, stride) in shape.iter().zip(&strides) {
                last = last.checked_add((size - 1).checked_mul(*stride)?)?;
            }
            if last.checked_add(1)?.checked_mul(element_len(dtype))? > range.len() {
                return None;
            }
        }
        let values = Values::Strided { range, strides };
        Some(Self {
            file: Arc::clone(file),
            dtype,
            shape,
            values,
            checksum: None,
            companions: None,
        })
    }

    /// Returns the file of the tensor; of an adapted weight, that of the weight.
    pub(super) fn weight_file(&self) -> &Arc<WeightFile> {
        &self.file
    }

    /// Creates an entry for an unsupported tensor or object, which `what` describes. It is an error
    /// only if a model needs it.
    pub(super) fn unread(file: &Arc<WeightFile>, shape: Vec<usize>, what: String) -> Self {
        Self {
            file: Arc::clone(file),
            dtype: Dtype::U8,
            shape,
            values: Values::Unread(what),
            checksum: None,
            companions: None,
        }
    }

    /// Creates the sum of a weight and an adapter's update, whose shapes must match.
    pub(super) fn adapted(adapted: Adapted) -> Self {
        Self {
            file: Arc::clone(&adapted.weight.file),
            dtype: Dtype::F32,
            shape: adapted.weight.shape.clone(),
            values: Values::Adapted(Arc::new(adapted)),
            checksum: None,
            companions: None,
        }
    }

    /// Creates the weight or the bias of the identity projection, for a file without a projection.
    pub(super) fn identity(file: &str, shape: Vec<usize>) -> Self {
        let file = Arc::new(WeightFile::owned(Cow::Borrowed(&[]), file));
        let values = if shape.len() == 2 {
            Values::Identity
        } else {
            Values::Zeros
        };
        Self {
            file,
            dtype: Dtype::F32,
            shape,
            values,
            checksum: None,
            companions: None,
        }
    }

    /// Sets a CRC-32C that loading checks.
    pub(super) fn with_checksum(self, checksum: u32) -> Self {
        Self {
            checksum: Some(checksum),
            ..self
        }
    }

    /// Transposes a dense matrix.
    pub(super) fn transposed(mut self) -> Self {
        if let (Values::Dense(range), &[rows, columns]) = (&self.values, &self.shape[..]) {
            self.values = Values::Strided {
                range: range.clone(),
                strides: vec![1, columns],
            };
            self.shape = vec![columns, rows];
        }
        self
    }

    /// Returns the type, if weights can have it.
    pub(super) fn float_type(&self) -> Option<DType> {
        match self.dtype {
            Dtype::F16 => Some(DType::F16),
            Dtype::BF16 => Some(DType::BF16),
            Dtype::F32 => Some(DType::F32),
            Dtype::F64 => Some(DType::F64),
            // The type of the dequantized weight.
            Dtype::I8 if self.companions.is_some() => Some(DType::F32),
            _ => None,
        }
    }

    /// Returns true for a tensor of signed bytes.
    pub(super) fn holds_bytes(&self) -> bool {
        self.dtype == Dtype::I8
    }

    /// Returns the number of bytes of the loaded tensor, companions included; `None` if it exceeds
    /// `usize`.
    pub(super) fn loaded_len(&self) -> Option<usize> {
        match &self.values {
            Values::Unread(_) => return Some(0),
            Values::Adapted(adapted) => {
                return [&adapted.weight, &adapted.a, &adapted.b]
                    .into_iter()
                    .try_fold(0usize, |len, part| len.checked_add(part.loaded_len()?));
            }
            _ => {}
        }
        match &self.companions {
            Some(companions) => {
                byte_len(Dtype::F32, &self.shape)?.checked_add(companions.loaded_len()?)
            }
            None => byte_len(self.dtype, &self.shape),
        }
    }

    /// Returns true if one element of the file is several elements of the tensor, so that a few
    /// bytes could request any amount of memory.
    pub(super) fn is_expanded(&self) -> bool {
        match &self.values {
            Values::Strided { range, .. } => {
                byte_len(self.dtype, &self.shape).is_none_or(|len| len > range.len())
            }
            _ => false,
        }
    }

    /// Checks shape, type and layout.
    pub(super) fn expect(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.expect_shape(name, shape)?;
        let file = self.file();
        if self.is_expanded() {
            return Err(Error::ExpandedTensor { file });
        }
        if let Some(companions) = &self.companions {
            companions.expect(shape)?;
        }
        match self.float_type() {
            Some(_) => Ok(()),
            None => Err(Error::TensorDType {
                tensor: name.into(),
                file,
                found: format!("{:?}", self.dtype),
            }),
        }
    }

    /// Refuses an unsupported tensor or object, and another shape.
    fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<()> {
        if let Values::Unread(what) = &self.values {
            return Err(self.file.refused(format!(
                "holds `{}` as {what}: expected a tensor in f16, bf16, f32 or f64",
                shown(name)
            )));
        }
        if self.shape != shape {
            return Err(Error::TensorShape {
                tensor: name.into(),
                file: self.file(),
                expected: shape.to_vec(),
                found: self.shape.clone(),
            });
        }
        Ok(())
    }

    /// Checks shape, type and layout of indices.
    pub(super) fn expect_indices(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.expect_shape(name, shape)?;
        let file = self.file();
        match self.dtype {
            Dtype::U32 | Dtype::I32 | Dtype::I64 if !self.is_expanded() => Ok(()),
            other => Err(Error::Refused {
                file,
                why: format!("holds `{name}` as {other:?}: expected U32, I32 or I64"),
            }),
        }
    }

    /// Returns the file's name for errors.
    pub(super) fn file(&self) -> String {
        self.file.path.display().to_string()
    }

    fn bytes(&self) -> &[u8] {
        match &self.values {
            Values::Dense(range) | Values::Strided { range, .. } => &self.file.bytes[range.clone()],
            Values::Identity | Values::Zeros | Values::Adapted(_) | Values::Unread(_) => &[],
        }
    }

    /// Returns true if both hold the same values, in any type.
    pub(super) fn holds_the_same(&self, other: &Self) -> candle_core::Result<bool> {
        if self.shape != other.shape || self.float_type().is_none() || other.float_type().is_none()
        {
            return Ok(false);
        }
        let is_plain = self.companions.is_none() && other.companions.is_none();
        if let (Values::Dense(_), Values::Dense(_), true) = (
            &self.values,
            &other.values,
            is_plain && self.dtype == other.dtype,
        ) {
            return Ok(self.bytes() == other.bytes());
        }
        let (a, b) = (
            self.load()?.to_dtype(DType::F64)?,
            other.load()?.to_dtype(DType::F64)?,
        );
        Ok(a.ne(&b)?.max_all()?.to_scalar::<u8>()? == 0)
    }

    /// Loads the tensor to the CPU in its own type, or in f32 if it is int8.
    pub(super) fn load(&self) -> candle_core::Result<Tensor> {
        if let Some(companions) = &self.companions {
            return RoundedWeight::read(self, companions)?.restore();
        }
        if let Values::Identity = self.values {
            return Tensor::eye(self.shape[0], DType::F32, &Device::Cpu);
        }
        if let Values::Zeros = self.values {
            return Tensor::zeros(self.shape.as_slice(), DType::F32, &Device::Cpu);
        }
        if let Values::Adapted(adapted) = &self.values {
            return adapted.load();
        }
        let bytes = self.in_order()?;
        let view = TensorView::new(self.dtype, self.shape.clone(), &bytes);
        view.map_err(candle_core::Error::wrap)?.load(&Device::Cpu)
    }

    /// Loads a tensor of signed bytes.
    pub(super) fn load_bytes(&self) -> candle_core::Result<Vec<i8>> {
        Ok(self.in_order()?.iter().map(|byte| *byte as i8).collect())
    }

    /// Returns the bytes in row-major order.
    fn in_order(&self) -> candle_core::Result<Cow<'_, [u8]>> {
        let bytes = match &self.values {
            Values::Dense(_) => Cow::Borrowed(self.bytes()),
            Values::Strided { .. } if self.is_expanded() => {
                let file = self.file.path.display().to_string();
                return Err(candle_core::Error::wrap(Error::ExpandedTensor { file }));
            }
            Values::Strided { strides, .. } => Cow::Owned(gather(
                self.bytes(),
                element_len(self.dtype),
                &self.shape,
                strides,
            )),
            Values::Unread(what) => candle_core::bail!("{what} is not supported"),
            Values::Identity | Values::Zeros | Values::Adapted(_) => Cow::Borrowed(self.bytes()),
        };
        if let Some(expected) = self.checksum {
            let found = crc32c(self.bytes());
            if found != expected {
                let file = self.file.path.display().to_string();
                let shape = self.shape.clone();
                return Err(candle_core::Error::wrap(Error::Checksum {
                    file,
                    shape,
                    expected,
                    found,
                }));
            }
        }
        Ok(bytes)
    }
}

/// Returns the number of bytes of one element; types smaller than a byte are not supported.
pub(super) fn element_len(dtype: Dtype) -> usize {
    dtype.bitsize().div_ceil(8)
}

fn byte_len(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(element_len(dtype), |len, &size| len.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> Arc<WeightFile> {
        Arc::new(WeightFile::owned(Cow::Owned(bytes.to_vec()), "test"))
    }

    fn values(tensor: &StoredTensor) -> Vec<f32> {
        tensor
            .load()
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    #[test]
    fn strided_elements_come_out_in_order() {
        let bytes: Vec<u8> = (0..6).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let file = file(&bytes);
        let dense = StoredTensor::dense(&file, Dtype::F32, vec![2, 3], 0..24).unwrap();
        assert_eq!(values(&dense), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(values(&dense.transposed()), [0., 3., 1., 4., 2., 5.]);
        let every_second =
            StoredTensor::strided(&file, Dtype::F32, vec![2], vec![2], 4..24).unwrap();
        assert_eq!(values(&every_second), [1., 3.]);
    }

    #[test]
    fn elements_outside_their_range_are_no_tensor() {
        let file = file(&[0; 24]);
        assert!(StoredTensor::dense(&file, Dtype::F32, vec![7], 0..28).is_none());
        assert!(StoredTensor::dense(&file, Dtype::F32, vec![5], 0..24).is_none());
        assert!(StoredTensor::strided(&file, Dtype::F32, vec![2, 3], vec![4, 1], 0..24).is_none());
        assert!(
            StoredTensor::strided(&file, Dtype::F32, vec![usize::MAX], vec![2], 0..24).is_none()
        );
        assert!(
            StoredTensor::strided(&file, Dtype::F32, vec![2], vec![usize::MAX], 0..24).is_none()
        );
    }

    #[test]
    fn a_tensor_that_repeats_its_bytes_is_never_loaded() {
        let tensor =
            StoredTensor::strided(&file(&[0; 4]), Dtype::F32, vec![1 << 40], vec![0], 0..4)
                .unwrap();
        assert!(tensor.is_expanded());
        assert!(tensor.load().is_err());
        assert!(tensor.expect("x", &[1 << 40]).is_err());
    }

    #[test]
    fn an_adapters_update_is_added() {
        let matrix = |shape: Vec<usize>, values: &[f32]| {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let len = bytes.len();
            StoredTensor::dense(&file(&bytes), Dtype::F32, shape, 0..len).unwrap()
        };
        let weight = |is_transposed| {
            StoredTensor::adapted(Adapted {
                weight: matrix(vec![2, 2], &[1., 2., 3., 4.]),
                a: matrix(vec![1, 2], &[1., 2.]),
                b: matrix(vec![2, 1], &[10., 30.]),
                scale: 0.5,
                is_transposed,
            })
        };
        // B·A = [[10, 20], [30, 60]].
        assert_eq!(values(&weight(false)), [6., 12., 18., 34.]);
        assert_eq!(values(&weight(true)), [6., 17., 13., 34.]);
    }

    #[test]
    fn an_entry_that_is_not_read_is_refused_where_it_is_needed() {
        let tensor = StoredTensor::unread(&file(&[]), vec![2], "complex64".into());
        let error = tensor.expect("x", &[2]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`test` holds `x` as complex64: expected a tensor in f16, bf16, f32 or f64"
        );
        assert!(tensor.load().is_err() && tensor.float_type().is_none());
    }

    #[test]
    fn a_wrong_checksum_is_found_when_the_tensor_is_loaded() {
        let tensor = StoredTensor::dense(&file(b"1234"), Dtype::F32, vec![1], 0..4).unwrap();
        assert!(tensor.clone().with_checksum(crc32c(b"1234")).load().is_ok());
        assert!(
            tensor
                .with_checksum(0)
                .load()
                .unwrap_err()
                .to_string()
                .contains("checksum")
        );
    }
}
