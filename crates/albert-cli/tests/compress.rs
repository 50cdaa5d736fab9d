//! Compression and distillation by the built binary.
#![cfg(feature = "train")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
#[cfg(unix)]
use std::time::Duration;

use serde_json::Value;

/// A folder with a corpus and a pretrained model of four layers in four groups.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
        let words = (0..30).map(|word| format!("w{word}"));
        let vocabulary: Vec<String> = special.into_iter().chain(words).collect();
        std::fs::create_dir(dir.path().join("tokenizer")).unwrap();
        std::fs::write(
            dir.path().join("tokenizer/vocab.txt"),
            vocabulary.join("\n"),
        )
        .unwrap();
        let config = r#"{"model_type": "albert", "vocab_size": 35, "embedding_size": 16,
            "hidden_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 4,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 32,
            "initializer_range": 0.2}"#;
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let mut text = String::new();
        for document in 0..80 {
            for line in 0..4 {
                for word in 0..6 {
                    let _ = write!(text, "w{} ", (document * 7 + line * 5 + word * 3) % 25);
                }
                text.push('\n');
            }
            text.push('\n');
        }
        std::fs::write(dir.path().join("text.txt"), text).unwrap();
        let folder = Self { dir };
        folder.succeed(
            "pretrain --train text.txt --config config.json --tokenizer tokenizer --steps 30 \
             --max-length 24 --learning-rate 3e-3 --output original",
        );
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_albert-cli"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("ALBERT_THREADS");
        command.args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn succeed(&self, arguments: &str) -> Value {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, arguments: &str) -> (Option<i32>, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    }

    /// Starts a run, sends SIGINT after its first step, and returns its messages.
    #[cfg(unix)]
    fn interrupted(&self, arguments: &str, output: &str) -> String {
        let child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = self.path(output).join("training/metrics.jsonl");
        while std::fs::metadata(&log).map_or(0, |file| file.len()) == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(kill.success());
        let result = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&result.stderr).into_owned();
        assert_eq!(result.status.code(), Some(1), "{said}");
        said
    }

    /// The log without speeds, which alone differ from run to run.
    fn log(&self, output: &str) -> Vec<String> {
        let path = self.path(output).join("training/metrics.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines();
        let rows = rows.map(|row| row.split(",\"tokens_per_second\"").next().unwrap_or(row));
        rows.map(String::from).collect()
    }
}

#[test]
fn without_text_the_start_is_written() {
    let folder = Folder::new();
    let row = folder.succeed(
        "compress --model original --groups 2 --embedding-size 8 --layers 2 --output start",
    );
    let expected = serde_json::json!({
        "parameters": row["parameters"], "layers": 2, "groups": 2, "embedding_size": 8,
        "hidden_size": 16, "vocabulary": 35,
    });
    assert_eq!(row, expected);
    folder.succeed("evaluate --task masked-lm --input text.txt --model start --max-length 24");
    let recipe = std::fs::read_to_string(folder.path("start/training/recipe.toml")).unwrap();
    assert!(recipe.contains("groups = 2"), "{recipe}");
}

#[test]
fn a_compressed_model_is_trained_with_the_same_losses_whatever_is_saved() {
    let folder = Folder::new();
    let options = "compress --model original --train text.txt --eval text.txt --groups 1 \
        --embedding-size 8 --vocabulary 34 --max-length 24 --batch-size 16 --slots 2 \
        --objective hidden-states,masked-lm,pretraining=0.5";
    let whole = folder.succeed(&format!("{options} --steps 12 --output whole"));
    for metric in ["loss", "hidden_states_loss", "masked_lm_top_1"] {
        assert!(whole[metric].is_number(), "{whole}");
    }
    let vocabulary = std::fs::read_to_string(folder.path("whole/vocab.txt")).unwrap();
    assert_eq!(vocabulary.lines().count(), 34);
    let ended = folder.succeed(&format!(
        "{options} --steps 12 --save-every 4 --output parts"
    ));
    assert_eq!(ended, whole);
    assert_eq!(folder.log("parts"), folder.log("whole"));
    let (code, message) = folder.refused("compress --output parts --resume");
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("the run is finished"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_resumed_compression_does_not_make_the_start_again() {
    let folder = Folder::new();
    let options = "compress --model original --train text.txt --eval text.txt --groups 1 \
        --embedding-size 8 --vocabulary 34 --max-length 24 --batch-size 16 --slots 2 \
        --objective hidden-states,masked-lm,pretraining=0.5 --sentence-order both --steps 300";
    folder.succeed(&format!("{options} --output whole"));
    let said = folder.interrupted(&format!("{options} --output parts"), "parts");
    assert!(said.contains("counting the pieces"), "{said}");
    let vocabulary = folder.path("parts/training/start/vocab.txt");
    assert_eq!(
        std::fs::read_to_string(vocabulary).unwrap().lines().count(),
        34
    );
    let resumed = folder.run("compress --output parts --resume");
    let said = String::from_utf8_lossy(&resumed.stderr).into_owned();
    assert!(resumed.status.success(), "{said}");
    assert!(said.contains("continuing from"), "{said}");
    assert!(!said.contains("counting the pieces"), "{said}");
    assert_eq!(folder.log("parts"), folder.log("whole"));
    for file in ["model.safetensors", "vocab.txt", "config.json"] {
        let [parts, whole] = ["parts", "whole"].map(|it| folder.path(it).join(file));
        assert_eq!(
            std::fs::read(parts).unwrap(),
            std::fs::read(whole).unwrap(),
            "{file}"
        );
    }
    assert!(!folder.path("parts/training/start").exists());
}

#[cfg(unix)]
#[test]
fn a_resumed_distillation_keeps_both_orders_of_each_pair() {
    let folder = Folder::new();
    let options = "distill --teacher original --model original --train text.txt --eval text.txt \
        --max-length 24 --batch-size 16 --slots 2 --objective pretraining --steps 300";
    folder.succeed(&format!("{options} --sentence-order both --output whole"));
    std::fs::write(folder.path("both.toml"), "sentence-order = \"both\"\n").unwrap();
    let with_recipe = format!("{options} --recipe both.toml --output parts");
    folder.interrupted(&with_recipe, "parts");
    folder.succeed("distill --output parts --resume");
    let log = folder.log("parts");
    assert_eq!(log, folder.log("whole"));
    folder.succeed(&format!("{options} --sentence-order true --output one"));
    assert_ne!(log, folder.log("one"));
}

#[test]
fn a_student_imitates_another_model() {
    let folder = Folder::new();
    // Merged step by step: four layers, two groups, one group.
    folder.succeed("compress --model original --groups 2 --output halved");
    folder.succeed("compress --model halved --groups 1 --output student");
    let row = folder.succeed(
        "distill --teacher original --model student --train text.txt --eval text.txt --steps 40 \
         --max-length 24 --batch-size 16 --learning-rate 3e-3 --output taught",
    );
    let before = folder.succeed(
        "distill --teacher original --model student --train text.txt --eval text.txt --steps 1 \
         --max-length 24 --batch-size 16 --learning-rate 1e-9 --output untaught",
    );
    let loss = |row: &Value| row["hidden_states_loss"].as_f64().unwrap();
    assert!(loss(&row) < 0.7 * loss(&before), "{row} {before}");

    let text = std::fs::read_to_string(folder.path("text.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty()).count();
    let vector = format!("{{\"embedding\": {:?}}}\n", vec![0.5; 16]);
    std::fs::write(folder.path("vectors.jsonl"), vector.repeat(lines)).unwrap();
    let from_file = "distill --teacher vectors.jsonl --model student --train text.txt --steps 2";
    folder.succeed(&format!("{from_file} --max-length 24 --output vectors"));
    std::fs::write(folder.path("vectors.jsonl"), vector.repeat(lines - 1)).unwrap();
    let (code, message) = folder.refused(&format!("{from_file} --output x"));
    assert_eq!(code, Some(1));
    assert!(
        message.contains("a vector for each of 320 sentences"),
        "{message}"
    );
}

#[test]
fn options_that_have_no_effect_are_refused() {
    let folder = Folder::new();
    for (arguments, message) in [
        (
            "compress --model original --groups 2 --steps 4 --output x",
            "expected `--train`, because an option of a run is given",
        ),
        (
            "compress --model original --vocabulary 20 --output x",
            "--train <FILE|DIR>...",
        ),
        (
            "compress --model original --layer-groups 2 --output x",
            "expected `--groups`",
        ),
        (
            "distill --teacher original --train text.txt --objective vectors --output x",
            "expected objectives among embeddings, hidden-states, masked-lm, pretraining",
        ),
    ] {
        let (code, errors) = folder.refused(arguments);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(message), "{errors}");
        assert!(!folder.path("x").exists());
    }
}
