//! `answer` and `choose`: reading a context, and picking a continuation.

use crate::harness::{Folder, cli, cli_with, floats, keys, task_model};

const CONTEXT: &str = "Zürich liegt am Fluß 🎸; the doctor wrote to the king of the old town.";

#[test]
fn an_answer_is_a_slice_of_its_context() {
    let model = task_model("question");
    let rows = cli(&[
        "answer",
        "--model",
        &model,
        "Who wrote?",
        "Where?",
        "--context",
        CONTEXT,
    ])
    .ok()
    .rows();
    assert_eq!(rows.len(), 2);
    for (row, question) in rows.iter().zip(["Who wrote?", "Where?"]) {
        assert_eq!(
            keys(row),
            ["index", "question", "answer", "start", "end", "score"]
        );
        assert_eq!(row["question"], question);
        let at = |key: &str| row[key].as_u64().unwrap() as usize;
        let slice: String = CONTEXT
            .chars()
            .skip(at("start"))
            .take(at("end") - at("start"))
            .collect();
        assert!(!slice.is_empty() && row["answer"] == slice);
    }
}

#[test]
fn questions_and_contexts_come_from_tables_and_tabs() {
    let folder = Folder::new();
    let model = task_model("question");
    let argument = cli(&["answer", "--model", &model, "Who?", "--context", CONTEXT])
        .ok()
        .row();
    let json =
        serde_json::json!({"question": "Who?", "context": CONTEXT, "q": "Who?", "c": CONTEXT});
    let jsonl = folder.write("a.jsonl", json.to_string());
    for fields in [
        &[][..],
        &["--field", "question,context"],
        &["--field", "q,c"],
    ] {
        let args = [&["answer", "--model", &model, "--input", &jsonl], fields].concat();
        assert_eq!(cli(&args).ok().row(), argument);
    }
    let tab = cli_with(&["answer", "--model", &model], format!("Who?\t{CONTEXT}\n"))
        .ok()
        .row();
    assert_eq!(tab, argument);
    let lines = cli_with(
        &["answer", "--model", &model, "--context", CONTEXT],
        "Who?\n",
    )
    .ok()
    .row();
    assert_eq!(lines, argument);
}

#[test]
fn no_answer_is_minus_one_and_only_where_allowed() {
    let model = task_model("question");
    let ask = |args: &[&str]| {
        cli(&[
            &["answer", "--model", model.as_str(), "Who?", "--context", ""],
            args,
        ]
        .concat())
        .ok()
        .stdout
    };
    assert_eq!(
        ask(&["--allow-no-answer"]).trim(),
        r#"{"index":0,"question":"Who?","answer":"","start":-1,"end":-1,"score":1.0}"#
    );
    assert_eq!(
        ask(&[]).trim(),
        r#"{"index":0,"question":"Who?","answer":"","start":0,"end":0,"score":0.0}"#
    );
    let table = ask(&["--allow-no-answer", "--format", "table"]);
    assert!(table.contains("no answer"), "{table}");
}

#[test]
fn a_question_needs_a_context() {
    let model = task_model("question");
    cli(&["answer", "--model", &model, "Who?"]).fails(2, &["context", "\nhint: "]);
    let run = cli_with(&["answer", "--model", &model], "Who?\tThe king.\nWho?\n");
    assert_eq!(run.fails(1, &["line 2", "with a tab"]).rows().len(), 1);
    let rows = cli_with(
        &["answer", "--model", &model, "--skip-bad"],
        "Who?\nWho?\tThe king.\n",
    )
    .ok()
    .rows();
    assert_eq!(
        (keys(&rows[0]), &rows[1]["index"]),
        (vec!["index", "error"], &1.into())
    );
    let jsonl = ["answer", "--model", &model, "--input-format", "jsonl"];
    cli_with(&jsonl, "{\"question\":\"a\"}\n").fails(1, &["no field `context`"]);
    cli_with(&[&jsonl[..], &["--field", "question"]].concat(), "").fails(2, &["two names"]);
    cli(&[
        "answer",
        "--model",
        &model,
        "a",
        "--context",
        "b",
        "--pair",
        "c",
    ])
    .fails(2, &["--pair"]);
}

#[test]
fn a_long_context_is_read_to_its_end() {
    let model = task_model("question");
    let context = "The river runs through the old town. ".repeat(200);
    let run = cli(&["answer", "--model", &model, "What?", "--context", &context]).ok();
    // 1,600 tokens and more, in windows of 384 with the question in each.
    let tokens: usize = run
        .stderr
        .split(" tokens")
        .next()
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(tokens > 2000, "{}", run.stderr);
    assert!(run.stderr.contains("0 truncated"), "{}", run.stderr);
}

#[test]
fn a_choice_is_the_most_probable_one() {
    let model = task_model("choice");
    let args = [
        "choose",
        "--model",
        &model,
        "It rained, so",
        "--choice",
        "we stayed.",
        "--choice",
        "the king",
    ];
    let row = cli(&args).ok().row();
    assert_eq!(keys(&row), ["index", "text", "choice", "scores"]);
    let scores = floats(&row["scores"]);
    assert_eq!(scores.len(), 2);
    assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    let choice = row["choice"].as_u64().unwrap() as usize;
    assert!(scores.iter().all(|score| *score <= scores[choice]));
    let table = cli(&[&args[..], &["--format", "table"]].concat())
        .ok()
        .stdout;
    assert!(
        table.contains(&format!("> {choice}  0.")) && table.contains("we stayed."),
        "{table}"
    );
}

#[test]
fn each_text_of_a_table_has_its_own_choices() {
    let folder = Folder::new();
    let model = task_model("choice");
    let choose = |args: &[&str]| cli(&[&["choose", "--model", model.as_str()], args].concat());
    let argument = choose(&["a", "--choice", "b", "--choice", "c, d"])
        .ok()
        .row();
    let jsonl = folder.write(
        "a.jsonl",
        "{\"text\":\"a\",\"choices\":[\"b\",\"c, d\"]}\n{\"text\":\"a\",\"choices\":[\"b\"]}\n",
    );
    let rows = choose(&["--input", &jsonl, "--field", "text,choices"])
        .ok()
        .rows();
    assert_eq!(rows[0], argument);
    assert_eq!(rows[1]["scores"], serde_json::json!([1.0]));
    assert_eq!(choose(&["--input", &jsonl]).ok().rows(), rows);
    let csv = folder.write("a.csv", "q,o\na,\"[\"\"b\"\",\"\"c, d\"\"]\"\n");
    assert_eq!(
        choose(&["--input", &csv, "--field", "q,o"]).ok().row(),
        argument
    );
    // The same choices for every line.
    let lines = cli_with(
        &[
            "choose", "--model", &model, "--choice", "b", "--choice", "c, d",
        ],
        "a\n",
    )
    .ok()
    .row();
    assert_eq!(lines, argument);
}

#[test]
fn choices_that_are_no_list_are_bad_lines() {
    let model = task_model("choice");
    let args = ["choose", "--model", &model, "--input-format", "jsonl"];
    let lines = "{\"text\":\"a\",\"choices\":[\"b\"]}\n{\"text\":\"a\",\"choices\":\"b\"}\n\
                 {\"text\":\"a\",\"choices\":[1]}\n{\"text\":\"a\",\"choices\":[]}\n{\"text\":\"a\",\"choices\":[\"b\"]}\n";
    cli_with(&args, lines).fails(1, &["line 2", "array of strings"]);
    let rows = cli_with(&[&args[..], &["--skip-bad"]].concat(), lines)
        .ok()
        .rows();
    assert_eq!(rows.len(), 5);
    assert!(rows[1..4].iter().all(|row| keys(row) == ["index", "error"]));
    assert_eq!(rows[4]["scores"], serde_json::json!([1.0]));
    cli(&["choose", "--model", &model, "a"]).fails(2, &["--choice"]);
    cli_with(&["choose", "--model", &model], "a\n").fails(2, &["lists", "text,choices"]);
    cli(&[
        "choose", "--model", &model, "a", "--choice", "b", "--pair", "c",
    ])
    .fails(2, &["--pair"]);
}

#[test]
fn the_built_in_model_can_do_neither() {
    cli(&["answer", "a", "--context", "b"]).fails(1, &["AlbertForQuestionAnswering", "\nhint: "]);
    cli(&["choose", "a", "--choice", "b"]).fails(1, &["AlbertForMultipleChoice", "\nhint: "]);
    cli(&[
        "answer",
        "--model",
        &task_model("choice"),
        "a",
        "--context",
        "b",
    ])
    .fails(1, &["serves", "choose"]);
}
