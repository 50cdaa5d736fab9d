//! Provides the tensors of a checkpoint as a [`VarBuilder`] or as variables, and makes a checkpoint
//! from variables.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};

use super::quantized::{self, RoundedWeights};
use super::rounded::RoundedWeight;
use super::stored::StoredTensor;
use super::{Checkpoint, LoadOptions, WeightFormat};
use crate::config::AlbertConfig;
use crate::error::{Error, Result};
use crate::parameters::WORD_EMBEDDINGS;
use crate::word_embeddings::HALVES;

impl Checkpoint {
    /// Returns every tensor as a trainable variable under its canonical name, to fine-tune from.
    ///
    /// A model created with [`VarBuilder::from_varmap`] then takes these tensors, and initializes
    /// others, such as the classifier of a new task.
    ///
    /// # Errors
    /// If a file is damaged, or there is not enough memory.
    pub fn var_map(&self, options: &LoadOptions) -> Result<VarMap> {
        let vb = self.var_builder(options)?;
        let variables = VarMap::new();
        for name in self.names.keys().chain(self.implied.keys()) {
            let is_weight =
                |tensor: &StoredTensor| tensor.float_type().is_some() && !tensor.is_expanded();
            if self
                .stored(name)
                .is_some_and(|(_, tensor)| is_weight(tensor))
            {
                let variable = Var::from_tensor(&vb.get_unchecked(name)?)?;
                variables
                    .data()
                    .lock()
                    .expect("no other thread uses the map")
                    .insert(name.clone(), variable);
            }
        }
        Ok(variables)
    }

    /// Creates the checkpoint of a trained model from its `config` and its variables, under the
    /// names of [`var_map`](Self::var_map). [`save`](Self::save) writes it in transformers' layout.
    ///
    /// # Errors
    /// If the configuration is not valid, or a variable cannot be read. That the variables form a
    /// model is only checked when the checkpoint is saved or loaded.
    pub fn from_var_map(config: &AlbertConfig, variables: &VarMap) -> Result<Self> {
        let tensors: BTreeMap<String, Tensor> = {
            // A thread that panicked while holding the map left complete variables in it.
            let variables = variables
                .data()
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            variables
                .iter()
                .map(|(name, variable)| (name.clone(), variable.as_tensor().clone()))
                .collect()
        };
        let bytes = safetensors::serialize(&tensors, None).map_err(candle_core::Error::wrap)?;
        Self::from_bytes(&config.to_json(), bytes, "the variables")
    }

    /// Returns a [`VarBuilder`] at the root of the canonical names, `albert.…`, `predictions.…` and
    /// so on, whatever the names in the file.
    ///
    /// For int8 weights it has, in addition to `….weight` in f32, the same name as U8, the integers
    /// plus 128, and `….weight_scale`, `….weight_rotation`, `….weight_outlier_channels` and
    /// `….weight_outliers`, which the modules of this crate use if present. For a word embedding
    /// table in 16 bits on the CPU it also has the name `….weight_f16` or `….weight_bf16`, with which
    /// they take the table as it is stored.
    ///
    /// # Errors
    /// If int8 is requested on another device than the CPU, or for a checkpoint that has no int8
    /// weights and was not passed through [`quantize`](Self::quantize).
    pub fn var_builder(&self, options: &LoadOptions) -> Result<VarBuilder<'static>> {
        let is_cpu = matches!(options.device, Device::Cpu);
        let is_quantized =
            self.weight_format(options.weights, &options.device) == WeightFormat::Int8;
        if is_quantized && !is_cpu {
            return Err(Error::QuantizedDevice);
        }
        if is_quantized && !self.is_quantized() && self.calibration.is_none() {
            return Err(Error::NotCalibrated {
                file: self.files.name(),
            });
        }
        let stored_as = options.weights.float_type();
        let dtype = if is_cpu { DType::F32 } else { stored_as };
        let source = Source {
            checkpoint: self.clone(),
            stored_as,
            is_cpu,
            is_quantized,
            rounded: RoundedWeights::default(),
        };
        Ok(VarBuilder::from_backend(
            Box::new(source),
            dtype,
            options.device.clone(),
        ))
    }
}

/// The backend of a [`VarBuilder`] with the checkpoint's tensors.
struct Source {
    checkpoint: Checkpoint,
    /// The type to which values are rounded before they are converted to the builder's type.
    stored_as: DType,
    is_cpu: bool,
    /// True if there are int8 weights.
    is_quantized: bool,
    rounded: RoundedWeights,
}

impl Source {
    fn quantized(&self, weight: &str) -> candle_core::Result<Arc<RoundedWeight>> {
        self.rounded
            .get(&self.checkpoint, weight)
            .map_err(candle_core::Error::wrap)
    }

    /// Returns true for the name of a word embedding table in 16 bits, if the file has it in that
    /// type and the builder's values are not rounded to another.
    fn is_half(&self, name: &str) -> bool {
        let matches_file = |(end, dtype): (&str, DType)| {
            let weight = name.strip_suffix(end.strip_prefix("weight")?)?;
            let (_, tensor) = self.checkpoint.stored(weight)?;
            let keeps_values = self.stored_as == DType::F32 || self.stored_as == dtype;
            Some(weight == WORD_EMBEDDINGS && tensor.float_type() == Some(dtype) && keeps_values)
        };
        let is_half = HALVES
            .into_iter()
            .filter_map(matches_file)
            .any(|is_half| is_half);
        is_half && self.is_cpu && !self.is_quantized
    }

    /// Returns a part of an int8 weight, if the name and the type mean one.
    fn part(&self, name: &str, dtype: DType) -> candle_core::Result<Option<Tensor>> {
        let (weight, end) = match quantized::split(name) {
            Some(parts) => parts,
            None if dtype == DType::U8 && quantized::is_quantized(name) => (name, ""),
            None => return Ok(None),
        };
        if !self.is_quantized {
            return Ok(None);
        }
        self.quantized(weight)?.part(end)
    }
}

impl SimpleBackend for Source {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        if let Some((stored, tensor)) = self.checkpoint.stored(name) {
            tensor
                .expect(stored, shape.dims())
                .map_err(candle_core::Error::wrap)?;
        }
        self.get_unchecked(name, dtype, device)
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        if let Some(part) = self.part(name, dtype)? {
            return part.to_device(device);
        }
        if self.is_quantized && quantized::is_quantized(name) {
            // The dequantized weight, for which the bias is corrected.
            return self
                .quantized(name)?
                .restore()?
                .to_dtype(dtype)?
                .to_device(device);
        }
        let Some((_, tensor)) = self.checkpoint.stored(name) else {
            return Err(candle_core::Error::CannotFindTensor { path: name.into() }.bt());
        };
        let loaded = tensor.load()?;
        let mut tensor = if loaded.dtype() == dtype && self.stored_as == DType::F32 {
            loaded
        } else {
            loaded.to_dtype(self.stored_as)?.to_dtype(dtype)?
        };
        if self.is_quantized
            && let Some(weight) = quantized::weight_of_bias(name)
        {
            tensor = self.quantized(&weight)?.correct(tensor)?;
        }
        tensor.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        if self.is_half(name) {
            return true;
        }
        match quantized::split(name) {
            Some((weight, _)) => self.is_quantized && self.checkpoint.stored(weight).is_some(),
            None => self.checkpoint.stored(name).is_some(),
        }
    }
}
