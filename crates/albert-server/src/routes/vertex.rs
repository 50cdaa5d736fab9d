//! `POST /vertex`: several requests in one, as Vertex AI sends them.

use std::sync::Arc;

use axum::extract::State;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Errors, root};
use crate::app::App;
use crate::body::Json;
use crate::failure::Failure;

/// Requests of the form that `POST /` takes.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct VertexRequest {
    #[schema(min_items = 1, value_type = Vec<Object>)]
    instances: Vec<Value>,
}

/// The answers to the requests.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VertexAnswer {
    /// The answer to each request, in order.
    #[schema(value_type = Vec<Value>)]
    predictions: Vec<Value>,
}

/// Answers several requests as `POST /` answers each: Vertex AI's route. If one fails, its error is
/// the answer to all.
#[utoipa::path(post, path = "/vertex", request_body = VertexRequest, responses(
    (status = 200, description = "One answer for each instance", body = VertexAnswer),
    Errors,
))]
pub(super) async fn vertex(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<VertexRequest>,
) -> Result<axum::Json<VertexAnswer>, Failure> {
    app.check_texts("instances", request.instances.len())?;
    let mut predictions = Vec::with_capacity(request.instances.len());
    for instance in request.instances {
        if !instance.is_object() {
            return Err(Failure::invalid("`instances`: expected a list of objects"));
        }
        let answer = root::dispatch(Arc::clone(&app), instance).await?;
        let unread = |error: &dyn std::fmt::Display| Failure::internal(error.to_string());
        let body = answer.into_body().collect().await;
        let bytes = body.map_err(|error| unread(&error))?.to_bytes();
        predictions.push(serde_json::from_slice(&bytes).map_err(|error| unread(&error))?);
    }
    Ok(axum::Json(VertexAnswer { predictions }))
}
