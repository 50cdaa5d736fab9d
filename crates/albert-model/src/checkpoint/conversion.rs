//! Conversion between an ALBERT and a BERT with equal outputs.

use std::sync::Arc;

use candle_core::DType;

use super::Checkpoint;
use super::stored::StoredTensor;
use crate::config::ModelType;
use crate::error::{Error, Result};
use crate::parameters::{bias, projection, weight};

impl Checkpoint {
    /// Returns the model as an ALBERT or as a BERT.
    ///
    /// A BERT becomes an ALBERT with one group per layer and the identity as its projection, whose
    /// outputs are equal. Only such an ALBERT can become a BERT.
    ///
    /// # Errors
    /// If an ALBERT shares weights between layers, or has a projection other than the identity.
    pub fn with_model_type(&self, model_type: ModelType) -> Result<Self> {
        let found = self.config.model_type;
        if found == model_type {
            return Ok(self.clone());
        }
        let mut converted = self.clone();
        if model_type == ModelType::Albert {
            let (h, file) = (self.config.hidden_size, self.files.name());
            let implied = Arc::make_mut(&mut converted.implied);
            let name = projection();
            implied.insert(bias(&name), StoredTensor::identity(&file, vec![h]));
            implied.insert(weight(&name), StoredTensor::identity(&file, vec![h, h]));
        } else {
            self.refuse_albert_proper()?;
            let name = projection();
            for name in [weight(&name), bias(&name)] {
                converted.names.remove(&name);
                Arc::make_mut(&mut converted.implied).remove(&name);
            }
        }
        converted.config = self.config.with_model_type(model_type);
        converted.choices.push(format!(
            "converted: {} into {}",
            found.with_article(),
            model_type.with_article()
        ));
        Ok(converted)
    }

    /// Refuses an ALBERT that is not equivalent to a BERT.
    fn refuse_albert_proper(&self) -> Result<()> {
        let config = &self.config;
        let refused = |why: String| Error::Refused {
            file: self.files.name(),
            why: format!("holds an ALBERT that is not equivalent to a BERT: {why}"),
        };
        if config.num_hidden_groups != config.num_hidden_layers || config.inner_group_num != 1 {
            return Err(refused(format!(
                "expected a group of one layer for each of {} layers, found {} groups of {}",
                config.num_hidden_layers, config.num_hidden_groups, config.inner_group_num
            )));
        }
        let (e, h) = (config.embedding_size, config.hidden_size);
        if e != h {
            return Err(refused(format!(
                "expected embeddings as wide as hidden states, {h}, found {e}"
            )));
        }
        let name = projection();
        for (name, shape) in [(weight(&name), vec![h, h]), (bias(&name), vec![h])] {
            let Some((stored, tensor)) = self.stored(&name) else {
                continue;
            };
            tensor.expect(stored, &shape)?;
            let identity = StoredTensor::identity(stored, shape);
            let difference =
                (tensor.load()?.to_dtype(DType::F32)? - identity.load()?.to_dtype(DType::F32)?)?;
            if difference
                .abs()?
                .flatten_all()?
                .max(0)?
                .to_scalar::<f32>()?
                != 0.0
            {
                return Err(refused(format!("expected the identity in `{stored}`")));
            }
        }
        Ok(())
    }
}
