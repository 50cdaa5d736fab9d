//! Masked language modeling: tokens at a mask, and scores of texts.

use std::sync::Arc;

use albert_tasks::{Candidate, FillOptions, FilledMask, FilledText, TextScore};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Errors, Reply};
use crate::app::{Answered, App};
use crate::body::Json;
use crate::failure::Failure;
use crate::integer::count;
use crate::metrics::Kind;
use crate::texts::{Texts, object};

/// The maximum number of candidates of a mask in a request.
const MAX_TOP_K: usize = 1000;

/// Texts with masks.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct FillRequest {
    inputs: Texts,
    #[serde(default, deserialize_with = "object")]
    parameters: FillParameters,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FillParameters {
    /// Candidates of each mask; 5 by default.
    #[schema(minimum = 1, maximum = 1000)]
    #[serde(default, deserialize_with = "count")]
    top_k: Option<usize>,
    /// The only words to consider, all of which the vocabulary can spell.
    // A schema cannot say which words these are.
    #[schema(ignore)]
    targets: Option<Vec<String>>,
}

/// A token at a mask.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilledToken {
    score: f32,
    /// Its id; `null` for a target of several pieces.
    token: Option<u32>,
    token_str: String,
    /// The text with the token in it.
    sequence: String,
}

impl From<Candidate> for FilledToken {
    fn from(candidate: Candidate) -> Self {
        Self {
            score: candidate.score,
            token: candidate.id,
            token_str: candidate.token,
            sequence: candidate.text,
        }
    }
}

/// The candidates of a text with one mask, of each mask of a text, or of several texts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Filled {
    /// Of one mask, best first.
    Mask(Vec<FilledToken>),
    /// Of each mask, or of each text with one mask.
    Masks(Vec<Vec<FilledToken>>),
    /// Of each text, one of which has several masks.
    Texts(Vec<Vec<Vec<FilledToken>>>),
}

/// Fills masks, as transformers' pipeline does.
#[utoipa::path(post, path = "/fill_mask", request_body = FillRequest, responses(
    (status = 200, description = "The candidates, best first", body = Filled),
    Errors,
))]
pub(super) async fn fill_mask(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<FillRequest>,
) -> Result<Reply<Filled>, Failure> {
    fill(&app, request.inputs, request.parameters).await
}

async fn fill(
    app: &App,
    inputs: Texts,
    parameters: FillParameters,
) -> Result<Reply<Filled>, Failure> {
    let is_list = matches!(inputs, Texts::Many(_));
    let texts = inputs.into_vec()?;
    app.check_texts("inputs", texts.len())?;
    let mut options = FillOptions::default().with_targets(parameters.targets);
    if let Some(top_k) = parameters.top_k {
        if !(1..=MAX_TOP_K).contains(&top_k) {
            let message = format!("`top_k`: expected 1 to {MAX_TOP_K}, found {top_k}");
            return Err(Failure::invalid(message));
        }
        options = options.with_top_k(top_k);
    }
    let model = app.model(None)?;
    let answered: Answered<FilledText> = app
        .run(
            Kind::Predict,
            texts,
            true,
            move || model.filler(),
            |filler| (filler.tokenizer(), filler.max_length()),
            move |filler, texts| filler.fill(texts, &options),
        )
        .await?;
    let of_mask = |mask: FilledMask| mask.candidates.into_iter().map(FilledToken::from).collect();
    let of_text = |text: FilledText| text.masks.into_iter().map(of_mask).collect();
    let mut texts: Vec<Vec<Vec<FilledToken>>> = answered.values.into_iter().map(of_text).collect();
    let single = texts.iter().all(|masks| masks.len() == 1);
    let value = match (is_list, single) {
        (false, true) => Filled::Mask(texts.pop().and_then(|mut it| it.pop()).unwrap_or_default()),
        (false, false) => Filled::Masks(texts.pop().unwrap_or_default()),
        (true, true) => Filled::Masks(texts.into_iter().flatten().collect()),
        (true, false) => Filled::Texts(texts),
    };
    Ok(Reply {
        value,
        times: answered.times,
    })
}

/// Texts to score.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ScoreRequest {
    inputs: Texts,
}

/// The score of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Score {
    /// The sum of the log-probabilities of the tokens, each predicted from all others, in nats.
    log_likelihood: f64,
    tokens: usize,
    truncated: bool,
}

/// Scores texts by their pseudo-log-likelihood (Salazar et al. 2020).
#[utoipa::path(post, path = "/score", request_body = ScoreRequest, responses(
    (status = 200, description = "One score for each text", body = Vec<Score>),
    Errors,
))]
pub(super) async fn score(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<ScoreRequest>,
) -> Result<Reply<Vec<Score>>, Failure> {
    let texts = request.inputs.into_vec()?;
    app.check_texts("inputs", texts.len())?;
    let model = app.model(None)?;
    let answered: Answered<TextScore> = app
        .run(
            Kind::Predict,
            texts,
            true,
            move || model.filler(),
            |filler| (filler.tokenizer(), filler.max_length()),
            |filler, texts| filler.score(texts),
        )
        .await?;
    let score = |it: TextScore| Score {
        log_likelihood: it.log_likelihood,
        tokens: it.tokens,
        truncated: it.truncated,
    };
    Ok(Reply {
        value: answered.values.into_iter().map(score).collect(),
        times: answered.times,
    })
}
