//! An encoder that several models of one checkpoint share.

use std::sync::{Mutex, PoisonError};

use candle_core::Device;

use crate::checkpoint::{Checkpoint, LoadOptions, WeightFormat};
use crate::error::Result;
use crate::model::AlbertModel;
use crate::parameters::ALBERT;
use crate::pretrained::Pretrained;

/// Loads models of one checkpoint, which share one copy of the encoder's weights.
///
/// The encoder is loaded with the first model, and the pooler with the first model that reads it.
/// Each model has a head of its own, and the results of a model that was loaded alone.
///
/// ```
/// use albert_model::{AlbertForMaskedLM, AlbertModel, Checkpoint, LoadOptions, SharedEncoder};
/// # fn main() -> albert_model::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/grouped-masked-lm");
/// let checkpoint = Checkpoint::from_dir(folder)?;
/// let shared = SharedEncoder::new(checkpoint, LoadOptions::default());
/// let encoder: AlbertModel = shared.load()?;
/// let masked_lm: AlbertForMaskedLM = shared.load()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SharedEncoder {
    checkpoint: Checkpoint,
    options: LoadOptions,
    /// `None` until the first model is loaded.
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    /// The checkpoint, calibrated if int8 weights are requested and it has none.
    checkpoint: Checkpoint,
    albert: AlbertModel,
}

impl SharedEncoder {
    /// Creates an encoder that is not yet loaded.
    pub fn new(checkpoint: Checkpoint, options: LoadOptions) -> Self {
        Self {
            checkpoint,
            options,
            loaded: Mutex::new(None),
        }
    }

    /// Returns the checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Loads a model on the encoder. A second thread waits until the first has loaded its model.
    ///
    /// # Errors
    /// See [`Pretrained::load`]; also if a file has been written to since the encoder was loaded.
    pub fn load<M: Pretrained>(&self) -> Result<M> {
        self.checkpoint.check(M::HEAD)?;
        // A thread that panicked while it loaded left a complete encoder, or none.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match &mut *loaded {
            Some(loaded) => {
                // A head of other weights would read states that mean nothing to it.
                self.checkpoint.expect_unchanged()?;
                loaded
            }
            none => none.insert(self.load_encoder()?),
        };
        let vb = loaded.checkpoint.var_builder(&self.options)?;
        if M::HEAD.uses_pooler() && self.checkpoint.has_pooler() {
            loaded.albert.add_pooler(vb.pp(ALBERT))?;
        }
        let model = M::from_encoder(loaded.albert.clone(), vb);
        // What was read is in the model: the pages of the files would take as much memory again.
        self.checkpoint.release_pages();
        Ok(model?)
    }

    fn load_encoder(&self) -> Result<Loaded> {
        let is_int8_on_cpu = self.options.weights == WeightFormat::Int8
            && matches!(self.options.device, Device::Cpu);
        let checkpoint = if is_int8_on_cpu {
            self.checkpoint.quantize()?
        } else {
            self.checkpoint.clone()
        };
        let vb = checkpoint.var_builder(&self.options)?.pp(ALBERT);
        let albert = AlbertModel::without_pooler(checkpoint.config(), vb)?;
        Ok(Loaded { checkpoint, albert })
    }
}
