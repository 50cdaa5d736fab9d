//! Signals while rows are written, and disks that are full before the last of them.

use std::fs;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{DIMENSION, Folder, Run, cli, command, finish, isolate, rows};

/// Longer than any run here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The rows that were written before the signal.
const ROWS: usize = 3;

/// The content of an output before its first row.
const OLD: &str = "old\n";

/// Starts `embed` on a pipe that stays open, and waits until rows replace the old output.
fn embed(output: &str, more: &[&str]) -> (Child, ChildStdin) {
    fs::write(output, OLD).unwrap();
    let mut child = command()
        .args(["embed", "--output", output])
        .args(more)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for index in 0..ROWS {
        writeln!(stdin, "text {index}").unwrap();
    }
    let started = Instant::now();
    while fs::read(output).unwrap() == OLD.as_bytes() {
        assert!(started.elapsed() < PATIENCE, "no row was written");
        sleep(Duration::from_millis(20));
    }
    (child, stdin)
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn end(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_signal_completes_the_output_in_every_format() {
    let folder = Folder::new();
    let texts: String = (0..ROWS).map(|index| format!("text {index}\n")).collect();
    let texts = folder.write("texts.txt", texts);
    for (format, signal, code) in [
        ("jsonl", "-INT", 130),
        ("json", "-TERM", 143),
        ("csv", "-INT", 130),
        ("npy", "-TERM", 143),
        ("safetensors", "-INT", 130),
        #[cfg(feature = "parquet")]
        ("parquet", "-TERM", 143),
        #[cfg(feature = "parquet")]
        ("arrow", "-INT", 130),
    ] {
        let output = folder.path(&format!("cut.{format}"));
        let (child, stdin) = embed(&output, &[]);
        send(signal, &child);
        let run = end(child).fails(
            code,
            &["interrupted by SIG", "3 rows were written to", "--resume"],
        );
        drop(stdin);
        let whole = folder.path(&format!("whole.{format}"));
        cli(&["embed", "--input", &texts, "--output", &whole]).ok();
        assert!(
            fs::read(&output).unwrap() == fs::read(&whole).unwrap(),
            "{format}: {}",
            run.stderr
        );
    }
}

#[test]
fn an_interrupted_run_is_resumed_where_it_ended() {
    let folder = Folder::new();
    let output = folder.path("a.jsonl");
    let (child, _stdin) = embed(&output, &[]);
    send("-INT", &child);
    end(child).fails(
        130,
        &["\nhint: to continue, run the same command with `--resume`"],
    );
    let texts: String = (0..9).map(|index| format!("text {index}\n")).collect();
    let texts = folder.write("texts.txt", texts);
    cli(&["embed", "--input", &texts, "--output", &output, "--resume"]).ok();
    assert_eq!(rows(&fs::read_to_string(&output).unwrap()).len(), 9);
}

#[test]
fn a_signal_before_the_first_row_leaves_an_existing_output_alone() {
    let folder = Folder::new();
    let output = folder.write("a.jsonl", "precious\n");
    let mut child = command()
        .args(["embed", "--output", &output])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    // Before the rows are waited for a signal ends the process as it does any other.
    sleep(Duration::from_millis(500));
    send("-TERM", &child);
    let code = child.wait().unwrap().code();
    assert!(code.is_none() || code == Some(143), "{code:?}");
    drop(stdin);
    assert_eq!(folder.read("a.jsonl"), b"precious\n");
}

/// Runs `embed` with a limit on the size of files, in blocks of 512 or 1,024 bytes.
///
/// A write beyond the limit also raises SIGXFSZ, which ends a process that does not handle it.
fn embed_on_a_full_disk(texts: &str, output: &str, blocks: usize) -> Run {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -f \"$0\"; exec \"$@\""])
        .arg(blocks.to_string())
        .args([env!("CARGO_BIN_EXE_albert-cli"), "embed", "--input", texts])
        .args(["--output", output])
        .stdin(Stdio::null());
    isolate(&mut shell);
    finish(&mut shell)
}

/// The number of rows in a whole file, of which `hint` speaks.
fn whole_rows(path: &str, format: &str) -> usize {
    let bytes = fs::read(path).unwrap();
    let text = || String::from_utf8(bytes.clone()).unwrap();
    match format {
        "jsonl" => rows(&text()).len(),
        "json" => serde_json::from_str::<Vec<serde_json::Value>>(&text())
            .unwrap()
            .len(),
        "csv" => {
            let mut reader = csv::Reader::from_reader(&bytes[..]);
            reader.records().map(Result::unwrap).count()
        }
        #[cfg(feature = "parquet")]
        "arrow" => {
            assert!(bytes.ends_with(&[255, 255, 255, 255, 0, 0, 0, 0]));
            let reader = arrow_ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap();
            reader.map(|batch| batch.unwrap().num_rows()).sum()
        }
        format => {
            // Rows of `DIMENSION` numbers of four bytes after a header that says how many there are.
            let header_bytes = if format == "npy" { 128 } else { 256 };
            let row_bytes = 4 * DIMENSION;
            let rows = (bytes.len() - header_bytes) / row_bytes;
            assert_eq!(bytes.len(), header_bytes + rows * row_bytes);
            let header = String::from_utf8_lossy(&bytes[..header_bytes]).into_owned();
            let shape = [
                format!("({rows}, {DIMENSION})"),
                format!("[{rows},{DIMENSION}]"),
            ];
            assert!(shape.iter().any(|shape| header.contains(shape)), "{header}");
            rows
        }
    }
}

#[test]
fn a_full_disk_leaves_a_whole_file_of_the_rows_that_fit_and_says_how_many() {
    let folder = Folder::new();
    let texts: String = (0..4000).map(|index| format!("text {index}\n")).collect();
    let texts = folder.write("texts.txt", texts);
    for format in [
        "jsonl",
        "json",
        "csv",
        "npy",
        "safetensors",
        #[cfg(feature = "parquet")]
        "arrow",
    ] {
        let output = folder.path(&format!("a.{format}"));
        // One and a half batches of an Arrow stream, with 1,024 rows each.
        let blocks = if format == "arrow" {
            1536 * 4 * DIMENSION / 512
        } else {
            200
        };
        let run = embed_on_a_full_disk(&texts, &output, blocks)
            .fails(1, &["cannot write to", "\nhint: "]);
        let count = whole_rows(&output, format);
        assert!(count > 0, "{format}: {}", run.stderr);
        assert!(
            run.stderr.contains(&format!("has {count} row")),
            "{format}: {}",
            run.stderr
        );
    }
}

#[cfg(feature = "parquet")]
#[test]
fn a_full_disk_leaves_no_parquet_file_and_that_is_said() {
    let folder = Folder::new();
    // Equal rows would be written once.
    let texts: String = (0..4000).map(|index| format!("text {index}\n")).collect();
    let texts = folder.write("texts.txt", texts);
    let output = folder.path("a.parquet");
    embed_on_a_full_disk(&texts, &output, 200).fails(1, &["lacks its index", "remove it"]);
}
