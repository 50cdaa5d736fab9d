//! The tokenizer.

use std::sync::Arc;

use albert_tasks::Tokenizer;
use axum::extract::State;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::Errors;
use crate::app::App;
use crate::body::Json;
use crate::failure::Failure;
use crate::texts::{Texts, ids_of_texts};

/// Texts to tokenize.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TokenizeRequest {
    inputs: Texts,
    /// Also returns the special tokens around the text; true by default.
    add_special_tokens: Option<bool>,
}

/// A token; its offsets count characters of the text, and special tokens have none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    id: u32,
    text: String,
    special: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<usize>,
}

/// Tokenizes texts: text-embeddings-inference's route.
#[utoipa::path(post, path = "/tokenize", request_body = TokenizeRequest, responses(
    (status = 200, description = "The tokens of each text", body = Vec<Vec<Token>>),
    Errors,
))]
pub(super) async fn tokenize(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<TokenizeRequest>,
) -> Result<axum::Json<Vec<Vec<Token>>>, Failure> {
    let texts = request.inputs.into_vec()?;
    app.check_texts("inputs", texts.len())?;
    let model = app.model(None)?;
    let special = request.add_special_tokens.unwrap_or(true);
    let tokenized = app.prepare(move || {
        model.about(|tokenizer, _, _| {
            texts
                .iter()
                .map(|text| tokens(tokenizer, text, special))
                .collect::<Result<_, _>>()
        })?
    });
    Ok(axum::Json(tokenized.await?))
}

fn tokens(tokenizer: &Tokenizer, text: &str, keep_special: bool) -> Result<Vec<Token>, Failure> {
    let encoding = tokenizer.encode(text, None, None)?;
    let token = |index: usize| {
        let special = encoding.special_tokens_mask[index] == 1;
        let (start, stop) = encoding.offsets[index];
        // A special token that is part of the text has a place there.
        let placed = !special || start < stop;
        Token {
            id: encoding.ids[index],
            text: encoding.pieces[index].clone(),
            special,
            start: placed.then_some(start),
            stop: placed.then_some(stop),
        }
    };
    let tokens = (0..encoding.ids.len()).map(token);
    Ok(tokens
        .filter(|token| keep_special || !token.special || token.start.is_some())
        .collect())
}

/// The token ids of texts: a list of ids is one text, a list of such lists several.
#[derive(Debug, ToSchema)]
pub(super) struct Ids(Vec<Vec<u32>>);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::deserialize(deserializer)?;
        let ids = ids_of_texts(values).map_err(serde::de::Error::custom)?;
        Ok(Self(ids))
    }
}

/// Token ids to turn into text.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DecodeRequest {
    ids: Ids,
    /// Leaves special tokens out; true by default.
    skip_special_tokens: Option<bool>,
}

/// Turns token ids into texts: text-embeddings-inference's route.
#[utoipa::path(post, path = "/decode", request_body = DecodeRequest, responses(
    (status = 200, description = "One text for each list of ids", body = Vec<String>),
    Errors,
))]
pub(super) async fn decode(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<DecodeRequest>,
) -> Result<axum::Json<Vec<String>>, Failure> {
    let Ids(rows) = request.ids;
    app.check_texts("ids", rows.len())?;
    let skip = request.skip_special_tokens.unwrap_or(true);
    let model = app.model(None)?;
    let decoded = app.prepare(move || {
        model.about(|tokenizer, _, _| {
            rows.into_iter()
                .map(|ids| text(tokenizer, ids, skip))
                .collect::<Result<_, _>>()
        })?
    });
    Ok(axum::Json(decoded.await?))
}

fn text(tokenizer: &Tokenizer, mut ids: Vec<u32>, skip_special: bool) -> Result<String, Failure> {
    if let Some(id) = ids.iter().find(|&&id| tokenizer.id_to_token(id).is_none()) {
        return Err(Failure::invalid(format!(
            "no token has the id {id}: the vocabulary has {} pieces",
            tokenizer.vocab_size()
        )));
    }
    if skip_special {
        ids.retain(|&id| !tokenizer.is_special(id));
    }
    Ok(tokenizer.decode(&ids)?)
}
