//! `embed --resume`: an interrupted output file, continued.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Folder, cli, cli_with, command, finish, tiny_model};

const FORMATS: [&str; 3] = ["jsonl", "csv", "npy"];

/// Texts of unlike length, with what csv has to quote.
fn texts(count: usize) -> String {
    (0..count)
        .map(|i| format!("text {i}, \"quoted\"{}\n", " and more of it".repeat(i % 7)))
        .collect()
}

/// An `embed` of a file to a file, in small windows.
fn embed(input: &str, output: &str, more: &[&str]) -> Command {
    let mut command = command();
    command
        .args([
            "embed",
            "--input",
            input,
            "--output",
            output,
            "--batch-tokens",
            "256",
        ])
        .args(more);
    command
}

/// Returns a whole file as it is while it is written: an array's header does not have its rows yet.
fn unfinished(format: &str, mut whole: Vec<u8>) -> Vec<u8> {
    if format == "npy" {
        let header = String::from_utf8_lossy(&whole[10..128]).into_owned();
        let (before, shape) = header.split_once('(').unwrap();
        let (rows, after) = shape.split_once(',').unwrap();
        let dim = after.trim_end();
        let header = format!(
            "{before}(0,{dim}{}\n",
            " ".repeat(after.len() - dim.len() + rows.len() - 2)
        );
        whole.splice(10..128, header.bytes());
    }
    whole
}

#[test]
fn runs_killed_at_random_moments_leave_together_what_one_run_would() {
    const KILLS: usize = 15;
    let (folder, model) = (Folder::new(), tiny_model());
    let input = folder.write("in.txt", texts(4000));
    let mut random = fastrand::Rng::with_seed(1);
    for format in FORMATS {
        let (whole, output) = (
            folder.path(&format!("whole.{format}")),
            folder.path(&format!("out.{format}")),
        );
        let started = Instant::now();
        finish(&mut embed(&input, &whole, &["--model", &model])).ok();
        let duration = started.elapsed();
        let expected = fs::read(&whole).unwrap();
        // Each run resumes the file of the previous kill; a complete file is started again.
        let (mut kills, mut while_writing) = (0, 0);
        while kills < KILLS {
            let mut command = embed(&input, &output, &["--model", &model, "--resume"]);
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            let killed_at = Instant::now() + duration * random.u32(..1000) / 1000;
            while child.try_wait().unwrap().is_none() && Instant::now() < killed_at {
                thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            let written = fs::read(&output).unwrap_or_default();
            if ended.success() {
                assert!(written == expected, "{format}, after {kills} kills");
                fs::remove_file(&output).unwrap();
                continue;
            }
            assert_eq!(ended.code(), None, "{format}: it failed by itself");
            kills += 1;
            while_writing += usize::from(written.len() > 1000 && written.len() < expected.len());
        }
        finish(&mut embed(
            &input,
            &output,
            &["--model", &model, "--resume"],
        ))
        .ok();
        assert!(fs::read(&output).unwrap() == expected, "{format}");
        assert!(
            while_writing > 0,
            "{format}: none of {kills} kills came while rows were written"
        );
    }
}

#[test]
fn whatever_part_of_a_file_is_there_the_rest_is_written() {
    let folder = Folder::new();
    let input = folder.write("in.txt", texts(40));
    let mut random = fastrand::Rng::with_seed(2);
    for format in FORMATS {
        let name = format!("out.{format}");
        let output = folder.path(&name);
        let run = |more: &[&str]| finish(&mut embed(&input, &output, more)).ok();
        run(&[]);
        let expected = folder.read(&name);
        let unfinished = unfinished(format, expected.clone());
        let fixed = [
            0,
            1,
            9,
            10,
            11,
            127,
            128,
            129,
            expected.len() - 1,
            expected.len(),
        ];
        for end in fixed
            .into_iter()
            .chain((0..12).map(|_| random.usize(..expected.len())))
        {
            folder.write(&name, &unfinished[..end]);
            run(&["--resume"]);
            assert!(folder.read(&name) == expected, "{format}, cut at {end}");
        }
        let run = run(&["--resume"]);
        assert!(
            run.stderr
                .contains("is complete: it has 40 rows, as many as there are texts"),
            "{}",
            run.stderr
        );
        assert!(folder.read(&name) == expected);
    }
}

#[test]
fn bad_rows_are_rows() {
    let folder = Folder::new();
    let input = folder.write("in.txt", b"one\n\xff\ntwo\n\xfe\n");
    for format in FORMATS {
        let name = format!("out.{format}");
        let output = folder.path(&name);
        let run = |more: &[&str]| {
            finish(&mut embed(
                &input,
                &output,
                &[&["--skip-bad"], more].concat(),
            ))
            .ok();
        };
        run(&[]);
        let expected = folder.read(&name);
        let unfinished = unfinished(format, expected.clone());
        for end in (0..expected.len()).step_by(expected.len() / 20) {
            folder.write(&name, &unfinished[..end]);
            run(&["--resume"]);
            assert!(folder.read(&name) == expected, "{format}, cut at {end}");
        }
    }
}

#[test]
fn vectors_of_tokens_and_of_bytes_are_resumed_too() {
    let folder = Folder::new();
    for (name, options) in [
        ("tokens.jsonl", ["--pooling", "tokens"]),
        ("tokens.csv", ["--pooling", "tokens"]),
        ("bytes.jsonl", ["--precision", "binary"]),
        ("bytes.npy", ["--precision", "ubinary"]),
    ] {
        let output = folder.path(name);
        let run = |more: &[&str]| {
            let args = [&["embed", "--output", &output], &options[..], more].concat();
            cli_with(&args, "one\ntwo\nthree\n").ok()
        };
        run(&[]);
        let expected = folder.read(name);
        folder.write(name, &expected[..expected.len() - 20]);
        run(&["--resume"]);
        assert!(folder.read(name) == expected, "{name}");
    }
}

#[test]
fn a_file_that_belongs_to_something_else_is_refused_and_left_alone() {
    let folder = Folder::new();
    let input = folder.write("in.txt", "one\ntwo\nthree\n");
    let other = folder.write("other.txt", "one\nzwei\nthree\nfour\n");
    let fewer = folder.write("fewer.txt", "one\ntwo\n");
    for format in FORMATS {
        let name = format!("out.{format}");
        let output = folder.path(&name);
        cli(&["embed", "--input", &input, "--output", &output]).ok();
        let file = folder.read(&name);
        let refused = |input: &str, more: &[&str], words: &[&str]| {
            let args = ["embed", "--resume", "--input", input, "--output", &output];
            let run = cli(&[&args[..], more].concat());
            run.fails(1, &[&["cannot resume", &name, "\nhint: "], words].concat());
            assert!(folder.read(&name) == file, "{name}");
        };
        refused(&fewer, &[], &["at most 2 rows", "found 3"]);
        refused(
            &input,
            &["--pooling", "cls"],
            &["row 1: expected another `embedding`"],
        );
        refused(&input, &["--truncate-dim", "8"], &[]);
        // The last row that is there is of another text.
        folder.write(&name, &file[..file.len() - 100]);
        let file = folder.read(&name);
        let args = ["embed", "--resume", "--input", &other, "--output", &output];
        cli(&args).fails(1, &["row 2: expected another"]);
        assert!(folder.read(&name) == file);
    }
    for (name, content) in [
        ("notes.jsonl", "dear diary"),
        ("notes.jsonl", "dear diary\n"),
        ("notes.jsonl", "{\"index\":0,\"text\":\"one\"}\n"),
        ("notes.csv", "dear diary"),
        ("notes.csv", "a,b\n1,2\n"),
        ("notes.npy", "dear diary"),
        ("notes.npy", &"dear diary ".repeat(20)),
    ] {
        let notes = folder.write(name, content);
        let run = cli(&["embed", "--resume", "--input", &input, "--output", &notes]);
        run.fails(1, &["cannot resume", "expected"]);
        assert_eq!(folder.read(name), content.as_bytes());
    }
}

#[test]
fn what_cannot_be_resumed_is_wrong_usage() {
    let folder = Folder::new();
    cli(&["embed", "a", "--resume"]).fails(2, &["needs `--output FILE`"]);
    for format in ["json", "safetensors", "table"] {
        let output = folder.path("a");
        let run = cli(&[
            "embed", "a", "--resume", "--format", format, "--output", &output,
        ]);
        run.fails(2, &["cannot be continued, expected jsonl, csv, npy"]);
    }
    #[cfg(unix)]
    cli(&["embed", "a", "--resume", "--output", "/dev/null"])
        .fails(1, &["/dev/null", "found a device"]);
}
