//! `compress`: makes a small ALBERT of a BERT or an ALBERT.

use std::path::PathBuf;

use albert_tasks::{ModelFiles, Tokenizer};
use albert_train::Output;
use albert_train::compress::{Compression, GroupInit, piece_counts};
use albert_train::distill::{Student, pretraining_head};
use albert_train::examples::Corpus;
use clap::Args;
use serde_json::json;

use super::distill::run::{Distilling, TeacherFiles, pass, say_new, trainer_settings};
use super::training::{Recipe, Run, print};
use crate::failure::usage;
use crate::options::distillation::DistillingArgs;
use crate::options::number;
use crate::progress::Talk;

/// The default learning rate: most of the original's knowledge has to be found again.
const RATE: f64 = 1e-3;

/// The options of `compress`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli compress --model bert --groups 3 --output start
  albert-cli compress --model bert --groups 3 --train text.txt --output small")]
pub(crate) struct CompressArgs {
    /// Text to train on, with one sentence per line and a blank line between documents: files (.txt,
    /// .gz, .zst) or folders. Without it only the initial model is written
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    train: Vec<PathBuf>,

    #[command(flatten)]
    sizes: SizeArgs,

    #[command(flatten)]
    common: DistillingArgs,
}

/// The sizes of the result.
#[derive(Debug, Args)]
#[command(next_help_heading = "Size")]
struct SizeArgs {
    /// Layer groups: how many layers differ [default: as many as --model has]
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    groups: Option<usize>,

    /// Width of the embeddings [default: that of --model]
    #[arg(long, value_name = "N", value_parser = number(4..=65536))]
    embedding_size: Option<usize>,

    /// Layers [default: as many as --model has]
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    layers: Option<usize>,

    /// Pieces to keep: special tokens, single characters and the most frequent in --train [default: all]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), requires = "train")]
    vocabulary: Option<usize>,

    /// Initial weights of a group, from the layers that it replaces: first, last or mean
    #[arg(long, value_name = "NAME", default_value_t = GroupInit::Last)]
    group_init: GroupInit,
}

impl SizeArgs {
    fn compression(&self) -> Compression {
        let mut compression = Compression::default();
        compression.groups = self.groups;
        compression.embedding_size = self.embedding_size;
        compression.layers = self.layers;
        compression.vocabulary = self.vocabulary;
        compression.group_init = self.group_init;
        compression
    }

    fn put(&self, recipe: &mut Recipe) {
        for (name, size) in [
            ("groups", self.groups),
            ("embedding-size", self.embedding_size),
            ("layers", self.layers),
            ("vocabulary", self.vocabulary),
        ] {
            if let Some(size) = size {
                recipe.put_count(name, size);
            }
        }
        recipe.put("group-init", self.group_init.name());
    }
}

/// Runs the command.
pub(crate) fn run(args: CompressArgs, talk: Talk) -> anyhow::Result<()> {
    let common = &args.common;
    let (run, options) = (&common.run, &common.optimization);
    if options.layer_groups.is_some() {
        return Err(usage("`--layer-groups`: expected `--groups` with compress"));
    }
    let is_trained = !args.train.is_empty();
    if !is_trained
        && (run.resume || run.steps.is_some() || run.time.is_some() || run.epochs.is_some())
    {
        return Err(usage(
            "expected `--train`, because an option of a run is given",
        ));
    }
    options.start_threads()?;
    let settings = trainer_settings(run, options, RATE);
    let pass = pass(options, talk)?;
    let opened = Run::open("compress", run, &run.output, talk)?;
    let original = common.model.files(talk)?;
    // The weights of a resumed run are in its snapshot.
    let resumed = opened.snapshot().map(Student::resumed).transpose()?;
    let student = match resumed.flatten() {
        Some(student) => student,
        None => args.student(&original, talk)?,
    };
    let mut recipe = Recipe::default();
    args.sizes.put(&mut recipe);
    recipe.put_model(&common.model)?;
    if is_trained {
        let distilling = Distilling {
            student,
            teacher: TeacherFiles::Model(original),
            train: &args.train,
            args: common,
            settings,
            pass,
        };
        return distilling.train(opened, recipe, talk);
    }
    say_new(&student, talk);
    student.write(&Output::create(&run.output, &recipe.to_text()?)?)?;
    let config = student.parameters.layout().config();
    let row = json!({
        "parameters": student.parameters.layout().len(),
        "layers": config.num_hidden_layers,
        "groups": config.num_hidden_groups,
        "embedding_size": config.embedding_size,
        "hidden_size": config.hidden_size,
        "vocabulary": config.vocab_size,
    });
    print(row.as_object().cloned().unwrap_or_default())
}

impl CompressArgs {
    /// Returns the compressed model before its training.
    fn student(&self, original: &ModelFiles, talk: Talk) -> anyhow::Result<Student> {
        let distillation = &self.common.distillation;
        let weights = distillation.weights();
        let head = pretraining_head(&original.checkpoint()?.heads());
        let head = weights.head(head, distillation.text.sentence_order.is_trained());
        let counts = match self.train.as_slice() {
            [] => None,
            paths => {
                talk.say("counting the pieces of the text");
                let tokenizer = Tokenizer::load(original, &self.common.model.tokenizer())?;
                Some(piece_counts(&Corpus::open(paths)?, &tokenizer)?)
            }
        };
        let seed = self.common.optimization.seed;
        let compression = self.sizes.compression();
        Ok(compression.apply_with_head(original, head, counts.as_deref(), seed)?)
    }
}
