//! The use of a checkpoint's tensors by a head, before any is loaded.

use std::collections::HashSet;

use super::{Checkpoint, LoadReport, bert, is_in, is_of_pooler, names};
use crate::config::ModelType;
use crate::error::{Error, Result};
use crate::parameters::{ALBERT, ENCODER, GROUPS, Head, head_parameters, parameters};

/// The maximum number of missing tensors that an error names.
const MISSING_NAMED: usize = 4;

impl Checkpoint {
    /// Reports the use of each tensor of the file by any of its heads; `missing` lists those that
    /// the first of `architectures` would need.
    ///
    /// # Errors
    /// If the encoder is incomplete, or a required tensor has a wrong shape or type.
    pub fn report(&self) -> Result<LoadReport> {
        let mut report = self.check(Head::Encoder)?;
        for head in self.heads() {
            report.add(self.check(head)?);
        }
        let declared = |head: &Head| {
            self.config
                .architectures
                .first()
                .is_some_and(|name| head.is_architecture(name))
        };
        if let Some(head) = Head::ALL.into_iter().find(declared) {
            let needed = head_parameters(&self.config, head)
                .into_iter()
                .map(|(name, _)| name);
            report
                .missing
                .extend(needed.filter(|name| self.stored(name).is_none()));
            if !head.uses_pooler() {
                report.missing.retain(|name| !is_of_pooler(name));
            }
        }
        Ok(report)
    }

    /// Checks every tensor that a head needs, by name, shape and type, without loading any, and
    /// reports what loading it would do.
    ///
    /// # Errors
    /// If a tensor is missing or does not match the configuration.
    pub fn check(&self, head: Head) -> Result<LoadReport> {
        if head.is_classifier()
            && let Some(found) = self.declared_classifier()
            && found != head
        {
            return Err(Error::OtherClassifier {
                file: self.files.name(),
                head,
                found,
            });
        }
        let mut used = Vec::new();
        let mut missing = Vec::new();
        for (name, shape) in parameters(&self.config, head) {
            match self.stored(&name) {
                Some((stored, tensor)) => {
                    tensor.expect(stored, &shape)?;
                    if !self.implied.contains_key(&name) {
                        used.push(stored.to_string());
                        used.extend(tensor.companions.iter().flat_map(|them| them.names.clone()));
                    }
                }
                None => missing.push(name),
            }
            if missing.len() == MISSING_NAMED {
                break;
            }
        }
        let (optional, required): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|name| head == Head::Encoder && is_of_pooler(name));
        if let Some(name) = required.first() {
            let of_head = !is_in(ALBERT, name) || is_of_pooler(name);
            if of_head {
                return Err(Error::MissingHead {
                    file: self.files.name(),
                    head,
                    missing: self.as_file_spells(required),
                    served: self.heads(),
                });
            }
            if !self.names.keys().any(|name| name.starts_with("albert.")) {
                return Err(names::foreign(self.config.model_type, &self.files));
            }
            return Err(Error::MissingTensors {
                file: self.files.name(),
                names: self.as_file_spells(required),
            });
        }
        let report = LoadReport::new(self, head, used, self.as_file_spells(optional))?;
        self.refuse_more_layers(&report)?;
        Ok(report)
    }

    /// Converts names to BERT's if the model is a BERT.
    fn as_file_spells(&self, names: Vec<String>) -> Vec<String> {
        let spell = |name: String| {
            if self.config.model_type == ModelType::Bert {
                bert::to_bert(&name)
            } else {
                name
            }
        };
        names.into_iter().map(spell).collect()
    }

    /// Refuses a file with more layers than its configuration describes. An ALBERT's configuration
    /// without `num_hidden_groups` or `inner_group_num` means 1, and would silently turn the file into
    /// another model.
    fn refuse_more_layers(&self, report: &LoadReport) -> Result<()> {
        let layers = format!("{ALBERT}.{ENCODER}.{GROUPS}");
        let unused: HashSet<&String> = report.unused.iter().collect();
        let is_of_layer =
            |(name, stored): &(&String, &String)| is_in(&layers, name) && unused.contains(stored);
        let Some((_, tensor)) = self.names.iter().find(is_of_layer) else {
            return Ok(());
        };
        let config = &self.config;
        let layers = match config.model_type {
            ModelType::Albert => format!(
                "`num_hidden_groups` {} and `inner_group_num` {}",
                config.num_hidden_groups, config.inner_group_num
            ),
            ModelType::Bert => format!("`num_hidden_layers` {}", config.num_hidden_layers),
        };
        Err(Error::UnexpectedTensor {
            tensor: tensor.clone(),
            file: self.files.name(),
            layers,
        })
    }
}
