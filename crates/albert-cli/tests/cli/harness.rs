//! Running the binary and looking at what it did.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

/// The binary, with nothing of the environment that could change what it does.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_albert-cli"));
    command
        .env_remove("ALBERT_MODEL")
        .env_remove("ALBERT_DEVICE")
        .env_remove("ALBERT_DTYPE")
        .env_remove("ALBERT_THREADS")
        .env_remove("ALBERT_BATCH_TOKENS")
        .env_remove("RUST_MIN_STACK")
        .env("RAYON_NUM_THREADS", "2")
        .stdin(Stdio::null());
    isolate(&mut command);
    command
}

/// Keeps a command from the network and from what the user has of the Hub.
pub(crate) fn isolate(command: &mut Command) {
    for name in [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
    ] {
        command.env_remove(name);
    }
    for name in [
        "HF_ENDPOINT",
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "TRANSFORMERS_OFFLINE",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    ] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", "/no/such/home");
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary with nothing on standard input.
pub(crate) fn cli(args: &[&str]) -> Run {
    finish(command().args(args))
}

/// Runs the binary with `stdin` piped into it.
pub(crate) fn cli_with(args: &[&str], stdin: impl AsRef<[u8]>) -> Run {
    let mut command = command();
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.as_ref().to_vec();
    // At the same time as the reading: a long output would stop the child, and with it this
    // writing. A child that has seen enough may close the pipe.
    let writer = thread::spawn(move || drop(pipe.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    run(output)
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    run(command.output().unwrap())
}

fn run(output: std::process::Output) -> Run {
    let run = Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    run
}

impl Run {
    /// Asserts that all went well.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Asserts that the run failed with this exit code, an error line with these words, and no
    /// data.
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        let error = self.stderr.lines().find(|line| line.starts_with("error: "));
        assert!(error.is_some(), "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "expected `{word}` in: {}",
                self.stderr
            );
        }
        self
    }

    /// The rows of a jsonl run.
    pub(crate) fn rows(&self) -> Vec<Value> {
        rows(&self.stdout)
    }

    /// The only row of a jsonl run.
    pub(crate) fn row(&self) -> Value {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{}", self.stdout);
        rows.remove(0)
    }
}

/// The rows of jsonl.
pub(crate) fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A row's keys in order.
pub(crate) fn keys(row: &Value) -> Vec<&str> {
    row.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// A row's list of numbers.
pub(crate) fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

/// A tiny random model that is fine-tuned for a task, as an argument.
pub(crate) fn task_model(name: &str) -> String {
    let models =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../albert-tasks/tests/fixtures/pipelines");
    models.join(name).to_str().unwrap().to_string()
}

/// A tiny random model without a task, as an argument.
pub(crate) fn tiny_model() -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../albert-tasks/tests/fixtures/tiny");
    model.to_str().unwrap().to_string()
}

/// The number of values in an embedding of the built-in model.
pub(crate) const DIMENSION: usize = 384;

/// A folder for a test's files.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with these files of the built-in model.
    pub(crate) fn with_model_files(names: &[&str]) -> Self {
        let folder = Self::new();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/albert-mini-en/data");
        for name in names {
            fs::copy(data.join(name), folder.0.path().join(name)).unwrap();
        }
        folder
    }

    /// The folder as an argument.
    pub(crate) fn as_str(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// A file in it as an argument.
    pub(crate) fn path(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_string()
    }

    /// Writes a file and gives its name as an argument.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.join(name), content).unwrap();
        self.path(name)
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.join(name)).unwrap()
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
