//! `serve` as a process: its examples, its keys, its signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Folder, cli, isolate, task_model};

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(folder: &Folder, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_albert-cli"));
        command
            .arg("serve")
            .args(args)
            .args(["--listen", "127.0.0.1:0", "--drain-seconds", "0"])
            .stdin(Stdio::null());
        Self::spawn(folder, command)
    }

    fn spawn(folder: &Folder, mut command: Command) -> Self {
        command
            .current_dir(folder.as_str())
            .env_remove("ALBERT_MODEL")
            .env_remove("API_KEY")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        isolate(&mut command);
        let mut process = command.spawn().unwrap();
        let mut server = Self {
            stderr: BufReader::new(process.stderr.take().unwrap()),
            process,
            address: String::new(),
        };
        let mut said = String::new();
        while server.address.is_empty() {
            let before = said.len();
            assert!(server.stderr.read_line(&mut said).unwrap() > 0, "{said}");
            if let Some((_, rest)) = said[before..].split_once("listening on http://") {
                let (address, _) = rest.split_once(": ").unwrap();
                server.address = address.to_string();
            }
        }
        server
    }

    fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{head}\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a signal and returns the exit code and what was said until then.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap().code(), said)
    }
}

fn folder() -> Folder {
    let folder = Folder::new();
    for (name, model) in [("embedder", "tiny"), ("reranker", "single")] {
        let target = match model {
            "tiny" => task_model("../tiny"),
            other => task_model(other),
        };
        std::os::unix::fs::symlink(target, folder.path(name)).unwrap();
    }
    std::fs::write(folder.path("keys.txt"), "# a comment\nsecret\n").unwrap();
    folder
}

#[test]
fn every_example_of_the_help_serves_and_ends_in_peace() {
    let help = cli(&["serve", "--help"]).ok().stdout;
    let (_, examples) = help.split_once("Examples:\n").unwrap();
    let examples: Vec<&str> = examples
        .lines()
        .filter(|line| line.contains("albert-cli"))
        .collect();
    assert_eq!(examples.len(), 2);
    let folder = folder();
    for example in examples {
        let args: Vec<&str> = example.split_whitespace().skip(2).collect();
        for signal in ["-TERM", "-INT"] {
            let server = Server::start(&folder, &args);
            let health = server.ask("GET /health HTTP/1.1", "");
            assert!(health.starts_with("HTTP/1.1 200"), "{example}: {health}");
            let check = cli(&["serve", "--check", &server.address]);
            check.ok();
            let (code, said) = server.end(signal);
            assert_eq!(code, Some(0), "{example}: {said}");
        }
    }
}

#[test]
fn a_served_vector_is_the_one_that_embed_writes_and_keys_are_not_logged() {
    let folder = folder();
    let server = Server::start(&folder, &["--api-key-file", "keys.txt", "--json-output"]);
    let body = "{\"inputs\": \"A quick test\"}";
    let refused = server.ask("POST /embed HTTP/1.1", body);
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let answer = server.ask("POST /embed HTTP/1.1\r\nauthorization: Bearer secret", body);
    let (_, served) = answer.split_once("\r\n\r\n").unwrap();
    let served: Vec<Vec<f32>> = serde_json::from_str(served).unwrap();

    let written = cli(&["embed", "A quick test", "--format", "json"])
        .ok()
        .stdout;
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    let written: Vec<f32> = serde_json::from_value(written[0]["embedding"].clone()).unwrap();
    assert_eq!(served[0], written);

    let (_, log) = server.end("-TERM");
    assert!(!log.contains("secret"), "{log}");
    let request = log
        .lines()
        .find(|line| line.contains("\"status\":200"))
        .unwrap();
    let request: serde_json::Value = serde_json::from_str(request).unwrap();
    assert_eq!(
        (&request["route"], &request["texts"]),
        (&"/embed".into(), &1.into())
    );
}

/// A shell passes its standard input, which is a listening socket, as systemd passes a socket: as
/// descriptor 3, with the process that it is for.
#[test]
fn a_socket_that_systemd_opened_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve --drain-seconds 0",
        ])
        .arg(env!("CARGO_BIN_EXE_albert-cli"))
        .stdin(Stdio::from(OwnedFd::from(listener)));
    let server = Server::spawn(&folder(), command);
    assert_eq!(server.address, address);
    let health = server.ask("GET /health HTTP/1.1", "");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert_eq!(server.end("-TERM").0, Some(0));
}

#[test]
fn a_request_that_cannot_begin_within_the_timeout_is_answered_503() {
    // One step of less than 50,000 tokens that takes seconds, and a request after it.
    let folder = folder();
    let limits = ["--timeout", "1", "--max-batch-tokens", "50000"];
    // However slow this machine is, the queue has room.
    let room = ["--max-queue-seconds", "600"];
    let args = [&limits[..], &room, &["--threads", "1"]].concat();
    let server = Server::start(&folder, &args);
    let text = "a river in a town ".repeat(100);
    let long = serde_json::json!({ "inputs": vec![text.as_str(); 98] }).to_string();
    let answers = std::thread::scope(|scope| {
        let first = scope.spawn(|| server.ask("POST /embed HTTP/1.1", &long));
        // Time for the first texts to be tokenized, or both requests share a step.
        std::thread::sleep(Duration::from_millis(700));
        let second = server.ask("POST /embed HTTP/1.1", "{\"inputs\": \"a\"}");
        [first.join().unwrap(), second]
    });
    assert!(answers[0].starts_with("HTTP/1.1 200"), "{}", answers[0]);
    assert!(answers[1].starts_with("HTTP/1.1 503"), "{}", answers[1]);
    assert!(answers[1].contains("retry-after: 1\r\n"), "{}", answers[1]);
}

#[test]
fn token_ids_are_taken_if_allowed() {
    let folder = folder();
    let body = "{\"inputs\": [12, 13]}";
    let refusing = Server::start(&folder, &[]);
    let answer = refusing.ask("POST /embed HTTP/1.1", body);
    assert!(answer.contains("found token ids"), "{answer}");
    let taking = Server::start(&folder, &["--allow-ids"]);
    let answer = taking.ask("POST /embed HTTP/1.1", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn wrong_options_are_refused_before_anything_is_served() {
    cli(&["serve", "--listen", "8080"]).fails(2, &["expected ADDRESS:PORT", "unix:PATH"]);
    cli(&[
        "serve",
        "--served-model-name",
        "a",
        "--served-model-name",
        "b",
    ])
    .fails(2, &["found 2 for 1"]);
    cli(&["serve", "--api-key-file", "/no/such/keys"]).fails(1, &["/no/such/keys"]);
    cli(&["serve", "--check", "127.0.0.1:1"]).fails(1, &["no answer from 127.0.0.1:1"]);
    cli(&["serve", "--check", "unix:/no/such/socket"])
        .fails(1, &["no answer from unix:/no/such/socket"]);
    cli(&["serve", "--listen", "127.0.0.1:1", "--check"]).fails(1, &["no answer from 127.0.0.1:1"]);
}

/// Waits until a process handles SIGTERM.
#[cfg(target_os = "linux")]
fn wait_for_handler(pid: u32) {
    const SIGTERM: u32 = 15;
    for _ in 0..2000 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        if caught >> (SIGTERM - 1) & 1 == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the server does not handle SIGTERM");
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_a_server_that_is_not_ready_yet() {
    let folder = folder();
    // Opening a pipe without a writer waits, like a model that takes long to load.
    let pipe = folder.path("keys.pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for signal in ["-TERM", "-INT"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_albert-cli"));
        command
            .args([
                "serve",
                "--api-key-file",
                "keys.pipe",
                "--listen",
                "127.0.0.1:0",
            ])
            .current_dir(folder.as_str())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        isolate(&mut command);
        let process = command.spawn().unwrap();
        let pid = process.id();
        wait_for_handler(pid);
        let sent = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status();
        assert!(sent.unwrap().success());
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{signal}: {said}");
        assert!(
            said.contains("ended before the models were loaded"),
            "{said}"
        );
    }
}
