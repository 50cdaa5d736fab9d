//! The state of the server: health, models, metrics, the description of the API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{ErrorBody, description};
use crate::app::App;
use crate::failure::Failure;
use crate::model::MainTask;

/// Returns 200 while requests are accepted, and 503 once the server is shutting down.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, description = "Requests are accepted"),
    (status = 503, description = "The server is shutting down", body = ErrorBody),
))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<StatusCode, Failure> {
    if app.is_draining() {
        return Err(Failure::closing());
    }
    Ok(StatusCode::OK)
}

/// Returns 200 while requests are accepted, as `/health` does.
#[utoipa::path(get, path = "/", responses(
    (status = 200, description = "Requests are accepted"),
    (status = 503, description = "The server is shutting down", body = ErrorBody),
))]
pub(super) async fn alive(state: State<Arc<App>>) -> Result<StatusCode, Failure> {
    health(state).await
}

/// Returns 200 while requests are accepted: SageMaker's route.
#[utoipa::path(get, path = "/ping", responses(
    (status = 200, description = "Requests are accepted"),
    (status = 503, description = "The server is shutting down", body = ErrorBody),
))]
pub(super) async fn ping(state: State<Arc<App>>) -> Result<StatusCode, Failure> {
    health(state).await
}

/// Returns 204 while requests are accepted: Weaviate's route.
#[utoipa::path(get, path = "/.well-known/ready", responses(
    (status = 204, description = "Requests are accepted"),
    (status = 503, description = "The server is shutting down", body = ErrorBody),
))]
pub(super) async fn ready(state: State<Arc<App>>) -> Result<StatusCode, Failure> {
    health(state).await.map(|_| StatusCode::NO_CONTENT)
}

/// Returns the configuration of the first model's network: Weaviate's route.
#[utoipa::path(get, path = "/meta", responses(
    (status = 200, description = "The model and its sizes", body = Object),
))]
pub(super) async fn meta(State(app): State<Arc<App>>) -> Result<axum::Json<Value>, Failure> {
    let model = app.model(None)?;
    let config = model.about(|_, longest, config| {
        json!({
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "vocab_size": config.vocab_size,
            "max_length": longest,
        })
    })?;
    Ok(axum::Json(
        json!({ "model": { "name": model.name(), "config": config } }),
    ))
}

/// Returns the model and the limits: text-embeddings-inference's route.
#[utoipa::path(get, path = "/info", responses(
    (status = 200, description = "The model and the limits", body = Object),
))]
pub(super) async fn info(State(app): State<Arc<App>>) -> Result<axum::Json<Value>, Failure> {
    let model = app.model(None)?;
    let longest = model.about(|_, longest, _| longest)?;
    let kind = match model.main() {
        MainTask::Embed => {
            let embedder = model.embedder()?;
            let modes = embedder.pooling().modes.iter().map(ToString::to_string);
            json!({ "embedding": { "pooling": modes.collect::<Vec<_>>().join("+") } })
        }
        MainTask::Rerank => json!({ "reranker": labels(&model)? }),
        MainTask::Predict => json!({ "classifier": labels(&model)? }),
        MainTask::Tag => json!({ "tagger": labels(&model)? }),
        MainTask::Answer => json!({ "answerer": {} }),
    };
    Ok(axum::Json(json!({
        "model_id": model.name(),
        "model_sha": null,
        "model_dtype": model.dtype(),
        "model_type": kind,
        "max_concurrent_requests": app.settings.max_connections,
        "max_input_length": longest,
        "max_batch_tokens": app.step_tokens,
        "max_batch_requests": null,
        "max_client_batch_size": app.settings.max_texts,
        "auto_truncate": app.settings.truncate,
        "tokenization_workers": rayon::current_num_threads(),
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
    })))
}

fn labels(model: &crate::Model) -> Result<Value, Failure> {
    model.about(|_, _, config| {
        let labels = 0..config.num_labels();
        let named = labels.map(|index| (index.to_string(), Value::from(config.label(index))));
        let id2label: serde_json::Map<String, Value> = named.collect();
        json!({ "id2label": id2label })
    })
}

/// Returns the metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "The series", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let text = app
        .metrics
        .text()
        .map_err(|error| Failure::internal(error.to_string()))?;
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((kind, text).into_response())
}

/// Returns the description of the API: the routes that the first model can answer.
pub(super) async fn openapi(State(app): State<Arc<App>>) -> Result<axum::Json<Value>, Failure> {
    let about = Arc::clone(&app);
    let described = app.prepare(move || description::of_server(&about)).await?;
    Ok(axum::Json(described))
}
