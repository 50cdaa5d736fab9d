//! A shell for the examples of the help and of docs/cli.md: the program on the path, a folder to
//! work in, and a Hub that has the models which the examples name.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Folder, Run, finish, isolate, task_model};
#[cfg(feature = "hub")]
use crate::hub_server::{HubServer, tiny_files};

/// The tiny models that the examples find as folders where they are.
const MODELS: [&str; 5] = ["sentiment", "nli", "entities", "question", "choice"];

/// The models on the Hub that the examples name, each of them the tiny one.
#[cfg(feature = "hub")]
const HUB_MODELS: [&str; 2] = [
    "albert/albert-base-v2",
    "sentence-transformers/paraphrase-albert-small-v2",
];

pub(crate) struct Shell {
    folder: Folder,
    #[cfg(feature = "hub")]
    server: HubServer,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        for model in MODELS {
            std::os::unix::fs::symlink(task_model(model), folder.path(model)).unwrap();
        }
        // A model with a single label, under the name that says what it is for.
        let cross_encoder = task_model("single");
        std::os::unix::fs::symlink(cross_encoder, folder.path("cross-encoder")).unwrap();
        #[cfg(feature = "hub")]
        let server = HubServer::start();
        #[cfg(feature = "hub")]
        for id in HUB_MODELS {
            server.commit(id, tiny_files());
        }
        Self {
            folder,
            #[cfg(feature = "hub")]
            server,
        }
    }

    /// Runs a line, or several, with nothing on standard input.
    pub(crate) fn run(&self, script: &str) -> Run {
        let binaries = Path::new(env!("CARGO_BIN_EXE_albert-cli"))
            .parent()
            .unwrap();
        let path = format!(
            "{}:{}",
            binaries.display(),
            env::var("PATH").unwrap_or_default()
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.folder.as_str())
            .env("PATH", &path);
        command
            .env_remove("ALBERT_MODEL")
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        isolate(&mut command);
        #[cfg(feature = "hub")]
        command
            .env("HF_HOME", self.folder.path("hub"))
            .env("HF_ENDPOINT", self.server.endpoint())
            .env("HF_HUB_OFFLINE", "0");
        finish(&mut command)
    }

    /// Returns a run's output with its folder, which differs from run to run, under a fixed name.
    pub(crate) fn anonymous(&self, text: &str) -> String {
        text.replace(self.folder.as_str(), "/home/you")
    }
}
