//! The model that a run starts with, and its head.

use std::sync::Arc;

use albert_tasks::albert_model::train::{FlatLayout, FlatParameters, Pooling};
use albert_tasks::albert_model::{AlbertConfig, Checkpoint, Head, ProblemType};
use albert_tasks::{ModelFiles, PoolingMode};
use serde_json::json;

use super::labels::Labels;
use super::task::FineTuneTask;
use crate::error::{Error, Result};
use crate::layer_groups::with_groups;

/// The initial parameters, and the names of those that are new.
#[derive(Debug)]
pub(super) struct StartModel {
    pub(super) parameters: FlatParameters,
    /// The tensors that were drawn.
    pub(super) new_tensors: Vec<String>,
}

/// Returns the labels of a model's head, if it has the head of the task with labels.
pub(super) fn labels(checkpoint: &Checkpoint, task: FineTuneTask) -> Option<Labels> {
    let config = checkpoint.config();
    let has_head = checkpoint.heads().contains(&task.head());
    let labels = (0..config.num_labels()).map(|index| config.label(index));
    has_head.then(|| Labels::new(labels.collect()))
}

/// Returns the parameters of a model with the head of a task. A head that the model has is kept,
/// unless its labels are others.
///
/// # Errors
/// If the model lacks a part of the encoder, or its groups cannot become `groups` groups.
pub(super) fn start(
    checkpoint: &Checkpoint,
    task: FineTuneTask,
    labels: Option<&Labels>,
    groups: Option<usize>,
    seed: u64,
) -> Result<StartModel> {
    let config = config(checkpoint.config(), task, labels);
    let layout = Arc::new(FlatLayout::new(&config, task.head())?);
    let is_kept = checkpoint.heads().contains(&task.head())
        && match (task, labels) {
            (FineTuneTask::Regression, _) => checkpoint.config().num_labels() == 1,
            (_, Some(labels)) => {
                self::labels(checkpoint, task).is_some_and(|found| found.names() == labels.names())
            }
            (_, None) => true,
        };
    let (parameters, new_tensors) = if is_kept {
        FlatParameters::from_checkpoint(checkpoint, layout, seed)?
    } else {
        FlatParameters::from_encoder(checkpoint, layout, seed)?
    };
    let parameters = match groups {
        Some(groups) => with_groups(&parameters, groups)?,
        None => parameters,
    };
    Ok(StartModel {
        parameters,
        new_tensors,
    })
}

/// Returns the configuration of the result: the start's with the head and the labels of the task.
fn config(start: &AlbertConfig, task: FineTuneTask, labels: Option<&Labels>) -> AlbertConfig {
    let mut config = start.clone();
    config.architectures = vec![task.head().architecture().into()];
    config.problem_type = match task {
        FineTuneTask::Classification => Some(ProblemType::SingleLabelClassification),
        FineTuneTask::MultiLabel => Some(ProblemType::MultiLabelClassification),
        FineTuneTask::Regression => Some(ProblemType::Regression),
        _ => None,
    };
    let names = match (task, labels) {
        // transformers' name of the only output.
        (FineTuneTask::Regression, _) => vec!["LABEL_0".to_string()],
        (_, Some(labels)) => labels.names().to_vec(),
        (_, None) => Vec::new(),
    };
    if names.is_empty() {
        config.other.shift_remove("num_labels");
    } else {
        config.other.insert("num_labels".into(), json!(names.len()));
    }
    config.id2label = (0..).zip(names).collect();
    // The activation that a cross-encoder names is that of its own head.
    for key in [
        "sbert_ce_default_activation_function",
        "sentence_transformers",
    ] {
        config.other.shift_remove(key);
    }
    config
}

/// Returns how a folder pools the vectors of tokens: the mean, unless it says otherwise.
///
/// # Errors
/// If it pools in a way that is not trained here.
pub(crate) fn pooling(files: &ModelFiles) -> Result<Pooling> {
    let found = albert_tasks::Pooling::from_files(files)?;
    match (found.modes.as_slice(), found.stages.is_empty()) {
        ([PoolingMode::Mean], true) => Ok(Pooling::Mean),
        ([PoolingMode::Cls], true) => Ok(Pooling::Cls),
        _ => Err(Error::Setting {
            name: "pooling",
            expected: "the mean of all tokens or the state of [CLS], without a layer after it"
                .into(),
            found: found.why,
        }),
    }
}

/// Returns the files that make a folder one of sentence-transformers, with unit vectors.
pub(super) fn sentence_files(pooling: Pooling, hidden_size: usize) -> [(&'static str, Vec<u8>); 2] {
    let module = |index: usize, path: &str, class: &str| {
        json!({
            "idx": index, "name": index.to_string(), "path": path,
            "type": format!("sentence_transformers.models.{class}"),
        })
    };
    let modules = json!([
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, "2_Normalize", "Normalize"),
    ]);
    let pooling = json!({
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": pooling == Pooling::Cls,
        "pooling_mode_mean_tokens": pooling == Pooling::Mean,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
    });
    [
        ("modules.json", format!("{modules:#}\n").into_bytes()),
        (
            "1_Pooling/config.json",
            format!("{pooling:#}\n").into_bytes(),
        ),
    ]
}

/// Returns the first tensor of a head that a checkpoint lacks, if it lacks the head.
pub(super) fn missing_head(checkpoint: &Checkpoint, head: Head) -> Option<String> {
    if checkpoint.heads().contains(&head) {
        return None;
    }
    let name = match head {
        Head::QuestionAnswering => "qa_outputs.weight",
        _ => "classifier.weight",
    };
    Some(name.into())
}
