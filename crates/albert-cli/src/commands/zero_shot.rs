//! `zero-shot`: classification with labels of the user's choice.

use albert_data::Pairs;
use albert_tasks::{DEFAULT_HYPOTHESIS, ZeroShotClassifier, ZeroShotOptions};
use clap::Args;

use crate::commands::classify::LabelsRow;
use crate::failure::usage;
use crate::options::{TextArgs, number};
use crate::progress::Talk;
use crate::stream::{Job, Terms};

/// The options of `zero-shot`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli zero-shot --model ./nli 'It rained.' --labels weather,music,sport
  echo 'Now!' | albert-cli zero-shot --model ./nli --labels urgent --multi-label")]
pub(crate) struct ZeroShotArgs {
    #[command(flatten)]
    task: HypothesisArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// The labels and the hypothesis.
#[derive(Debug, Args)]
#[command(next_help_heading = "Labels")]
struct HypothesisArgs {
    /// The labels to choose from
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    labels: Vec<String>,

    /// The sentence that the text should entail; {} is replaced by the label
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_HYPOTHESIS)]
    hypothesis: String,

    /// Score each label independently: any number of them can apply
    #[arg(long)]
    multi_label: bool,

    /// Read texts longer than the model's limit in windows that share N tokens [default: truncate]
    ///
    /// The scores of a text are the mean over its windows, weighted by the number of its tokens in
    /// each. The hypothesis is in every window.
    #[arg(long, value_name = "N", value_parser = number(0..=usize::MAX), allow_negative_numbers = true)]
    stride: Option<usize>,
}

impl HypothesisArgs {
    fn labels(&self) -> anyhow::Result<Vec<String>> {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|label| label.trim().to_string())
            .collect();
        if labels.iter().any(String::is_empty) {
            return Err(usage(
                "`--labels`: expected labels separated by commas, found an empty one",
            ));
        }
        Ok(labels)
    }

    fn options(&self) -> anyhow::Result<ZeroShotOptions> {
        if !self.hypothesis.contains("{}") {
            return Err(usage(format!(
                "`--hypothesis {}`: expected {{}} in place of the label, found none",
                self.hypothesis
            )));
        }
        Ok(ZeroShotOptions::default()
            .with_hypothesis(&self.hypothesis)
            .with_multi_label(self.multi_label)
            .with_stride(self.stride))
    }
}

/// Runs the command.
pub(crate) fn run(args: ZeroShotArgs, talk: Talk) -> anyhow::Result<()> {
    let (labels, ask) = (args.task.labels()?, args.task.options()?);
    let job = Job::open(args.texts, Terms::new(Pairs::Refused), talk)?;
    let zero_shot = ZeroShotClassifier::load(&job.files, &job.options)?;
    if let (label, false) = zero_shot.entailment() {
        talk.say(format_args!(
            "no label of the model begins with `entail`: using its last label, `{label}`, as entailment"
        ));
    }
    job.run(|items| {
        let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
        let answers = zero_shot.classify(&texts, &labels, &ask)?;
        let rows = items.into_iter().zip(answers).map(|(item, answer)| {
            Ok(LabelsRow {
                index: item.index,
                text: item.text.text,
                pair: None,
                labels: answer.labels,
                tokens: answer.tokens,
                truncated: answer.truncated,
            })
        });
        Ok(rows.collect())
    })
}
