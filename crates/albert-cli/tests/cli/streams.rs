//! Input and output of every command, tested with `tokenize`, which is the fastest.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use crate::harness::{DIMENSION, Folder, cli, cli_with, command, finish, isolate, keys, rows};

fn texts(args: &[&str], stdin: &[u8]) -> Vec<String> {
    let rows = cli_with(&[&["tokenize"], args].concat(), stdin).ok().rows();
    rows.iter()
        .map(|row| row["text"].as_str().unwrap().to_string())
        .collect()
}

#[test]
fn marks_and_line_ends_are_stripped_and_empty_lines_are_texts() {
    assert_eq!(
        texts(&[], b"\xef\xbb\xbfone\r\n\r\ntwo\n\nlast"),
        ["one", "", "two", "", "last"]
    );
    assert_eq!(texts(&[], b"\n"), [""]);
    let jsonl = b"\xef\xbb\xbf{\"text\":\"one\"}\r\n\r\n{\"text\":\"two\"}";
    assert_eq!(texts(&["--input-format", "jsonl"], jsonl), ["one", "two"]);
}

#[test]
fn empty_input_is_no_rows_and_no_failure() {
    for format in ["lines", "jsonl", "csv", "tsv"] {
        assert!(
            texts(&["--input-format", format], b"").is_empty(),
            "{format}"
        );
    }
    assert_eq!(
        cli_with(&["tokenize", "--format", "json"], "").ok().stdout,
        "[]\n"
    );
}

#[test]
fn the_input_is_a_file_or_a_dash_by_the_files_ending_or_as_told() {
    let folder = Folder::new();
    let files = [
        folder.write("a.txt", "one\ntwo\n"),
        folder.write("a.jsonl", "{\"text\":\"one\"}\n{\"text\":\"two\"}\n"),
        folder.write("a.csv", "id,text\n1,one\n2,\"two\"\n"),
        folder.write("a.tsv", "id\ttext\n1\tone\n2\ttwo\n"),
    ];
    for file in &files {
        assert_eq!(
            texts(&["--input", file], b"ignored"),
            ["one", "two"],
            "{file}"
        );
    }
    assert_eq!(texts(&["--input", "-"], b"one\n"), ["one"]);
    assert_eq!(texts(&["-"], b"one\n"), ["one"]);
    let odd = folder.write("a.data", "{\"body\":\"one\"}\n");
    assert_eq!(
        texts(
            &[
                "--input",
                &odd,
                "--input-format",
                "jsonl",
                "--field",
                "body"
            ],
            b""
        ),
        ["one"]
    );
}

#[test]
fn a_bad_line_ends_the_run_after_the_rows_before_it() {
    for (format, input, words) in [
        ("lines", &b"good\nb\xffd\ngood\n"[..], "expected UTF-8"),
        (
            "jsonl",
            b"{\"text\":\"good\"}\n{\"text\":\n",
            "expected JSON",
        ),
        (
            "jsonl",
            b"{\"text\":\"good\"}\n{\"body\":\"x\"}\n",
            "no field `text`",
        ),
        (
            "jsonl",
            b"{\"text\":\"good\"}\n{\"text\":1}\n",
            "expected a string",
        ),
        ("tsv", b"text\tb\ngood\t\nx\n", "expected 2 fields"),
    ] {
        let run = cli_with(&["tokenize", "--input-format", format], input);
        let line = if format == "tsv" { "line 3" } else { "line 2" };
        let run = run.fails(1, &[line, words]);
        let rows = run.rows();
        assert_eq!(
            (rows.len(), &rows[0]["text"]),
            (1, &"good".into()),
            "{format}"
        );
    }
}

#[test]
fn what_is_written_before_a_bad_line_is_whole() {
    let folder = Folder::new();
    let (json, npy) = (folder.path("a.json"), folder.path("a.npy"));
    for output in [&json, &npy] {
        cli_with(&["embed", "--output", output], b"a\nb\n\xff\nc\n").fails(1, &["line 3", "UTF-8"]);
    }
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&folder.read("a.json")).unwrap();
    assert_eq!(rows.len(), 2);
    let header = String::from_utf8_lossy(&folder.read("a.npy")[..128]).into_owned();
    let shape = format!("'shape': (2, {DIMENSION})");
    assert!(header.contains(&shape), "{header}");
}

#[test]
fn skip_bad_gives_a_bad_line_a_row_and_goes_on() {
    let run = cli_with(&["tokenize", "--skip-bad"], b"zero\n\xff\xfe\ntwo\n").ok();
    let rows = run.rows();
    assert_eq!(keys(&rows[1]), ["index", "error"]);
    assert_eq!(rows[1]["index"], 1);
    assert!(rows[1]["error"].as_str().unwrap().contains("line 2"));
    assert_eq!(
        (&rows[2]["index"], &rows[2]["text"]),
        (&2.into(), &"two".into())
    );
    assert!(
        run.stderr.contains("line 2") && run.stderr.contains("1 bad"),
        "{}",
        run.stderr
    );
    let quiet = cli_with(&["tokenize", "--skip-bad", "--quiet"], b"\xff\n").ok();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn the_order_is_kept_over_many_windows() {
    let lines: Vec<String> = (0..5000)
        .map(|i| format!("{} {i}", "x ".repeat(i % 7)))
        .collect();
    let rows = cli_with(&["tokenize"], lines.join("\n")).ok().rows();
    assert_eq!(rows.len(), lines.len());
    for (index, (row, line)) in rows.iter().zip(&lines).enumerate() {
        assert_eq!(
            (&row["index"], row["text"].as_str()),
            (&index.into(), Some(line.as_str()))
        );
    }
}

#[test]
fn a_writer_who_waits_gets_the_answer_to_each_line() {
    let mut child = command()
        .arg("tokenize")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["first", "second", "third"] {
        writeln!(stdin, "{text}").unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.contains(&format!("\"text\":\"{text}\"")), "{answer}");
    }
    drop(stdin);
    assert!(answers.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_closed_pipe_is_no_failure() {
    for format in ["jsonl", "json", "csv", "table"] {
        let mut child = command()
            .args(["tokenize", "--quiet", "--format", format])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // Far more than the pipes hold; the child may be gone before all of it is written.
            drop(stdin.write_all("a line of text\n".repeat(20_000).as_bytes()));
        });
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        drop(stdout);
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), stderr.as_str()),
            (Some(0), ""),
            "{format}"
        );
        writer.join().unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_standard_output_that_was_closed_before_the_start_is_an_error() {
    let folder = Folder::new();
    let output = folder.path("a.jsonl");
    let closed = |args: &[&str]| {
        let mut shell = Command::new("sh");
        shell
            .args([
                "-c",
                "exec \"$0\" \"$@\" >&-",
                env!("CARGO_BIN_EXE_albert-cli"),
            ])
            .args(args);
        isolate(&mut shell);
        finish(&mut shell)
    };
    for args in [
        &["tokenize", "a"][..],
        &["inspect"],
        &["completions", "bash"],
        &["--help"],
        &["embed", "--help"],
        &["--version"],
    ] {
        closed(args).fails(
            1,
            &["cannot write to standard output: it is closed", "\nhint: "],
        );
    }
    closed(&["tokenize", "a", "--output", &output]).ok();
    assert_eq!(rows(&fs::read_to_string(&output).unwrap()).len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let run = finish(command().args(["tokenize", "a"]).stdout(full()));
    run.fails(1, &["standard output", "no space left"]);
    cli(&["tokenize", "a", "--output", "/dev/full"])
        .fails(1, &["`/dev/full`", "no space left", "\nhint: "]);
    for format in ["npy", "safetensors", "json", "csv"] {
        cli(&["embed", "a", "--output", "/dev/full", "--format", format])
            .fails(1, &["`/dev/full`"]);
    }
    #[cfg(feature = "parquet")]
    for format in ["parquet", "arrow"] {
        cli(&["embed", "a", "--output", "/dev/full", "--format", format])
            .fails(1, &["`/dev/full`"]);
    }
    finish(command().args(["inspect"]).stdout(full())).fails(1, &["standard output"]);
    finish(command().args(["--help"]).stdout(full())).fails(1, &["standard output"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_standard_error_does_not_matter() {
    // Writing to it fails, as it does when the other end of 2>&1 is gone.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let run = finish(command().args(["tokenize", "a"]).stderr(full)).ok();
    assert_eq!(run.rows().len(), 1);
}

#[test]
fn the_output_goes_to_a_file_in_the_format_of_its_ending() {
    let folder = Folder::new();
    let jsonl = folder.path("a.jsonl");
    fs::write(
        &jsonl,
        "old content that is longer than the new one\n".repeat(50),
    )
    .unwrap();
    let run = cli(&["tokenize", "a", "--output", &jsonl]).ok();
    assert_eq!(run.stdout, "");
    assert_eq!(
        folder.read("a.jsonl"),
        cli(&["tokenize", "a"]).ok().stdout.as_bytes()
    );
    cli(&["tokenize", "a", "--output", &folder.path("a.json")]).ok();
    assert!(folder.read("a.json").starts_with(b"["));
    cli(&["tokenize", "a", "--output", &folder.path("a.csv")]).ok();
    assert!(folder.read("a.csv").starts_with(b"index,text,ids,"));
    cli(&["tokenize", "a", "--output", &jsonl, "--format", "json"]).ok();
    assert!(folder.read("a.jsonl").starts_with(b"["));
    assert_eq!(
        cli(&["tokenize", "a", "--output", "-"]).ok().rows().len(),
        1
    );
}

#[test]
fn inputs_and_outputs_that_cannot_be_opened_are_named() {
    let folder = Folder::new();
    let missing = folder.path("missing.txt");
    cli(&["tokenize", "--input", &missing]).fails(1, &["missing.txt", "no such file"]);
    cli(&["tokenize", "--input", folder.as_str()]).fails(1, &[folder.as_str(), "found none in it"]);
    let nowhere = folder.path("no/such/folder/a.jsonl");
    cli(&["tokenize", "a", "--output", &nowhere]).fails(1, &["a.jsonl", "no such file"]);
    cli(&["tokenize", "a", "--output", folder.as_str()]).fails(1, &[folder.as_str()]);
    let same = folder.write("same.txt", "one\n");
    cli(&["tokenize", "--input", &same, "--output", &same]).fails(2, &["same.txt"]);
    assert_eq!(folder.read("same.txt"), b"one\n");
}

#[test]
fn the_output_is_opened_before_the_model_is_loaded_and_kept_if_that_fails() {
    let folder = Folder::new();
    let output = folder.write("a.jsonl", "precious\n");
    cli(&[
        "embed",
        "a",
        "--model",
        folder.as_str(),
        "--output",
        &output,
    ])
    .fails(1, &[]);
    assert_eq!(folder.read("a.jsonl"), b"precious\n");
    let nowhere = folder.path("no/such/a.jsonl");
    cli(&[
        "embed",
        "a",
        "--model",
        "/no/such/model",
        "--output",
        &nowhere,
    ])
    .fails(1, &["a.jsonl"]);
    // And one that was not there is not there afterwards.
    cli(&[
        "embed",
        "a",
        "--model",
        folder.as_str(),
        "--output",
        &folder.path("b.jsonl"),
    ])
    .fails(1, &[]);
    cli(&[
        "embed",
        "a",
        "--resume",
        "--output",
        &folder.path("b.parquet"),
    ])
    .fails(2, &["--resume"]);
    assert!(
        !fs::exists(folder.path("b.jsonl")).unwrap()
            && !fs::exists(folder.path("b.parquet")).unwrap()
    );
}

/// An output that is there before the run keeps its content for as long as no row is due.
#[test]
fn a_failure_before_the_first_row_leaves_an_existing_output_alone() {
    let folder = Folder::new();
    let good = folder.write("good.csv", "id,text\n1,one\n");
    let jsonl = folder.write("good.jsonl", "{\"text\":\"one\"}\n");
    let bad = folder.write("bad.txt", b"\xff\xfe\n");
    for extension in EXTENSIONS {
        let output = folder.write(&format!("out.{extension}"), "precious\n");
        for input in [
            &["--input", &good, "--field", "txet"][..],
            &["--input", &jsonl, "--field", "txet"],
            &["--input", &bad],
            &["--input", &good, "--input", &folder.path("missing.csv")],
        ] {
            let args = [&["embed", "--output", &output], input].concat();
            cli(&args).fails(1, &[]);
            let kept = folder.read(&format!("out.{extension}"));
            assert_eq!(kept, b"precious\n", "{args:?}");
        }
        cli(&["embed", "--input", &good, "--output", &output]).ok();
        let replaced = folder.read(&format!("out.{extension}"));
        assert!(!replaced.starts_with(b"precious"), "{extension}");
    }
}

#[cfg(feature = "parquet")]
const EXTENSIONS: &[&str] = &[
    "jsonl",
    "json",
    "csv",
    "npy",
    "safetensors",
    "parquet",
    "arrow",
];
#[cfg(not(feature = "parquet"))]
const EXTENSIONS: &[&str] = &["jsonl", "json", "csv", "npy", "safetensors"];

#[test]
fn an_input_that_is_not_empty_and_has_no_row_is_reported() {
    for (format, input) in [("jsonl", "\n  \n"), ("csv", "id,text\n")] {
        let run = cli_with(&["tokenize", "--input-format", format], input).ok();
        assert!(
            run.stderr.contains("but no rows"),
            "{format}: {}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
    let empty = cli_with(&["tokenize"], "").ok();
    assert!(!empty.stderr.contains("but no rows"), "{}", empty.stderr);
}

#[test]
fn a_line_is_one_text_with_its_tabs_unless_pairs_are_asked_for() {
    let lines = "one\ttwo\tthree\nfour\tfive\n";
    assert_eq!(
        texts(&[], lines.as_bytes()),
        ["one\ttwo\tthree", "four\tfive"]
    );
    for command in ["embed", "tokenize"] {
        let rows = cli_with(&[command], lines).ok().rows();
        assert_eq!(rows.len(), 2, "{command}");
        assert!(rows[0].get("pair").is_none(), "{command}");
        let pair = cli_with(&[command, "--pairs"], "four\tfive\nsix\n")
            .ok()
            .rows();
        assert_eq!(
            (&pair[0]["text"], &pair[0]["pair"]),
            (&"four".into(), &"five".into())
        );
        assert!(pair[1].get("pair").is_none(), "{command}");
        cli_with(&[command, "--pairs"], lines).fails(1, &["line 1", "found 2"]);
    }
    cli_with(&["tokenize", "--pairs", "--input-format", "jsonl"], "{}")
        .fails(2, &["`--pairs` applies to lines", "\nhint: "]);
}

#[test]
fn several_inputs_and_folders_of_shards_are_read_as_one() {
    let folder = Folder::new();
    let first = folder.write("first.txt", "one\ntwo\n");
    let shards = folder.path("shards");
    fs::create_dir(&shards).unwrap();
    for (name, content) in [
        ("shards/part-1.csv", "text\nfour\n"),
        ("shards/part-0.jsonl", "{\"text\":\"three\"}\n"),
        ("shards/_SUCCESS", ""),
        ("shards/.part-0.jsonl.crc", "crc"),
    ] {
        folder.write(name, content);
    }
    let args = ["--input", &first, "--input", &shards, "--input", "-"];
    assert_eq!(
        texts(&args, b"five\n"),
        ["one", "two", "three", "four", "five"]
    );
    let rows = cli(&["tokenize", "--input", &shards]).ok().rows();
    assert_eq!((&rows[1]["index"], rows.len()), (&1.into(), 2));
    let bad = folder.write("shards/part-2.txt", b"\xff\n");
    cli(&["tokenize", "--input", &shards]).fails(1, &[&bad, "line 1"]);
    let output = folder.path("shards/part-1.csv");
    cli(&["tokenize", "--input", &shards, "--output", &output])
        .fails(2, &["is both the input and the output"]);
}

#[test]
fn the_output_may_not_be_the_input_under_any_name() {
    let folder = Folder::new();
    let file = folder.write("same.txt", "one\ntwo\n");
    let link = folder.path("link.txt");
    fs::hard_link(&file, &link).unwrap();
    cli(&["tokenize", "--input", &file, "--output", &link])
        .fails(2, &["is both the input and the output"]);

    let mut redirected = command();
    redirected
        .args(["tokenize", "--output", &link])
        .stdin(File::open(&file).unwrap());
    finish(&mut redirected).fails(2, &["is both the input and the output"]);

    let mut appended = command();
    appended.arg("tokenize").stdin(File::open(&file).unwrap());
    appended.stdout(File::options().append(true).open(&file).unwrap());
    assert_eq!(appended.output().unwrap().status.code(), Some(2));
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo\n");
}

#[test]
fn a_file_of_the_model_is_not_written_over() {
    let folder = Folder::with_model_files(&[
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]);
    let [weights, config] = ["model.safetensors", "config.json"].map(|name| folder.read(name));
    let [to_weights, to_config] =
        ["model.safetensors", "config.json"].map(|name| folder.path(name));
    let model = ["--model", folder.as_str()];
    let threads = ["--against", "threads=1"];
    for (command, output) in [
        (&["embed", "a"][..], &to_weights),
        (&["forward", "a"], &to_weights),
        (&["score", "a"], &to_config),
        (&["tokenize", "a"], &to_config),
        (&["search", "a", "--input", "/dev/null"], &to_config),
        (&["inspect"], &to_config),
        (&["bench"], &to_config),
        (&[&["verify", "a"][..], &threads].concat(), &to_config),
    ] {
        let run = cli(&[command, &model, &["--output", output]].concat());
        run.fails(2, &["in the model's folder", "\nhint: "]);
    }
    let against = format!("model={}", folder.as_str());
    cli(&["verify", "a", "--against", &against, "--output", &to_config])
        .fails(2, &["in the model's folder"]);
    assert!(folder.read("model.safetensors") == weights && folder.read("config.json") == config);
    // An output next to them is new the first time, and its own the second.
    for _ in 0..2 {
        cli(&[
            &["embed", "a", "--output", &folder.path("a.npy")][..],
            &model,
        ]
        .concat())
        .ok();
    }
}

#[test]
fn the_first_good_row_decides_the_columns_of_csv() {
    for (command, row) in [
        (&["embed", "--pairs"][..], "1,b,c,"),
        (&["tokenize", "--pairs", "--explain"], "1,b,c,"),
        (&["tokenize", "--pairs"], "1,b,c,"),
    ] {
        let run = cli_with(
            &[command, &["--skip-bad", "--format", "csv"]].concat(),
            b"\xff\nb\tc\n",
        )
        .ok();
        assert!(run.stdout.starts_with("index,text,pair,"), "{}", run.stdout);
        assert!(run.stdout.contains(&format!("\n{row}")), "{}", run.stdout);
    }
    // Memory has an end, and the input may have none.
    let many = [b"\xff\n".repeat(1001), b"b\tc\n".to_vec()].concat();
    let run = cli_with(&["embed", "--pairs", "--skip-bad", "--format", "csv"], many).ok();
    assert_eq!(run.stdout.lines().count(), 1003);
}
