//! Embeddings and similarities.

use std::sync::Arc;
use std::time::Instant;

use albert_tasks::{EmbedOptions, Embedding, TokenEmbeddings, TruncationSide, cosine};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Errors, Reply};
use crate::app::{Answered, App};
use crate::body::Json;
use crate::failure::Failure;
use crate::integer::count;
use crate::metrics::Kind;
use crate::model::{Model, too_long};
use crate::texts::{Texts, object};
use crate::work::{Embeddings, Work};

/// The side on which a text that is too long is truncated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    /// The end.
    #[default]
    #[serde(alias = "Right")]
    Right,
    /// The beginning.
    #[serde(alias = "Left")]
    Left,
}

impl From<Side> for TruncationSide {
    fn from(side: Side) -> Self {
        match side {
            Side::Right => Self::Right,
            Side::Left => Self::Left,
        }
    }
}

/// Texts to embed.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EmbedRequest {
    /// A text, or several.
    inputs: Texts,
    /// True to scale embeddings to length 1; by default, the model's files decide.
    normalize: Option<bool>,
    /// True to truncate a text that is too long, false to refuse it.
    truncate: Option<bool>,
    /// The side on which a long text is truncated.
    #[serde(default)]
    truncation_direction: Side,
    /// The name of one of the model's prompts.
    prompt_name: Option<String>,
    /// A prompt to put before every text.
    prompt: Option<String>,
    /// Keeps the first dimensions.
    #[schema(minimum = 1)]
    #[serde(default, deserialize_with = "count")]
    dimensions: Option<usize>,
}

impl EmbedRequest {
    fn options(&self, model: &Model) -> EmbedOptions {
        let mut options = model.embedding().clone();
        if self.prompt.is_some() || self.prompt_name.is_some() {
            options.prompt = self.prompt.clone();
            options.prompt_name = self.prompt_name.clone();
        }
        options.normalize = self.normalize.or(options.normalize);
        options.truncate_dim = self.dimensions.or(options.truncate_dim);
        options.with_truncation(self.truncation_direction.into())
    }
}

/// Embeds texts together with those of other requests in the queue.
pub(super) async fn embed_texts(
    app: &App,
    model: Arc<Model>,
    field: &'static str,
    texts: Texts,
    options: EmbedOptions,
    truncate: Option<bool>,
) -> Result<Answered<Embedding>, Failure> {
    app.check_texts(field, texts.len())?;
    let arrived = Instant::now();
    app.metrics.request(Kind::Embed, texts.len());
    let truncate = truncate.unwrap_or(app.settings.truncate);
    let allow_ids = app.settings.allow_ids;
    let work = app
        .prepare(move || {
            let embedder = model.embedder()?;
            embedder.check(&options)?;
            let prepared = match texts {
                Texts::Ids(texts) if allow_ids => embedder.prepare_ids(&texts, &options)?,
                texts => embedder.prepare(&texts.into_vec()?, &options)?,
            };
            let cut = prepared.iter().position(|text| text.is_truncated());
            if let Some(index) = cut.filter(|_| !truncate) {
                return Err(too_long(index, embedder.max_length()));
            }
            Ok(Arc::new(Embeddings::new(embedder, prepared)))
        })
        .await?;
    let lengths = work.lengths();
    let waiting: Arc<dyn Work> = Arc::clone(&work) as _;
    let times = app.compute(Kind::Embed, waiting, &lengths, arrived).await?;
    Ok(Answered {
        values: work.results.take(),
        times,
    })
}

/// Embeds texts: text-embeddings-inference's route.
#[utoipa::path(post, path = "/embed", request_body = EmbedRequest, responses(
    (status = 200, description = "One embedding for each text", body = Vec<Vec<f32>>),
    Errors,
))]
pub(super) async fn embed(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<EmbedRequest>,
) -> Result<Reply<Vec<Vec<f32>>>, Failure> {
    let model = app.model(None)?;
    let options = request.options(&model);
    let (texts, truncate) = (request.inputs, request.truncate);
    let answered = embed_texts(&app, model, "inputs", texts, options, truncate).await?;
    Ok(Reply {
        value: answered.values.into_iter().map(|it| it.vector).collect(),
        times: answered.times,
    })
}

/// Texts whose tokens to embed.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EmbedAllRequest {
    /// A text, or several.
    inputs: Texts,
    /// True to truncate a text that is too long, false to refuse it.
    truncate: Option<bool>,
    /// Fields of `/embed` that do not apply to the vectors of tokens.
    #[serde(flatten)]
    #[schema(ignore)]
    others: Map<String, Value>,
}

/// Returns the vectors of each text's tokens.
#[utoipa::path(post, path = "/embed_all", request_body = EmbedAllRequest, responses(
    (status = 200, description = "For each text, one vector for each token", body = Vec<Vec<Vec<f32>>>),
    Errors,
))]
pub(super) async fn embed_all(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<EmbedAllRequest>,
) -> Result<Reply<Vec<Vec<Vec<f32>>>>, Failure> {
    const REFUSED: [&str; 5] = [
        "normalize",
        "prompt",
        "prompt_name",
        "dimensions",
        "truncation_direction",
    ];
    // The values that a client sends for its defaults change nothing.
    let is_idle = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(side) => side.eq_ignore_ascii_case("right"),
        _ => false,
    };
    let is_asked = |field: &&str| request.others.get(*field).is_some_and(|it| !is_idle(it));
    if let Some(field) = REFUSED.into_iter().find(is_asked) {
        return Err(Failure::invalid(format!(
            "`{field}` does not apply to token vectors"
        )));
    }
    let texts = request.inputs.into_vec()?;
    app.check_texts("inputs", texts.len())?;
    let model = app.model(None)?;
    let answered: Answered<TokenEmbeddings> = app
        .run(
            Kind::Embed,
            texts,
            request.truncate.unwrap_or(app.settings.truncate),
            move || model.embedder(),
            |embedder| (embedder.tokenizer(), embedder.max_length()),
            |embedder, texts| embedder.embed_tokens(texts),
        )
        .await?;
    Ok(Reply {
        value: answered.values.into_iter().map(|it| it.vectors).collect(),
        times: answered.times,
    })
}

/// Refuses sparse embeddings, which no ALBERT or BERT checkpoint with these heads computes.
pub(super) async fn embed_sparse() -> Failure {
    Failure::model_type(
        "sparse embeddings are not supported: no model of this server computes them",
    )
}

/// A text, and others to compare it with.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SimilarityRequest {
    #[serde(deserialize_with = "object")]
    inputs: SimilarityInputs,
    #[serde(default, deserialize_with = "object")]
    parameters: SimilarityParameters,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SimilarityInputs {
    /// The text that the others are compared with.
    pub(super) source_sentence: String,
    /// The others.
    #[schema(min_items = 1)]
    pub(super) sentences: Vec<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SimilarityParameters {
    /// True to truncate a text that is too long, false to refuse it.
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Side,
    /// The name of one of the model's prompts.
    prompt_name: Option<String>,
}

/// Returns the cosine of a text with each of the others.
#[utoipa::path(post, path = "/similarity", request_body = SimilarityRequest, responses(
    (status = 200, description = "One cosine for each sentence", body = Vec<f32>),
    Errors,
))]
pub(super) async fn similarity(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<SimilarityRequest>,
) -> Result<Reply<Vec<f32>>, Failure> {
    compare(&app, request.inputs, request.parameters).await
}

async fn compare(
    app: &App,
    inputs: SimilarityInputs,
    parameters: SimilarityParameters,
) -> Result<Reply<Vec<f32>>, Failure> {
    app.check_texts("sentences", inputs.sentences.len())?;
    let model = app.model(None)?;
    let mut options = model.embedding().clone();
    if parameters.prompt_name.is_some() {
        (options.prompt, options.prompt_name) = (None, parameters.prompt_name);
    }
    let options = options.with_truncation(parameters.truncation_direction.into());
    let texts = std::iter::once(inputs.source_sentence).chain(inputs.sentences);
    let texts = Texts::Many(texts.collect());
    let answered =
        embed_texts(app, model, "sentences", texts, options, parameters.truncate).await?;
    let mut vectors = answered.values.into_iter().map(|it| it.vector);
    let source = vectors.next().unwrap_or_default();
    Ok(Reply {
        value: vectors.map(|vector| cosine(&source, &vector)).collect(),
        times: answered.times,
    })
}

/// A text to embed, as Weaviate's text2vec-transformers sends it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct VectorRequest {
    text: String,
}

/// The embedding of a text, as Weaviate reads it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VectorAnswer {
    text: String,
    vector: Vec<f32>,
    dim: usize,
}

/// Embeds one text: the route of Weaviate's text2vec-transformers.
#[utoipa::path(post, path = "/vectors", request_body = VectorRequest, responses(
    (status = 200, description = "The text and its embedding", body = VectorAnswer),
    Errors,
))]
pub(super) async fn vectors(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<VectorRequest>,
) -> Result<Reply<VectorAnswer>, Failure> {
    let model = app.model(None)?;
    let options = model.embedding().clone();
    let texts = Texts::One(request.text.clone());
    let answered = embed_texts(&app, model, "text", texts, options, None).await?;
    let vector = answered
        .values
        .into_iter()
        .next()
        .map(|it| it.vector)
        .unwrap_or_default();
    Ok(Reply {
        value: VectorAnswer {
            text: request.text,
            dim: vector.len(),
            vector,
        },
        times: answered.times,
    })
}
