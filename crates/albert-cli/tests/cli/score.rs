//! `score`: pseudo-log-likelihoods.

use crate::harness::{cli, cli_with, keys, task_model};

fn score(text: &str, args: &[&str]) -> f64 {
    let row = cli(&[&["score", text], args].concat()).ok().row();
    row["log_likelihood"].as_f64().unwrap()
}

#[test]
fn a_row_has_the_keys_of_the_contract_in_their_order() {
    let row = cli(&["score", "He read the book."]).ok().row();
    assert_eq!(keys(&row), ["index", "text", "log_likelihood", "tokens"]);
    assert!(row["log_likelihood"].as_f64().unwrap() < 0.0);
    let embedded = cli(&["embed", "He read the book."]).ok().row();
    assert_eq!(row["tokens"], embedded["tokens"]);
}

#[test]
fn english_fits_better_than_shuffled_words() {
    assert!(score("He read the book.", &[]) > score("He read book the.", &[]));
}

#[test]
fn a_text_of_one_token_is_as_probable_as_it_is_at_a_mask() {
    let alone = cli(&["fill-mask", "[MASK]", "--targets", "river"])
        .ok()
        .row();
    let candidate = &alone["masks"][0]["candidates"][0];
    assert!(
        candidate.get("ids").is_none(),
        "`river` is no longer one piece: choose another word"
    );
    let difference = score("river", &[]) - candidate["score"].as_f64().unwrap().ln();
    assert!(difference.abs() < 1e-4, "{difference}");
}

#[test]
fn batches_change_nothing_and_an_empty_text_scores_zero() {
    let text = "The river runs through the old town.";
    assert!((score(text, &[]) - score(text, &["--batch-tokens", "1"])).abs() < 1e-4);
    let rows = cli_with(&["score"], "\nriver\n").ok().rows();
    assert_eq!(
        (
            rows[0]["log_likelihood"].as_f64(),
            rows[0]["tokens"].as_u64()
        ),
        (Some(0.0), Some(2))
    );
    assert_eq!(rows[1]["index"], 1);
}

#[test]
fn a_long_text_is_cut_and_counted() {
    let run = cli(&["score", &"river ".repeat(30), "--max-length", "8"]).ok();
    assert_eq!(run.row()["tokens"], 8);
    assert!(run.stderr.contains("1 truncated"), "{}", run.stderr);
}

#[test]
fn what_cannot_be_scored_is_refused() {
    cli(&["score", "a", "--pair", "b"]).fails(2, &["--pair"]);
    cli(&["score", "a", "--model", &task_model("sentiment")])
        .fails(1, &["AlbertForMaskedLM", "classify"]);
    let csv = cli(&["score", "a", "--format", "csv"]).ok().stdout;
    assert!(
        csv.starts_with("index,text,log_likelihood,tokens\n0,a,-"),
        "{csv}"
    );
    let table = cli(&["score", "a", "--format", "table"]).ok().stdout;
    assert!(
        table.starts_with("index  tokens  log likelihood  text\n"),
        "{table}"
    );
}
