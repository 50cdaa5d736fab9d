//! The run of a training command in its output folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use albert_train::{
    End, Engine, Error, Event, PassSettings, Snapshot, Summary, Task, TrainerSettings,
};

use super::watch::Watch;
use crate::failure::Hint;
use crate::options::training::RunArgs;
use crate::progress::{Steps, Talk};

/// A run whose folder was found to be free, or to hold the run to resume.
pub(crate) struct Run<'a> {
    command: &'static str,
    args: &'a RunArgs,
    folder: PathBuf,
    run: albert_train::Run,
    talk: Talk,
}

/// The work of a run.
pub(crate) struct Plan<'a> {
    pub(crate) settings: TrainerSettings,
    pub(crate) pass: &'a PassSettings,
    pub(crate) recipe: String,
    /// The size of the model and the data, such as `3052290 parameters, 872 examples`.
    pub(crate) size: String,
    /// Further lines about the start.
    pub(crate) notes: Vec<String>,
}

impl<'a> Run<'a> {
    /// Opens a run before its data is read.
    pub(crate) fn open(
        command: &'static str,
        args: &'a RunArgs,
        folder: &Path,
        talk: Talk,
    ) -> anyhow::Result<Self> {
        let run = if args.resume {
            albert_train::Run::resume(folder)?
        } else {
            albert_train::Run::new(folder)
                .map_err(anyhow::Error::new)
                .hint("choose another folder, or resume the run in it with `--resume`")?
        };
        Ok(Self {
            command,
            args,
            folder: folder.into(),
            run,
            talk,
        })
    }

    /// Returns the snapshot that the run continues from, if any.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.run.snapshot()
    }

    /// Trains the task to its end; the model is then in the folder. `observe` sees every event in
    /// addition to the usual messages.
    pub(crate) fn train(
        self,
        task: &mut dyn Task,
        plan: Plan<'_>,
        observe: &mut dyn FnMut(&Event<'_>, &Steps),
    ) -> anyhow::Result<Summary> {
        let Self {
            command,
            args,
            folder,
            run,
            talk,
        } = self;
        let Plan {
            settings,
            pass,
            recipe,
            size,
            notes,
        } = plan;
        let (rate, batch_size, time) = (
            settings.learning_rate,
            settings.batch_size,
            settings.length.time(),
        );
        let snapshot = run.snapshot().map(|snapshot| {
            let path = snapshot.path().display();
            format!("continuing from `{path}`, step {}", snapshot.state().step)
        });
        let explained = |error| explained(error, rate, &folder);
        let mut training = run.start(task, settings, &recipe).map_err(explained)?;
        if let Some(board) = &args.tensorboard {
            training = training.with_tensor_board(board)?;
        }
        let trainer = training.trainer();
        let steps = trainer.steps();
        let length = match (steps, time) {
            (Some(steps), _) => format!("{steps} steps"),
            (None, time) => format!("{} s of steps", time.unwrap_or_default().as_secs()),
        };
        let engine = match (&pass.engine, pass.slots) {
            (Engine::Cpu, Some(slots)) => format!("{slots} slots"),
            (engine, _) => format!("engine {engine}"),
        };
        talk.say(format_args!("{size}, {length} of {batch_size}, {engine}"));
        for note in notes {
            talk.say(note);
        }
        let total = steps.map_or(String::new(), |steps| format!(" of {steps}"));
        if let Some(snapshot) = snapshot {
            talk.say(format_args!("{snapshot}{total}"));
        }
        let progress = match (steps, time) {
            (None, Some(time)) => Steps::with_time(talk, time, trainer.elapsed()),
            (steps, _) => Steps::new(talk, steps.unwrap_or_default(), trainer.step()),
        };
        let mut watch = Watch::new(talk, args.log_every as u64, trainer.metric().into());
        let summary = training
            .train(stop(), &mut |event| {
                watch.see(&event, &progress);
                observe(&event, &progress);
            })
            .map_err(explained)?;
        progress.finish();
        if summary.end == End::Stopped {
            return Err(
                anyhow::anyhow!("stopped after step {}{total}", summary.step).hint(format!(
                    "continue with: albert-cli {command} --output '{}' --resume",
                    folder.display()
                )),
            );
        }
        watch.end(&summary, &folder);
        Ok(summary)
    }
}

/// Adds a remedy to an error, if one is known.
fn explained(error: Error, learning_rate: f64, folder: &Path) -> anyhow::Error {
    let hint = match error {
        Error::NotFinite { .. } => Some(format!(
            "start again with a lower rate, such as --learning-rate {:e}, or more --warmup; the \
             snapshots in `{}` are kept",
            learning_rate / 2.0,
            folder.join("training").display()
        )),
        Error::OtherData => Some("restore the files, or start a new run".into()),
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Returns the flag that SIGINT and SIGTERM set; the second of them ends the process.
fn stop() -> &'static AtomicBool {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    STOP.get_or_init(|| {
        let stop = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            use signal_hook::flag;
            // Without the handlers a signal ends the process, and the last snapshot remains.
            let _ = flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop));
            let _ = flag::register(signal, Arc::clone(&stop));
        }
        stop
    })
}
