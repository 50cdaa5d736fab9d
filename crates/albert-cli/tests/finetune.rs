//! Fine-tuning by the built binary: every task from its data to a model that answers.
#![cfg(feature = "train")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Words of the vocabulary, `w0` and so on. Those below half of it are "low".
const WORDS: usize = 40;

/// A folder with a small model of random weights, `start`, and data.
struct Workshop {
    dir: tempfile::TempDir,
}

/// A generator whose draws are the same on every machine.
struct Draw(fastrand::Rng);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// Four words of the lower half or of the upper one.
    fn text(&mut self, is_low: bool) -> String {
        let words = (0..4).map(|_| {
            let word = self.below(WORDS / 2);
            format!("w{}", if is_low { word } else { word + WORDS / 2 })
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Workshop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let special = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "yes", "no", "?",
        ];
        let special = special.map(String::from);
        let words = (0..WORDS).map(|word| format!("w{word}"));
        let vocabulary: Vec<String> = special.into_iter().chain(words).collect();
        std::fs::create_dir(dir.path().join("tokenizer")).unwrap();
        std::fs::write(
            dir.path().join("tokenizer/vocab.txt"),
            vocabulary.join("\n"),
        )
        .unwrap();
        let config = format!(
            "{{\"model_type\":\"albert\",\"vocab_size\":{},\"embedding_size\":16,\"hidden_size\":32,\
             \"num_hidden_layers\":2,\"num_attention_heads\":2,\"intermediate_size\":64,\
             \"max_position_embeddings\":64,\"initializer_range\":0.15,\"hidden_dropout_prob\":0.1,\
             \"attention_probs_dropout_prob\":0.1,\"classifier_dropout_prob\":0.1}}",
            vocabulary.len()
        );
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        std::fs::write(
            dir.path().join("text.txt"),
            "w1 w2 w3\nw4 w5\n\n".repeat(20),
        )
        .unwrap();
        let workshop = Self { dir };
        workshop.succeed(
            "pretrain --train text.txt --config config.json --tokenizer tokenizer --steps 1 \
             --max-length 16 --output start",
        );
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_albert-cli"));
        command
            .current_dir(self.dir.path())
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .env_remove("ALBERT_THREADS")
            .env_remove("ALBERT_MODEL");
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn succeed(&self, line: &str) -> Output {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        output
    }

    /// The rows that a command writes.
    fn rows(&self, line: &str) -> Vec<Value> {
        let output = self.succeed(line);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The error of a command that fails.
    fn error(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line} succeeded");
        stderr(&output)
    }

    /// The options of all runs here, with the task and its data.
    fn finetune(&self, task: &str, options: &str) -> Value {
        let line = format!(
            "finetune --task {task} --model start --output {task} --learning-rate 3e-3 \
             --batch-size 16 --slots 2 {options}"
        );
        self.rows(&line).remove(0)
    }

    /// Texts with their labels and a tab between them.
    fn write_sentiment(&self, name: &str, seed: u64, rows: usize) {
        let mut draw = Draw::new(seed);
        let mut text = String::new();
        for _ in 0..rows {
            let is_low = draw.below(2) == 0;
            let label = if is_low { "low" } else { "high" };
            let _ = writeln!(text, "{}\t{label}", draw.text(is_low));
        }
        self.write(name, &text);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn number(row: &Value, name: &str) -> f64 {
    row[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {row}"))
}

/// Losses of two engines in f32 over 12 steps with dropout, relative.
const ENGINE_TOLERANCE: f64 = 1e-4;

/// A task that a model of this size learns in full, up to a few examples.
const LEARNED: f64 = 0.95;

#[test]
fn a_classifier_is_trained_evaluated_and_used() {
    let workshop = Workshop::new();
    workshop.write_sentiment("train.txt", 1, 320);
    workshop.write_sentiment("dev.txt", 2, 80);
    let line = "finetune --task classification --model start --output out --train train.txt \
        --eval dev.txt --epochs 5 --learning-rate 3e-3 --slots 2";
    let output = workshop.succeed(line);
    let said = stderr(&output);
    assert!(said.contains("start at random, by the seed"), "{said}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&row, "accuracy") >= LEARNED, "{row}");

    let config = std::fs::read_to_string(workshop.path("out/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["id2label"],
        serde_json::json!({"0": "high", "1": "low"})
    );
    assert_eq!(config["label2id"], serde_json::json!({"high": 0, "low": 1}));
    assert_eq!(config["num_labels"], 2);
    assert_eq!(config["problem_type"], "single_label_classification");
    assert_eq!(
        config["architectures"][0],
        "AlbertForSequenceClassification"
    );

    let line = "evaluate --task classification --model out --input dev.txt --predictions p.jsonl";
    let evaluated = workshop.rows(line).remove(0);
    assert_eq!(evaluated["task"], "classification");
    assert_eq!(evaluated["examples"], 80);
    for name in ["accuracy", "f1", "mcc", "loss"] {
        assert_eq!(evaluated[name], row[name], "{name}");
    }
    let predictions = std::fs::read_to_string(workshop.path("p.jsonl")).unwrap();
    assert_eq!(predictions.lines().count(), 80);

    let mut classify = workshop.command("classify --model out --format jsonl");
    let output = classify.arg("w1 w2 w3 w4").output().unwrap();
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["labels"][0]["label"], "low");

    // A classifier is not a sentence embedding, even if its start was one.
    workshop.write(
        "start/modules.json",
        r#"[{"path":"","type":"sentence_transformers.models.Transformer"}]"#,
    );
    let line = "finetune --task classification --model start --output plain --train train.txt \
        --steps 1";
    workshop.succeed(line);
    assert!(!workshop.path("plain/modules.json").exists());

    // The head is kept where the labels are the same.
    let line =
        "finetune --task classification --model out --output more --train train.txt --steps 1";
    let said = stderr(&workshop.succeed(line));
    assert!(!said.contains("at random"), "{said}");
}

#[test]
fn a_number_is_learned_and_so_are_several_labels() {
    let workshop = Workshop::new();
    let mut draw = Draw::new(3);
    let (mut numbers, mut labels) = (String::new(), String::new());
    for _ in 0..320 {
        let is_low = draw.below(2) == 0;
        let value = if is_low { -1.0 } else { 1.5 };
        let text = draw.text(is_low);
        let _ = writeln!(numbers, "{{\"text\":\"{text}\",\"label\":{value}}}");
        let word = draw.below(2) == 0;
        let (text, names) = match (is_low, word) {
            (true, true) => (format!("{text} yes"), r#"["low","yes"]"#),
            (true, false) => (text, r#"["low"]"#),
            (false, true) => (format!("{text} yes"), r#"["yes"]"#),
            (false, false) => (text, "[]"),
        };
        let _ = writeln!(labels, "{{\"text\":\"{text}\",\"label\":{names}}}");
    }
    workshop.write("numbers.jsonl", &numbers);
    workshop.write("labels.jsonl", &labels);
    let row = workshop.finetune(
        "regression",
        "--train numbers.jsonl --eval numbers.jsonl --epochs 5",
    );
    assert!(number(&row, "pearson") >= LEARNED, "{row}");
    let row = workshop.finetune(
        "multi-label",
        "--train labels.jsonl --eval labels.jsonl --epochs 8",
    );
    assert!(number(&row, "micro_f1") >= LEARNED, "{row}");
    assert!(number(&row, "average_precision") >= LEARNED, "{row}");

    let classified = |model: &str| -> Value {
        let mut classify = workshop.command("classify --format jsonl --model");
        let output = classify.args([model, "w1 w2 w3 w4"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let row = classified("regression");
    assert!(number(&row["labels"][0], "score") < 0.0, "{row}");
    assert_eq!(classified("multi-label")["labels"][0]["label"], "low");
}

#[test]
fn words_are_tagged() {
    let workshop = Workshop::new();
    let mut draw = Draw::new(4);
    let mut text = String::new();
    for _ in 0..200 {
        for _ in 0..5 {
            let word = draw.below(WORDS);
            let tag = if word < WORDS / 2 { "B-LOW" } else { "O" };
            let _ = writeln!(text, "w{word} {tag}");
        }
        text.push('\n');
    }
    workshop.write("train.conll", &text);
    let row = workshop.finetune(
        "tagging",
        "--train train.conll --eval train.conll --epochs 4",
    );
    assert!(number(&row, "f1") >= LEARNED, "{row}");
    let row = workshop
        .rows("evaluate --task tagging --model tagging --input train.conll")
        .remove(0);
    assert!(number(&row["labels"]["LOW"], "recall") >= LEARNED, "{row}");
    let mut tag = workshop.command("tag --model tagging --format jsonl");
    let output = tag.arg("w30 w1 w31").output().unwrap();
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["entities"][0]["text"], "w1", "{row}");
}

#[test]
fn answers_are_found_in_windows_and_none_where_there_is_none() {
    let workshop = Workshop::new();
    let mut draw = Draw::new(5);
    let mut questions = Vec::new();
    for index in 0..240 {
        // The answer is the only low word, and a question without one has none.
        let mut words: Vec<usize> = (0..12).map(|_| WORDS / 2 + draw.below(WORDS / 2)).collect();
        let place = draw.below(12);
        let is_impossible = index % 4 == 0;
        if !is_impossible {
            words[place] = draw.below(WORDS / 2);
        }
        let words: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
        let start: usize = words[..place].iter().map(|word| word.len() + 1).sum();
        let answers = if is_impossible {
            serde_json::json!([])
        } else {
            serde_json::json!([{"text": words[place], "answer_start": start}])
        };
        questions.push(serde_json::json!({
            "context": words.join(" "),
            "qas": [{"id": index.to_string(), "question": "yes ?", "answers": answers,
                     "is_impossible": is_impossible}],
        }));
    }
    let document =
        serde_json::json!({"version": "v2.0", "data": [{"title": "t", "paragraphs": questions}]});
    workshop.write("squad.json", &document.to_string());
    let options = "--train squad.json --eval squad.json --epochs 8 --max-length 13 --stride 2";
    let row = workshop.finetune("answering", options);
    assert!(number(&row, "f1") >= 100.0 * LEARNED, "{row}");
    assert!(
        number(&row, "no_answer_exact_match") >= 100.0 * LEARNED,
        "{row}"
    );
    let mut answer = workshop.command("answer --model answering --format jsonl");
    let output = answer
        .args(["yes ?", "--context", "w30 w31 w1 w32"])
        .output()
        .unwrap();
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["answer"], "w1", "{row}");
}

#[test]
fn choices_are_made_from_tables_and_from_race() {
    let workshop = Workshop::new();
    let mut draw = Draw::new(6);
    let (mut table, mut articles) = (String::new(), Vec::new());
    for _ in 0..160 {
        let is_low = draw.below(2) == 0;
        let text = draw.text(is_low);
        let label = draw.below(2);
        let choices: Vec<String> = (0..2)
            .map(|index| draw.text(is_low == (index == label)))
            .collect();
        let row = serde_json::json!({"text": text, "choices": choices, "label": label});
        let _ = writeln!(table, "{row}");
        let letter = if label == 0 { "A" } else { "B" };
        articles.push(serde_json::json!({
            "article": text, "questions": ["?"], "options": [choices], "answers": [letter],
        }));
    }
    workshop.write("train.jsonl", &table);
    let row = workshop.finetune(
        "choice",
        "--train train.jsonl --eval train.jsonl --epochs 30",
    );
    assert!(number(&row, "accuracy") >= LEARNED, "{row}");

    for (index, article) in articles.iter().enumerate() {
        let folder = workshop.path(["race/high", "race/middle"][index % 2]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{index}.txt")), article.to_string()).unwrap();
    }
    let row = workshop
        .rows("evaluate --task choice --model choice --input race")
        .remove(0);
    assert_eq!(row["examples"], 160);
    let mut choose = workshop.command("choose --model choice --format jsonl");
    let output = choose
        .args(["w1 w2", "--choice", "w30 w31", "--choice", "w3 w4"])
        .output()
        .unwrap();
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["choice"], 1, "{row}");
}

#[test]
fn embeddings_are_trained_from_scores_pairs_and_triplets() {
    let workshop = Workshop::new();
    let mut draw = Draw::new(7);
    let (mut scored, mut pairs, mut triplets) = (String::new(), String::new(), String::new());
    for _ in 0..160 {
        let (is_low, is_alike) = (draw.below(2) == 0, draw.below(2) == 0);
        let first = draw.text(is_low);
        let second = draw.text(is_low == is_alike);
        let _ = writeln!(
            scored,
            "{first}\t{second}\t{}",
            if is_alike { 5 } else { 0 }
        );
        let _ = writeln!(pairs, "{first}\t{}", draw.text(is_low));
        let row = serde_json::json!({
            "first": first, "second": draw.text(is_low), "third": draw.text(!is_low),
        });
        let _ = writeln!(triplets, "{row}");
    }
    workshop.write("scored.txt", &scored);
    workshop.write("pairs.txt", &pairs);
    workshop.write("triplets.jsonl", &triplets);
    let row = workshop.finetune(
        "similarity",
        "--train scored.txt --eval scored.txt --epochs 10",
    );
    assert!(number(&row, "pearson") >= LEARNED, "{row}");
    let mut similarity = workshop.command("similarity --model similarity --format jsonl");
    let output = similarity.args(["w1 w2", "w3 w4"]).output().unwrap();
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&row, "cosine") > 0.5, "{row}");
    assert!(workshop.path("similarity/modules.json").is_file());
    let line = "finetune --task similarity --model start --train scored.txt --score-range 0,4 \
        --output none";
    let error = workshop.error(line);
    assert!(
        error.contains("expected a score from 0 to 4, found 5"),
        "{error}"
    );

    let line = "finetune --task similarity --model start --learning-rate 3e-3 --steps 30";
    let row = workshop
        .rows(&format!(
            "{line} --train triplets.jsonl --eval triplets.jsonl --output triplets"
        ))
        .remove(0);
    assert!(number(&row, "accuracy") >= LEARNED, "{row}");
    let output = workshop.succeed(&format!(
        "{line} --train pairs.txt --eval pairs.txt --eval-every 10 --accumulate 2 --output pairs"
    ));
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&row, "loss") < (32f64).ln(), "{row}");
}

#[test]
fn a_stopped_run_continues_to_the_same_bytes() {
    let workshop = Workshop::new();
    workshop.write_sentiment("train.txt", 8, 200);
    workshop.write_sentiment("dev.txt", 9, 40);
    let line = |output: &str| {
        format!(
            "finetune --task classification --model start --train train.txt --eval dev.txt \
             --epochs 40 --save-every 7 --eval-every 20 --accumulate 2 --slots 2 --seed 5 \
             --class-weights balanced --label-smoothing 0.1 --output {output}"
        )
    };
    workshop.succeed(&line("whole"));
    let expected = std::fs::read(workshop.path("whole/model.safetensors")).unwrap();
    let mut was_continued = false;
    for wait in [60u64, 120, 240] {
        let output = format!("killed-{wait}");
        let mut child = workshop
            .command(&line(&output))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        let folder = workshop.path(&output);
        if !folder.join("training/recipe.toml").exists() {
            workshop.succeed(&line(&output));
        } else if !folder.join("config.json").exists() {
            was_continued = true;
            workshop.succeed(&format!("finetune --output {output} --resume --threads 1"));
        }
        let found = std::fs::read(folder.join("model.safetensors")).unwrap();
        assert!(found == expected, "after {wait} ms the weights differ");
    }
    if !was_continued {
        eprintln!("no run was killed between its start and its end: nothing was continued");
    }
    let error = workshop.error("finetune --output whole --resume");
    assert!(error.contains("the run is finished"), "{error}");
}

#[test]
fn autograd_has_the_losses_of_the_kernels() {
    let workshop = Workshop::new();
    workshop.write_sentiment("train.txt", 10, 64);
    workshop.write_sentiment("dev.txt", 11, 32);
    let losses = |engine: &str| -> Vec<f64> {
        workshop.succeed(&format!(
            "finetune --task classification --model start --train train.txt --eval dev.txt \
             --steps 12 --batch-size 16 --slots 2 --engine {engine} --output {engine}"
        ));
        let log = workshop.path(&format!("{engine}/training/metrics.jsonl"));
        let log = std::fs::read_to_string(log).unwrap();
        let rows = log
            .lines()
            .map(|line| -> Value { serde_json::from_str(line).unwrap() });
        let losses = rows.map(|row| {
            let loss = row["loss"].as_f64().or(row["evaluation"]["loss"].as_f64());
            loss.unwrap()
        });
        losses.collect()
    };
    let (kernels, autograd) = (losses("cpu"), losses("candle"));
    assert_eq!(kernels.len(), autograd.len());
    for (a, b) in kernels.iter().zip(&autograd) {
        assert!((a - b).abs() <= ENGINE_TOLERANCE * a, "{a} and {b}");
    }
    let recipe = std::fs::read_to_string(workshop.path("candle/training/recipe.toml")).unwrap();
    assert!(recipe.contains("engine = \"candle\"\n"), "{recipe}");
}

#[test]
fn a_run_may_last_a_time_instead_of_epochs() {
    let workshop = Workshop::new();
    workshop.write_sentiment("train.txt", 12, 64);
    workshop.succeed(
        "finetune --task classification --model start --train train.txt --time 1s --warmup 0.1 \
         --learning-rate 1e-3 --output out",
    );
    let log = std::fs::read_to_string(workshop.path("out/training/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(number(&last, "learning_rate") < 5e-4, "{last}");
    let recipe = std::fs::read_to_string(workshop.path("out/training/recipe.toml")).unwrap();
    assert!(recipe.contains("time = \"1s\"\n"), "{recipe}");
}

#[test]
fn bad_examples_are_refused_with_their_row() {
    let workshop = Workshop::new();
    workshop.write("good.txt", "w1\ta\nw2\tb\n");
    workshop.write("unknown.txt", "w1\ta\nw2\tc\n");
    workshop.write("one.txt", "w1\ta\nw2\ta\n");
    workshop.write("none.txt", "w1\ta\nw2\t\n");
    workshop.write("empty.txt", "");
    workshop.write(
        "short.jsonl",
        "{\"tokens\":[\"w1\",\"w2\"],\"tags\":[\"O\"]}\n",
    );
    let question = serde_json::json!({
        "context": "w1 w2 w3", "question": "yes ?",
        "answers": {"text": ["w2"], "answer_start": [0]},
    });
    workshop.write("place.jsonl", &format!("{question}\n"));
    workshop.write(
        "index.jsonl",
        "{\"text\":\"w1\",\"choices\":[\"w2\",\"w3\"],\"label\":2}\n",
    );
    workshop.write("value.txt", "w1\tx\n");
    for (options, expected) in [
        (
            "classification --train good.txt --eval unknown.txt",
            "`unknown.txt`, line 2: label: expected one of `a`, `b`, found `c`",
        ),
        (
            "classification --train one.txt",
            "`one.txt`, line 2: expected at least two labels, found only `a` up to this row, the \
             last",
        ),
        (
            "classification --train none.txt",
            "`none.txt`, line 2: expected a label, found none",
        ),
        (
            "classification --train empty.txt",
            "`empty.txt`: expected examples, found none",
        ),
        (
            "tagging --train short.jsonl",
            "`short.jsonl`, line 1: expected a tag for each of 2 words, found 1 tags",
        ),
        (
            "answering --train place.jsonl",
            "`place.jsonl`, line 1: expected the answer `w2` at character 0 of the context, found `w1`",
        ),
        (
            "choice --train index.jsonl",
            "`index.jsonl`, line 1: label: expected the index of a choice from 0 to 1, found `2`",
        ),
        (
            "regression --train value.txt",
            "`value.txt`, line 1: expected a number, found `x`",
        ),
    ] {
        let error = workshop.error(&format!(
            "finetune --model start --output no --task {options}"
        ));
        assert!(error.contains(expected), "{options}: {error}");
        assert!(!workshop.path("no").exists(), "{options} left a folder");
    }
    let error = workshop.error("evaluate --task classification --model start --input good.txt");
    assert!(error.contains("classifier.weight"), "{error}");
}

#[test]
fn several_seeds_and_values_are_run_and_summed_up() {
    let workshop = Workshop::new();
    workshop.write_sentiment("train.txt", 10, 64);
    let rows = workshop.rows(
        "finetune --task classification --model start --train train.txt --eval train.txt --steps 4 \
         --seeds 1,2 --sweep learning-rate=1e-3,3e-3 --output many",
    );
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[1]["learning_rate"], 1e-3);
    assert_eq!(rows[1]["seed"], 2);
    let mean = (number(&rows[2], "loss") + number(&rows[3], "loss")) / 2.0;
    assert!(
        (number(&rows[5]["mean"], "loss") - mean).abs() < 1e-12,
        "{}",
        rows[5]
    );
    assert_eq!(rows[5]["runs"], 2);
    let folder = workshop.path("many/learning-rate-3e-3-seed-2");
    let recipe = std::fs::read_to_string(folder.join("training/recipe.toml")).unwrap();
    assert!(recipe.contains("seed = 2"), "{recipe}");
}

#[test]
fn a_preset_sets_columns_labels_and_settings_and_options_win() {
    let workshop = Workshop::new();
    let mut draw = Draw::new(11);
    let mut text = String::new();
    for _ in 0..64 {
        let is_low = draw.below(2) == 0;
        let _ = writeln!(text, "gj04\t{}\t\t{}", u8::from(is_low), draw.text(is_low));
    }
    workshop.write("cola.tsv", &text);
    let row = workshop
        .rows(
            "finetune --preset cola --model start --train cola.tsv --eval cola.tsv --output cola \
             --steps 20 --learning-rate 3e-3",
        )
        .remove(0);
    assert!(number(&row, "mcc") > 0.5, "{row}");
    let recipe = std::fs::read_to_string(workshop.path("cola/training/recipe.toml")).unwrap();
    for line in [
        "batch-size = 16",
        "steps = 20",
        "metric = \"mcc\"",
        "warmup = 0",
    ] {
        assert!(recipe.contains(line), "{line}: {recipe}");
    }
    let config = std::fs::read_to_string(workshop.path("cola/config.json")).unwrap();
    assert!(config.contains("\"1\": \"acceptable\""), "{config}");
    let row = workshop
        .rows("evaluate --preset cola --model cola --input cola.tsv")
        .remove(0);
    assert!(number(&row, "mcc") > 0.5, "{row}");
}
