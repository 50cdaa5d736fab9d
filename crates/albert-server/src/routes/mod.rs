//! The routes, one file for each group, and the description of all of them.

mod answering;
mod classification;
mod description;
mod embedding;
mod masks;
mod openai;
mod rerank;
mod root;
mod state;
mod tagging;
mod tokens;
mod vertex;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use utoipa::OpenApi;

use crate::app::App;
use crate::failure::Failure;
use crate::times::Times;

/// An answer as JSON, with the times that the headers and the log show.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    value: T,
    times: Times,
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let mut response = axum::Json(self.value).into_response();
        response.extensions_mut().insert(self.times);
        response
    }
}

/// The error of every route.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ErrorBody {
    /// The message: the thing, the values expected, the value found.
    error: String,
    /// A name for programs, such as `validation` or `overloaded`.
    error_type: String,
}

/// The errors of every route, for its description.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only described: a route's error is a `Failure`")]
enum Errors {
    #[response(status = "4XX", description = "The request is invalid")]
    Request(ErrorBody),
    #[response(status = "5XX", description = "The server cannot answer")]
    Server(ErrorBody),
}

/// The description of the API.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "ALBERT for Candle",
        description = "Embeddings and other tasks of ALBERT and BERT models, with the routes of OpenAI and of text-embeddings-inference."
    ),
    paths(
        embedding::embed,
        embedding::embed_all,
        embedding::similarity,
        embedding::vectors,
        openai::embeddings,
        openai::models,
        rerank::rerank,
        rerank::rerank_v1,
        rerank::rerank_v2,
        classification::predict,
        classification::zero_shot,
        masks::fill_mask,
        masks::score,
        tagging::tag,
        answering::answer,
        tokens::tokenize,
        tokens::decode,
        root::root,
        vertex::vertex,
        state::alive,
        state::info,
        state::health,
        state::ping,
        state::metrics,
        state::meta,
        state::ready,
    ),
    components(schemas(ErrorBody))
)]
struct Description;

/// Returns the description of the API as JSON.
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Returns the routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let openai = Router::new()
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        .layer(axum::middleware::map_response(openai::errors));
    Router::new()
        .merge(openai)
        .route("/", get(state::alive).post(root::root))
        .route("/invocations", post(root::root))
        .route("/vertex", post(vertex::vertex))
        .route("/embed", post(embedding::embed))
        .route("/embed_all", post(embedding::embed_all))
        .route("/embed_sparse", post(embedding::embed_sparse))
        .route("/similarity", post(embedding::similarity))
        .route("/vectors", post(embedding::vectors))
        .route("/rerank", post(rerank::rerank))
        .route("/v1/rerank", post(rerank::rerank_v1))
        .route("/v2/rerank", post(rerank::rerank_v2))
        .route("/predict", post(classification::predict))
        .route("/zero_shot", post(classification::zero_shot))
        .route("/fill_mask", post(masks::fill_mask))
        .route("/score", post(masks::score))
        .route("/tag", post(tagging::tag))
        .route("/answer", post(answering::answer))
        .route("/tokenize", post(tokens::tokenize))
        .route("/decode", post(tokens::decode))
        .route("/info", get(state::info))
        .route("/health", get(state::health))
        .route("/ping", get(state::ping))
        .route("/metrics", get(state::metrics))
        .route("/openapi.json", get(state::openapi))
        .route("/meta", get(state::meta))
        .route("/.well-known/ready", get(state::ready))
        .route("/.well-known/live", get(state::ready))
        .fallback(no_route)
        .method_not_allowed_fallback(other_method)
        // Bodies have limits of their own.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

async fn no_route(uri: Uri) -> Failure {
    Failure::no_route(uri.path())
}

async fn other_method(uri: Uri) -> Failure {
    Failure::other_method(uri.path())
}
