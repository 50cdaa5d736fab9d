//! Models of the Hub from the shell: `download`, `models`, and `--model` with a name of the Hub.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Folder, Run, command, finish};
use crate::hub_server::{Fault, HubServer, TOKEN, etag, proxy, tiny_files};

const ID: &str = "owner/tiny";

/// A server and a user with an empty home.
struct Setting {
    server: HubServer,
    home: Folder,
}

impl Setting {
    fn new() -> Self {
        let setting = Self {
            server: HubServer::start(),
            home: Folder::new(),
        };
        setting.server.commit(ID, tiny_files());
        setting
    }

    /// The binary with the network of the server.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = command();
        command.args(args).env_remove("HF_HUB_OFFLINE");
        command
            .env("HF_HOME", self.home.as_str())
            .env("HF_ENDPOINT", self.server.endpoint());
        command
    }

    fn cli(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }

    /// A file in the tiny model's part of the cache.
    fn path(&self, path: &str) -> PathBuf {
        Path::new(&self.home.path("hub/models--owner--tiny")).join(path)
    }

    /// Returns the range of each request for the weights since the last call.
    fn ranges(&self) -> Vec<Option<String>> {
        let log = self.server.take_log();
        let weights = log
            .iter()
            .filter(|request| request.at_storage && request.method == "GET");
        weights
            .map(|request| request.header("range").map(String::from))
            .collect()
    }
}

fn weights_etag() -> String {
    etag("model.safetensors", &tiny_files()["model.safetensors"])
}

#[test]
fn download_prints_the_folder_and_nothing_else() {
    let setting = Setting::new();
    let run = setting.cli(&["download", ID]).ok();
    let folder = PathBuf::from(run.stdout.strip_suffix('\n').unwrap());
    assert!(
        folder.starts_with(setting.path("snapshots")),
        "{}",
        folder.display()
    );
    for (name, content) in tiny_files() {
        assert_eq!(fs::read(folder.join(&name)).unwrap(), content, "{name}");
    }
    assert_eq!(run.stderr, "");
}

#[test]
fn a_model_of_the_hub_works_by_its_name_and_then_without_the_network() {
    let setting = Setting::new();
    let embed = |more: &[&str]| {
        let args = [
            &["embed", "the river", "--model", ID, "--format", "jsonl"],
            more,
        ]
        .concat();
        setting.cli(&args).ok().stdout
    };
    let first = embed(&[]);
    let commit = fs::read_to_string(setting.path("refs/main")).unwrap();
    setting.server.take_log();
    assert_eq!(embed(&[]), first);
    assert_eq!(embed(&["--offline"]), first);
    assert_eq!(embed(&["--revision", &commit]), first);
    let run = finish(
        setting
            .command(&["embed", "the river", "--model", ID])
            .env("HF_HUB_OFFLINE", "ON"),
    );
    assert_eq!(run.ok().stdout, first);
    assert!(setting.server.take_log().is_empty());
}

#[test]
fn a_process_that_was_killed_left_what_the_next_one_continues() {
    let setting = Setting::new();
    setting
        .server
        .fault("GET", "safetensors?", 1, Fault::Stall(20_000));
    let mut child = setting
        .command(&["download", ID])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let partial = setting.path(&format!("blobs/{}.incomplete", weights_etag()));
    let start = Instant::now();
    while fs::metadata(&partial).map_or(0, |metadata| metadata.len()) < 20_000 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the download does not get on"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!setting.path("refs/main").exists());
    let models: Value =
        serde_json::from_str(&setting.cli(&["models", "--format", "json"]).ok().stdout).unwrap();
    assert_eq!(models[1]["revisions"][0]["complete"], false);
    assert_eq!(models[1]["removable"][1]["bytes"], 20_000);

    let run = setting.cli(&["download", ID]).ok();
    let weights = Path::new(run.stdout.trim_end()).join("model.safetensors");
    assert_eq!(
        etag("model.safetensors", &fs::read(weights).unwrap()),
        weights_etag()
    );
    assert_eq!(setting.ranges(), [None, Some("bytes=20000-".to_string())]);
}

#[test]
fn of_two_processes_one_fetches_and_one_waits() {
    let setting = Setting::new();
    setting.server.fault(
        "GET",
        "safetensors?",
        9,
        Fault::Slow(Duration::from_millis(700)),
    );
    let start = || {
        setting
            .command(&["download", ID])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let runs = [start(), start()].map(|child| child.wait_with_output().unwrap());
    let said: Vec<_> = runs
        .iter()
        .map(|run| String::from_utf8_lossy(&run.stderr))
        .collect();
    for run in &runs {
        assert!(run.status.success(), "{said:?}");
        assert_eq!(run.stdout, runs[0].stdout);
    }
    assert_eq!(setting.ranges(), [None]);
    let waits = "`model.safetensors`: waiting for another process that is downloading it\n";
    assert_eq!(
        said.iter().filter(|said| said.ends_with(waits)).count(),
        1,
        "{said:?}"
    );
}

#[test]
fn the_token_of_the_environment_or_its_file_is_sent_to_the_endpoint_alone() {
    let setting = Setting::new();
    fs::write(setting.home.path("token"), format!("{TOKEN}\n")).unwrap();
    setting.cli(&["download", ID]).ok();
    for request in setting.server.take_log() {
        let expected = (!request.at_storage).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(
            request.header("authorization"),
            expected.as_deref(),
            "{}",
            request.path
        );
    }
    let run = finish(
        setting
            .command(&["download", ID])
            .env("HF_TOKEN", "hf_wrong"),
    );
    let run = run.fails(
        1,
        &["does not accept the token", "\nhint: ", "unset HF_TOKEN"],
    );
    assert!(!run.stderr.contains("hf_wrong"), "{}", run.stderr);
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let setting = Setting::new();
    let (address, asked) = proxy();
    finish(
        setting
            .command(&["download", ID])
            .env("HTTP_PROXY", &address)
            .env("NO_PROXY", "127.0.0.1"),
    )
    .ok();
    assert!(asked.lock().unwrap().is_empty());
    finish(
        setting
            .command(&["download", ID])
            .env("http_proxy", &address),
    )
    .ok();
    assert!(!asked.lock().unwrap().is_empty());
}

#[test]
fn refusals_exit_with_1_and_a_hint() {
    let setting = Setting::new();
    setting
        .cli(&["download", "no/such"])
        .fails(1, &["`no/such`", "private", "\nhint: ", "HF_TOKEN"]);
    setting
        .cli(&["embed", "a", "--model", "no-such"])
        .fails(1, &["no folder `no-such`", "\nhint: "]);
    let revision = &["embed", "a", "--model", ID, "--revision", "v9"];
    setting
        .cli(revision)
        .fails(1, &["no revision `v9` of `owner/tiny`", "\nhint: "]);
    setting
        .cli(&["download", ID, "--offline"])
        .fails(1, &["not in the cache", "\nhint: ", "download"]);
    let mut nowhere = setting.command(&["download", ID]);
    finish(nowhere.env("HF_ENDPOINT", "http://127.0.0.1:1"))
        .fails(1, &["model `", "cannot reach", "refused", "\nhint: "]);
    let mut no_url = setting.command(&["download", ID]);
    finish(no_url.env("HF_ENDPOINT", "huggingface.co")).fails(1, &["not a URL", "\nhint: "]);
    for usage in [
        &["download"][..],
        &["download", "albert-mini-en"],
        &["download", ID, "--revision", "../x"],
        &["embed", "a", "--revision", "main"],
    ] {
        setting.cli(usage).fails(2, &[]);
    }
}

#[test]
fn a_large_file_is_announced_and_a_repetition_said_unless_quiet() {
    let setting = Setting::new();
    let mut files = tiny_files();
    // Nobody loads it here.
    files.insert("model.safetensors".to_string(), vec![7; 1_500_000]);
    setting.server.commit(ID, files);
    let cut = || {
        setting
            .server
            .fault("GET", "safetensors?", 1, Fault::Cut(500_000))
    };
    cut();
    let stderr = setting.cli(&["download", ID]).ok().stderr;
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines[0], "fetching `model.safetensors`, 1.50 MB");
    assert!(
        lines.len() == 2 && lines[1].contains("again in "),
        "{stderr}"
    );
    assert!(
        !stderr.contains(['\r', '\u{1b}']),
        "a bar without a terminal: {stderr:?}"
    );
    fs::remove_dir_all(setting.path("")).unwrap();
    cut();
    assert_eq!(setting.cli(&["download", ID, "--quiet"]).ok().stderr, "");
}

#[test]
fn models_lists_what_is_built_in_and_what_is_cached() {
    let setting = Setting::new();
    setting.cli(&["download", ID]).ok();
    let rows = setting.cli(&["models", "--format", "jsonl"]).ok().rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0]["model"].as_str(), rows[0]["source"].as_str()),
        (Some("albert-mini-en"), Some("built in"))
    );
    assert!(rows[0]["bytes"].as_u64().unwrap() > 1_000_000);
    assert_eq!(
        (rows[1]["model"].as_str(), rows[1]["source"].as_str()),
        (Some(ID), Some("cache"))
    );
    let bytes: usize = tiny_files().values().map(Vec::len).sum();
    assert_eq!(rows[1]["bytes"], bytes);
    assert_eq!(rows[1]["revisions"][0]["refs"][0], "main");
    assert_eq!(rows[1]["removable"], serde_json::json!([]));
    let table = setting.cli(&["models", "--format", "table"]).ok().stdout;
    assert!(
        table.contains("owner/tiny  cache, ") && table.contains("  main"),
        "{table}"
    );
}
