//! A user's view of albert-tasks: load a model, give it texts, read answers and errors.
//!
//! `fixtures/tiny` and its answers come from `scripts/make_task_fixtures.py`, `fixtures/pipelines`
//! from `scripts/make_pipeline_fixtures.py`, `joint.json` in it from
//! `scripts/make_joint_fixtures.py`, `fixtures/embeddings` from
//! `scripts/make_embedding_fixtures.py`, `fixtures/options.json` from
//! `scripts/make_option_fixtures.py`.

mod batches;
mod bert_tokenizers;
#[cfg(feature = "builtin")]
mod builtin;
mod convert;
mod embeddings;
mod folders;
mod forward;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_server;
mod inspect;
mod joint;
mod options;
mod pipelines;
mod reference;
mod retrieval;
mod shared_model;
mod spiece;
mod support;
mod tokenizer;
