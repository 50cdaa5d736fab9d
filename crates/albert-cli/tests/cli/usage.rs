//! Exit codes, hints and help.

use crate::harness::{cli, cli_with, command, finish, floats};
#[cfg(unix)]
use crate::shell::Shell;

const COMMANDS: &[&str] = &[
    "embed",
    "fill-mask",
    "score",
    "classify",
    "zero-shot",
    "tag",
    "answer",
    "choose",
    "order",
    "similarity",
    "search",
    "rerank",
    "neighbors",
    "tokenize",
    "forward",
    "inspect",
    "convert",
    "verify",
    "bench",
    "completions",
    "man",
    #[cfg(feature = "hub")]
    "download",
    #[cfg(feature = "hub")]
    "models",
];

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["embed", "a", "--frobnicate"],
        &["embed", "a", "--format", "xml"],
        &["embed", "a", "--pooling", "median"],
        &["embed", "a", "--device", "tpu"],
        &["embed", "a", "--device", "cuda:x"],
        &["embed", "a", "--dtype", "f64"],
        &["embed", "a", "--threads", "0"],
        &["embed", "a", "--threads", "99999999"],
        &["embed", "a", "--batch-tokens", "0"],
        &["embed", "a", "--max-length", "many"],
        &["embed", "a", "--input", "b.txt"],
        &["embed", "a", "--normalize", "perhaps"],
        &["embed", "a", "--format", "safetensors"],
        &["answer", "a", "--context", "b", "--threshold", "nan"],
        &["convert", "--output", "-"],
        &["man", "--out", "-"],
        &["tokenize", "a", "--format", "npy"],
        &["tokenize", "a", "--format", "safetensors"],
        &["tokenize", "a", "--field", "b"],
        &["tokenize", "a", "--input-format", "jsonl"],
    ] {
        let run = cli(args);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{args:?}");
    }
}

#[test]
fn the_environment_sets_what_options_do_not() {
    let with = |name: &str, value: &str, args: &[&str]| {
        finish(command().args(["embed", "a"]).args(args).env(name, value))
    };
    for (name, value) in [
        ("ALBERT_DEVICE", "tpu"),
        ("ALBERT_DTYPE", "f64"),
        ("ALBERT_THREADS", "0"),
        ("ALBERT_BATCH_TOKENS", "none"),
        ("RAYON_NUM_THREADS", "100000"),
        ("RUST_MIN_STACK", "much"),
        ("RUST_MIN_STACK", "99999999999999999"),
    ] {
        with(name, value, &[]).fails(2, &[value]);
    }
    for args in [
        &["embed", "a"][..],
        &["tokenize", "a"],
        &["completions", "bash"],
    ] {
        finish(command().args(args).env("ALBERT_KERNELS", "xyz"))
            .fails(1, &["ALBERT_KERNELS", "xyz"]);
    }
    let device = with("ALBERT_DEVICE", "metal", &["--device", "cpu"]).ok();
    let plain = with("ALBERT_THREADS", "2", &[]).ok();
    assert_eq!(device.stdout, plain.stdout);
    with("ALBERT_DTYPE", "bf16", &[]).ok();
    with("ALBERT_BATCH_TOKENS", "64", &[]).ok();
}

#[test]
fn wrong_usage_of_an_input_exits_with_2() {
    for args in [
        &["tokenize", "--field", "a,b,c", "--input-format", "jsonl"][..],
        &["fill-mask", "--field", "a,b", "--input-format", "jsonl"],
        &["tokenize", "--field", "text"],
        &["tokenize", "--input", "a.json"],
    ] {
        cli_with(args, "x\n").fails(2, &[]);
    }
}

#[test]
fn an_argument_that_is_not_utf8_is_wrong_usage() {
    #[cfg(unix)]
    {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let run = finish(command().arg("tokenize").arg(OsStr::from_bytes(b"a\xff")));
        run.fails(2, &["UTF-8"]);
    }
}

#[test]
fn what_the_build_or_the_model_lacks_exits_with_1_and_a_hint() {
    #[cfg(not(feature = "cuda"))]
    cli(&["embed", "a", "--device", "cuda"]).fails(1, &["cuda", "\nhint: ", "--features cuda"]);
    #[cfg(not(feature = "metal"))]
    cli(&["embed", "a", "--device", "metal"]).fails(1, &["metal", "\nhint: ", "--features metal"]);
    #[cfg(not(feature = "parquet"))]
    for format in ["parquet", "arrow"] {
        let lacks = ["feature `parquet`", "\nhint: ", "--features parquet"];
        cli(&["embed", "a", "--format", format]).fails(1, &lacks);
        cli_with(&["embed", "--input-format", format], "").fails(1, &lacks);
    }
    cli(&["embed", "a", "--model", "/no/such/folder"]).fails(1, &["/no/such/folder"]);
    #[cfg(feature = "hub")]
    cli(&["embed", "a", "--model", "albert/albert-base-v2"])
        .fails(1, &["not in the cache", "\nhint: "]);
    #[cfg(not(feature = "hub"))]
    cli(&["embed", "a", "--model", "albert/albert-base-v2"])
        .fails(1, &["feature `hub`", "\nhint: "]);
    cli(&["embed", "a", "--model", ""]).fails(2, &["ALBERT_MODEL"]);
}

#[test]
fn the_cpu_can_be_asked_for_by_name_and_type() {
    // The type of the built-in model's weights.
    let int8 = cli(&[
        "embed",
        "a",
        "--device",
        "cpu",
        "--dtype",
        "int8",
        "--threads",
        "1",
    ])
    .ok();
    assert_eq!(int8.stdout, cli(&["embed", "a"]).ok().stdout);
    for dtype in ["f16", "bf16", "f32"] {
        cli(&["embed", "a", "--dtype", dtype]).ok();
    }
}

#[test]
fn huge_numbers_and_odd_texts_are_no_reason_to_panic() {
    let huge = usize::MAX.to_string();
    let plain = cli(&["embed", "a", "b c"]).ok();
    let run = cli(&[
        "embed",
        "a",
        "b c",
        "--batch-tokens",
        &huge,
        "--max-length",
        &huge,
    ])
    .ok();
    assert_eq!(run.stdout, plain.stdout);
    cli(&["embed", "a", "--batch-tokens", &format!("{huge}0")]).fails(2, &["from 1"]);
    let odd = "\0\n\u{feff}\n \n\u{1F600}\u{200d}\n[CLS][SEP]<pad>\n▁▁\n\u{301}\n";
    for row in cli_with(&["embed"], odd).ok().rows() {
        assert!(
            floats(&row["embedding"])
                .iter()
                .all(|value| value.is_finite()),
            "{row}"
        );
    }
    let odd = "\0[MASK]\n[MASK][MASK]\n[MASK]\u{301}\n[CLS][MASK][SEP]\n";
    assert_eq!(
        cli_with(&["fill-mask", "--joint"], odd).ok().rows().len(),
        4
    );
}

#[test]
fn a_hint_is_a_line_right_below_the_error() {
    let run = cli(&["embed", "a", "--format", "npy"]);
    let lines: Vec<_> = run.stderr.lines().collect();
    assert!(
        lines[0].starts_with("error: ") && lines[1].starts_with("hint: "),
        "{}",
        run.stderr
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_mistyped_option_is_answered_with_a_hint_too() {
    for (args, hint) in [
        (&["embd", "a"][..], "'embed'"),
        (&["embed", "a", "--paling", "mean"], "'--pooling'"),
        (&["embed", "a", "--pooling", "men"], "'mean'"),
        (&["embed", "a", "-x"], "-- -x"),
    ] {
        let run = cli(args).fails(2, &[]);
        let found = run
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("hint: "));
        assert!(
            found.is_some_and(|found| found.contains(hint)),
            "{args:?}: {}",
            run.stderr
        );
        assert!(!run.stderr.contains("tip:"), "{}", run.stderr);
    }
}

#[test]
fn the_summary_counts_and_quiet_silences_it() {
    let run = cli(&["embed", "a", "b"]).ok();
    let summary = run.stderr.lines().last().unwrap();
    for word in ["2 rows", "tokens", "0 truncated", " s, ", "tokens/s"] {
        assert!(summary.contains(word), "{summary}");
    }
    for args in [&["embed", "a", "--quiet"], &["--quiet", "embed", "a"]] {
        assert_eq!(cli(args).ok().stderr, "");
    }
}

#[test]
fn an_error_is_said_even_when_quiet() {
    cli(&["embed", "a", "--model", "/no/such/folder", "--quiet"]).fails(1, &["/no/such/folder"]);
}

#[test]
fn help_begins_short_and_ends_with_two_examples() {
    for &name in COMMANDS {
        for option in ["-h", "--help"] {
            let help = cli(&[name, option]).ok().stdout;
            let first = help.lines().next().unwrap();
            assert!(first.len() < 70 && !first.ends_with('.'), "{name}: {first}");
            assert_eq!(examples(&help).len(), 2, "{name}: {help}");
        }
    }
    assert_eq!(examples(&cli(&["--help"]).ok().stdout).len(), 2);
}

fn examples(help: &str) -> Vec<String> {
    let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
    examples
        .lines()
        .filter(|line| line.contains("albert-cli "))
        .map(|line| line.trim().to_string())
        .collect()
}

#[cfg(unix)]
#[test]
fn every_example_of_the_help_works_as_it_stands() {
    let shell = Shell::new();
    for args in
        std::iter::once(vec!["--help"]).chain(COMMANDS.iter().map(|&name| vec![name, "--help"]))
    {
        for example in examples(&cli(&args).ok().stdout) {
            let run = shell.run(&example);
            assert_eq!(run.code, Some(0), "{example}: {}", run.stderr);
        }
    }
}
