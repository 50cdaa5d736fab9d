//! The choice of a model and the way it is loaded.

use std::ffi::OsString;
use std::sync::atomic::Ordering;

use albert_tasks::hub::HubSettings;
use albert_tasks::{Hub, ModelFiles, Result, RunOptions, WeightFormat};
use pyo3::prelude::*;

use crate::error::{invalid, raise};
use crate::interrupt::interruptible;
use crate::pool::Threads;

/// The names of the formats of weights.
const FORMATS: [(&str, WeightFormat); 5] = [
    ("auto", WeightFormat::Auto),
    ("float32", WeightFormat::F32),
    ("float16", WeightFormat::F16),
    ("bfloat16", WeightFormat::BF16),
    ("int8", WeightFormat::Int8),
];

/// The arguments that all tasks have in common.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct ModelArgs {
    model: Option<OsString>,
    revision: Option<String>,
    dtype: String,
    threads: Option<usize>,
    offline: Option<bool>,
    max_length: Option<usize>,
    batch_tokens: Option<usize>,
}

impl ModelArgs {
    /// Finds the model's files, downloads those that are missing, and loads it with `load`. Returns
    /// the model's name, the task and its threads.
    pub(crate) fn load<T: Send>(
        &self,
        py: Python<'_>,
        load: impl Fn(&ModelFiles, &RunOptions) -> Result<T> + Sync,
    ) -> PyResult<(T, Threads)> {
        let options = self.run_options()?;
        let threads = Threads::new(self.threads)?;
        let files = self.files(py)?;
        let loaded = threads.run(py, || load(&files, &options))?;
        Ok((loaded.map_err(|error| raise(py, &error))?, threads))
    }

    /// Finds the model's files.
    pub(crate) fn files(&self, py: Python<'_>) -> PyResult<ModelFiles> {
        let Some(model) = &self.model else {
            self.refuse_revision(albert_tasks::BUILTIN)?;
            return ModelFiles::builtin().map_err(|error| raise(py, &error));
        };
        let local = ModelFiles::local(model).map_err(|error| raise(py, &error))?;
        if let Some(files) = local {
            self.refuse_revision(files.name())?;
            return Ok(files);
        }
        let (offline, revision) = (self.offline, self.revision.clone());
        let id = model.to_string_lossy().into_owned();
        let found = interruptible(py, move |is_cancelled| {
            let mut settings = HubSettings::from_env()?;
            settings.offline = offline.unwrap_or(settings.offline);
            let mut hub =
                Hub::new(settings).with_cancellation(move || is_cancelled.load(Ordering::Relaxed));
            if let Some(revision) = &revision {
                hub = hub.with_revision(revision)?;
            }
            ModelFiles::from_hub(&id, &hub)
        })?;
        found.map_err(|error| raise(py, &error))
    }

    fn refuse_revision(&self, model: &str) -> PyResult<()> {
        match &self.revision {
            Some(revision) => Err(invalid(format!(
                "revision `{revision}`: `{model}` is on this machine and has no revisions"
            ))),
            None => Ok(()),
        }
    }

    fn run_options(&self) -> PyResult<RunOptions> {
        let format = FORMATS.iter().find(|(name, _)| *name == self.dtype);
        let Some((_, weights)) = format else {
            let names = FORMATS.map(|(name, _)| name).join(", ");
            let found = &self.dtype;
            return Err(invalid(format!(
                "unknown dtype `{found}`: expected one of {names}"
            )));
        };
        for (name, value) in [
            ("max_length", self.max_length),
            ("batch_tokens", self.batch_tokens),
        ] {
            if value == Some(0) {
                return Err(invalid(format!("{name}: expected at least 1, found 0")));
            }
        }
        Ok(RunOptions::default()
            .with_weights(*weights)
            .with_max_length(self.max_length)
            .with_batch_tokens(self.batch_tokens))
    }
}
