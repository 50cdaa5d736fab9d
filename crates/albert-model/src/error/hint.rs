//! The remedies that are suggested for errors.

use super::Error;

impl Error {
    /// Suggests a remedy, if one is known: one line without a final period.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoWeights {
                found: Some("tf_model.h5"),
                ..
            } => {
                "convert it with transformers 4: AutoModel.from_pretrained(DIR, from_tf=True).save_pretrained(DIR)"
            }
            Self::NoWeights {
                found: Some("flax_model.msgpack"),
                ..
            } => {
                "convert it with transformers 4: AutoModel.from_pretrained(DIR, from_flax=True).save_pretrained(DIR)"
            }
            Self::NoWeights {
                found: Some("rust_model.ot"),
                ..
            } => "rust-bert converted it from pytorch_model.bin: use that file of the same model",
            Self::NoWeights { found: Some(_), .. } => {
                "it was converted from PyTorch or TensorFlow weights: use those of the same model"
            }
            Self::SeveralWeights { .. } => {
                "keep only the right file in the folder, or rename it to pytorch_model.bin"
            }
            Self::HoldsModel { .. } => "choose another folder",
            Self::Adapter { .. } | Self::Unmerged { .. } => {
                "merge it with PEFT: PeftModel.from_pretrained(BASE, ADAPTER).merge_and_unload().save_pretrained(DIR)"
            }
            Self::LfsPointer { .. } => "run `git lfs pull` in the model's folder",
            Self::NotCalibrated { .. } => "`Checkpoint::quantize` collects them",
            Self::Overflow { .. } => "use bf16, which has the range of f32",
            _ => return None,
        };
        Some(hint.to_string())
    }
}
