//! Extractive question answering.

use std::sync::Arc;

use albert_tasks::{Answer, AnswerOptions, Answers};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Errors, Reply};
use crate::app::{Answered, App};
use crate::body::Json;
use crate::failure::Failure;
use crate::integer::count;
use crate::metrics::Kind;
use crate::texts::object;

/// The maximum number of answers of a request.
const MAX_TOP_K: usize = 1000;

/// A question, and the text that has the answer.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct AnswerRequest {
    #[serde(deserialize_with = "object")]
    inputs: Question,
    #[serde(default, deserialize_with = "object")]
    parameters: AnswerParameters,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Question {
    question: String,
    context: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerParameters {
    /// The number of answers; 1 by default.
    #[schema(minimum = 1, maximum = 1000)]
    #[serde(default, deserialize_with = "count")]
    top_k: Option<usize>,
    /// The maximum number of tokens of an answer.
    #[schema(minimum = 1)]
    #[serde(default, deserialize_with = "count")]
    max_answer_len: Option<usize>,
    /// Makes "no answer" one of the answers.
    handle_impossible_answer: Option<bool>,
    /// Widens answers to whole words.
    align_to_words: Option<bool>,
}

/// An answer; its offsets count characters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundAnswer {
    score: f32,
    start: usize,
    end: usize,
    answer: String,
}

/// The answer, or several, best first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum FoundAnswers {
    /// One answer.
    One(FoundAnswer),
    /// Several, where `top_k` is more than 1.
    Many(Vec<FoundAnswer>),
}

/// Answers a question, as transformers' pipeline does.
#[utoipa::path(post, path = "/answer", request_body = AnswerRequest, responses(
    (status = 200, description = "The answer, or several with `top_k`", body = FoundAnswers),
    Errors,
))]
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    Json(request, _memory): Json<AnswerRequest>,
) -> Result<Reply<FoundAnswers>, Failure> {
    find(&app, request.inputs, request.parameters).await
}

async fn find(
    app: &App,
    question: Question,
    parameters: AnswerParameters,
) -> Result<Reply<FoundAnswers>, Failure> {
    let top_k = parameters.top_k.unwrap_or(1);
    if !(1..=MAX_TOP_K).contains(&top_k) || parameters.max_answer_len == Some(0) {
        return Err(Failure::invalid(format!(
            "expected a `top_k` from 1 to {MAX_TOP_K} and a `max_answer_len` of at least 1"
        )));
    }
    let mut options = AnswerOptions::default()
        .with_top_k(top_k)
        .with_allow_no_answer(parameters.handle_impossible_answer.unwrap_or(false))
        .with_align_to_words(parameters.align_to_words.unwrap_or(true));
    if let Some(tokens) = parameters.max_answer_len {
        options = options.with_max_answer_tokens(tokens);
    }
    let model = app.model(None)?;
    let answered: Answered<Answers> = app
        .run(
            Kind::Predict,
            vec![(question.question, question.context)],
            true,
            move || model.answerer(),
            |answerer| (answerer.tokenizer(), answerer.max_length()),
            move |answerer, questions| {
                let questions: Vec<(&str, &str)> = questions
                    .iter()
                    .map(|it| (it.0.as_str(), it.1.as_str()))
                    .collect();
                answerer.answer(&questions, &options)
            },
        )
        .await?;
    // Without an answer the pipeline gives the empty one at the beginning.
    let found = |answer: Answer| FoundAnswer {
        score: answer.score,
        start: answer.start.unwrap_or(0),
        end: answer.end.unwrap_or(0),
        answer: answer.answer,
    };
    let mut answers = answered
        .values
        .into_iter()
        .flat_map(|it| it.answers)
        .map(found);
    let value = match (top_k, answers.next()) {
        (1, Some(answer)) => FoundAnswers::One(answer),
        (_, first) => FoundAnswers::Many(first.into_iter().chain(answers).collect()),
    };
    Ok(Reply {
        value,
        times: answered.times,
    })
}
