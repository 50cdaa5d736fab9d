//! `fill-mask`: candidates, one-shot.

use serde_json::Value;

use crate::harness::{cli, cli_with, keys};

/// f32 rounding of a probability when the decoder computes other rows in the same batch, relative
/// to itself.
const BATCH_TOLERANCE: f64 = 1e-5;

const TEXT: &str = "The cat sat on the [MASK].";

fn candidates(row: &Value, mask: usize) -> Vec<Value> {
    row["masks"][mask]["candidates"].as_array().unwrap().clone()
}

fn scores(row: &Value, mask: usize) -> Vec<f64> {
    candidates(row, mask)
        .iter()
        .map(|candidate| candidate["score"].as_f64().unwrap())
        .collect()
}

#[test]
fn a_row_has_the_keys_of_the_contract_in_their_order() {
    let row = cli(&["fill-mask", TEXT]).ok().row();
    assert_eq!(keys(&row), ["index", "text", "masks"]);
    assert_eq!(row["text"], TEXT);
    assert_eq!(keys(&row["masks"][0]), ["position", "candidates"]);
    let candidates = candidates(&row, 0);
    assert_eq!(candidates.len(), 5);
    for candidate in &candidates {
        assert_eq!(keys(candidate), ["token", "id", "score", "text"]);
        let token = candidate["token"].as_str().unwrap();
        assert!(candidate["text"].as_str().unwrap().contains(token));
        assert!(!candidate["text"].as_str().unwrap().contains("[MASK]"));
    }
    let scores = scores(&row, 0);
    assert!(scores.is_sorted_by(|a, b| a >= b));
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
}

#[test]
fn top_k_says_how_many_from_one_to_the_whole_vocabulary() {
    let count =
        |top_k: &str| candidates(&cli(&["fill-mask", TEXT, "--top-k", top_k]).ok().row(), 0).len();
    assert_eq!(count("1"), 1);
    assert_eq!(count("7"), 7);
    let all = count("18446744073709551615");
    assert!(all > 1000, "{all}");
    for bad in ["0", "-1", "x", "18446744073709551616"] {
        cli(&["fill-mask", TEXT, &format!("--top-k={bad}")]).fails(2, &["from 1"]);
    }
}

#[test]
fn targets_are_sorted_and_scored_among_the_whole_vocabulary() {
    let row = cli(&["fill-mask", TEXT, "--targets", "floor,mat"])
        .ok()
        .row();
    let candidates = candidates(&row, 0);
    assert_eq!(candidates.len(), 2);
    let mut tokens: Vec<_> = candidates
        .iter()
        .map(|c| c["token"].as_str().unwrap())
        .collect();
    tokens.sort();
    assert_eq!(tokens, ["floor", "mat"]);
    let scores = scores(&row, 0);
    assert!(scores[0] >= scores[1] && scores.iter().sum::<f64>() < 1.0);
    cli(&["fill-mask", TEXT, "--targets", "a,,b"]).fails(2, &["empty"]);
    cli(&["fill-mask", TEXT, "--targets", ""]).fails(2, &[]);
}

#[test]
fn several_masks_each_have_their_candidates() {
    let text = "The [MASK] sat on the [MASK].";
    for joint in [&["fill-mask", text][..], &["fill-mask", text, "--joint"]] {
        let row = cli(joint).ok().row();
        assert_eq!(keys(&row), ["index", "text", "masks"]);
        let masks = row["masks"].as_array().unwrap();
        assert_eq!(masks.len(), 2);
        assert!(masks[0]["position"].as_u64() < masks[1]["position"].as_u64());
        assert_eq!(candidates(&row, 1).len(), 5);
    }
}

#[test]
fn rows_of_a_beam_have_the_whole_text_filled_too() {
    let text = "The [MASK] sat on the [MASK].";
    let row = cli(&["fill-mask", text, "--joint", "--beam", "3"])
        .ok()
        .row();
    assert_eq!(keys(&row), ["index", "text", "masks", "fillings"]);
    let fillings = row["fillings"].as_array().unwrap();
    assert_eq!(fillings.len(), 3);
    assert_eq!(keys(&fillings[0]), ["tokens", "score", "text"]);
    let scores: Vec<f64> = fillings
        .iter()
        .map(|filling| filling["score"].as_f64().unwrap())
        .collect();
    assert!(
        scores.is_sorted_by(|a, b| a >= b)
            && scores.iter().all(|score| (0.0..=1.0).contains(score))
    );
    assert!(
        fillings
            .iter()
            .all(|filling| !filling["text"].as_str().unwrap().contains("[MASK]"))
    );
    let greedy = cli(&["fill-mask", text, "--joint", "--beam", "1"])
        .ok()
        .row();
    // Of two masks, what greedy filling finds is among the beam's last candidates.
    assert!(
        greedy["fillings"][0]["score"].as_f64().unwrap() <= scores[0] * (1.0 + BATCH_TOLERANCE)
    );
    for beam in [&["--joint", "--beam", "2"][..], &["--joint"]] {
        let table = cli(&[&["fill-mask", text, "--format", "table"], beam].concat())
            .ok()
            .stdout;
        assert!(table.contains("\ntogether\n  1  "), "{table}");
    }
    for bad in ["0", "-1", "x", "101"] {
        cli(&["fill-mask", text, "--joint", &format!("--beam={bad}")]).fails(2, &["from 1 to 100"]);
    }
    cli(&["fill-mask", text, "--beam", "2"]).fails(2, &["--joint"]);
}

#[test]
fn a_text_without_a_mask_is_an_error_and_can_be_skipped() {
    cli(&["fill-mask", "nothing to fill"]).fails(1, &["MASK", "\nhint: "]);
    let lines = format!("{TEXT}\nnothing to fill\n{TEXT}\n");
    let failed = cli_with(&["fill-mask"], &lines).fails(1, &["standard input, line 2"]);
    assert_eq!(failed.rows().len(), 1);
    let skipped = cli_with(&["fill-mask", "--skip-bad"], &lines).ok();
    let rows = skipped.rows();
    assert_eq!(keys(&rows[1]), ["index", "error"]);
    assert_eq!(rows[2]["index"], 2);
    assert_eq!(rows[2]["masks"], rows[0]["masks"]);
    assert!(skipped.stderr.contains("line 2"), "{}", skipped.stderr);
}

#[test]
fn a_tab_is_no_pair_here() {
    let row = cli_with(&["fill-mask"], "a\tb [MASK]\n").ok().row();
    assert_eq!(row["text"], "a\tb [MASK]");
    cli(&["fill-mask", "a [MASK]", "--pair", "b"]).fails(2, &["--pair"]);
}

#[test]
fn the_table_has_a_line_a_candidate() {
    let run = cli(&["fill-mask", TEXT, "--format", "table", "--top-k", "3"]).ok();
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], TEXT);
    assert!(lines[3].starts_with("  3  "), "{}", run.stdout);
}

/// Each step ranks few candidates of few hypotheses, so that the time grows with the number of masks
/// and not with the number of their combinations.
#[test]
fn a_hundred_masks_are_filled_together() {
    let text = vec!["a [MASK]"; 100].join(" ");
    let run = cli(&["fill-mask", "--joint", "--beam", "2", "--top-k", "1", &text]).ok();
    let row = run.row();
    assert_eq!(row["masks"].as_array().unwrap().len(), 100);
    let best = &row["fillings"].as_array().unwrap()[0];
    assert_eq!(best["tokens"].as_array().unwrap().len(), 100);
    assert!(run.stderr.contains("of 100 masks filled"), "{}", run.stderr);
}
