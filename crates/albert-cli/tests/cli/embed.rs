//! `embed`: rows, formats and what becomes of the vectors.

use crate::harness::{Folder, cli, cli_with, floats, keys};

/// f32 sums of a few hundred squares of numbers below 1.
const NORM_TOLERANCE: f32 = 1e-5;

/// f32 rounding when the same text is computed in another batch.
const BATCH_TOLERANCE: f32 = 1e-5;

fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn embedding(args: &[&str]) -> Vec<f32> {
    let args: Vec<_> = ["embed", "A small text."].iter().chain(args).copied().collect();
    floats(&cli(&args).ok().row()["embedding"])
}

#[test]
fn a_row_has_the_keys_of_the_contract_in_their_order() {
    let row = cli(&["embed", "Ein Text "]).ok().row();
    assert_eq!(keys(&row), ["index", "text", "tokens", "truncated", "embedding"]);
    assert_eq!(row["index"], 0);
    assert_eq!(row["text"], "Ein Text ");
    assert_eq!(row["truncated"], false);
    assert!(row["tokens"].as_u64().unwrap() > 3);
}

#[test]
fn each_argument_is_a_text_and_the_order_is_kept() {
    let texts = ["a much longer text than the others, so that it is batched apart", "", "short", "short"];
    let rows = cli(&[&["embed"], &texts[..]].concat()).ok().rows();
    assert_eq!(rows.len(), 4);
    for (index, (row, text)) in rows.iter().zip(texts).enumerate() {
        assert_eq!(row["index"], index);
        assert_eq!(row["text"], text);
    }
    assert_eq!(rows[1]["tokens"], 2);
    assert_eq!(rows[2]["embedding"], rows[3]["embedding"]);
}

#[test]
fn pairs_come_from_an_option_a_tab_or_two_fields() {
    let folder = Folder::new();
    let option = cli(&["embed", "one", "--pair", "two"]).ok().row();
    let tab = cli_with(&["embed"], "one\ttwo\n").ok().row();
    let jsonl = folder.write("a.jsonl", r#"{"a":"one","b":"two"}"#);
    let fields = cli(&["embed", "--input", &jsonl, "--field", "a,b"]).ok().row();
    assert_eq!(keys(&option), ["index", "text", "pair", "tokens", "truncated", "embedding"]);
    assert_eq!((&option["text"], &option["pair"]), (&"one".into(), &"two".into()));
    assert_eq!(option, tab);
    assert_eq!(option, fields);
    let alone = cli(&["embed", "one"]).ok().row();
    assert_ne!(option["embedding"], alone["embedding"]);
}

#[test]
fn texts_and_pairs_of_one_window_keep_their_order() {
    let rows = cli_with(&["embed"], "one\none\ttwo\nthree\n").ok().rows();
    let texts: Vec<_> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "one", "three"]);
    assert!(rows[0].get("pair").is_none() && rows[1]["pair"] == "two");
    assert!(rows[1]["tokens"].as_u64() > rows[0]["tokens"].as_u64());
}

#[test]
fn normalize_scales_to_length_one_and_only_if_asked() {
    let scaled = embedding(&["--normalize", "true"]);
    let raw = embedding(&["--normalize", "false"]);
    assert!((norm(&scaled) - 1.0).abs() < NORM_TOLERANCE);
    assert!((norm(&raw) - 1.0).abs() > 1e-2, "{}", norm(&raw));
    for (scaled, raw_value) in scaled.iter().zip(&raw) {
        assert!((scaled - raw_value / norm(&raw)).abs() < NORM_TOLERANCE);
    }
}

#[test]
fn every_pooling_gives_its_own_vector() {
    let mut seen: Vec<Vec<f32>> = Vec::new();
    for mode in ["mean", "cls", "max", "mean-sqrt-len", "weighted-mean", "last"] {
        let vector = embedding(&["--pooling", mode, "--normalize", "false"]);
        assert!(vector.iter().all(|value| value.is_finite()), "{mode}");
        assert!(!seen.contains(&vector), "{mode}");
        seen.push(vector);
    }
}

#[test]
fn tokens_have_a_vector_each() {
    let run = cli(&["embed", "A small text.", "--pooling", "tokens", "--truncate-dim", "3"]).ok();
    let row = run.row();
    assert_eq!(keys(&row), ["index", "text", "pieces", "embeddings"]);
    let pieces = row["pieces"].as_array().unwrap();
    let embeddings = row["embeddings"].as_array().unwrap();
    assert_eq!(pieces.first().unwrap(), "[CLS]");
    assert_eq!(pieces.len(), embeddings.len());
    assert!(embeddings.iter().all(|vector| floats(vector).len() == 3));
}

#[test]
fn tokens_cannot_go_into_one_array() {
    let folder = Folder::new();
    let output = folder.path("a.npy");
    cli(&["embed", "a", "--pooling", "tokens", "--output", &output]).fails(2, &["format `npy`"]);
    cli(&["embed", "a", "--pooling", "tokens", "--pair", "b"]).fails(2, &["pairs"]);
}

#[test]
fn truncate_dim_keeps_the_first_numbers() {
    let full = embedding(&["--normalize", "false"]);
    let cut = embedding(&["--normalize", "false", "--truncate-dim", "5"]);
    assert_eq!(cut, full[..5]);
    let scaled = embedding(&["--normalize", "true", "--truncate-dim", "5"]);
    assert!((norm(&scaled) - 1.0).abs() < NORM_TOLERANCE);
    cli(&["embed", "a", "--truncate-dim", "0"]).fails(2, &["from 1"]);
    cli(&["embed", "a", "--truncate-dim", "100000"]).fails(1, &["100000"]);
}

#[test]
fn a_prompt_enters_the_model_and_not_the_row() {
    let plain = cli(&["embed", "a text"]).ok().row();
    let prompted = cli(&["embed", "a text", "--prompt", "query: "]).ok().row();
    assert_eq!(prompted["text"], "a text");
    assert!(prompted["tokens"].as_u64() > plain["tokens"].as_u64());
    assert_ne!(prompted["embedding"], plain["embedding"]);
}

#[test]
fn a_long_text_is_cut_counted_and_reported() {
    let text = "word ".repeat(50);
    let run = cli(&["embed", &text, "short", "--max-length", "8"]).ok();
    let rows = run.rows();
    assert_eq!(rows[0]["tokens"], 8);
    assert_eq!(rows[0]["truncated"], true);
    assert_eq!(rows[0]["text"], text);
    assert_eq!(rows[1]["truncated"], false);
    assert!(run.stderr.contains("2 rows") && run.stderr.contains("1 truncated"), "{}", run.stderr);
}

#[test]
fn a_length_without_room_for_text_is_an_error() {
    let run = cli(&["embed", "a", "--max-length", "1"]);
    assert!(matches!(run.code, Some(1 | 2)), "{}", run.stderr);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    cli(&["embed", "a", "--max-length", "0"]).fails(2, &[]);
}

#[test]
fn the_batch_does_not_change_a_vector() {
    let text = "The same sentence every time.";
    let alone = cli(&["embed", text]).ok().row();
    let lines = format!("x\n{text}\n{}\n", "long ".repeat(60));
    let among = cli_with(&["embed", "--batch-tokens", "16"], lines).ok().rows();
    let pairs = floats(&alone["embedding"]).into_iter().zip(floats(&among[1]["embedding"]));
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < BATCH_TOLERANCE, "{worst}");
}

#[test]
fn npy_holds_the_numbers_of_jsonl_bit_for_bit() {
    let folder = Folder::new();
    let texts = ["first text", "second"];
    let output = folder.path("a.npy");
    cli(&["embed", texts[0], texts[1], "--output", &output]).ok();
    let bytes = folder.read("a.npy");
    let rows = cli(&["embed", texts[0], texts[1]]).ok().rows();
    let dim = floats(&rows[0]["embedding"]).len();

    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header_bytes = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_bytes]).unwrap();
    assert_eq!(header_bytes % 64, 0);
    assert_eq!(
        header.trim_end(),
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (2, {dim}), }}")
    );
    let values: Vec<f32> =
        bytes[header_bytes..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let expected: Vec<f32> = rows.iter().flat_map(|row| floats(&row["embedding"])).collect();
    assert_eq!(values, expected);
}

#[test]
fn npy_has_nan_for_a_bad_row_and_no_rows_for_no_texts() {
    let folder = Folder::new();
    let output = folder.path("a.npy");
    let shape = |name: &str| {
        let header = String::from_utf8_lossy(&folder.read(name)[10..128]).into_owned();
        let (_, rest) = header.split_once("'shape': (").unwrap();
        let (rows, rest) = rest.split_once(", ").unwrap();
        (rows.parse::<usize>().unwrap(), rest.split_once(')').unwrap().0.parse::<usize>().unwrap())
    };
    cli_with(&["embed", "--skip-bad", "--output", &output], b"good\nb\xffd\ngood\n").ok();
    let (rows, dim) = shape("a.npy");
    let values: Vec<f32> = folder.read("a.npy")[128..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!((rows, values.len()), (3, 3 * dim));
    assert!(values[..dim].iter().all(|value| value.is_finite()));
    assert!(values[dim..2 * dim].iter().all(|value| value.is_nan()));
    assert_eq!(values[..dim], values[2 * dim..]);

    cli_with(&["embed", "--output", &output], "").ok();
    assert_eq!(shape("a.npy"), (0, dim));
    assert_eq!(folder.read("a.npy").len(), 128);
}

#[test]
fn npy_needs_a_file() {
    cli(&["embed", "a", "--format", "npy"]).fails(2, &["--output", "\nhint: "]);
    cli(&["embed", "a", "--format", "npy", "--output", "-"]).fails(2, &["--output"]);
}

#[test]
fn json_is_one_array_of_the_rows_of_jsonl() {
    let jsonl = cli(&["embed", "a", "b"]).ok();
    let json = cli(&["embed", "a", "b", "--format", "json"]).ok();
    let array: Vec<serde_json::Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(array, jsonl.rows());
    let empty = cli_with(&["embed", "--format", "json"], "").ok();
    assert_eq!(empty.stdout, "[]\n");
}

#[test]
fn csv_has_a_header_and_the_vector_in_one_cell() {
    let run = cli(&["embed", "a, \"b\"", "--format", "csv"]).ok();
    let mut lines = run.stdout.lines();
    assert_eq!(lines.next(), Some("index,text,tokens,truncated,embedding"));
    let record = lines.next().unwrap();
    assert!(record.starts_with("0,\"a, \"\"b\"\"\","), "{record}");
    let cell = &record[record.find("\"[").unwrap() + 1..record.len() - 1];
    let vector: Vec<f32> = serde_json::from_str(cell).unwrap();
    assert_eq!(vector, floats(&cli(&["embed", "a, \"b\""]).ok().row()["embedding"]));
    assert_eq!(lines.next(), None);

    let bad = cli_with(&["embed", "--format", "csv", "--skip-bad"], b"\xff\n").ok();
    let lines: Vec<_> = bad.stdout.lines().collect();
    assert_eq!(lines[0], "index,text,tokens,truncated,embedding,error");
    assert!(lines[1].starts_with("0,,,,,"), "{}", lines[1]);
}

#[test]
fn the_table_is_for_people() {
    let run = cli(&["embed", "a\u{1b}[31m", "--format", "table"]).ok();
    assert!(run.stdout.starts_with("index  tokens  embedding"), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'));
}

#[test]
fn floats_are_the_shortest_that_read_back() {
    let run = cli(&["embed", "a"]).ok();
    let numbers = run.stdout.split_once("\"embedding\":[").unwrap().1.trim_end().trim_end_matches("]}");
    for number in numbers.split(',') {
        let value: f32 = number.parse().unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), number);
    }
}

#[test]
fn a_plain_folder_gets_the_default_pooling_and_is_told() {
    let folder = Folder::with_model_files(&["config.json", "model.safetensors", "tokenizer.json"]);
    let run = cli(&["embed", "a", "--model", folder.as_str()]).ok();
    assert!(run.stderr.contains("pooling: ") && run.stderr.contains("mean"), "{}", run.stderr);
    let quiet = cli(&["embed", "a", "--model", folder.as_str(), "--quiet"]).ok();
    assert_eq!(quiet.stderr, "");
    assert!((norm(&floats(&run.row()["embedding"])) - 1.0).abs() < NORM_TOLERANCE);
    let by_variable = crate::harness::finish(
        crate::harness::command().args(["embed", "a", "--quiet"]).env("ALBERT_MODEL", folder.as_str()),
    );
    assert_eq!(by_variable.ok().stdout, run.stdout);
}

#[test]
fn other_precisions_are_not_supported_yet() {
    for precision in ["int8", "uint8", "binary", "ubinary"] {
        cli(&["embed", "a", "--precision", precision]).fails(2, &["supported"]);
    }
    cli(&["embed", "a", "--precision", "f64"]).fails(2, &[]);
    cli(&["embed", "a", "--precision", "f32"]).ok();
}
