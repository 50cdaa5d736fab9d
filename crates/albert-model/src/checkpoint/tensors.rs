//! Reads the tensors of a weight file that is not an ALBERT, such as a dense layer after the
//! pooling.

use std::borrow::Cow;
use std::path::Path;

use candle_core::{DType, Tensor};

use crate::checkpoint::files::WeightFiles;
use crate::error::{Error, Result, shown};

/// A single weight file, safetensors or PyTorch in either format, not yet loaded.
#[derive(Debug)]
pub struct Tensors(WeightFiles);

impl Tensors {
    /// Reads the file's list of tensors; errors call it `name`. Nothing in it is executed.
    ///
    /// # Errors
    /// If the bytes are in neither format, or are truncated.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>, name: &str) -> Result<Self> {
        Ok(Self(WeightFiles::from_bytes(bytes.into(), name)?))
    }

    /// Memory-maps a file and reads its list of tensors; errors call it `name`. Nothing in it is
    /// executed.
    ///
    /// # Errors
    /// See [`from_bytes`](Self::from_bytes); also if it is not a regular file or cannot be read.
    pub fn from_file(path: impl AsRef<Path>, name: &str) -> Result<Self> {
        Ok(Self(WeightFiles::from_file(path.as_ref(), name)?))
    }

    /// Loads the tensors with these names and shapes, in this order, in f32 on the CPU.
    ///
    /// # Errors
    /// If one of them is missing or has another shape, or if the file holds any other tensor.
    pub fn load(&self, expected: &[(&str, Vec<usize>)]) -> Result<Vec<Tensor>> {
        let refused = |why: String| Error::Refused {
            file: self.0.name(),
            why,
        };
        let is_expected = |name: &str| expected.iter().any(|(expected, _)| *expected == name);
        if let Some((name, _)) = self.0.tensors().find(|(name, _)| !is_expected(name)) {
            let names: Vec<_> = expected
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            return Err(refused(format!(
                "holds the tensor `{}`: expected only {}",
                shown(name),
                names.join(", ")
            )));
        }
        let load = |(name, shape): &(&str, Vec<usize>)| {
            let tensor = self
                .0
                .get(name)
                .ok_or_else(|| refused(format!("lacks the tensor `{name}`")))?;
            tensor.expect(name, shape)?;
            Ok(tensor.load()?.to_dtype(DType::F32)?)
        };
        expected.iter().map(load).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Device;

    use super::*;

    fn tensors() -> Tensors {
        let tensor = Tensor::new(&[[1f64, 2.0, 3.0]], &Device::Cpu).unwrap();
        let bytes = safetensors::serialize(HashMap::from([("weight", tensor)]), None).unwrap();
        Tensors::from_bytes(bytes, "2_Dense/model.safetensors").unwrap()
    }

    #[test]
    fn what_is_expected_comes_in_f32() {
        let loaded = tensors().load(&[("weight", vec![1, 3])]).unwrap();
        assert_eq!(loaded[0].to_vec2::<f32>().unwrap(), [[1.0, 2.0, 3.0]]);
    }

    #[test]
    fn too_much_too_little_and_other_shapes_are_named() {
        let message =
            |expected: &[(&str, Vec<usize>)]| tensors().load(expected).unwrap_err().to_string();
        let file = "`2_Dense/model.safetensors`";
        assert_eq!(
            message(&[("bias", vec![3])]),
            format!("{file} holds the tensor `weight`: expected only `bias`")
        );
        assert_eq!(
            message(&[("weight", vec![1, 3]), ("bias", vec![3])]),
            format!("{file} lacks the tensor `bias`")
        );
        assert_eq!(
            message(&[("weight", vec![3, 1])]),
            format!("tensor `weight` in {file}: expected shape [3, 1], found [1, 3]")
        );
    }
}
