//! The metrics of a task, on labeled examples.

use std::fs::File;
use std::io::{BufWriter, Write};

use albert_train::FineTuneTask;
use albert_train::finetune::Evaluator;
use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{EvaluateArgs, confusion};
use crate::failure::Hint;
use crate::progress::Talk;

/// Adds the metrics of a task to a row, and writes the predictions.
pub(super) fn evaluate(
    args: &EvaluateArgs,
    task: FineTuneTask,
    row: &mut Map<String, Value>,
    talk: Talk,
) -> anyhow::Result<()> {
    let files = args.model.files(talk)?;
    let mut evaluator = Evaluator::new(task, files).with_tokenizer(args.model.tokenizer());
    args.examples.apply(&mut evaluator.examples);
    let report = evaluator
        .evaluate(&args.examples.files(&args.input))
        .map_err(explained)?;
    if let Some(note) = &report.note {
        talk.say(note);
    }
    row.insert("examples".into(), json!(report.examples));
    for (name, value) in &report.metrics {
        row.insert(name.clone(), json!(value));
    }
    row.extend(report.assessment.details.clone());
    if let (Some(confusion), Some(labels)) = (&report.assessment.confusion, &report.labels) {
        for line in confusion::table(confusion, labels.names()) {
            talk.say(line);
        }
    }
    let Some(path) = &args.predictions else {
        return Ok(());
    };
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for prediction in &report.assessment.predictions {
            writeln!(file, "{prediction}")?;
        }
        file.flush()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

/// Adds a remedy for a model without the head of the task.
fn explained(error: albert_train::Error) -> anyhow::Error {
    let is_missing_head = matches!(error, albert_train::Error::NoHead { .. });
    let error = anyhow::Error::new(error);
    if is_missing_head {
        return error.hint("name a model that was fine-tuned for the task with --model");
    }
    error
}
