//! `similarity` and `order`: commands that take two texts.

use serde_json::json;

use crate::harness::{Folder, cli, cli_with, keys, task_model};

const SHUFFLED: &str = "So we went home. It began to rain! Mr Smith was in the garden.";

#[test]
fn two_arguments_are_one_pair() {
    for (command, key) in [("similarity", "cosine"), ("order", "in_order")] {
        let row = cli(&[command, "A first text.", "And a second."]).ok().row();
        assert_eq!(keys(&row), ["index", "first", "second", key]);
        assert_eq!(
            (&row["first"], &row["second"]),
            (&"A first text.".into(), &"And a second.".into())
        );
        assert!((-1.0..=1.0).contains(&row[key].as_f64().unwrap()));
        cli(&[command, "one"]).fails(2, &["two texts, found 1"]);
        cli(&[command, "one", "two", "three"]).fails(2, &["two texts, found 3"]);
        cli(&[command, "one", "two", "--pair", "three"]).fails(2, &["--pair"]);
    }
}

#[test]
fn pairs_come_from_tabs_and_tables() {
    let folder = Folder::new();
    for command in ["similarity", "order"] {
        let argument = cli(&[command, "one", "two"]).ok().row();
        assert_eq!(cli_with(&[command], "one\ttwo\n").ok().row(), argument);
        assert_eq!(cli_with(&[command, "-"], "one\ttwo\n").ok().row(), argument);
        let jsonl = folder.write(
            "a.jsonl",
            r#"{"first":"one","second":"two","a":"one","b":"two"}"#,
        );
        assert_eq!(cli(&[command, "--input", &jsonl]).ok().row(), argument);
        assert_eq!(
            cli(&[command, "--input", &jsonl, "--field", "a,b"])
                .ok()
                .row(),
            argument
        );
        let tsv = folder.write("a.tsv", "first\tsecond\none\ttwo\n");
        assert_eq!(cli(&[command, "--input", &tsv]).ok().row(), argument);
        cli(&[command, "--input", &jsonl, "--field", "a"]).fails(2, &["two names"]);
    }
}

#[test]
fn a_line_of_one_text_is_bad() {
    for command in ["similarity", "order"] {
        let run = cli_with(&[command], "one\ttwo\nalone\n");
        assert_eq!(
            run.fails(1, &["standard input, line 2", "with a tab"])
                .rows()
                .len(),
            1
        );
        let rows = cli_with(&[command, "--skip-bad"], "alone\n\none\ttwo\n")
            .ok()
            .rows();
        assert_eq!(
            rows.iter()
                .map(|row| row.get("error").is_some())
                .collect::<Vec<_>>(),
            [true, true, false]
        );
        assert_eq!(rows[2]["index"], 2);
        assert_eq!(cli_with(&[command], "").ok().stdout, "");
    }
}

#[test]
fn a_text_is_most_like_itself() {
    let cosine = |first: &str, second: &str| {
        cli(&["similarity", first, second]).ok().row()["cosine"]
            .as_f64()
            .unwrap()
    };
    assert!((cosine("A man plays.", "A man plays.") - 1.0).abs() < 1e-6);
    let like = cosine("A man is playing a guitar.", "Someone plays an instrument.");
    assert!(
        like > cosine("A man is playing a guitar.", "The stock market fell."),
        "{like}"
    );
}

#[test]
fn tables_for_people_line_up() {
    let run = cli_with(
        &["similarity", "--format", "table"],
        "one\ttwo\nthree\tfour\n",
    )
    .ok();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "index   cosine  first | second");
    assert!(
        lines[1].starts_with("    0   0.") && lines[1].ends_with("  one | two"),
        "{}",
        run.stdout
    );
    let csv = cli(&["order", "one", "two", "--format", "csv"]).ok().stdout;
    assert!(
        csv.starts_with("index,first,second,in_order\n0,one,two,0."),
        "{csv}"
    );
}

#[test]
fn sorting_names_where_each_sentence_stood() {
    let row = cli(&["order", "--sort", SHUFFLED]).ok().row();
    assert_eq!(keys(&row), ["index", "order", "sentences"]);
    let stood = [
        "So we went home.",
        "It began to rain!",
        "Mr Smith was in the garden.",
    ];
    let order: Vec<usize> = serde_json::from_value(row["order"].clone()).unwrap();
    let sentences: Vec<&str> = order.iter().map(|&at| stood[at]).collect();
    assert_eq!(row["sentences"], json!(sentences));
    let mut all = order.clone();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
}

#[test]
fn each_text_is_sorted_by_itself() {
    let rows = cli_with(&["order", "--sort"], "A b. C d.\n\nonly\tone\n")
        .ok()
        .rows();
    assert_eq!(rows[0]["sentences"].as_array().unwrap().len(), 2);
    assert_eq!(rows[1], json!({"index": 1, "order": [], "sentences": []}));
    assert_eq!(
        rows[2],
        json!({"index": 2, "order": [0], "sentences": ["only\tone"]})
    );
    assert_eq!(
        cli(&["order", "--sort", "a", "b", "c"]).ok().rows().len(),
        3
    );
    let many = "It rains. ".repeat(101);
    cli(&["order", "--sort", &many]).fails(1, &["101 sentences"]);
    let rows = cli_with(
        &["order", "--sort", "--skip-bad"],
        format!("{many}\nA b. C d.\n"),
    )
    .ok()
    .rows();
    assert!(rows[0].get("error").is_some() && rows[1]["index"] == 1);
}

#[test]
fn a_model_without_the_order_head_is_refused() {
    let model = task_model("masked");
    let run = cli(&["order", "a", "b", "--model", &model]);
    run.fails(
        1,
        &[
            "AlbertForNextSentencePrediction",
            "\nhint: this model serves",
            "fill-mask",
        ],
    );
}
