//! The network's tensors by name, for one row of token ids.

use std::fmt;
use std::str::FromStr;

use albert_model::{
    AlbertConfig, AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForNextSentencePrediction,
    AlbertForPreTraining, AlbertForQuestionAnswering, AlbertForSequenceClassification,
    AlbertForTokenClassification, AlbertModel, Head, ModelInput, Outputs, SharedEncoder,
};
use candle_core::{DType, Device, Tensor};

use crate::names;
use crate::pipeline::{Purpose, max_length};
use crate::{Error, ModelFiles, Result, RunOptions, SharedModel};

/// A group of tensors that [`Forwarder`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardOutput {
    /// `last_hidden_state` (1, T, H)
    LastHiddenState,
    /// `pooler_output` (1, H)
    PoolerOutput,
    /// `hidden_states.0`, the projected embeddings, then one for each layer call, (1, T, H)
    HiddenStates,
    /// `attentions.0`, `attentions.1`, …, one for each layer call, (1, N, T, T)
    Attentions,
    /// `logits` of the model's head, and `sop_logits` (1, 2) of a pretraining model
    Logits,
}

impl ForwardOutput {
    /// Every output with its name.
    pub const ALL: [(ForwardOutput, &'static str); 5] = [
        (ForwardOutput::LastHiddenState, "last_hidden_state"),
        (ForwardOutput::PoolerOutput, "pooler_output"),
        (ForwardOutput::HiddenStates, "hidden_states"),
        (ForwardOutput::Attentions, "attentions"),
        (ForwardOutput::Logits, "logits"),
    ];
}

impl fmt::Display for ForwardOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names::display(&Self::ALL, self, f)
    }
}

impl FromStr for ForwardOutput {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::parse("output", &Self::ALL, name)
    }
}

/// Runs the network on token ids and returns its tensors by name. It needs no tokenizer.
#[derive(Debug)]
pub struct Forwarder {
    /// `None` if only logits are requested.
    encoder: Option<AlbertModel>,
    head: Option<HeadModel>,
    outputs: Vec<ForwardOutput>,
    config: AlbertConfig,
    device: Device,
    max_length: usize,
}

#[derive(Debug)]
enum HeadModel {
    PreTraining(AlbertForPreTraining),
    MaskedLm(AlbertForMaskedLM),
    NextSentence(AlbertForNextSentencePrediction),
    Sequence(AlbertForSequenceClassification),
    Token(AlbertForTokenClassification),
    Question(AlbertForQuestionAnswering),
    Choice(AlbertForMultipleChoice),
}

impl Forwarder {
    /// Loads the parts that compute `outputs`. An empty slice means the last hidden state, and the
    /// pooler's output if the model has a pooler.
    ///
    /// # Errors
    /// If a file is missing or wrong, or a requested pooler or head is missing.
    pub fn load(
        files: &ModelFiles,
        options: &RunOptions,
        outputs: &[ForwardOutput],
    ) -> Result<Self> {
        Self::from_model(&SharedModel::new(files, options)?, outputs)
    }

    /// Loads the parts that compute `outputs` from a model that other tasks may share.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn from_model(model: &SharedModel, outputs: &[ForwardOutput]) -> Result<Self> {
        let (checkpoint, shared, options) = (model.checkpoint(), model.encoder(), model.options());
        let mut outputs = outputs.to_vec();
        if outputs.is_empty() {
            outputs.push(ForwardOutput::LastHiddenState);
            outputs.extend(
                checkpoint
                    .has_pooler()
                    .then_some(ForwardOutput::PoolerOutput),
            );
        }
        if outputs.contains(&ForwardOutput::PoolerOutput) && !checkpoint.has_pooler() {
            let output = ForwardOutput::PoolerOutput.to_string();
            return Err(Error::MissingOutput {
                output,
                why: "the model has no pooler",
            });
        }
        let mut head = None;
        if outputs.contains(&ForwardOutput::Logits) {
            head = Some(HeadModel::load(shared)?);
        }
        let mut encoder = None;
        if outputs.iter().any(|it| *it != ForwardOutput::Logits) {
            encoder = Some(shared.load()?);
        }
        let config = checkpoint.config().clone();
        let (max_length, _) =
            max_length(model.files(), &config, options.max_length, Purpose::Texts)?;
        Ok(Self {
            encoder,
            head,
            outputs,
            config,
            device: options.load.device.clone(),
            max_length,
        })
    }

    /// Returns the maximum length in tokens to which a text should be truncated.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Returns the network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        &self.config
    }

    /// Computes the outputs for one row of ids, with a batch axis of 1, as f32 on the CPU.
    ///
    /// Token types default to 0, the mask to 1 (a token) everywhere.
    ///
    /// # Errors
    /// If there are no ids, more than the model has positions, ids outside the vocabulary, or types
    /// or a mask of another length.
    pub fn run(
        &self,
        ids: &[u32],
        type_ids: Option<&[u32]>,
        mask: Option<&[u32]>,
    ) -> Result<Vec<(String, Tensor)>> {
        if ids.is_empty() {
            return Err(Error::InputLength {
                what: "ids",
                expected: "at least 1".to_string(),
                found: 0,
            });
        }
        for (what, values) in [("type ids", type_ids), ("mask", mask)] {
            if let Some(values) = values.filter(|values| values.len() != ids.len()) {
                return Err(Error::InputLength {
                    what,
                    expected: ids.len().to_string(),
                    found: values.len(),
                });
            }
        }
        // Here, since the model does not check ids on a GPU.
        let config = &self.config;
        for (what, values, limit) in [
            ("token id", Some(ids), config.vocab_size),
            ("token type id", type_ids, config.type_vocab_size),
        ] {
            let outside = values
                .unwrap_or_default()
                .iter()
                .find(|&&value| value as usize >= limit);
            if let Some(&value) = outside {
                return Err(Error::InputValue { what, value, limit });
            }
        }
        let input = |shape: &[usize]| -> Result<ModelInput> {
            let row = |values: &[u32]| Tensor::from_slice(values, shape, &self.device);
            let mut input = ModelInput::new(row(ids)?).with_outputs(Outputs::PADDING);
            if let Some(type_ids) = type_ids {
                input = input.with_token_type_ids(row(type_ids)?);
            }
            if let Some(mask) = mask {
                input = input.with_attention_mask(row(mask)?);
            }
            Ok(input)
        };

        let mut tensors = Vec::new();
        if let Some(encoder) = &self.encoder {
            self.encoder_tensors(encoder, input(&[1, ids.len()])?, &mut tensors)?;
        }
        if let Some(head) = &self.head {
            let shape: &[usize] = match head {
                HeadModel::Choice(_) => &[1, 1, ids.len()], // (B, choices, T)
                _ => &[1, ids.len()],
            };
            head.tensors(&input(shape)?, &mut tensors)?;
        }
        let finish = |(name, tensor): (String, Tensor)| {
            Ok((
                name,
                tensor
                    .to_dtype(DType::F32)?
                    .to_device(&Device::Cpu)?
                    .contiguous()?,
            ))
        };
        tensors.into_iter().map(finish).collect()
    }

    fn encoder_tensors(
        &self,
        encoder: &AlbertModel,
        input: ModelInput,
        tensors: &mut Vec<(String, Tensor)>,
    ) -> Result<()> {
        let asked = |output: ForwardOutput| self.outputs.contains(&output);
        let mut outputs = Outputs::PADDING;
        outputs.set(Outputs::HIDDEN_STATES, asked(ForwardOutput::HiddenStates));
        outputs.set(Outputs::ATTENTIONS, asked(ForwardOutput::Attentions));
        let output = encoder.forward(&input.with_outputs(outputs))?;
        if asked(ForwardOutput::LastHiddenState) {
            tensors.push((
                ForwardOutput::LastHiddenState.to_string(),
                output.last_hidden_state,
            ));
        }
        if asked(ForwardOutput::PoolerOutput) {
            tensors.extend(
                output
                    .pooler_output
                    .map(|tensor| (ForwardOutput::PoolerOutput.to_string(), tensor)),
            );
        }
        let lists = [
            (ForwardOutput::HiddenStates, output.hidden_states),
            (ForwardOutput::Attentions, output.attentions),
        ];
        for (name, list) in lists {
            let list = list.unwrap_or_default().into_iter().enumerate();
            tensors.extend(list.map(|(index, tensor)| (format!("{name}.{index}"), tensor)));
        }
        Ok(())
    }
}

impl HeadModel {
    fn load(shared: &SharedEncoder) -> Result<Self> {
        let checkpoint = shared.checkpoint();
        let Some(head) = choose_head(&checkpoint.heads(), &checkpoint.config().architectures)
        else {
            let output = ForwardOutput::Logits.to_string();
            return Err(Error::MissingOutput {
                output,
                why: "the model has no head",
            });
        };
        Ok(match head {
            Head::MaskedLm => Self::MaskedLm(shared.load()?),
            Head::NextSentence => Self::NextSentence(shared.load()?),
            Head::SequenceClassification => Self::Sequence(shared.load()?),
            Head::TokenClassification => Self::Token(shared.load()?),
            Head::QuestionAnswering => Self::Question(shared.load()?),
            Head::MultipleChoice => Self::Choice(shared.load()?),
            _ => Self::PreTraining(shared.load()?),
        })
    }

    fn tensors(&self, input: &ModelInput, tensors: &mut Vec<(String, Tensor)>) -> Result<()> {
        let logits = match self {
            Self::PreTraining(model) => {
                let output = model.forward(input)?;
                tensors.push(("logits".to_string(), output.prediction_logits));
                tensors.push(("sop_logits".to_string(), output.sop_logits));
                return Ok(());
            }
            Self::MaskedLm(model) => model.forward(input)?.logits,
            Self::NextSentence(model) => model.forward(input)?.logits,
            Self::Sequence(model) => model.forward(input)?.logits,
            Self::Token(model) => model.forward(input)?.logits,
            Self::Question(model) => {
                let output = model.forward(input)?;
                Tensor::stack(&[output.start_logits, output.end_logits], 2)? // (1, T, 2)
            }
            Self::Choice(model) => model.forward(input)?.logits,
        };
        tensors.push(("logits".to_string(), logits));
        Ok(())
    }
}

/// Chooses the head of the logits: the one that `architectures` names, else the first in this order
/// that the weights have. A file with both pretraining heads returns both.
fn choose_head(served: &[Head], architectures: &[String]) -> Option<Head> {
    const ORDER: [Head; 7] = [
        Head::PreTraining,
        Head::MaskedLm,
        Head::NextSentence,
        Head::SequenceClassification,
        Head::TokenClassification,
        Head::QuestionAnswering,
        Head::MultipleChoice,
    ];
    let served = || ORDER.into_iter().filter(|head| served.contains(head));
    let named = served().find(|head| architectures.iter().any(|name| head.is_architecture(name)));
    match named {
        Some(Head::MaskedLm) | None => served().next(),
        named => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_choose_among_the_heads_of_the_file() {
        let classifiers = [
            Head::Encoder,
            Head::SequenceClassification,
            Head::TokenClassification,
        ];
        let choose = |served: &[Head], name: &str| choose_head(served, &[name.to_string()]);
        assert_eq!(
            choose(&classifiers, "AlbertForTokenClassification"),
            Some(Head::TokenClassification)
        );
        assert_eq!(
            choose(&classifiers, "AlbertModel"),
            Some(Head::SequenceClassification)
        );
        assert_eq!(choose(&[Head::Encoder], "AlbertForMaskedLM"), None);
    }

    #[test]
    fn a_file_with_both_pretraining_heads_gives_both() {
        let served = [Head::Encoder, Head::PreTraining, Head::MaskedLm];
        assert_eq!(
            choose_head(&served, &["AlbertForMaskedLM".to_string()]),
            Some(Head::PreTraining)
        );
    }

    #[test]
    fn names_go_both_ways() {
        for (output, name) in ForwardOutput::ALL {
            assert_eq!(name.parse::<ForwardOutput>().unwrap(), output);
            assert_eq!(output.to_string(), name);
        }
        assert!("hidden".parse::<ForwardOutput>().is_err());
    }
}
