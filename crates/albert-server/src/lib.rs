//! ALBERT and BERT encoders over HTTP.
//!
//! A [`Server`] answers the requests of OpenAI's embeddings API, of text-embeddings-inference, and
//! of the rerankers of Jina and Cohere, so clients of these only need a new address. It serves the
//! other tasks of [`albert_tasks`] with the fields of Hugging Face's pipelines.
//!
//! ```no_run
//! use albert_server::{Address, Listener, Model, Server, Settings};
//! use albert_tasks::{ModelFiles, RunOptions};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::load(ModelFiles::resolve("albert-mini-en")?, RunOptions::default())?;
//! let server = Server::new(vec![model], Settings::default())?;
//! let listener = Listener::bind(&"127.0.0.1:8080".parse::<Address>()?).await?;
//! server.serve(listener, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Queue
//!
//! Texts are tokenized when they arrive, and wait in one queue, counted in tokens. One thread takes
//! small steps from it, without a timer: the oldest request first, then whatever fits. The encoder
//! computes no padding. On the CPU, in f32 and in int8, the result for a text has the same bits
//! whichever texts are in the same step. A request that finds the queue full is answered with
//! status 429 and the time after which there is room.
//!
//! # Limits
//!
//! [`Settings`] bounds texts, bytes, connections, and the memory of bodies; a client that sends or
//! reads too slowly loses its connection.

mod app;
mod body;
mod failure;
mod integer;
mod layers;
mod listener;
mod metrics;
mod model;
mod queue;
mod routes;
mod scheduler;
mod server;
mod settings;
mod texts;
mod times;
mod work;

pub use listener::{Address, Listener};
pub use model::Model;
pub use server::{Error, Server, Stop};
pub use settings::{Keys, Settings};
