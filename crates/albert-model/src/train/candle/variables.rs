//! The parameters on a device, and their gradients on the way back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};

use crate::train::flat::{FlatLayout, FlatParameters, ModelPart};
use crate::train::options::Frozen;

/// Ranges of the flat buffer as tensors, uploaded when they are first used.
pub(super) struct Variables<'a> {
    values: &'a [f32],
    device: &'a Device,
    /// The ranges that have gradients.
    trained: Vec<Range<usize>>,
    uploaded: RefCell<HashMap<usize, (Range<usize>, Tensor)>>,
}

impl<'a> Variables<'a> {
    /// Takes the values of all parameters; nothing has a gradient if `frozen` is `None`.
    pub(super) fn new(
        layout: &FlatLayout,
        parameters: &'a FlatParameters,
        frozen: Option<Frozen>,
        device: &'a Device,
    ) -> Self {
        let is_trained = |part: ModelPart| match (frozen, part) {
            (None, _) => false,
            (Some(frozen), ModelPart::Embeddings) => !frozen.freezes_embeddings(),
            (Some(frozen), ModelPart::Encoder) => !frozen.encoder,
            (Some(_), ModelPart::Pooler | ModelPart::Head) => true,
        };
        let tensors = layout.tensors().iter();
        let trained = tensors.filter(|tensor| is_trained(tensor.part));
        Self {
            values: parameters.values(),
            device,
            trained: trained.map(|tensor| tensor.range.clone()).collect(),
            uploaded: RefCell::default(),
        }
    }

    /// Returns a range in the shape and the type in which it is used.
    pub(super) fn get(
        &self,
        range: &Range<usize>,
        shape: &[usize],
        dtype: DType,
    ) -> Result<Tensor> {
        let mut uploaded = self.uploaded.borrow_mut();
        let (_, tensor) = match uploaded.entry(range.start) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let values = &self.values[range.clone()];
                let mut tensor = Tensor::from_slice(values, shape, self.device)?;
                if dtype == DType::F64 {
                    tensor = tensor.to_dtype(DType::F64)?;
                }
                if self
                    .trained
                    .iter()
                    .any(|trained| trained.start == range.start)
                {
                    tensor = Var::from_tensor(&tensor)?.into_inner();
                }
                entry.insert((range.clone(), tensor))
            }
        };
        tensor.to_dtype(dtype)
    }

    /// Adds the gradients of all variables to those of the flat buffer.
    pub(super) fn add_gradients(&self, store: &GradStore, gradients: &mut [f32]) -> Result<()> {
        for (range, variable) in self.uploaded.borrow().values() {
            let Some(gradient) = store.get(variable) else {
                continue;
            };
            let gradient = gradient.to_dtype(DType::F32)?.flatten_all()?;
            let sums = gradients[range.clone()].iter_mut();
            for (sum, value) in sums.zip(gradient.to_vec1::<f32>()?) {
                *sum += value;
            }
        }
        Ok(())
    }
}
