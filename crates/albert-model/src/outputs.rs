//! What a forward pass may return besides its result for the tokens.

use bitflags::bitflags;
use candle_core::Tensor;

bitflags! {
    /// Results that are not computed unless they are asked for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Outputs: u8 {
        /// The projected embeddings and the result of every layer call.
        const HIDDEN_STATES = 1;
        /// The attention probabilities of every layer call.
        const ATTENTIONS = 1 << 1;
        /// What the network makes of padding, as transformers returns it. Inference may leave it
        /// out, as on the CPU, and give zeros there: no token attends to it.
        const PADDING = 1 << 2;
    }
}

/// Collects the intermediate results that were asked for.
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
