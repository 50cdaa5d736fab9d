//! Training by the built binary: a run writes its model, and can be stopped anywhere.
#![cfg(feature = "train")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Words of the corpus, each followed by one of the next two, so that there is something to learn.
const WORDS: usize = 60;

/// Losses of two engines in f32 over 30 steps with dropout, relative.
const ENGINE_TOLERANCE: f64 = 1e-4;

struct Run {
    dir: tempfile::TempDir,
}

impl Run {
    /// A folder with a corpus of so many documents, a tokenizer of its words and a small config.
    fn new(documents: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let mut draw = |bound: usize| random.usize(..bound);
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
        let words = (0..WORDS).map(|word| format!("w{word}"));
        let vocabulary: Vec<String> = special.into_iter().chain(words).collect();
        let tokenizer = dir.path().join("tokenizer");
        std::fs::create_dir(&tokenizer).unwrap();
        std::fs::write(tokenizer.join("vocab.txt"), vocabulary.join("\n")).unwrap();
        let config = format!(
            "{{\"model_type\":\"albert\",\"vocab_size\":{},\"embedding_size\":16,\"hidden_size\":32,\
             \"num_hidden_layers\":2,\"num_attention_heads\":2,\"intermediate_size\":64,\
             \"max_position_embeddings\":64,\"initializer_range\":0.15,\"hidden_dropout_prob\":0.1,\
             \"attention_probs_dropout_prob\":0.1}}",
            vocabulary.len()
        );
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        for (file, documents) in [("train.txt", documents), ("eval.txt", 20)] {
            let mut text = String::new();
            for _ in 0..documents {
                let mut word = draw(WORDS);
                for _ in 0..3 + draw(5) {
                    for _ in 0..4 + draw(6) {
                        word = (word + 1 + draw(2)) % WORDS;
                        let _ = write!(text, "w{word} ");
                    }
                    text.push('\n');
                }
                text.push('\n');
            }
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, output: &str, options: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_albert-cli"));
        command.current_dir(self.dir.path());
        let fixed = "pretrain --train train.txt --config config.json --tokenizer tokenizer \
            --max-length 32 --batch-size 16 --learning-rate 3e-3";
        command
            .args(fixed.split_whitespace())
            .args(["--output", output]);
        let slots = if options.contains("--slots") {
            ""
        } else {
            "--slots 2"
        };
        command
            .args(options.split_whitespace())
            .args(slots.split_whitespace());
        command.stdin(Stdio::null()).env_remove("ALBERT_THREADS");
        command
    }

    fn pretrain(&self, output: &str, options: &str) -> Output {
        self.command(output, options).output().unwrap()
    }

    fn succeed(&self, output: &str, options: &str) -> Output {
        let result = self.pretrain(output, options);
        assert!(result.status.success(), "{}", stderr(&result));
        result
    }

    /// Starts a run, sends SIGINT after its first step, and returns its messages.
    #[cfg(unix)]
    fn interrupted(&self, output: &str, options: &str) -> String {
        let child = self
            .command(output, options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = self.path(output).join("training/metrics.jsonl");
        while std::fs::metadata(&log).map_or(0, |file| file.len()) == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let kill = Command::new("kill")
            .arg("-INT")
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(kill.success());
        let result = child.wait_with_output().unwrap();
        let said = stderr(&result);
        assert_eq!(result.status.code(), Some(1), "{said}");
        said
    }

    /// Resumes a run with the options of its recipe.
    #[cfg(unix)]
    fn resume(&self, output: &str) {
        let resumed = Command::new(env!("CARGO_BIN_EXE_albert-cli"))
            .current_dir(self.dir.path())
            .args(["pretrain", "--output", output, "--resume"])
            .output()
            .unwrap();
        assert!(resumed.status.success(), "{}", stderr(&resumed));
    }

    /// The log without speeds, which alone differ from run to run.
    fn log(&self, output: &str) -> String {
        let text =
            std::fs::read_to_string(self.path(output).join("training/metrics.jsonl")).unwrap();
        let rows = text
            .lines()
            .map(|line| match line.find(",\"tokens_per_second\"") {
                Some(end) => format!("{}\n", &line[..end]),
                None => format!("{line}\n"),
            });
        rows.collect()
    }

    fn full_log(&self, output: &str) -> String {
        std::fs::read_to_string(self.path(output).join("training/metrics.jsonl")).unwrap()
    }

    fn weights(&self, output: &str) -> Vec<u8> {
        std::fs::read(self.path(output).join("model.safetensors")).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn rows(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_default())
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_run_leaves_a_model_a_log_and_a_recipe() {
    let run = Run::new(200);
    let result = run.succeed(
        "out",
        "--steps 1000 --eval eval.txt --eval-every 250 --warmup 0.1",
    );
    let expected = ["config.json", "model.safetensors", "training", "vocab.txt"];
    assert_eq!(names(&run.path("out")), expected);
    let expected = ["loss.svg", "metrics.jsonl", "recipe.toml"];
    assert_eq!(names(&run.path("out/training")), expected);

    let log = std::fs::read_to_string(run.path("out/training/metrics.jsonl")).unwrap();
    let rows = rows(&log);
    assert_eq!(rows.len(), 1004);
    let keys: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    let expected = [
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "grad_norm",
        "tokens",
        "tokens_per_second",
    ];
    assert_eq!(keys, expected);
    let mean = |rows: &[Value]| {
        let losses: Vec<f64> = rows.iter().filter_map(|row| row["loss"].as_f64()).collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    };
    assert!(
        mean(&rows[950..]) < mean(&rows[..10]) - 0.3,
        "{}",
        rows[1003]
    );

    let text = String::from_utf8(result.stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    let row: Value = serde_json::from_str(&text).unwrap();
    for metric in [
        "loss",
        "masked_lm_loss",
        "top_1",
        "top_5",
        "sentence_order_accuracy",
    ] {
        assert!(row[metric].is_number(), "{text}");
    }
    let scored = Command::new(env!("CARGO_BIN_EXE_albert-cli"))
        .current_dir(run.dir.path())
        .args(
            "evaluate --task sentence-order --input eval.txt --model out --max-length 32"
                .split(' '),
        )
        .output()
        .unwrap();
    assert!(scored.status.success(), "{}", stderr(&scored));
    let scored: Value = serde_json::from_slice(&scored.stdout).unwrap();
    // The same text, masks and seed as the evaluation of the last step, which was the best one.
    assert_eq!(scored["accuracy"], row["sentence_order_accuracy"]);
    let filled = Command::new(env!("CARGO_BIN_EXE_albert-cli"))
        .args([
            "fill-mask",
            "w1 w7 [MASK] w3",
            "--format",
            "jsonl",
            "--model",
        ])
        .arg(run.path("out"))
        .output()
        .unwrap();
    assert!(filled.status.success(), "{}", stderr(&filled));
}

#[test]
fn losses_have_the_same_bits_on_one_thread_and_two() {
    let run = Run::new(100);
    run.succeed("one", "--steps 30 --threads 1");
    run.succeed("two", "--steps 30 --threads 2");
    run.succeed("parts", "--steps 30 --threads 2 --slots 3");
    assert_eq!(run.log("one"), run.log("two"));
    assert_eq!(run.weights("one"), run.weights("two"));
    // Another number of gradient buffers sums in another order: the comparison can fail.
    assert_ne!(run.weights("one"), run.weights("parts"));
}

/// Returns true if a run has written its model and removed its snapshots.
fn is_finished(output: &Path) -> bool {
    let is_snapshot = |name: &String| name.starts_with("snapshot-") || name.starts_with("best-");
    output.join("config.json").exists() && !names(&output.join("training")).iter().any(is_snapshot)
}

/// Kills a run `kills` times at moments spread over its length, and compares it with one that was
/// never stopped.
fn kill_and_resume(kills: u32, steps: u32) {
    let run = Run::new(100);
    let options = format!("--steps {steps} --save-every 3 --eval eval.txt --eval-every 10");
    let started = Instant::now();
    run.succeed("start", "--steps 1");
    let start = started.elapsed();
    run.succeed("whole", &options);
    // On average a run gets as far as a kill for each part of the whole, at any load.
    let longest = 2 * (start + (started.elapsed() - start) / kills);
    let mut output = run.command("killed", &options);
    let mut killed = 0;
    let mut random = fastrand::Rng::with_seed(12_345);
    while killed < kills {
        let mut child = output
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(longest.mul_f64(random.f64()));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        killed += 1;
        if is_finished(&run.path("killed")) {
            break;
        }
        // A run that was killed before its folder was there is started, others are resumed, on
        // another number of threads each time.
        let is_there = run.path("killed/training/recipe.toml").exists();
        let threads = 1 + killed % 2;
        let resume = if is_there { "--resume" } else { "" };
        output = run.command("killed", &format!("{options} --threads {threads} {resume}"));
    }
    if !is_finished(&run.path("killed")) {
        let last = output
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(last.status.success(), "{}", stderr(&last));
    }
    assert_eq!(run.log("killed"), run.log("whole"));
    assert_eq!(run.weights("killed"), run.weights("whole"));
}

#[test]
fn a_killed_run_goes_on_with_the_bits_of_one_that_was_not() {
    kill_and_resume(8, 60);
}

/// `cargo test --release --workspace --test train -- --ignored`: minutes.
#[test]
#[ignore = "takes minutes"]
fn a_run_survives_two_hundred_kills() {
    kill_and_resume(200, 3000);
}

#[test]
fn autograd_has_the_losses_of_the_kernels() {
    let run = Run::new(100);
    run.succeed("kernels", "--steps 30");
    run.succeed("autograd", "--steps 30 --engine candle");
    let losses = |output: &str| -> Vec<f64> {
        let rows = rows(&run.full_log(output));
        rows.iter().filter_map(|row| row["loss"].as_f64()).collect()
    };
    let (kernels, autograd) = (losses("kernels"), losses("autograd"));
    assert_eq!(kernels.len(), 30);
    for (a, b) in kernels.iter().zip(&autograd) {
        assert!((a - b).abs() <= ENGINE_TOLERANCE * a, "{a} and {b}");
    }
    let recipe = std::fs::read_to_string(run.path("autograd/training/recipe.toml")).unwrap();
    assert!(recipe.contains("engine = \"candle\"\n"), "{recipe}");
    assert!(recipe.contains("dtype = \"f32\"\n"), "{recipe}");
    let wrong = run.pretrain("wrong", "--steps 2 --dtype bf16");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("engine `cpu`: expected f32, found bf16"));
}

#[test]
fn a_run_may_last_a_time_instead_of_steps() {
    let run = Run::new(100);
    run.succeed("out", "--time 2s --warmup 0.1");
    let rows = rows(&run.full_log("out"));
    let rates = |row: &Value| row["learning_rate"].as_f64().unwrap();
    assert!(rates(&rows[rows.len() - 1]) < 3e-3 / 2.0);
    let recipe = std::fs::read_to_string(run.path("out/training/recipe.toml")).unwrap();
    assert!(recipe.contains("time = \"2s\"\n"), "{recipe}");
    let both = run.pretrain("both", "--time 2s --steps 3");
    assert_eq!(both.status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let run = Run::new(100);
    run.succeed("whole", "--steps 400");
    let said = run.interrupted("stopped", "--steps 400");
    assert!(said.contains("hint: continue with: albert-cli pretrain --output 'stopped' --resume"));
    run.resume("stopped");
    assert_eq!(run.log("stopped"), run.log("whole"));
}

#[cfg(unix)]
#[test]
fn both_orders_of_each_pair_come_from_the_command_line_a_recipe_or_a_resumed_run() {
    let run = Run::new(100);
    run.succeed("whole", "--steps 400 --sentence-order both --eval eval.txt");
    let recipe = std::fs::read_to_string(run.path("whole/training/recipe.toml")).unwrap();
    assert!(recipe.contains("sentence-order = \"both\"\n"), "{recipe}");

    std::fs::write(run.path("both.toml"), "sentence-order = \"both\"\n").unwrap();
    let said = run.interrupted("parts", "--steps 400 --eval eval.txt --recipe both.toml");
    assert!(said.contains("stopped after step"), "{said}");
    run.resume("parts");
    assert_eq!(run.log("parts"), run.log("whole"));
    assert_eq!(run.weights("parts"), run.weights("whole"));

    // With one order of each pair the first batch has other examples, and so another loss.
    run.succeed("one", "--steps 400 --sentence-order true --eval eval.txt");
    let first_loss = |output: &str| rows(&run.full_log(output))[0]["loss"].clone();
    assert!(first_loss("one").is_number());
    assert_ne!(first_loss("one"), first_loss("whole"));
}

#[test]
fn a_recipe_gives_options_and_the_command_line_wins() {
    let run = Run::new(100);
    let recipe = "steps = 3\nseed = 7\nschedule = \"cosine\"\noptimizer = \"muon\"\n";
    std::fs::write(run.path("recipe.toml"), recipe).unwrap();
    run.succeed("out", "--recipe recipe.toml --seed 8");
    let resolved = std::fs::read_to_string(run.path("out/training/recipe.toml")).unwrap();
    for line in [
        "steps = 3",
        "seed = 8",
        "schedule = \"cosine\"",
        "optimizer = \"muon\"",
    ] {
        assert!(
            resolved.lines().any(|found| found == line),
            "{line}: {resolved}"
        );
    }
    std::fs::write(run.path("bad.toml"), "stepz = 3\n").unwrap();
    let bad = run.pretrain("bad", "--recipe bad.toml");
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr(&bad).contains("--stepz"), "{}", stderr(&bad));
}

#[test]
fn what_cannot_be_a_run_is_refused_and_nothing_is_lost() {
    let run = Run::new(50);
    run.succeed("out", "--steps 2");
    let again = run.pretrain("out", "--steps 2");
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("`out` exists: expected a new folder"),
        "{}",
        stderr(&again)
    );
    let finished = run.pretrain("out", "--resume");
    assert_eq!(finished.status.code(), Some(1));
    std::fs::write(run.path("train.txt"), "\n\n").unwrap();
    let empty = run.pretrain("empty", "--steps 2");
    assert_eq!(empty.status.code(), Some(1));
    assert!(
        stderr(&empty).contains("expected one sentence per line"),
        "{}",
        stderr(&empty)
    );
    assert_eq!(
        run.pretrain("none", "--steps 2 --learning-rate -1")
            .status
            .code(),
        Some(2)
    );
}
