//! Bad input, the same for every command that takes texts: a clear message, the exit code of the
//! contract, no row lost and none half-written.

use std::fs::File;
use std::process::Stdio;

use crate::harness::{cli_with, command, finish, keys, rows, task_model};

/// The commands with what each needs to answer, and whether each text gets a row of its own.
fn commands() -> Vec<(Vec<String>, bool)> {
    let words = |words: &str| -> Vec<String> { words.split(' ').map(str::to_string).collect() };
    let on = |model: &str, rest: &str| {
        let mut command = words(rest);
        command.extend(["--model".to_string(), task_model(model)]);
        command
    };
    vec![
        (words("embed"), true),
        (words("fill-mask"), true),
        (words("score"), true),
        (on("sentiment", "classify"), true),
        (on("nli", "zero-shot --labels a,b"), true),
        (on("entities", "tag"), true),
        (on("question", "answer --context c"), true),
        (on("choice", "choose --choice x --choice y"), true),
        (words("order"), true),
        (words("order --sort"), true),
        (words("similarity"), true),
        (words("tokenize"), true),
        (words("search q"), false),
        (words("verify --against threads=1"), false),
    ]
}

/// A line that every command can work on: it has a mask, and is a pair where pairs are taken.
const GOOD: &str = "good [MASK]\tb\n";

fn with<'a>(command: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    command
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn a_bad_line_is_named_after_the_rows_before_it_and_can_be_skipped() {
    let lines = [GOOD.as_bytes(), b"\xff\xfe\n", GOOD.as_bytes()].concat();
    for (command, by_text) in commands() {
        let run = cli_with(&with(&command, &[]), &lines)
            .fails(1, &["standard input, line 2", "expected UTF-8"]);
        assert_eq!(run.rows().len(), usize::from(by_text), "{command:?}");
        let run = cli_with(&with(&command, &["--skip-bad"]), &lines).ok();
        assert!(
            run.stderr.contains("3 rows (1 bad)"),
            "{command:?}: {}",
            run.stderr
        );
        if by_text {
            let rows = run.rows();
            assert_eq!(
                (rows.len(), keys(&rows[1])),
                (3, vec!["index", "error"]),
                "{command:?}"
            );
            assert_eq!(rows[2]["index"], 2, "{command:?}");
        }
    }
}

#[test]
fn a_missing_field_is_named_with_what_is_there() {
    for (command, _) in commands() {
        let run = cli_with(
            &with(&command, &["--input-format", "jsonl"]),
            "{\"x\":\"a\"}\n",
        );
        let run = run.fails(1, &["line 1: no field `", "found `x`"]);
        assert!(
            command[0] == "verify" || run.stdout.is_empty(),
            "{command:?}: {}",
            run.stdout
        );
    }
}

#[test]
fn empty_input_is_no_failure() {
    for (command, by_text) in commands()
        .into_iter()
        .filter(|(command, _)| command[0] != "verify")
    {
        let run = cli_with(&with(&command, &[]), "").ok();
        assert_eq!(
            (run.rows().len(), by_text || command[0] == "search"),
            (0, true),
            "{command:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure_on_standard_output_and_in_a_file() {
    use crate::harness::Folder;
    let folder = Folder::new();
    let input = folder.write("in.txt", GOOD);
    for (command_line, _) in commands() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut piped = command();
        piped
            .args(with(&command_line, &["--input", &input]))
            .stdout(full);
        finish(&mut piped).fails(
            1,
            &[
                "cannot write to standard output",
                "no space left",
                "\nhint: ",
            ],
        );
        let mut named = command();
        named.args(with(
            &command_line,
            &["--input", &input, "--output", "/dev/full"],
        ));
        finish(&mut named).fails(1, &["cannot write to `/dev/full`", "no space left"]);
    }
}

#[test]
fn a_reader_that_leaves_early_gets_whole_rows_and_no_complaint() {
    // More than the pipe and both buffers hold.
    const LINES: usize = 4000;
    use crate::harness::Folder;
    use std::io::{BufRead, BufReader};
    let folder = Folder::new();
    let input = folder.write("in.txt", GOOD.repeat(LINES));
    for (command_line, _) in commands().into_iter().filter(|(_, by_text)| *by_text) {
        let mut child = command()
            .args(with(&command_line, &["--input", &input, "--quiet"]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        assert_eq!(rows(&first).len(), 1, "{command_line:?}: {first}");
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), stderr.as_ref()),
            (Some(0), ""),
            "{command_line:?}"
        );
    }
}
