//! The layers around every request: its id, the API key, the log, and the headers with its times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::failure::Failure;
use crate::times::Times;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The maximum number of bytes of a client's request id that are kept.
const MAX_ID: usize = 128;

/// Refuses a request without a valid key, except for the routes of health and metrics.
pub(crate) async fn authorize(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    const OPEN: [&str; 6] = [
        "/",
        "/health",
        "/ping",
        "/metrics",
        "/.well-known/ready",
        "/.well-known/live",
    ];
    let path = request.uri().path();
    let is_open = request.method() == Method::GET && OPEN.contains(&path);
    let header = request.headers().get(header::AUTHORIZATION);
    if is_open || app.settings.keys.allow(header.map(HeaderValue::as_bytes)) {
        return next.run(request).await;
    }
    let failure = Failure::unauthorized();
    if path.starts_with("/v1/") || path == "/embeddings" {
        let body = failure.openai_body();
        return failure.with_body(&body);
    }
    failure.into_response()
}

/// Logs a request at its end, and adds its id and its times to the answer.
pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let method = request.method().clone();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(route) => route.as_str().to_string(),
        None => request.uri().path().to_string(),
    };
    let id = request_id(request.headers().get(REQUEST_ID));
    let trace = request.headers().get("traceparent").cloned();

    let mut response = next.run(request).await;

    let times = response.extensions().get::<Times>().copied();
    let failure = response.extensions().get::<Failure>().cloned();
    if let Some(failure) = &failure {
        app.metrics.failed(failure.label());
    }
    let total = arrived.elapsed();
    let status = response.status();
    let shown = times.unwrap_or_default();
    tracing::info!(
        target: "albert_server::request",
        id = id.to_str().unwrap_or_default(),
        %method,
        route,
        status = status.as_u16(),
        texts = shown.texts,
        tokens = shown.tokens,
        tokenization_ms = milliseconds(shown.tokenization),
        queue_ms = milliseconds(shown.queue),
        inference_ms = milliseconds(shown.inference),
        total_ms = milliseconds(total),
        error = failure.as_ref().map(|failure| failure.message.as_str()),
        traceparent = trace.as_ref().and_then(|trace| trace.to_str().ok()),
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if let Some(times) = times {
        for (name, time) in [
            ("x-total-time", total),
            ("x-tokenization-time", times.tokenization),
            ("x-queue-time", times.queue),
            ("x-inference-time", times.inference),
        ] {
            headers.insert(name, HeaderValue::from(time.as_millis() as u64));
        }
        headers.insert("x-compute-tokens", HeaderValue::from(times.tokens));
    }
    if app.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}

/// Returns the client's id of a request, or a new one.
fn request_id(given: Option<&HeaderValue>) -> HeaderValue {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    if let Some(id) = given.filter(|id| (1..=MAX_ID).contains(&id.len())) {
        return id.clone();
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-{count:08x}", std::process::id());
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
}
