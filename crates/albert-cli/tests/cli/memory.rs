//! The memory of a stream, which does not grow with its length. Prints figures and takes minutes:
//! ignored by default.
//!
//! `cargo test --release -p albert-cli --test cli -- --ignored --nocapture memory`

use std::fs;
use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::harness::{Folder, command, tiny_model};

/// The growth allowed for a hundred times the lines: pages that the allocator has kept, not rows.
const ALLOWED_GROWTH: f64 = 1.25;

/// The memory of a row group of Parquet, in MiB: itself, its source, and the copy that is written.
/// Ten thousand lines of the tiny model do not fill one.
const ROW_GROUP: f64 = 64.0;

/// Returns the peak memory, in kilobytes, of a process that reads this many lines.
fn peak(args: &[&str], lines: usize) -> u64 {
    let mut command = command();
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = BufWriter::new(child.stdin.take().unwrap());
    let writer = thread::spawn(move || {
        for line in 0..lines {
            // A child that is gone has failed, which is seen below.
            if writeln!(stdin, "the river {line} ran over the stones").is_err() {
                return;
            }
        }
    });
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        // The kernel keeps the greatest size there was; of a process that has ended it reports
        // nothing more.
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    }
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    peak
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes minutes"]
fn memory_is_the_same_for_ten_thousand_lines_and_a_million() {
    let (folder, model) = (Folder::new(), tiny_model());
    for ending in [
        "jsonl",
        "csv",
        "json",
        "npy",
        "safetensors",
        "parquet",
        "arrow",
    ] {
        let output = folder.path(&format!("out.{ending}"));
        let args = ["embed", "--model", &model, "--output", &output];
        let peaks = [10_000, 1_000_000].map(|lines| peak(&args, lines));
        fs::remove_file(&output).unwrap();
        let megabytes = peaks.map(|kilobytes| kilobytes as f64 / 1024.0);
        eprintln!(
            "embed to {ending}: {:.1} MiB at 10 thousand lines, {:.1} MiB at 1 million",
            megabytes[0], megabytes[1]
        );
        let allowed =
            megabytes[0] * ALLOWED_GROWTH + if ending == "parquet" { ROW_GROUP } else { 0.0 };
        assert!(megabytes[1] < allowed, "{ending}: {megabytes:?}");
    }
}
