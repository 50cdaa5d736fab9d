//! A command that runs texts through a model.

use albert_tasks::{ModelFiles, RunOptions};

use super::{Chunks, Item, Stream, Terms};
use crate::options::TextArgs;
use crate::output::Row;
use crate::progress::Talk;

/// Everything that a command which runs texts through a model opens before it loads the model.
pub(crate) struct Job {
    /// The model's files.
    pub(crate) files: ModelFiles,
    /// The options for loading and running the model.
    pub(crate) options: RunOptions,
    pub(crate) stream: Stream,
}

impl Job {
    /// Opens input and output, then the device, then finds the model, so that a user's mistake is
    /// reported before anything is downloaded or computed.
    pub(crate) fn open(args: TextArgs, terms: Terms, talk: Talk) -> anyhow::Result<Self> {
        let stream = Stream::open(args.input, &args.output, args.rows, terms, talk)?;
        let options = args.compute.run_options(&args.model, talk)?;
        let files = args.model.files(talk)?;
        stream.output.spare(&files)?;
        Ok(Self {
            files,
            options,
            stream,
        })
    }

    /// Runs every text through `work`, as [`Stream::run`] does, a few batches at a time.
    pub(crate) fn run<R: Row + Send + 'static>(
        self,
        work: impl Fn(Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<R>>> + Sync,
    ) -> anyhow::Result<()> {
        let chunks = Chunks::new(&self.options);
        self.stream.run(None, chunks, work)
    }
}
