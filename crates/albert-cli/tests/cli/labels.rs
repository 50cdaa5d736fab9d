//! `classify`, `zero-shot` and `tag`: labels for texts and for stretches of them.

use serde_json::Value;

use crate::harness::{Folder, cli, cli_with, keys, task_model};

fn classify(model: &str, args: &[&str]) -> Value {
    let model = task_model(model);
    cli(&[&["classify", "--model", model.as_str()], args].concat())
        .ok()
        .row()
}

fn scores(row: &Value) -> Vec<f64> {
    row["labels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label["score"].as_f64().unwrap())
        .collect()
}

fn names(row: &Value) -> Vec<&str> {
    row["labels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label["label"].as_str().unwrap())
        .collect()
}

#[test]
fn classify_gives_every_label_sorted_by_score() {
    let row = classify("sentiment", &["What a fine day."]);
    assert_eq!(keys(&row), ["index", "text", "labels"]);
    assert_eq!(keys(&row["labels"][0]), ["label", "score"]);
    let mut sorted = names(&row);
    sorted.sort_unstable();
    assert_eq!(sorted, ["NEGATIVE", "NEUTRAL", "POSITIVE"]);
    assert!(scores(&row).is_sorted_by(|a, b| a >= b));
    assert!((scores(&row).iter().sum::<f64>() - 1.0).abs() < 1e-5);
}

#[test]
fn the_function_follows_the_problem_type_unless_given() {
    let text = "What a fine day.";
    // Several labels may hold, and they have no names.
    let topics = classify("topics", &[text]);
    assert!(names(&topics).iter().all(|name| name.starts_with("LABEL_")));
    assert!((scores(&topics).iter().sum::<f64>() - 1.0).abs() > 1e-3);
    let raw = classify("topics", &[text, "--function", "none"]);
    for (probability, logit) in scores(&topics).iter().zip(scores(&raw)) {
        assert!((probability - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-5);
    }
    let rating = classify("rating", &[text]);
    assert_eq!(rating, classify("rating", &[text, "--function", "none"]));
    assert_ne!(rating, classify("rating", &[text, "--function", "sigmoid"]));
    let one = classify("single", &[text]);
    assert_eq!(one, classify("single", &[text, "--function", "sigmoid"]));
    let softmax = classify("topics", &[text, "--function", "softmax"]);
    assert!((scores(&softmax).iter().sum::<f64>() - 1.0).abs() < 1e-5);
}

#[test]
fn classify_top_k_and_pairs() {
    assert_eq!(
        names(&classify("sentiment", &["a", "--top-k", "2"])).len(),
        2
    );
    assert_eq!(
        names(&classify("sentiment", &["a", "--top-k", "99"])).len(),
        3
    );
    let pair = classify("nli", &["It rains.", "--pair", "It is wet."]);
    assert_eq!(keys(&pair), ["index", "text", "pair", "labels"]);
    assert_ne!(scores(&pair), scores(&classify("nli", &["It rains."])));
    let model = task_model("nli");
    let rows = cli_with(
        &["classify", "--pairs", "--model", &model],
        "It rains.\tIt is wet.\nIt rains.\n",
    )
    .ok()
    .rows();
    assert_eq!(rows[0], pair);
    assert!(rows[1].get("pair").is_none());
}

#[test]
fn zero_shot_rows_are_those_of_classify() {
    let model = task_model("nli");
    let args = [
        "zero-shot",
        "--model",
        &model,
        "It rained.",
        "--labels",
        "weather, sport,music",
    ];
    let run = cli(&args).ok();
    let row = run.row();
    assert_eq!(keys(&row), ["index", "text", "labels"]);
    assert_eq!(names(&row).len(), 3);
    assert!(names(&row).contains(&"sport"));
    assert!((scores(&row).iter().sum::<f64>() - 1.0).abs() < 1e-5);
    assert!(run.stderr.starts_with("1 row, "), "{}", run.stderr);
    let many = cli(&[&args[..], &["--multi-label"]].concat()).ok().row();
    assert!((scores(&many).iter().sum::<f64>() - 1.0).abs() > 1e-3);
    let other = cli(&[&args[..], &["--hypothesis", "Its topic: {}"]].concat())
        .ok()
        .row();
    assert_ne!(scores(&other), scores(&row));
}

#[test]
fn zero_shot_needs_labels_and_a_place_for_them() {
    let model = task_model("nli");
    cli(&["zero-shot", "--model", &model, "a"]).fails(2, &["--labels"]);
    cli(&["zero-shot", "--model", &model, "a", "--labels", "a,,b"]).fails(2, &["empty"]);
    cli(&["zero-shot", "--model", &model, "a", "--labels", ""]).fails(2, &[]);
    cli(&[
        "zero-shot",
        "--model",
        &model,
        "a",
        "--labels",
        "b",
        "--hypothesis",
        "It is.",
    ])
    .fails(2, &["{}"]);
    cli(&[
        "zero-shot",
        "--model",
        &task_model("rating"),
        "a",
        "--labels",
        "b",
    ])
    .fails(1, &["at least 2 labels"]);
}

#[test]
fn a_model_whose_entailment_has_no_name_is_told() {
    let run = cli(&[
        "zero-shot",
        "--model",
        &task_model("sentiment"),
        "a",
        "--labels",
        "b",
    ])
    .ok();
    assert!(
        run.stderr.contains("`POSITIVE`, as entailment"),
        "{}",
        run.stderr
    );
}

const TEXT: &str = "Der Dr. wohnt in Zürich 🎸 am Fluß, sagt man.";

#[test]
fn tag_rows_slice_the_text_by_characters() {
    let model = task_model("entities");
    for aggregation in ["none", "simple", "first", "average", "max"] {
        let row = cli(&["tag", "--model", &model, TEXT, "--aggregation", aggregation])
            .ok()
            .row();
        assert_eq!(keys(&row), ["index", "text", "entities"]);
        let entities = row["entities"].as_array().unwrap();
        assert!(!entities.is_empty());
        for entity in entities {
            assert_eq!(keys(entity), ["label", "start", "end", "text", "score"]);
            let at = |key: &str| entity[key].as_u64().unwrap() as usize;
            let slice: String = TEXT
                .chars()
                .skip(at("start"))
                .take(at("end") - at("start"))
                .collect();
            assert_eq!(entity["text"], slice);
            let label = entity["label"].as_str().unwrap();
            assert_ne!(label, "O");
            let prefixed = label.starts_with("B-") || label.starts_with("I-") || label == "MISC";
            assert_eq!(
                prefixed && label != "MISC",
                aggregation == "none" && label != "MISC",
                "{label}"
            );
        }
    }
}

#[test]
fn words_without_spaces_are_tagged_token_by_token_if_asked() {
    let model = task_model("entities");
    let text = "oneword-without-any-space,and-another.end";
    let tag = |more: &[&str]| {
        let args = ["tag", "--model", &model, text];
        cli(&[&args, more].concat()).ok().stdout
    };
    let simple = tag(&["--aggregation", "simple"]);
    for aggregation in ["first", "average", "max"] {
        let word = ["--aggregation", aggregation];
        let by_token = tag(&[&word[..], &["--align-to-words", "false"]].concat());
        assert_eq!(by_token, simple, "{aggregation}");
        assert_ne!(tag(&word), simple, "{aggregation}");
    }
}

#[test]
fn simple_is_the_default_aggregation() {
    let model = task_model("entities");
    let default = cli(&["tag", "--model", &model, TEXT]).ok().stdout;
    assert_eq!(
        default,
        cli(&["tag", "--model", &model, TEXT, "--aggregation", "simple"])
            .ok()
            .stdout
    );
    cli(&["tag", "--model", &model, TEXT, "--aggregation", "median"])
        .fails(2, &["median", "average"]);
}

#[test]
fn a_long_text_is_cut_or_read_in_windows() {
    let model = task_model("entities");
    let text = "The doctor wrote a letter to the king of the northern country. ".repeat(9);
    let last_end = |args: &[&str]| {
        let run = cli(&[&["tag", "--model", model.as_str(), text.as_str()], args].concat()).ok();
        let row = run.row();
        let end = row["entities"].as_array().unwrap().last().unwrap()["end"]
            .as_u64()
            .unwrap();
        (end, run.stderr.contains("1 truncated"))
    };
    let (cut, cut_said) = last_end(&[]);
    let (whole, whole_said) = last_end(&["--stride", "10"]);
    assert!(cut < whole && cut_said && !whole_said, "{cut} {whole}");
    cli(&["tag", "--model", &model, &text, "--stride", "38"]).fails(1, &["stride 38"]);
    cli(&[
        "tag",
        "--model",
        &model,
        "a",
        "--stride",
        "5",
        "--aggregation",
        "none",
    ])
    .fails(2, &["--stride"]);
    cli(&["tag", "--model", &model, "a", "--stride=-1"]).fails(2, &[]);
}

#[test]
fn an_empty_text_has_no_entities() {
    let rows = cli_with(&["tag", "--model", &task_model("entities")], "\n \n")
        .ok()
        .rows();
    assert!(
        rows.iter()
            .all(|row| row["entities"] == serde_json::json!([]))
    );
}

#[test]
fn formats_hold_the_same_rows() {
    let model = task_model("sentiment");
    let args = ["classify", "--model", &model, "a", "b, c"];
    let jsonl = cli(&args).ok().rows();
    let json = cli(&[&args[..], &["--format", "json"]].concat())
        .ok()
        .stdout;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&json).unwrap(), jsonl);
    let csv = cli(&[&args[..], &["--format", "csv"]].concat()).ok().stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("index,text,labels", 3));
    assert!(
        lines[2].starts_with("1,\"b, c\",\"[{\"\"label\"\":"),
        "{csv}"
    );
    let table = cli(&[&args[..], &["--format", "table"]].concat())
        .ok()
        .stdout;
    assert!(
        table.contains("POSITIVE") && table.contains("    1  b, c"),
        "{table}"
    );
    cli(&[&args[..], &["--format", "npy", "--output", "x.npy"]].concat())
        .fails(2, &["format `npy`"]);
}

#[test]
fn a_bad_line_is_named_or_skipped_with_a_row() {
    for command in [
        &["classify"][..],
        &["zero-shot", "--labels", "a,b"],
        &["tag"],
    ] {
        let model = task_model(match command[0] {
            "tag" => "entities",
            _ => "nli",
        });
        let args = [command, &["--model", &model]].concat();
        let failed =
            cli_with(&args, b"good\nb\xffd\ngood\n").fails(1, &["standard input, line 2", "UTF-8"]);
        assert_eq!(failed.rows().len(), 1);
        let rows = cli_with(
            &[&args[..], &["--skip-bad"]].concat(),
            b"good\nb\xffd\ngood\n",
        )
        .ok()
        .rows();
        assert_eq!(keys(&rows[1]), ["index", "error"]);
        assert_eq!(rows[2]["index"], 2);
    }
}

#[test]
fn a_model_without_the_head_says_what_it_serves() {
    for command in [&["classify"][..], &["zero-shot", "--labels", "a"], &["tag"]] {
        let run = cli(&[command, &["a"]].concat());
        run.fails(
            1,
            &[
                "AlbertFor",
                "\nhint: this model serves embed, ",
                "fill-mask",
            ],
        );
    }
    let entities = task_model("entities");
    cli(&["classify", "--model", &entities, "a"]).fails(1, &["\nhint: this model serves tag\n"]);
    cli(&["embed", "--model", &entities, "a"]).ok();
}

#[test]
fn pairs_are_refused_where_a_text_is_one() {
    let folder = Folder::new();
    let jsonl = folder.write("a.jsonl", "{\"a\":\"one\",\"b\":\"two\"}\n");
    for command in [&["zero-shot", "--labels", "a"][..], &["tag"]] {
        cli(&[command, &["a", "--pair", "b"]].concat()).fails(2, &["--pair"]);
        cli(&[command, &["--input", &jsonl, "--field", "a,b"]].concat()).fails(2, &["no pairs"]);
    }
    // A tab in a line is a character then.
    let row = cli_with(&["tag", "--model", &task_model("entities")], "one\ttwo\n")
        .ok()
        .row();
    assert_eq!(row["text"], "one\ttwo");
}
