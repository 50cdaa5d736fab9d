//! ALBERT and BERT encoders for [Candle](candle_core): the network, its heads and its checkpoints,
//! with Hugging Face's names and outputs.
//!
//! ALBERT (Lan et al. 2020, [arXiv:1909.11942](https://arxiv.org/abs/1909.11942)) makes BERT small
//! in two ways. The embedding table is V×E, much narrower than the hidden states, and a projection
//! leads from E to H. The L layers are divided into G groups, usually a single one, and the layers
//! of a group share all weights. The parameters shrink tenfold; the computation does not.
//!
//! BERT (Devlin et al. 2019, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805)) is the other end
//! of the same scale: one group per layer, E = H, and no projection. [`AlbertConfig`] describes
//! both, and every type of this crate computes both.
//!
//! ```
//! use albert_model::candle_core::{DType, Device, Result, Tensor};
//! use albert_model::candle_nn::{VarBuilder, VarMap};
//! use albert_model::{AlbertConfig, AlbertModel, ModelInput};
//!
//! # fn main() -> Result<()> {
//! let config = AlbertConfig { hidden_size: 64, num_attention_heads: 4, intermediate_size: 128, ..AlbertConfig::base_v2() };
//! let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
//! let albert = AlbertModel::new(&config, vb)?;
//!
//! let ids = Tensor::new(&[[2u32, 48, 25, 21, 1289, 3]], &Device::Cpu)?;
//! let output = albert.forward(&ModelInput::new(ids))?;
//! assert_eq!(output.last_hidden_state.dims(), [1, 6, 64]);
//! # Ok(())
//! # }
//! ```
//!
//! [`Checkpoint`] loads trained weights from a folder laid out as on the Hugging Face Hub, for an
//! ALBERT or a BERT:
//!
//! ```no_run
//! use albert_model::{AlbertForMaskedLM, Checkpoint, LoadOptions, Pretrained};
//!
//! let checkpoint = Checkpoint::from_dir("albert-base-v2")?;
//! let model = AlbertForMaskedLM::load(&checkpoint, &LoadOptions::default())?;
//! # Ok::<(), albert_model::Error>(())
//! ```
//!
//! [`SharedEncoder`] loads several models of one checkpoint, such as an encoder and a masked language
//! model, with one copy of the encoder's weights.
//!
//! Like any Candle model, a model can also be built from a [`VarBuilder`](candle_nn::VarBuilder)
//! over a file with Hugging Face's current names for ALBERT. [`Checkpoint`] additionally checks all
//! tensors first, and converts other names, such as those of BERT:
//!
//! ```
//! use albert_model::candle_core::{DType, Device};
//! use albert_model::candle_nn::VarBuilder;
//! use albert_model::{AlbertConfig, AlbertForMaskedLM};
//!
//! # fn main() -> anyhow::Result<()> {
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/grouped-masked-lm");
//! let config = AlbertConfig::from_file(format!("{folder}/config.json"))?;
//! let weights = std::fs::read(format!("{folder}/model.safetensors"))?;
//! let vb = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
//! let model = AlbertForMaskedLM::new(&config, vb)?;
//! # Ok(())
//! # }
//! ```
//!
//! In documentation and comments each letter has one meaning:
//!
//! | | |
//! |---|---|
//! | B | sequences in a batch |
//! | T | tokens in a sequence |
//! | V | tokens in the vocabulary |
//! | E | width of the embedding tables |
//! | H | width of the hidden states |
//! | I | inner width of the feed-forward network |
//! | N | attention heads |
//! | D | width of a head, H / N |
//! | L | layers, counting repetitions |
//! | G | groups of shared weights |
//!
//! Computations return [`candle_core::Result`]; functions that read or write files return
//! [`Error`].

// The crate with Candle's kernels, a dependency only for its feature: see the workspace's
// Cargo.toml.
use gemm as _;

mod activation;
mod attention;
mod checkpoint;
mod config;
mod dropout;
mod embeddings;
mod encoder;
mod error;
mod feed_forward;
mod fused;
mod head;
mod heads;
mod input;
mod layer;
mod layer_group;
mod layer_norm;
mod linear;
pub mod loss;
mod mask;
mod memory;
mod model;
mod observer;
mod ops;
mod outputs;
mod parameters;
mod pooler;
mod pretrained;
mod quantize;
mod ragged;
mod shared_encoder;
mod token_embeddings;
pub mod train;
mod word_embeddings;

pub use candle_core;
pub use candle_nn;

pub use activation::{HiddenAct, UnknownActivation};
pub use attention::AlbertAttention;
pub use checkpoint::{Checkpoint, LoadOptions, LoadReport, Tensors, WeightFormat};
pub use config::{AlbertConfig, ModelType, ProblemType};
pub use embeddings::AlbertEmbeddings;
pub use encoder::AlbertEncoder;
pub use error::{Error, Result};
pub use feed_forward::FeedForward;
pub use head::Head;
pub use heads::{
    AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForNextSentencePrediction,
    AlbertForPreTraining, AlbertForQuestionAnswering, AlbertForSequenceClassification,
    AlbertForTokenClassification, HeadOutput, PreTrainingOutput, QuestionAnsweringOutput,
};
pub use input::{ModelInput, TokensRead};
pub use layer::AlbertLayer;
pub use layer_group::AlbertLayerGroup;
pub use mask::additive_mask;
pub use model::{AlbertModel, AlbertOutput};
pub use outputs::Outputs;
pub use pooler::AlbertPooler;
pub use pretrained::Pretrained;
pub use shared_encoder::SharedEncoder;
