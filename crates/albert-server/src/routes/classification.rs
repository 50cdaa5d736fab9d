//! Labels of texts: by a fine-tuned classifier, or zero-shot.

use std::sync::Arc;

use albert_tasks::{
    Classification, ClassifyOptions, LabelScore, ScoreFunction, ZeroShotClassifier, ZeroShotOptions,
};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Errors, Reply};
use crate::app::{Answered, App};
use crate::body::Json;
use crate::failure::Failure;
use crate::integer::count;
use crate::metrics::Kind;
use crate::texts::{Pair, Pairs, Texts, object};

/// Texts or pairs of texts to classify.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PredictRequest {
    inputs: Pairs,
    /// Returns the network's raw scores instead of probabilities.
    #[serde(default)]
    raw_scores: bool,
    /// True to truncate a text that is too long, false to refuse it.
    truncate: Option<bool>,
}

/// A label and its score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Label {
    label: String,
    score: f32,
}

impl From<LabelScore> for Label {
    fn from(scored: LabelScore) -> Self {
        Self {
            label: scored.label,
            score: scored.score,
        }
    }
}

/// The labels of one text, or of each of several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Labels {
    /// Of one text, best first.
    One(Vec<Label>),
    /// Of each text.
    Many(Vec<Vec<Label>>),
}

impl Labels {
    fn reply(answered: Answered<Classification>, is_list: bool) -> Reply<Self> {
        let labels = |it: Classification| it.labels.into_iter().map(Label::from).collect();
        let mut labels = answered.values.into_iter().map(labels);
        Reply {
            value: if is_list {
                Self::Many(labels.collect())
            } else {
                Self::One(labels.next().unwrap_or_default())
            },
            times: answered.times,
        }
    }
}

/// Classifies texts: text-embeddings-inference's route.
#[utoipa::path(post, path = "/predict", request_body = PredictRequest, responses(
    (status = 200, description = "The labels, best first", body = Labels),
    Errors,
))]
pub(super) async fn predict(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<PredictRequest>,
) -> Result<Reply<Labels>, Failure> {
    let (pairs, is_list) = request.inputs.into_vec()?;
    let options =
        ClassifyOptions::default().with_function(request.raw_scores.then_some(ScoreFunction::None));
    classify(&app, pairs, is_list, options, request.truncate).await
}

async fn classify(
    app: &App,
    pairs: Vec<Pair>,
    is_list: bool,
    options: ClassifyOptions,
    truncate: Option<bool>,
) -> Result<Reply<Labels>, Failure> {
    app.check_texts("inputs", pairs.len())?;
    let model = app.model(None)?;
    let answered: Answered<Classification> = app
        .run(
            Kind::Predict,
            pairs,
            truncate.unwrap_or(app.settings.truncate),
            move || model.classifier(),
            |classifier| (classifier.tokenizer(), classifier.max_length()),
            move |classifier, pairs| classifier.classify(pairs, &options),
        )
        .await?;
    Ok(Labels::reply(answered, is_list))
}

/// Texts to classify, as Hugging Face's clients send them.
#[derive(Debug, Deserialize)]
pub(super) struct ClassifyRequest {
    inputs: Texts,
    #[serde(default, deserialize_with = "object")]
    parameters: ClassifyParameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassifyParameters {
    #[serde(default, deserialize_with = "count")]
    top_k: Option<usize>,
    /// `sigmoid`, `softmax` or `none`.
    function_to_apply: Option<String>,
}

/// Classifies texts in Hugging Face's form: one text has a list of one list of labels.
pub(super) async fn classify_texts(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<ClassifyRequest>,
) -> Result<Reply<Labels>, Failure> {
    let ClassifyParameters {
        top_k,
        function_to_apply,
    } = request.parameters;
    let function = match function_to_apply.as_deref() {
        None => None,
        Some("sigmoid") => Some(ScoreFunction::Sigmoid),
        Some("softmax") => Some(ScoreFunction::Softmax),
        Some("none") => Some(ScoreFunction::None),
        Some(other) => {
            return Err(Failure::invalid(format!(
                "`function_to_apply`: expected sigmoid, softmax or none, found `{other}`"
            )));
        }
    };
    let options = ClassifyOptions::default()
        .with_top_k(top_k)
        .with_function(function);
    let pairs = request
        .inputs
        .into_vec()?
        .into_iter()
        .map(|text| (text, None));
    classify(&app, pairs.collect(), true, options, None).await
}

/// Texts to classify by labels that the model was not trained on.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ZeroShotRequest {
    inputs: Texts,
    #[serde(deserialize_with = "object")]
    parameters: ZeroShotParameters,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ZeroShotParameters {
    #[schema(min_items = 1)]
    candidate_labels: Vec<String>,
    /// A sentence with `{}` where the label goes.
    #[schema(pattern = "\\{\\}")]
    hypothesis_template: Option<String>,
    /// Scores each label by itself, so that several can be true.
    #[serde(default)]
    multi_label: bool,
}

/// Classifies texts by labels that the model was not trained on.
#[utoipa::path(post, path = "/zero_shot", request_body = ZeroShotRequest, responses(
    (status = 200, description = "The labels, best first", body = Labels),
    Errors,
))]
pub(super) async fn zero_shot(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<ZeroShotRequest>,
) -> Result<Reply<Labels>, Failure> {
    label(&app, request.inputs, request.parameters).await
}

async fn label(
    app: &App,
    inputs: Texts,
    parameters: ZeroShotParameters,
) -> Result<Reply<Labels>, Failure> {
    let is_list = matches!(inputs, Texts::Many(_));
    let texts = inputs.into_vec()?;
    app.check_texts("inputs", texts.len())?;
    app.check_texts("candidate_labels", parameters.candidate_labels.len())?;
    // Every text is computed once for each label.
    app.check_texts("inputs", texts.len() * parameters.candidate_labels.len())?;
    let mut options = ZeroShotOptions::default().with_multi_label(parameters.multi_label);
    if let Some(hypothesis) = parameters.hypothesis_template {
        options = options.with_hypothesis(hypothesis);
    }
    let labels = parameters.candidate_labels;
    let model = app.model(None)?;
    let answered: Answered<Classification> = app
        .run(
            Kind::Predict,
            texts,
            true,
            move || model.zero_shot(),
            |classifier: &ZeroShotClassifier| (classifier.tokenizer(), classifier.max_length()),
            move |classifier, texts| classifier.classify(texts, &labels, &options),
        )
        .await?;
    Ok(Labels::reply(answered, is_list))
}
