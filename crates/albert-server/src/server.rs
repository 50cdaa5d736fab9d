//! A server from its start to its end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};

use crate::app::App;
use crate::failure::Failure;
use crate::layers;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::routes;
use crate::scheduler::Scheduler;
use crate::settings::Settings;

/// The tokens of a step per thread: larger steps are no faster.
const STEP_TOKENS: usize = 256;

/// The minimum number of tokens in a step.
const MIN_STEP_TOKENS: usize = 512;

/// The maximum length of a request's head in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The time that answers already computed have to reach their clients at the very end.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// The reason why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no model.
    #[error("no model: expected at least one")]
    NoModel,
    /// Two models have the same name, so a request could not choose between them.
    #[error("two models have the name `{0}`: expected a different name for each")]
    SameName(String),
    /// An origin that cannot be a header's value.
    #[error("origin `{0}`: expected `*` or one such as `https://example.org`")]
    Origin(String),
    /// The first computation failed.
    #[error("model `{model}` cannot compute: {why}")]
    WarmUp {
        /// The model's name.
        model: String,
        /// The reason.
        why: String,
    },
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The thread that computes.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// The way in which a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Requests are still accepted for [`Settings::drain`], which gives a load balancer time.
    Drain,
    /// No new connection is accepted from now on.
    Now,
}

/// A server that is computing.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    router: Router,
    computing: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the thread that computes. The first model computes a step first, which measures its
    /// speed.
    ///
    /// # Errors
    /// If there is no model, two have one name, an origin is wrong, or the first step fails.
    pub fn new(models: Vec<Model>, settings: Settings) -> Result<Self, Error> {
        let mut names: Vec<&str> = models.iter().map(Model::name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::SameName(pair[0].to_string()));
        }
        let Some(first) = models.first() else {
            return Err(Error::NoModel);
        };
        let threads = rayon::current_num_threads();
        let step_tokens = settings.step_tokens;
        let step_tokens = step_tokens.unwrap_or((STEP_TOKENS * threads).max(MIN_STEP_TOKENS));
        let warm_up = first
            .warm_up(step_tokens)
            .map_err(|failure| Error::WarmUp {
                model: first.name().to_string(),
                why: failure.message,
            })?;
        let rate = step_tokens as f64 / warm_up.as_secs_f64().max(1e-9);
        let metrics = Arc::new(Metrics::new()?);
        let scheduler = Arc::new(Scheduler::new(
            step_tokens,
            settings.queue_seconds,
            rate,
            Arc::clone(&metrics),
        ));
        let cors = cors(&settings.origins)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let app = Arc::new(App {
            models: models.into_iter().map(Arc::new).collect(),
            scheduler: Arc::clone(&scheduler),
            metrics,
            step_tokens,
            started: now.unwrap_or_default().as_secs(),
            tokenizing: Semaphore::new(threads),
            body_memory: Arc::new(Semaphore::new(
                settings.max_body_memory.min(Semaphore::MAX_PERMITS),
            )),
            draining: AtomicBool::new(false),
            settings,
        });
        let router = routes::router(Arc::clone(&app))
            .layer(from_fn_with_state(Arc::clone(&app), layers::authorize))
            .layer(CatchPanicLayer::custom(|_| {
                axum::response::IntoResponse::into_response(Failure::internal("a request panicked"))
            }))
            .layer(from_fn_with_state(Arc::clone(&app), layers::observe));
        let router = match cors {
            Some(cors) => router.layer(cors),
            None => router,
        };
        let computing = std::thread::Builder::new()
            .name("compute".to_string())
            .spawn(move || scheduler.run())
            .map_err(Error::Thread)?;
        Ok(Self {
            app,
            router,
            computing: Some(computing),
        })
    }

    /// Returns the routes, to be served in another way or as part of another service.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns the tokens per second that the first step measured.
    pub fn tokens_per_second(&self) -> f64 {
        self.app.scheduler.tokens_per_second()
    }

    /// Serves until `stop` completes; then finishes accepted requests for at most
    /// [`Settings::shutdown_timeout`], and answers the rest with 503.
    pub async fn serve(mut self, listener: Listener, stop: impl Future<Output = Stop>) {
        let connections = Arc::new(Semaphore::new(self.app.settings.max_connections));
        let graceful = GracefulShutdown::new();
        {
            let accept = self.accept(&listener, &connections, &graceful);
            tokio::pin!(accept, stop);
            let stop = tokio::select! {
                () = &mut accept => Stop::Now,
                stop = &mut stop => stop,
            };
            self.app.draining.store(true, Ordering::Release);
            if stop == Stop::Drain {
                let _ = tokio::time::timeout(self.app.settings.drain, &mut accept).await;
            }
        }
        drop(listener);
        let finished = graceful.shutdown();
        tokio::pin!(finished);
        let timeout = self.app.settings.shutdown_timeout;
        if tokio::time::timeout(timeout, &mut finished).await.is_err() {
            self.app.scheduler.close();
            let _ = tokio::time::timeout(LAST_WRITES, &mut finished).await;
        }
        self.end();
    }

    /// Accepts connections, and never returns.
    async fn accept(
        &self,
        listener: &Listener,
        connections: &Arc<Semaphore>,
        graceful: &GracefulShutdown,
    ) {
        let receive_timeout = self.app.settings.receive_timeout;
        loop {
            let Ok(permit) = Arc::clone(connections).acquire_owned().await else {
                return;
            };
            let stream = match listener.accept(receive_timeout).await {
                Ok(stream) => stream,
                Err(error) => {
                    // Too many open files, or a client that is gone already.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(receive_timeout)
                .max_buf_size(MAX_HEAD);
            let service = TowerToHyperService::new(self.router.clone());
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(permit);
            });
        }
    }

    /// Ends the thread that computes, after its step.
    fn end(&mut self) {
        self.app.scheduler.close();
        if let Some(computing) = self.computing.take() {
            let _ = computing.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lets web pages of these origins use the server, with a key.
fn cors(origins: &[String]) -> Result<Option<CorsLayer>, Error> {
    if origins.is_empty() {
        return Ok(None);
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]);
    if origins.iter().any(|origin| origin == "*") {
        return Ok(Some(layer.allow_origin(Any)));
    }
    let origin =
        |origin: &String| HeaderValue::from_str(origin).map_err(|_| Error::Origin(origin.clone()));
    let origins: Vec<HeaderValue> = origins.iter().map(origin).collect::<Result<_, _>>()?;
    Ok(Some(layer.allow_origin(origins)))
}
