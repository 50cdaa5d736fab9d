//! Reranking, in the forms of text-embeddings-inference, Jina and Cohere.

use std::sync::Arc;

use albert_tasks::{Relevance, RerankOptions};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Errors, Reply};
use crate::app::{Answered, App};
use crate::body::Json;
use crate::failure::Failure;
use crate::integer::count;
use crate::metrics::Kind;

/// A query, and texts to rank.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RerankRequest {
    query: String,
    #[schema(min_items = 1)]
    texts: Vec<String>,
    /// Returns the network's raw scores instead of probabilities.
    #[serde(default)]
    raw_scores: bool,
    /// Returns the texts with their scores.
    #[serde(default)]
    return_text: bool,
    /// True to truncate a text that is too long, false to refuse it.
    truncate: Option<bool>,
}

/// The index of a text in the request, and its score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rank {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Scores texts for a query; the most relevant comes first.
async fn scores(
    app: &App,
    model: Option<&str>,
    field: &'static str,
    query: String,
    texts: &[String],
    probability: bool,
    truncate: Option<bool>,
) -> Result<(Vec<(usize, f32)>, Answered<Relevance>), Failure> {
    app.check_texts(field, texts.len())?;
    let model = app.model(model)?;
    let pairs: Vec<(String, String)> = texts
        .iter()
        .map(|text| (query.clone(), text.clone()))
        .collect();
    let options = RerankOptions::default().with_probability(probability);
    let answered: Answered<Relevance> = app
        .run(
            Kind::Predict,
            pairs,
            truncate.unwrap_or(app.settings.truncate),
            move || model.reranker(),
            |reranker| (reranker.tokenizer(), reranker.max_length()),
            move |reranker, pairs| {
                let texts: Vec<&str> = pairs.iter().map(|pair| pair.1.as_str()).collect();
                let query = pairs.first().map_or("", |pair| pair.0.as_str());
                reranker.score(query, &texts, &options)
            },
        )
        .await?;
    let mut ranked: Vec<(usize, f32)> = answered
        .values
        .iter()
        .map(|it| it.score)
        .enumerate()
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok((ranked, answered))
}

/// Ranks texts by their relevance to a query: text-embeddings-inference's route.
#[utoipa::path(post, path = "/rerank", request_body = RerankRequest, responses(
    (status = 200, description = "The texts, most relevant first", body = Vec<Rank>),
    Errors,
))]
pub(super) async fn rerank(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<RerankRequest>,
) -> Result<Reply<Vec<Rank>>, Failure> {
    let RerankRequest {
        query,
        texts,
        raw_scores,
        return_text,
        truncate,
    } = request;
    let (ranked, answered) =
        scores(&app, None, "texts", query, &texts, !raw_scores, truncate).await?;
    let rank = |(index, score): (usize, f32)| Rank {
        index,
        score,
        text: return_text.then(|| texts[index].clone()),
    };
    Ok(Reply {
        value: ranked.into_iter().map(rank).collect(),
        times: answered.times,
    })
}

/// A document: a text, or an object with one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or an object with `text`")]
pub(super) enum Document {
    /// The text.
    Text(String),
    /// An object with the text.
    Object {
        /// The text.
        text: String,
    },
}

impl Document {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { text } => text,
        }
    }
}

/// A query, and documents to rank.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DocumentsRequest {
    /// The name of a model; without one, the first model of the server.
    model: Option<String>,
    query: String,
    #[schema(min_items = 1)]
    documents: Vec<Document>,
    /// Returns this many documents.
    #[serde(default, deserialize_with = "count")]
    top_n: Option<usize>,
    /// Returns the documents with their scores.
    #[serde(default)]
    return_documents: bool,
}

async fn documents(
    app: &App,
    request: DocumentsRequest,
    about: impl FnOnce(usize) -> Value,
) -> Result<Reply<Value>, Failure> {
    let model = request.model.as_deref();
    let texts: Vec<String> = request
        .documents
        .into_iter()
        .map(Document::into_text)
        .collect();
    let (mut ranked, answered) =
        scores(app, model, "documents", request.query, &texts, true, None).await?;
    ranked.truncate(request.top_n.unwrap_or(ranked.len()));
    let result = |(index, score): (usize, f32)| {
        let mut result = json!({ "index": index, "relevance_score": score });
        if request.return_documents {
            result["document"] = json!({ "text": texts[index] });
        }
        result
    };
    let results: Vec<Value> = ranked.into_iter().map(result).collect();
    let mut value = json!({ "model": app.model(model)?.name(), "results": results });
    if let (Some(value), Value::Object(about)) =
        (value.as_object_mut(), about(answered.times.tokens))
    {
        value.extend(about);
    }
    Ok(Reply {
        value,
        times: answered.times,
    })
}

/// Ranks documents by their relevance to a query: Jina's route.
#[utoipa::path(post, path = "/v1/rerank", request_body = DocumentsRequest, responses(
    (status = 200, description = "The documents, most relevant first", body = Object),
    Errors,
))]
pub(super) async fn rerank_v1(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<DocumentsRequest>,
) -> Result<Reply<Value>, Failure> {
    documents(
        &app,
        request,
        |tokens| json!({ "usage": { "total_tokens": tokens } }),
    )
    .await
}

/// Ranks documents by their relevance to a query: Cohere's route.
#[utoipa::path(post, path = "/v2/rerank", request_body = DocumentsRequest, responses(
    (status = 200, description = "The documents, most relevant first", body = Object),
    Errors,
))]
pub(super) async fn rerank_v2(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<DocumentsRequest>,
) -> Result<Reply<Value>, Failure> {
    let about = |_| {
        json!({ "meta": {
            "api_version": { "version": "2" },
            "billed_units": { "search_units": 1 },
        }})
    };
    documents(&app, request, about).await
}
