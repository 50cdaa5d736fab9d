//! The settings of the forward and backward pass, which replace those of a model's configuration.

use std::fmt;
use std::sync::Arc;

use albert_tasks::albert_model::train::{FlatLayout, Frozen, PassOptions, TrainingPass};
use serde_json::Value;

use crate::engine::Engine;
use crate::error::Result;

/// The settings of the forward and backward pass of any task.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct PassSettings {
    /// The engine of losses and gradients.
    pub engine: Engine,
    /// The number of gradient buffers, on which the last bits of the result depend; `None` for one
    /// per core, 8 at most.
    pub slots: Option<usize>,
    /// The parts that are not trained.
    pub frozen: Frozen,
    /// Dropout of embeddings and layer outputs; `None` for the configuration's.
    pub dropout: Option<f32>,
    /// Dropout of attention probabilities; `None` for the configuration's.
    pub attention_dropout: Option<f32>,
    /// Dropout of the pooled output before a classifier; `None` for the configuration's.
    pub classifier_dropout: Option<f32>,
    /// Receives the new limit of tokens in a pass after a GPU ran out of memory.
    pub notice: Option<Arc<dyn Fn(usize) + Send + Sync>>,
}

impl fmt::Debug for PassSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PassSettings");
        shown.field("engine", &self.engine);
        shown.field("slots", &self.slots);
        shown.field("frozen", &self.frozen);
        shown.field("dropout", &self.dropout);
        shown.field("attention_dropout", &self.attention_dropout);
        shown.field("classifier_dropout", &self.classifier_dropout);
        shown.finish_non_exhaustive()
    }
}

impl PassSettings {
    /// Returns the pass over a model.
    ///
    /// # Errors
    /// If the engine cannot compute the model on this machine.
    pub fn pass(&self, layout: &Arc<FlatLayout>) -> Result<TrainingPass> {
        let mut options = PassOptions::new(layout.config());
        options.slots = self.slots.unwrap_or(options.slots);
        options.frozen = self.frozen;
        let dropout = &mut options.dropout;
        dropout.hidden = self.dropout.unwrap_or(dropout.hidden);
        dropout.attention = self.attention_dropout.unwrap_or(dropout.attention);
        dropout.classifier = self.classifier_dropout.unwrap_or(dropout.classifier);
        let notice = self.notice.clone();
        let pass = self
            .engine
            .pass(Arc::clone(layout), options, move |tokens| {
                if let Some(notice) = &notice {
                    notice(tokens);
                }
            });
        Ok(pass?)
    }

    /// Adds what the bits of the losses depend on to a fingerprint.
    pub(crate) fn add_to_fingerprint(&self, pass: &TrainingPass, data: &mut Value) {
        let options = pass.options();
        data["slots"] = options.slots.into();
        data["bundle_tokens"] = options.bundle_tokens.into();
        if let engine @ Engine::Candle { .. } = &self.engine {
            data["engine"] = engine.to_string().into();
        }
    }
}
