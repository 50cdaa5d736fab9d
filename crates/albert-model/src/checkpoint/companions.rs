//! The tensors that accompany the integers of an int8 weight in a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use albert_kernels::quantized::SCALE_BLOCK;

use crate::checkpoint::stored::StoredTensor;
use crate::error::{Error, Result};

/// The suffixes of their names, after the weight's.
pub(super) const SCALE: &str = "_scale";
pub(super) const ROTATION: &str = "_rotation";
pub(super) const OUTLIER_CHANNELS: &str = "_outlier_channels";
pub(super) const OUTLIERS: &str = "_outliers";

/// The tensors that accompany the integers of a weight.
#[derive(Debug)]
pub(super) struct Companions {
    pub(super) scales: StoredTensor,
    /// With its name.
    pub(super) rotation: Option<(String, StoredTensor)>,
    /// Channels and weights.
    pub(super) outliers: Option<(StoredTensor, StoredTensor)>,
    /// Their names in the file.
    pub(super) names: Vec<String>,
    /// The missing one of the two tensors of outliers.
    missing: Option<String>,
}

impl Companions {
    /// Attaches to every tensor of 8-bit integers its companions, which are found by name.
    pub(super) fn attach(tensors: &mut BTreeMap<String, StoredTensor>) {
        let with_scales = tensors.iter().filter(|(name, tensor)| {
            tensor.holds_bytes() && tensors.contains_key(&format!("{name}{SCALE}"))
        });
        let names: Vec<String> = with_scales.map(|(name, _)| name.clone()).collect();
        for name in names {
            let [scale, rotation, channels, outliers] =
                [SCALE, ROTATION, OUTLIER_CHANNELS, OUTLIERS].map(|end| format!("{name}{end}"));
            let scales = tensors[&scale].clone();
            let mut names = vec![scale];
            let (mut pair, mut missing) = (None, None);
            match (tensors.get(&channels), tensors.get(&outliers)) {
                (Some(a), Some(b)) => {
                    pair = Some((a.clone(), b.clone()));
                    names.extend([channels, outliers]);
                }
                (Some(_), None) => missing = Some(outliers),
                (None, Some(_)) => missing = Some(channels),
                (None, None) => {}
            }
            let rotation = tensors
                .get(&rotation)
                .map(|tensor| (rotation, tensor.clone()));
            names.extend(rotation.iter().map(|(name, _)| name.clone()));
            let companions = Arc::new(Self {
                scales,
                rotation,
                outliers: pair,
                names,
                missing,
            });
            if let Some(tensor) = tensors.get_mut(&name) {
                tensor.companions = Some(companions);
            }
        }
    }

    /// Returns the number of bytes of the loaded tensors; `None` if it exceeds `usize`.
    pub(super) fn loaded_len(&self) -> Option<usize> {
        let outliers = self
            .outliers
            .iter()
            .flat_map(|(channels, outliers)| [channels, outliers]);
        std::iter::once(&self.scales)
            .chain(self.rotation.iter().map(|(_, rotation)| rotation))
            .chain(outliers)
            .try_fold(0usize, |len, tensor| len.checked_add(tensor.loaded_len()?))
    }

    /// Checks shapes and types against the shape of the integers.
    pub(super) fn expect(&self, shape: &[usize]) -> Result<()> {
        if let Some(missing) = &self.missing {
            return Err(Error::MissingTensors {
                file: self.scales.file(),
                names: vec![missing.clone()],
            });
        }
        // The check of the integers' own shape refuses anything else.
        let &[out, input] = shape else { return Ok(()) };
        self.scales
            .expect(&self.names[0], &[out, input.div_ceil(SCALE_BLOCK)])?;
        if let Some((name, rotation)) = &self.rotation {
            rotation.expect_indices(name, &[1])?;
        }
        if let Some((channels, outliers)) = &self.outliers {
            let count = channels.shape.first().copied().unwrap_or(0);
            channels.expect_indices(&self.names[1], &[count])?;
            outliers.expect(&self.names[2], &[out, count])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use safetensors::Dtype;

    use super::*;
    use crate::checkpoint::weight_file::WeightFile;

    #[test]
    fn what_belongs_to_a_weight_counts_when_it_is_loaded() {
        let file = Arc::new(WeightFile::owned(Cow::Owned(vec![0; 8]), "test"));
        // They may all be the same bytes, as tensors of a pickle can be.
        let stored = |dtype, shape: &[usize], bytes| {
            StoredTensor::dense(&file, dtype, shape.to_vec(), 0..bytes).expect("within the file")
        };
        let mut tensors = BTreeMap::from([
            ("x".to_string(), stored(Dtype::I8, &[2, 4], 8)),
            ("x_scale".to_string(), stored(Dtype::F32, &[2, 1], 8)),
            ("x_rotation".to_string(), stored(Dtype::U32, &[1], 4)),
            (
                "x_outlier_channels".to_string(),
                stored(Dtype::U32, &[1], 4),
            ),
            ("x_outliers".to_string(), stored(Dtype::F32, &[2, 1], 8)),
        ]);
        Companions::attach(&mut tensors);
        assert_eq!(tensors["x"].loaded_len(), Some(2 * 4 * 4 + 8 + 4 + 4 + 8));
    }
}
