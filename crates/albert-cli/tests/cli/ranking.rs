//! `rerank`, `neighbors`, and the options of long texts and several answers.

use crate::harness::{Folder, cli, cli_with, keys, task_model};

const LONG: &str = "The doctor wrote a letter to the king of the northern country. She opened the \
    door and walked in. The river runs through the old town and past the houses on the hill.";

#[test]
fn rerank_sorts_texts_by_their_score() {
    let model = task_model("single");
    let texts = "The river runs.\nA fine day.\n\nThe king wrote.\n";
    let command = ["rerank", "Where does it run?", "--model", &model];
    let rows = cli_with(&command, texts).ok().rows();
    assert_eq!(keys(&rows[0]), ["query", "rank", "index", "text", "score"]);
    let scores: Vec<f64> = rows
        .iter()
        .map(|row| row["score"].as_f64().unwrap())
        .collect();
    assert!(scores.len() == 4 && scores.is_sorted_by(|a, b| a >= b));
    let best = cli_with(
        &[&command[..], &["--top-k", "1", "--probability"]].concat(),
        texts,
    );
    let best = best.ok().rows();
    assert_eq!((best.len(), &best[0]["index"]), (1, &rows[0]["index"]));
    let probability = 1.0 / (1.0 + (-scores[0]).exp());
    assert!((best[0]["score"].as_f64().unwrap() - probability).abs() < 1e-6);
    let several = task_model("sentiment");
    cli_with(&["rerank", "a", "--model", &several], "b\n").fails(1, &["expected a single label"]);
}

#[test]
fn neighbors_are_the_pairs_above_a_threshold() {
    let texts = ["A cat sleeps.", "Stocks fell.", "A cat sleeps."];
    let command = [&["neighbors"][..], &texts].concat();
    let rows = cli(&command).ok().rows();
    assert_eq!(
        keys(&rows[0]),
        ["first", "second", "first_text", "second_text", "cosine"]
    );
    assert_eq!(
        (rows.len(), &rows[0]["first"], &rows[0]["second"]),
        (1, &0.into(), &2.into())
    );
    let all = cli(&[&command[..], &["--threshold", "-1"]].concat())
        .ok()
        .rows();
    assert_eq!(all.len(), 3);
    cli(&[&command[..], &["--threshold", "2"]].concat()).fails(2, &["from -1 to 1"]);
}

#[test]
fn long_texts_are_read_in_windows_with_a_stride() {
    for (task, rest) in [
        ("classify", &[][..]),
        ("zero-shot", &["--labels", "music,weather"][..]),
        ("choose", &["--choice", "a", "--choice", "b"][..]),
    ] {
        let name = match task {
            "classify" => "sentiment",
            "zero-shot" => "nli",
            _ => "choice",
        };
        let model = task_model(name);
        let command = [&[task, LONG, "--model", &model][..], rest].concat();
        let cut = cli(&command).ok().row();
        let windows = cli(&[&command[..], &["--stride", "4"]].concat()).ok().row();
        assert_ne!(cut, windows, "{task}");
        cli(&[&command[..], &["--stride", "39"]].concat()).fails(1, &["stride 39"]);
    }
}

#[test]
fn answer_gives_several_answers_with_the_best_first() {
    let model = task_model("question");
    let command = ["answer", "What runs?", "--context", LONG, "--model", &model];
    let one = cli(&command).ok().row();
    let row = cli(&[&command[..], &["--top-k", "3"]].concat()).ok().row();
    let answers = row["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(
        (&row["answer"], &one["answer"]),
        (&answers[0]["answer"], &answers[0]["answer"])
    );
    let none = cli(&[&command[..], &["--threshold", "1"]].concat())
        .ok()
        .row();
    assert_eq!(
        (none["answer"].as_str(), none["start"].as_i64()),
        (Some(""), Some(-1))
    );
}

#[test]
fn tag_takes_words_that_are_already_split() {
    let folder = Folder::new();
    let words = r#"["The","doctor","went","to","New York","."]"#;
    let file = folder.write("words.jsonl", format!("{{\"tokens\":{words}}}\n"));
    let model = task_model("entities");
    let row = cli(&[
        "tag", "--model", &model, "--input", &file, "--field", "tokens",
    ])
    .ok()
    .row();
    assert_eq!(row["text"], "The doctor went to New York .");
    for entity in row["entities"].as_array().unwrap() {
        let (first, last) = (entity["first_word"].as_u64(), entity["last_word"].as_u64());
        assert!(
            first.is_some() && first <= last && last < Some(6),
            "{entity}"
        );
    }
}
