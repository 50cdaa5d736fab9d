//! The cache shared with Python's huggingface_hub, in both directions and under its locks.
//!
//! Runs where ALBERT_HUB_PYTHON names a Python that has the package: `python -m venv v &&
//! v/bin/pip install huggingface_hub && ALBERT_HUB_PYTHON=v/bin/python cargo test`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::{Folder, command, isolate};
use crate::hub_server::{HubServer, etag, tiny_files};

const ID: &str = "owner/tiny";

/// Finds every file in the cache with no network, and knows what the model does not have.
const FINDS: &str = "
import os, sys, warnings
warnings.simplefilter('error')
import huggingface_hub as hub
from huggingface_hub.file_download import _CACHED_NO_EXIST
names = sys.argv[1:]
for name in names:
    print(hub.hf_hub_download('owner/tiny', name))
assert hub.try_to_load_from_cache('owner/tiny', 'spiece.model') is _CACHED_NO_EXIST
scan = hub.scan_cache_dir()
assert not scan.warnings, scan.warnings
[repo] = scan.repos
assert repo.repo_id == 'owner/tiny' and list(repo.refs) == ['main'], repo
assert sorted(f.file_path.relative_to(r.snapshot_path).as_posix() for r in repo.revisions for f in r.files) == sorted(names)
";

/// Downloads as transformers does, a file at a time.
const DOWNLOADS: &str = "
import sys, huggingface_hub as hub
for name in sys.argv[1:]:
    path = hub.hf_hub_download('owner/tiny', name)
print(path[:-len(sys.argv[-1]) - 1])
";

/// Holds the lock of a file until its input ends.
const LOCKS: &str = "
import sys, os
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock
path = os.path.join(constants.HF_HUB_CACHE, '.locks', 'models--owner--tiny', sys.argv[1] + '.lock')
os.makedirs(os.path.dirname(path), exist_ok=True)
with WeakFileLock(path):
    print('held', flush=True)
    sys.stdin.read()
";

struct Both {
    python: String,
    server: HubServer,
    home: Folder,
}

impl Both {
    fn new() -> Option<Self> {
        let Ok(python) = std::env::var("ALBERT_HUB_PYTHON") else {
            eprintln!("SKIPPED: ALBERT_HUB_PYTHON names no Python with huggingface_hub");
            return None;
        };
        let server = HubServer::start();
        server.commit(ID, tiny_files());
        Some(Self {
            python,
            server,
            home: Folder::new(),
        })
    }

    fn ours(&self, args: &[&str]) -> Command {
        let mut command = command();
        command.args(args);
        self.online(command)
    }

    fn python(&self, script: &str, args: &[String]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-c", script]).args(args);
        isolate(&mut command);
        self.online(command)
    }

    fn online(&self, mut command: Command) -> Command {
        command
            .env("HF_HUB_OFFLINE", "0")
            .env("HF_HOME", self.home.as_str());
        command.env("HF_ENDPOINT", self.server.endpoint());
        command
    }

    /// Returns the number of files sent since the last call.
    fn sent(&self) -> usize {
        let log = self.server.take_log();
        log.iter()
            .filter(|request| request.method == "GET" && !request.path.starts_with("/api/"))
            .count()
    }
}

fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn names() -> Vec<String> {
    tiny_files().into_keys().collect()
}

#[test]
fn python_finds_what_this_program_downloaded() {
    let Some(both) = Both::new() else { return };
    let folder = ok(&mut both.ours(&["download", ID]));
    both.sent();
    let mut expected: Vec<_> = names()
        .iter()
        .map(|name| format!("{}/{name}", folder.trim_end()))
        .collect();
    for offline in ["0", "1"] {
        let found = ok(both.python(FINDS, &names()).env("HF_HUB_OFFLINE", offline));
        let mut found: Vec<_> = found.lines().map(String::from).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
    assert_eq!(both.sent(), 0);
}

#[test]
fn this_program_finds_what_python_downloaded() {
    let Some(both) = Both::new() else { return };
    let folder = ok(&mut both.python(DOWNLOADS, &names()));
    assert!(both.sent() > 0);
    let embedded = ok(&mut both.ours(&["embed", "the river", "--model", ID, "--offline"]));
    assert!(embedded.contains("\"embedding\":["), "{embedded}");
    assert_eq!(ok(&mut both.ours(&["download", ID])), folder);
    assert_eq!(both.sent(), 0);
}

#[test]
fn python_and_this_program_wait_for_each_other() {
    let Some(both) = Both::new() else { return };
    let etag = etag("model.safetensors", &tiny_files()["model.safetensors"]);
    let mut holder = both.python(LOCKS, &[etag]);
    let mut holder = holder
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut held)
        .unwrap();
    assert_eq!(held, "held\n");
    let mut waiter = both
        .ours(&["download", ID])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(waiter.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(
        said,
        "`model.safetensors`: another process fetches it, waiting\n"
    );
    assert!(waiter.try_wait().unwrap().is_none());
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert!(waiter.wait().unwrap().success());
}
