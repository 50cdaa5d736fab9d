//! `serve`: models over HTTP.

mod check;
pub(crate) mod tei;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use albert_server::{Address, Keys, Listener, Model, Server, Settings, Stop};
use albert_tasks::{BUILTIN, EmbedOptions};
use anyhow::Context;
use clap::Args;

use crate::commands::embed::PoolingChoice;
use crate::failure::usage;
use crate::options::{ComputeArgs, ReadingArgs, number};
use crate::progress::{Talk, size};

/// The options of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli serve --max-batch-tokens 1024
  albert-cli serve --model ./embedder --model ./reranker --api-key-file keys.txt")]
pub(crate) struct ServeArgs {
    /// A model on the Hub as owner/name, a folder with its files, or the name of a built-in model
    ///
    /// Can be repeated: a request chooses a model by its name; a request without a name gets the
    /// first model.
    #[arg(
        long = "model",
        value_name = "ID|DIR|NAME",
        env = "ALBERT_MODEL",
        default_value = BUILTIN,
        help_heading = "Model"
    )]
    models: Vec<OsString>,

    /// Name that clients use for the model, one for each --model [default: the model's own]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    served_model_name: Vec<String>,

    #[command(flatten)]
    reading: ReadingArgs,

    #[command(flatten)]
    embedding: EmbeddingArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    compute: ComputeArgs,

    /// Read text-embeddings-inference's environment variables, such as MODEL_ID and PORT
    #[arg(long, help_heading = "Running")]
    tei_env: bool,

    /// Log as JSON, one object per line
    #[arg(long, help_heading = "Running")]
    json_output: bool,

    /// Ask the server at this address for its health, and serve nothing [default: that of --listen]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, help_heading = "Running")]
    check: Option<Option<Address>>,
}

/// The options of embeddings, which a request can override.
#[derive(Debug, Args)]
#[command(next_help_heading = "Embedding")]
struct EmbeddingArgs {
    /// Pooling of the token vectors [default: the model's]
    #[arg(long, value_name = "MODE", value_enum)]
    pooling: Option<PoolingChoice>,

    /// Prefix for every text
    #[arg(long, value_name = "TEXT", conflicts_with = "default_prompt_name")]
    default_prompt: Option<String>,

    /// Name of the model's prompt with which to prefix every text
    #[arg(long, value_name = "NAME")]
    default_prompt_name: Option<String>,

    /// Truncate texts that are too long, unless a request says otherwise
    #[arg(
        long,
        value_name = "true|false",
        hide_possible_values = true,
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    auto_truncate: bool,

    /// Accept texts as token ids too, which must be those of the model's own tokenizer
    #[arg(long)]
    allow_ids: bool,
}

/// The address, the keys and the origins.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
struct AccessArgs {
    /// Address and port, or unix:PATH; a socket that systemd passes takes precedence
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "ALBERT_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: Address,

    /// File with the API keys that clients may use, one per line [env: API_KEY=, more keys]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Origin of web pages that may use the server, or `*`; can be repeated
    #[arg(long, value_name = "ORIGIN")]
    cors_allow_origin: Vec<String>,
}

/// The limits of requests and of the queue.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Maximum number of texts in a request
    #[arg(long, value_name = "N", default_value = "2048", value_parser = number(1..=usize::MAX))]
    max_client_batch_size: usize,

    /// Maximum number of bytes in a request's body
    #[arg(long, value_name = "BYTES", default_value = "32000000", value_parser = number(1..=usize::MAX))]
    payload_limit: usize,

    /// Maximum number of bytes in all bodies of requests that are not answered yet
    #[arg(long, value_name = "BYTES", default_value = "256000000", value_parser = number(1..=u32::MAX as usize))]
    max_body_memory: usize,

    /// Maximum number of connections at a time; others wait
    #[arg(long, value_name = "N", default_value = "1024", value_parser = number(1..=1_000_000))]
    max_connections: usize,

    /// Tokens computed in one step [default: 256 for each thread, at least 512]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX))]
    max_batch_tokens: Option<usize>,

    /// Seconds of work that may wait in the queue; further requests are answered 429
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = number(1..=86_400))]
    max_queue_seconds: usize,

    /// Seconds within which the computation of a request must begin [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = number(1..=86_400))]
    timeout: Option<usize>,

    /// Seconds that a client may take to send a request, or may go without reading its answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = number(1..=86_400))]
    receive_timeout: usize,

    /// Seconds between SIGTERM, when /health begins to answer 503, and the last new connection
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = number(0..=86_400))]
    drain_seconds: usize,

    /// Seconds that accepted requests then have to finish
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = number(1..=86_400))]
    shutdown_timeout: usize,
}

fn seconds(count: usize) -> Duration {
    Duration::from_secs(count as u64)
}

/// Runs the command.
pub(crate) fn run(args: ServeArgs, talk: Talk) -> anyhow::Result<()> {
    if let Some(address) = &args.check {
        return check::health(address.as_ref().unwrap_or(&args.access.listen));
    }
    log(args.json_output, talk);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the server's threads")?;
    // Before the models are loaded: the first process of a container ignores a signal that it does
    // not handle.
    let [mut signals, mut again, loading] = {
        let _runtime = runtime.enter();
        [Signals::new()?, Signals::new()?, Signals::new()?]
    };
    let loading = runtime.spawn(loading.end_process(talk));
    let settings = settings(&args)?;
    let has_keys = !settings.keys.is_empty();
    let server = Server::new(load(&args, talk)?, settings)?;
    loading.abort();
    let forced = runtime.block_on(async {
        let listener = match Listener::from_systemd()? {
            Some(listener) => listener,
            None => {
                let address = &args.access.listen;
                let listener = Listener::bind(address).await;
                listener.with_context(|| format!("cannot listen on {address}"))?
            }
        };
        talk.say(format_args!(
            "listening on {}: {:.0} tokens/s measured, {}",
            listener.address()?,
            server.tokens_per_second(),
            if has_keys {
                "with API keys"
            } else {
                "without API keys"
            },
        ));
        let stop = async {
            let stop = signals.next().await;
            talk.say("shutting down: finishing accepted requests; a second signal ends at once");
            stop
        };
        let serving = server.serve(listener, stop);
        tokio::select! {
            () = serving => Ok::<bool, anyhow::Error>(false),
            () = again.second() => Ok(true),
        }
    })?;
    runtime.shutdown_background();
    anyhow::ensure!(
        !forced,
        "ended by a second signal: accepted requests may be unanswered"
    );
    Ok(())
}

/// Writes the log to standard error, unless quiet.
fn log(json: bool, talk: Talk) {
    if !talk.is_heard() {
        return;
    }
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false);
    // Another subscriber cannot be there: a process serves once.
    let _ = if json {
        log.json().flatten_event(true).try_init()
    } else {
        log.compact().try_init()
    };
}

fn load(args: &ServeArgs, talk: Talk) -> anyhow::Result<Vec<Model>> {
    let names = &args.served_model_name;
    if !names.is_empty() && names.len() != args.models.len() {
        return Err(usage(format!(
            "expected one `--served-model-name` for each `--model`, found {} for {}",
            names.len(),
            args.models.len()
        )));
    }
    let options = args
        .compute
        .run_options_with(args.reading.tokenizer(), talk)?;
    let pooling = match args.embedding.pooling {
        None => None,
        Some(choice) => Some(choice.mode().ok_or_else(|| {
            usage("`--pooling tokens`: token vectors have a route of their own, /embed_all")
        })?),
    };
    let mut embedding = EmbedOptions::default();
    embedding.prompt = args.embedding.default_prompt.clone();
    embedding.prompt_name = args.embedding.default_prompt_name.clone();
    let mut models = Vec::new();
    for (index, id) in args.models.iter().enumerate() {
        let files = args.reading.files(id, talk)?;
        let mut model = Model::load(files, options.clone())?.with_embedding(embedding.clone());
        if let Some(pooling) = pooling {
            model = model.with_pooling(pooling);
        }
        if let Some(name) = names.get(index) {
            model = model.with_name(name);
        }
        models.push(model);
    }
    Ok(models)
}

fn settings(args: &ServeArgs) -> anyhow::Result<Settings> {
    let limits = &args.limits;
    let mut settings = Settings::default();
    settings.max_texts = limits.max_client_batch_size;
    settings.max_body = limits.payload_limit;
    settings.max_body_memory = limits.max_body_memory;
    settings.max_connections = limits.max_connections;
    settings.step_tokens = limits.max_batch_tokens;
    settings.queue_seconds = limits.max_queue_seconds as f64;
    settings.timeout = limits.timeout.map(seconds);
    settings.receive_timeout = seconds(limits.receive_timeout);
    settings.drain = seconds(limits.drain_seconds);
    settings.shutdown_timeout = seconds(limits.shutdown_timeout);
    settings.truncate = args.embedding.auto_truncate;
    settings.allow_ids = args.embedding.allow_ids;
    settings.origins = args.access.cors_allow_origin.clone();
    settings.keys = keys(args)?;
    if limits.payload_limit > limits.max_body_memory {
        return Err(usage(format!(
            "`--payload-limit` of {} exceeds `--max-body-memory` of {}",
            size(limits.payload_limit as u64),
            size(limits.max_body_memory as u64)
        )));
    }
    Ok(settings)
}

/// Reads the keys of the file and of the environment variable `API_KEY`.
fn keys(args: &ServeArgs) -> anyhow::Result<Keys> {
    let mut lines = std::env::var("API_KEY").unwrap_or_default();
    if let Some(path) = &args.access.api_key_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the API keys `{}`", path.display()))?;
        lines.push('\n');
        lines.push_str(&text);
        if Keys::from_lines(&text).is_empty() {
            return Err(usage(format!(
                "`--api-key-file`: no key in `{}`: expected one per line",
                path.display()
            )));
        }
    }
    Ok(Keys::from_lines(&lines))
}

/// The signals that end a server.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for a signal. Someone at a terminal wants no time for a load balancer.
    async fn next(&mut self) -> Stop {
        #[cfg(unix)]
        {
            tokio::select! {
                _ = self.terminate.recv() => Stop::Drain,
                _ = self.interrupt.recv() => Stop::Now,
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            Stop::Now
        }
    }

    async fn second(&mut self) {
        self.next().await;
        self.next().await;
    }

    /// Ends the process with the first signal, as nothing was accepted yet.
    async fn end_process(mut self, talk: Talk) {
        self.next().await;
        talk.say("ended before the models were loaded");
        std::process::exit(0);
    }
}
