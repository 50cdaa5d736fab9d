//! `inspect`: shows the parts of a model, the use of its tensors, and the choices made in reading
//! it.

use albert_tasks::tools::inspect;
use albert_tasks::{Error, Tokenizer};
use anyhow::Context;
use clap::Args;
use serde_json::Value;

use crate::options::{ComputeArgs, ModelArgs, OutputArgs};
use crate::output::{REPORT, visible};
use crate::progress::Talk;

/// The options of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli inspect
  albert-cli inspect --model albert-mini-en --format json")]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: InspectArgs, talk: Talk) -> anyhow::Result<()> {
    let output = args.output.target(REPORT)?.open(&[])?;
    let options = args.compute.run_options(&args.model, talk)?;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let inspection = inspect(&files, &options)?;
    let value = serde_json::to_value(&inspection).context("cannot show the model")?;
    output.report(&value, |value| {
        let mut lines = String::new();
        show(value, 0, &mut lines);
        lines
    })?;
    // A model may lack a tokenizer, but a tokenizer that cannot be read is a failure.
    match Tokenizer::load(&files, &options.tokenizer) {
        Ok(_) | Err(Error::NoTokenizer(_)) => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context("the tokenizer cannot be used")),
    }
}

/// Formats an object as indented lines, one per member.
fn show(object: &Value, depth: usize, lines: &mut String) {
    /// The maximum length of a list on one line; a longer one has a line per element.
    const LINE: usize = 70;
    let Value::Object(members) = object else {
        return;
    };
    let indent = "  ".repeat(depth);
    let width = members.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in members {
        let name = format!("{indent}{:<width$}", visible(name, 60));
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                lines.push_str(&format!("{}\n", name.trim_end()));
                show(value, depth + 1, lines);
            }
            Value::Array(items) if scalar(value).len() > LINE => {
                lines.push_str(&format!("{name}  {}\n", items.len()));
                for item in items {
                    lines.push_str(&format!("{indent}  {}\n", scalar(item)));
                }
            }
            value => lines.push_str(&format!("{name}  {}\n", scalar(value))),
        }
    }
}

/// Formats a value on one line: a list with commas, an object (such as a tensor and its source) as
/// its values with arrows.
fn scalar(value: &Value) -> String {
    const WIDTH: usize = 200;
    let all = |values: Vec<String>, between: &str| {
        if values.is_empty() {
            "none".to_string()
        } else {
            values.join(between)
        }
    };
    match value {
        Value::Null => "none".to_string(),
        Value::Bool(true) => "yes".to_string(),
        Value::Bool(false) => "no".to_string(),
        Value::String(text) => visible(text, WIDTH),
        Value::Number(number) => grouped(&number.to_string()),
        Value::Array(items) => all(items.iter().map(scalar).collect(), ", "),
        Value::Object(members) => all(members.values().map(scalar).collect(), " -> "),
    }
}

/// Groups the digits of a whole number by thousands; returns anything else unchanged.
fn grouped(number: &str) -> String {
    if number.len() < 5 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_string();
    }
    let mut text = String::new();
    for (index, digit) in number.chars().enumerate() {
        if index > 0 && (number.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, expected) in [
            ("11683584", "11,683,584"),
            ("30000", "30,000"),
            ("512", "512"),
            ("1.25e10", "1.25e10"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn every_tensor_is_named_and_long_lists_are_counted() {
        let long = "albert.encoder.embedding_hidden_mapping_in.weight";
        let value = json!({
            "architecture": "AlbertModel",
            "tensors": {
                "used": ["a", "b"],
                "missing": ["c", "d"],
                "unused": [long, long],
                "tied": [{"name": "e", "source": "f"}],
                "renamed": [],
            },
        });
        let mut lines = String::new();
        show(&value, 0, &mut lines);
        let expected = "\
architecture  AlbertModel
tensors
  used     a, b
  missing  c, d
  unused   2
    albert.encoder.embedding_hidden_mapping_in.weight
    albert.encoder.embedding_hidden_mapping_in.weight
  tied     e -> f
  renamed  none
";
        assert_eq!(lines, expected);
    }
}
