//! The options of the Hub, and the progress of a download.

use std::sync::Mutex;

use albert_tasks::hub::Event;
use albert_tasks::{Error, Hub, ModelFiles};
use clap::Args;

use crate::failure::{Hint, usage};
use crate::progress::{Talk, Transfer, size};

/// The download of a smaller file is too short to be shown.
const WORTH_A_WORD_BYTES: u64 = 1_000_000;

/// The options for the revision of a model and the use of the network.
#[derive(Debug, Args)]
pub(crate) struct HubArgs {
    /// A branch, tag, commit or refs/pr/N of the model on the Hub [default: main]
    #[arg(long, value_name = "REV")]
    revision: Option<String>,

    /// Take the model from the cache without using the network [env: HF_HUB_OFFLINE]
    #[arg(long)]
    offline: bool,
}

impl HubArgs {
    /// Returns the Hub that the environment and these options name.
    pub(crate) fn open(&self, talk: Talk) -> anyhow::Result<Hub> {
        let mut hub = Hub::from_env().map_err(Error::from)?;
        if let Some(revision) = &self.revision {
            hub = hub
                .with_revision(revision)
                .map_err(|error| usage(error.to_string()).context("`--revision`"))?;
        }
        if self.offline {
            hub = hub.offline();
        }
        let arrivals = Mutex::new(Arrivals {
            talk,
            current: None,
        });
        // A thread that panicked while holding the lock left the state consistent.
        Ok(hub.with_observer(move |event| {
            arrivals
                .lock()
                .unwrap_or_else(|it| it.into_inner())
                .show(event)
        }))
    }

    /// Finds the files of the model that the user names.
    pub(crate) fn files(&self, model: &str, talk: Talk) -> anyhow::Result<ModelFiles> {
        match ModelFiles::local(model)? {
            Some(_) if self.revision.is_some() => Err(usage(format!(
                "`--revision`: `{model}` is on this machine and has no revisions"
            ))
            .hint("only models on the Hub, named owner/model, have revisions")),
            Some(files) => Ok(files),
            None => {
                let found = ModelFiles::from_hub(model, &self.open(talk)?);
                found.map_err(|error| {
                    named(
                        error,
                        &format!("model `{model}`, which is not a folder here"),
                    )
                })
            }
        }
    }
}

/// Adds the requested model to a network error, which only names the host.
pub(crate) fn named(error: Error, wanted: &str) -> anyhow::Error {
    match &error {
        Error::Hub(hub) if hub.is_network() => {
            anyhow::Error::new(error).context(wanted.to_string())
        }
        _ => error.into(),
    }
}

/// The progress of the current file.
struct Arrivals {
    talk: Talk,
    current: Option<(String, Transfer)>,
}

impl Arrivals {
    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Progress { file, done, total } => self.progress(file, *done, *total),
            Event::Waiting { file } => self.say(format!(
                "`{file}`: waiting for another process that is downloading it"
            )),
            Event::Retry { what, error, pause } => {
                self.say(format!(
                    "`{what}`: {error}; trying again in {:.1} s",
                    pause.as_secs_f64()
                ));
            }
            Event::Unchecked { files, error: None } => {
                self.say(format!(
                    "from the cache; cannot check whether the Hub has {}",
                    files.join(", ")
                ));
            }
            Event::Unchecked {
                error: Some(error), ..
            } => self.say(format!("{error}: using the cache")),
            _ => {}
        }
    }

    fn progress(&mut self, file: &str, done: u64, total: Option<u64>) {
        if total.is_some_and(|total| total < WORTH_A_WORD_BYTES) {
            return;
        }
        if self
            .current
            .as_ref()
            .is_none_or(|(current, _)| current != file)
        {
            self.current = None;
            let whole = total
                .map(|total| format!(", {}", size(total)))
                .unwrap_or_default();
            let from = if done > 0 {
                format!(", from {} on", size(done))
            } else {
                String::new()
            };
            self.talk
                .say(format_args!("fetching `{file}`{whole}{from}"));
            self.current = Some((file.to_string(), Transfer::new(self.talk, total)));
        }
        if let Some((_, transfer)) = &self.current {
            transfer.update(done);
            if total == Some(done) {
                self.current = None;
            }
        }
    }

    fn say(&self, line: String) {
        match &self.current {
            Some((_, transfer)) => transfer.say(line),
            None => self.talk.say(line),
        }
    }
}
