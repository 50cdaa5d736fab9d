//! OpenAI's routes, and its form of errors.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Reply;
use super::embedding::embed_texts;
use crate::app::App;
use crate::body::Json;
use crate::failure::Failure;
use crate::integer::count;
use crate::texts::Texts;

/// The form in which embeddings are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// The little-endian bytes of the f32 values in base64.
    Base64,
}

/// Texts to embed.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EmbeddingsRequest {
    /// A text, or several.
    input: Texts,
    /// The name of a model; without one, the first model of the server.
    model: Option<String>,
    #[serde(default)]
    encoding_format: EncodingFormat,
    /// Keeps the first dimensions.
    #[schema(minimum = 1)]
    #[serde(default, deserialize_with = "count")]
    dimensions: Option<usize>,
    /// An identifier of the user, which is ignored.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// One embedding.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Vector {
    /// The values.
    Float(Vec<f32>),
    /// Their little-endian bytes in base64.
    Base64(String),
}

impl Vector {
    fn new(values: Vec<f32>, format: EncodingFormat) -> Self {
        match format {
            EncodingFormat::Float => Self::Float(values),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Row {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// The embeddings of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EmbeddingsAnswer {
    object: &'static str,
    data: Vec<Row>,
    model: String,
    usage: Usage,
}

/// The error of OpenAI's routes.
#[derive(Debug, Serialize, ToSchema)]
struct OpenAiError {
    error: OpenAiErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
struct OpenAiErrorBody {
    message: String,
    r#type: String,
    param: Option<String>,
    code: Option<String>,
}

/// Embeds texts: OpenAI's route.
#[utoipa::path(post, path = "/v1/embeddings", request_body = EmbeddingsRequest, responses(
    (status = 200, description = "One embedding for each text", body = EmbeddingsAnswer),
    (status = "4XX", description = "The request is invalid", body = OpenAiError),
    (status = "5XX", description = "The server cannot answer", body = OpenAiError),
))]
pub(super) async fn embeddings(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<EmbeddingsRequest>,
) -> Result<Reply<EmbeddingsAnswer>, Failure> {
    let model = app.model(request.model.as_deref())?;
    let name = model.name().to_string();
    let mut options = model.embedding().clone();
    options.truncate_dim = request.dimensions.or(options.truncate_dim);
    let answered = embed_texts(&app, model, "input", request.input, options, None).await?;
    let row = |(index, embedding): (usize, albert_tasks::Embedding)| Row {
        object: "embedding",
        index,
        embedding: Vector::new(embedding.vector, request.encoding_format),
    };
    let tokens = answered.times.tokens;
    Ok(Reply {
        value: EmbeddingsAnswer {
            object: "list",
            data: answered.values.into_iter().enumerate().map(row).collect(),
            model: name,
            usage: Usage {
                prompt_tokens: tokens,
                total_tokens: tokens,
            },
        },
        times: answered.times,
    })
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelRow {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

/// The models of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelsAnswer {
    object: &'static str,
    data: Vec<ModelRow>,
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", responses(
    (status = 200, description = "The models of the server", body = ModelsAnswer),
    (status = "4XX", description = "The request is invalid", body = OpenAiError),
))]
pub(super) async fn models(State(app): State<Arc<App>>) -> axum::Json<ModelsAnswer> {
    let row = |model: &Arc<crate::Model>| ModelRow {
        id: model.name().to_string(),
        object: "model",
        created: app.started,
        owned_by: "albert-server",
    };
    axum::Json(ModelsAnswer {
        object: "list",
        data: app.models.iter().map(row).collect(),
    })
}

/// Converts the failures of OpenAI's routes to OpenAI's form.
pub(crate) async fn errors(response: Response) -> Response {
    match response.extensions().get::<Failure>() {
        Some(failure) => {
            let failure = failure.clone();
            let body = failure.openai_body();
            failure.with_body(&body)
        }
        None => response,
    }
}
