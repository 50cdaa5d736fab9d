//! Named entities and other labels of tokens.

use std::sync::Arc;

use albert_tasks::{Aggregation, Entities, Entity, TagOptions};
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

/// Texts to tag.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TagRequest {
    inputs: Texts,
    #[serde(default, deserialize_with = "object")]
    parameters: TagParameters,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TagParameters {
    /// The strategy that joins tokens: `none`, `simple` (the default), `first`, `average` or `max`.
    aggregation_strategy: Option<String>,
    /// Reads long texts in windows that share this many tokens.
    #[serde(default, deserialize_with = "count")]
    stride: Option<usize>,
}

/// An entity; its offsets count characters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundEntity {
    /// The label of an entity of several tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_group: Option<String>,
    /// The label of a single token, without aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<String>,
    score: f32,
    word: String,
    start: usize,
    end: usize,
}

/// The entities of one text, or of each of several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Tagged {
    /// Of one text.
    One(Vec<FoundEntity>),
    /// Of each text.
    Many(Vec<Vec<FoundEntity>>),
}

/// Finds entities, as transformers' token-classification pipeline does.
#[utoipa::path(post, path = "/tag", request_body = TagRequest, responses(
    (status = 200, description = "The entities in the order of the text", body = Tagged),
    Errors,
))]
pub(super) async fn tag(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<TagRequest>,
) -> Result<Reply<Tagged>, Failure> {
    tag_texts(&app, request.inputs, request.parameters).await
}

async fn tag_texts(
    app: &App,
    inputs: Texts,
    parameters: TagParameters,
) -> Result<Reply<Tagged>, Failure> {
    let is_list = matches!(inputs, Texts::Many(_));
    let texts = inputs.into_vec()?;
    app.check_texts("inputs", texts.len())?;
    let mut options = TagOptions::default().with_stride(parameters.stride);
    if let Some(name) = parameters.aggregation_strategy {
        let found = Aggregation::ALL.iter().find(|(_, known)| *known == name);
        let Some((aggregation, _)) = found else {
            let names: Vec<&str> = Aggregation::ALL.iter().map(|(_, name)| *name).collect();
            return Err(Failure::invalid(format!(
                "`aggregation_strategy`: expected {}, found `{name}`",
                names.join(", ")
            )));
        };
        options = options.with_aggregation(*aggregation);
    }
    let aggregates = options.aggregation != Aggregation::None;
    let model = app.model(None)?;
    let answered: Answered<Entities> = app
        .run(
            Kind::Predict,
            texts,
            true,
            move || model.tagger(),
            |tagger| (tagger.tokenizer(), tagger.max_length()),
            move |tagger, texts| tagger.tag(texts, &options),
        )
        .await?;
    let found = |entity: Entity| {
        let (group, single) = if aggregates {
            (Some(entity.label), None)
        } else {
            (None, Some(entity.label))
        };
        FoundEntity {
            entity_group: group,
            entity: single,
            score: entity.score,
            word: entity.text,
            start: entity.start,
            end: entity.end,
        }
    };
    let mut texts = answered.values.into_iter();
    let mut next = || {
        texts
            .next()
            .map(|it| it.entities.into_iter().map(found).collect())
    };
    Ok(Reply {
        value: if is_list {
            Tagged::Many(std::iter::from_fn(next).collect())
        } else {
            Tagged::One(next().unwrap_or_default())
        },
        times: answered.times,
    })
}
