//! The optional outputs of a forward pass.

use bitflags::bitflags;
use candle_core::Tensor;

bitflags! {
    /// Results that are only computed on request.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Outputs: u8 {
        /// The projected embeddings and the result of every layer call.
        const HIDDEN_STATES = 1;
        /// The attention probabilities of every layer call.
        const ATTENTIONS = 1 << 1;
        /// The hidden states of padding, as returned by transformers. Without this flag inference
        /// may skip padding, to which no token attends, and return zeros there, as it does on the
        /// CPU.
        const PADDING = 1 << 2;
    }
}

/// Collects the requested intermediate results.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) hidden_states: Option<Vec<Tensor>>,
    pub(crate) attentions: Option<Vec<Tensor>>,
}

impl Trace {
    pub(crate) fn new(outputs: Outputs) -> Self {
        Self {
            hidden_states: outputs.contains(Outputs::HIDDEN_STATES).then(Vec::new),
            attentions: outputs.contains(Outputs::ATTENTIONS).then(Vec::new),
        }
    }

    pub(crate) fn hidden_state(&mut self, hidden_states: &Tensor) {
        if let Some(kept) = &mut self.hidden_states {
            kept.push(hidden_states.clone());
        }
    }

    pub(crate) fn attention(&mut self, probabilities: &Tensor) {
        if let Some(kept) = &mut self.attentions {
            kept.push(probabilities.clone());
        }
    }
}
