//! `distill`: trains a model to imitate another one.

pub(super) mod run;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use albert_train::distill::{Student, pretraining_head};
use clap::Args;

use self::run::{Distilling, TeacherFiles, pass, trainer_settings};
use super::training::{Recipe, Run};
use crate::options::distillation::DistillingArgs;
use crate::progress::Talk;

/// The default learning rate: the student is trained already.
const RATE: f64 = 2e-4;

/// The options of `distill`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli distill --teacher large --train corpus.txt --output small
  albert-cli distill --output small --resume")]
pub(crate) struct DistillArgs {
    /// The model that is imitated: a model on the Hub, a folder, or the built-in model; or a file
    /// with the embedding of each sentence of --train (.npy, .safetensors, .parquet, .arrow, .jsonl)
    #[arg(long, value_name = "ID|DIR|FILE", required = true)]
    teacher: OsString,

    /// Text with one sentence per line and a blank line between documents: files (.txt, .gz, .zst)
    /// or folders
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., required = true)]
    train: Vec<PathBuf>,

    #[command(flatten)]
    common: DistillingArgs,
}

/// Runs the command.
pub(crate) fn run(args: DistillArgs, talk: Talk) -> anyhow::Result<()> {
    let common = &args.common;
    let options = &common.optimization;
    options.start_threads()?;
    let settings = trainer_settings(&common.run, options, RATE);
    let pass = pass(options, talk)?;
    let run = Run::open("distill", &common.run, &common.run.output, talk)?;
    let files = common.model.files(talk)?;
    let heads = files.checkpoint()?.heads();
    let weights = common.distillation.weights();
    let has_order = common.distillation.text.sentence_order.is_trained();
    let head = weights.head(pretraining_head(&heads), has_order);
    let mut recipe = Recipe::default();
    recipe.put_path("teacher", Path::new(&args.teacher))?;
    recipe.put_model(&common.model)?;
    let distilling = Distilling {
        student: Student::load(files, head, options.layer_groups, options.seed)?,
        teacher: args.teacher(talk)?,
        train: &args.train,
        args: common,
        settings,
        pass,
    };
    distilling.train(run, recipe, talk)
}

impl DistillArgs {
    fn teacher(&self, talk: Talk) -> anyhow::Result<TeacherFiles> {
        let path = Path::new(&self.teacher);
        if path.is_file() {
            return Ok(TeacherFiles::Vectors(path.into()));
        }
        let files = self.common.model.reading.own_files(&self.teacher, talk)?;
        Ok(TeacherFiles::Model(files))
    }
}
