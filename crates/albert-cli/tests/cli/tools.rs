//! `bench`, `completions` and `man`.

use serde_json::Value;

use crate::harness::{Folder, cli, keys, task_model};

#[test]
fn bench_tells_what_was_measured_and_with_what() {
    let run = cli(&[
        "bench",
        "--rounds",
        "1",
        "--threads",
        "1",
        "--format",
        "json",
    ])
    .ok();
    let measured: Value = serde_json::from_str(&run.stdout).unwrap();
    let expected = [
        "model",
        "parameters",
        "device",
        "dtype",
        "kernels",
        "threads",
        "load_seconds",
        "rounds",
        "shapes",
        "peak_memory_bytes",
    ];
    assert_eq!(keys(&measured), expected);
    assert_eq!(
        (&measured["threads"], &measured["device"]),
        (&1.into(), &"cpu".into())
    );
    let shapes = measured["shapes"].as_array().unwrap();
    let names: Vec<_> = shapes
        .iter()
        .map(|shape| shape["shape"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["1x16", "1x128", "8x128", "ragged"]);
    for shape in shapes {
        let number = |key: &str| shape[key].as_f64().unwrap();
        let rate = number("tokens") / number("milliseconds") * 1e3;
        assert!(
            (number("tokens_per_second") - rate).abs() < 1e-6 * rate,
            "{shape}"
        );
    }
    assert_eq!(shapes[2]["tokens"], 1024);
}

#[test]
fn bench_shortens_texts_to_what_the_model_takes() {
    let run = cli(&[
        "bench",
        "--rounds",
        "1",
        "--model",
        &task_model("nli"),
        "--format",
        "table",
    ])
    .ok();
    assert!(run.stdout.contains("\n8x40 "), "{}", run.stdout);
    cli(&["bench", "--rounds", "0"]).fails(2, &["from 1 to 1000"]);
    cli(&["bench", "--format", "csv"]).fails(2, &["format `csv`"]);
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = cli(&["completions", shell]).ok().stdout;
        for word in ["fill-mask", "batch-tokens"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    cli(&["completions", "tcsh"]).fails(2, &["zsh"]);
    cli(&["completions"]).fails(2, &["SHELL"]);
}

/// clap-rs/clap#6421: after a command of a program with a hyphen in its name nothing was
/// completed.
#[cfg(target_os = "linux")]
#[test]
fn bash_completes_what_follows_a_command() {
    use crate::shell::Shell;
    let shell = Shell::new();
    let complete = |words: &str, last: &str| {
        let count = words.split(' ').count();
        let script = format!(
            "albert-cli completions bash > c.bash && bash -c '. ./c.bash; COMP_WORDS=({words} {last}); \
             COMP_CWORD={count}; _albert__cli albert-cli {last} ${{COMP_WORDS[COMP_CWORD-1]}}; echo ${{COMPREPLY[@]}}'"
        );
        shell.run(&script).ok().stdout.trim().to_string()
    };
    assert_eq!(complete("albert-cli", "fill"), "fill-mask");
    assert_eq!(complete("albert-cli embed", "--pool"), "--pooling");
    assert_eq!(
        complete("albert-cli embed --pooling", "me"),
        "mean mean-sqrt-len"
    );
    assert_eq!(
        complete("albert-cli fill-mask text --joint", "--be"),
        "--beam"
    );
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = Folder::new();
    let out = folder.path("share/man1");
    let run = cli(&["man", "--out", &out]).ok();
    assert!(
        run.stdout.is_empty() && run.stderr.contains("albert-cli.1"),
        "{}",
        run.stderr
    );
    for page in [
        "albert-cli",
        "albert-cli-embed",
        "albert-cli-fill-mask",
        "albert-cli-man",
    ] {
        let page = String::from_utf8(folder.read(&format!("share/man1/{page}.1"))).unwrap();
        assert!(
            page.contains("SYNOPSIS") && page.contains("Examples:"),
            "{page}"
        );
    }
    let file = folder.write("file", "");
    cli(&["man", "--out", &file]).fails(1, &["cannot write manual pages", "file"]);
    cli(&["man"]).fails(2, &["--out"]);
}
