//! `POST /`: the form of the request selects the task, as Hugging Face's clients expect.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Errors;
use super::{answering, classification, embedding, masks, rerank, tagging};
use crate::app::App;
use crate::body::Json;
use crate::failure::Failure;
use crate::model::MainTask;

/// Answers like the route whose form `inputs` and `parameters` have; if several routes fit, the
/// model's main task answers.
///
/// | Form | Route |
/// |---|---|
/// | `inputs.source_sentence` | `/similarity` |
/// | `inputs.question` | `/answer` |
/// | `parameters.candidate_labels` | `/zero_shot` |
/// | `query` and `texts` | `/rerank` |
/// | `parameters`, and a text with the model's mask | `/fill_mask` |
/// | anything else | `/embed`, `/predict`, `/tag` or `/answer`, by the model |
#[utoipa::path(post, path = "/", request_body = Object, responses(
    (status = 200, description = "The answer of the route whose form the request has", body = Value),
    Errors,
))]
pub(super) async fn root(
    State(app): State<Arc<App>>,
    Json(body, _memory): Json<Value>,
) -> Result<Response, Failure> {
    dispatch(app, body).await
}

/// Answers a request by its form.
pub(super) async fn dispatch(app: Arc<App>, body: Value) -> Result<Response, Failure> {
    let has = |object: &str, field: &str| body[object].get(field).is_some();
    let state = State(Arc::clone(&app));
    if has("inputs", "source_sentence") {
        return answer(embedding::similarity(state, read(body)?).await);
    }
    if has("inputs", "question") {
        return answer(answering::answer(state, read(body)?).await);
    }
    if has("parameters", "candidate_labels") {
        return answer(classification::zero_shot(state, read(body)?).await);
    }
    if body.get("query").is_some() {
        return answer(rerank::rerank(state, read(body)?).await);
    }
    if body.get("parameters").is_some() && has_mask(&app, &body["inputs"]).await? {
        return answer(masks::fill_mask(state, read(body)?).await);
    }
    match app.model(None)?.main() {
        MainTask::Embed => answer(embedding::embed(state, read(body)?).await),
        MainTask::Predict | MainTask::Rerank if body.get("parameters").is_some() => {
            answer(classification::classify_texts(state, read(body)?).await)
        }
        MainTask::Predict | MainTask::Rerank => {
            answer(classification::predict(state, read(body)?).await)
        }
        MainTask::Tag => answer(tagging::tag(state, read(body)?).await),
        MainTask::Answer => answer(answering::answer(state, read(body)?).await),
    }
}

/// Returns true if the first text has the model's mask.
async fn has_mask(app: &App, inputs: &Value) -> Result<bool, Failure> {
    let first = inputs
        .as_array()
        .and_then(|texts| texts.first())
        .unwrap_or(inputs);
    let Some(text) = first.as_str().map(str::to_string) else {
        return Ok(false);
    };
    let model = app.model(None)?;
    app.prepare(move || model.about(|tokenizer, _, _| text.contains(tokenizer.mask_token())))
        .await
}

fn read<T: DeserializeOwned>(body: Value) -> Result<Json<T>, Failure> {
    serde_json::from_value(body)
        .map(|value| Json(value, None))
        .map_err(|error| Failure::invalid(error.to_string()))
}

fn answer(result: Result<impl IntoResponse, Failure>) -> Result<Response, Failure> {
    result.map(IntoResponse::into_response)
}
