//! `embed`: rows, formats, pooling and precision.

use crate::harness::{DIMENSION, Folder, cli, cli_with, floats, keys};

/// f32 sums of a few hundred squares of numbers below 1.
const NORM_TOLERANCE: f32 = 1e-5;

/// f32 rounding when the same text is computed in another batch.
const BATCH_TOLERANCE: f32 = 1e-5;

fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn embedding(args: &[&str]) -> Vec<f32> {
    let args: Vec<_> = ["embed", "A small text."]
        .iter()
        .chain(args)
        .copied()
        .collect();
    floats(&cli(&args).ok().row()["embedding"])
}

#[test]
fn a_row_has_the_keys_of_the_contract_in_their_order() {
    let row = cli(&["embed", "Ein Text "]).ok().row();
    assert_eq!(
        keys(&row),
        ["index", "text", "tokens", "truncated", "embedding"]
    );
    assert_eq!(row["index"], 0);
    assert_eq!(row["text"], "Ein Text ");
    assert_eq!(row["truncated"], false);
    assert!(row["tokens"].as_u64().unwrap() > 3);
}

#[test]
fn each_argument_is_a_text_and_the_order_is_kept() {
    let texts = [
        "a much longer text than the others, so that it is batched apart",
        "",
        "short",
        "short",
    ];
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
    let tab = cli_with(&["embed", "--pairs"], "one\ttwo\n").ok().row();
    let jsonl = folder.write("a.jsonl", r#"{"a":"one","b":"two"}"#);
    let fields = cli(&["embed", "--input", &jsonl, "--field", "a,b"])
        .ok()
        .row();
    assert_eq!(
        keys(&option),
        ["index", "text", "pair", "tokens", "truncated", "embedding"]
    );
    assert_eq!(
        (&option["text"], &option["pair"]),
        (&"one".into(), &"two".into())
    );
    assert_eq!(option, tab);
    assert_eq!(option, fields);
    let alone = cli(&["embed", "one"]).ok().row();
    assert_ne!(option["embedding"], alone["embedding"]);
}

#[test]
fn texts_and_pairs_of_one_chunk_keep_their_order() {
    let rows = cli_with(&["embed", "--pairs"], "one\none\ttwo\nthree\n")
        .ok()
        .rows();
    let texts: Vec<_> = rows
        .iter()
        .map(|row| row["text"].as_str().unwrap())
        .collect();
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
    for mode in [
        "mean",
        "cls",
        "max",
        "mean-sqrt-len",
        "weighted-mean",
        "last",
    ] {
        let vector = embedding(&["--pooling", mode, "--normalize", "false"]);
        assert!(vector.iter().all(|value| value.is_finite()), "{mode}");
        assert!(!seen.contains(&vector), "{mode}");
        seen.push(vector);
    }
}

#[test]
fn tokens_have_a_vector_each() {
    let run = cli(&[
        "embed",
        "A small text.",
        "--pooling",
        "tokens",
        "--truncate-dim",
        "3",
    ])
    .ok();
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
    assert!(
        run.stderr.contains("2 rows") && run.stderr.contains("1 truncated"),
        "{}",
        run.stderr
    );
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
    let among = cli_with(&["embed", "--batch-tokens", "16"], lines)
        .ok()
        .rows();
    let pairs = floats(&alone["embedding"])
        .into_iter()
        .zip(floats(&among[1]["embedding"]));
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
    let values: Vec<f32> = bytes[header_bytes..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    let expected: Vec<f32> = rows
        .iter()
        .flat_map(|row| floats(&row["embedding"]))
        .collect();
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
        (
            rows.parse::<usize>().unwrap(),
            rest.split_once(')').unwrap().0.parse::<usize>().unwrap(),
        )
    };
    cli_with(
        &["embed", "--skip-bad", "--output", &output],
        b"good\nb\xffd\ngood\n",
    )
    .ok();
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
    assert_eq!(
        vector,
        floats(&cli(&["embed", "a, \"b\""]).ok().row()["embedding"])
    );
    assert_eq!(lines.next(), None);

    let bad = cli_with(&["embed", "--format", "csv", "--skip-bad"], b"\xff\n").ok();
    let lines: Vec<_> = bad.stdout.lines().collect();
    assert_eq!(lines[0], "index,text,tokens,truncated,embedding,error");
    assert!(lines[1].starts_with("0,,,,,"), "{}", lines[1]);
}

#[test]
fn the_table_is_for_people() {
    let run = cli(&["embed", "a\u{1b}[31m", "--format", "table"]).ok();
    assert!(
        run.stdout.starts_with("index  tokens  embedding"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains('\u{1b}'));
}

#[test]
fn floats_are_the_shortest_that_read_back() {
    let run = cli(&["embed", "a"]).ok();
    let numbers = run
        .stdout
        .split_once("\"embedding\":[")
        .unwrap()
        .1
        .trim_end()
        .trim_end_matches("]}");
    for number in numbers.split(',') {
        let value: f32 = number.parse().unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), number);
    }
}

#[test]
fn a_plain_folder_gets_the_default_pooling_and_is_told() {
    let folder = Folder::with_model_files(&["config.json", "model.safetensors", "tokenizer.json"]);
    let run = cli(&["embed", "a", "--model", folder.as_str()]).ok();
    assert!(
        run.stderr.contains("pooling: ") && run.stderr.contains("mean"),
        "{}",
        run.stderr
    );
    let quiet = cli(&["embed", "a", "--model", folder.as_str(), "--quiet"]).ok();
    assert_eq!(quiet.stderr, "");
    assert!((norm(&floats(&run.row()["embedding"])) - 1.0).abs() < NORM_TOLERANCE);
    let by_variable = crate::harness::finish(
        crate::harness::command()
            .args(["embed", "a", "--quiet"])
            .env("ALBERT_MODEL", folder.as_str()),
    );
    assert_eq!(by_variable.ok().stdout, run.stdout);
}

#[test]
fn bytes_are_those_of_the_vectors() {
    let folder = Folder::new();
    let texts = folder.write(
        "texts.txt",
        "A small text.\nAnother one.\nStocks fell.\nThe cat sleeps.\n",
    );
    let vectors: Vec<Vec<f32>> = cli(&["embed", "--input", &texts])
        .ok()
        .rows()
        .iter()
        .map(|row| floats(&row["embedding"]))
        .collect();
    let range = |dim: usize| {
        let of_dim = vectors.iter().map(|vector| vector[dim]);
        (
            of_dim.clone().fold(f32::INFINITY, f32::min),
            of_dim.fold(f32::NEG_INFINITY, f32::max),
        )
    };
    let uint8 = |vector: &[f32]| -> Vec<i64> {
        let step = |(dim, value): (usize, &f32)| {
            let (least, largest) = range(dim);
            ((value - least) / ((largest - least) / 255.0))
                .floor()
                .clamp(0.0, 255.0) as i64
        };
        vector.iter().enumerate().map(step).collect()
    };
    let bits = |vector: &[f32]| -> Vec<i64> {
        let byte = |values: &[f32]| {
            values
                .iter()
                .fold(0, |byte, value| 2 * byte + i64::from(*value > 0.0))
        };
        vector.chunks(8).map(byte).collect()
    };
    let bytes = |args: &[&str]| -> Vec<Vec<i64>> {
        let rows = cli(&[&["embed", "--input", &texts], args].concat())
            .ok()
            .rows();
        rows.iter()
            .map(|row| serde_json::from_value(row["embedding"].clone()).unwrap())
            .collect()
    };
    let minus = |rows: &[Vec<i64>], by: i64| -> Vec<Vec<i64>> {
        rows.iter()
            .map(|row| row.iter().map(|value| value - by).collect())
            .collect()
    };
    let expected: Vec<_> = vectors.iter().map(|vector| uint8(vector)).collect();
    assert_eq!(
        bytes(&["--precision", "uint8", "--calibration", &texts]),
        expected
    );
    assert_eq!(
        bytes(&["--precision", "int8", "--calibration", &texts]),
        minus(&expected, 128)
    );
    let expected: Vec<_> = vectors.iter().map(|vector| bits(vector)).collect();
    assert_eq!(bytes(&["--precision", "ubinary"]), expected);
    assert_eq!(bytes(&["--precision", "binary"]), minus(&expected, 128));

    // Vectors that were written before calibrate as their texts do.
    let npy = folder.path("vectors.npy");
    cli(&["embed", "--input", &texts, "--output", &npy]).ok();
    let by_vectors = cli(&[
        "embed",
        "--input",
        &texts,
        "--precision",
        "int8",
        "--calibration",
        &npy,
    ])
    .ok();
    assert!(
        by_vectors.stderr.contains("calibration: 4 embeddings of "),
        "{}",
        by_vectors.stderr
    );
    assert_eq!(
        by_vectors.stdout,
        cli(&[
            "embed",
            "--input",
            &texts,
            "--precision",
            "int8",
            "--calibration",
            &texts
        ])
        .ok()
        .stdout
    );
}

#[test]
fn bytes_in_an_array_have_its_type() {
    let folder = Folder::new();
    let calibration = folder.write("texts.txt", "a\nb\nc\n");
    for (precision, descr, divisor) in [
        ("int8", "|i1", 1),
        ("uint8", "|u1", 1),
        ("binary", "|i1", 8),
        ("ubinary", "|u1", 8),
    ] {
        let needs = ["--calibration", calibration.as_str()];
        let needs: &[&str] = if divisor == 1 { &needs } else { &[] };
        let args = [&["embed", "a", "d", "--precision", precision], needs].concat();
        let rows = cli(&args).ok().rows();
        cli(&[&args[..], &["--output", &folder.path("a.npy")]].concat()).ok();
        let file = folder.read("a.npy");
        let header = String::from_utf8_lossy(&file[10..128]).into_owned();
        let dim = rows[0]["embedding"].as_array().unwrap().len();
        assert!(
            header.starts_with(&format!("{{'descr': '{descr}', ")),
            "{header}"
        );
        assert!(
            header.contains(&format!("'shape': (2, {dim}), }}")),
            "{header}"
        );
        let expected = rows
            .iter()
            .flat_map(|row| row["embedding"].as_array().unwrap());
        let expected: Vec<u8> = expected
            .map(|value| value.as_i64().unwrap() as u8)
            .collect();
        assert_eq!(file[128..], expected);
    }
    let table = cli(&["embed", "a", "--precision", "binary", "--format", "table"]).ok();
    let bytes = format!("… ({})", DIMENSION / 8);
    assert!(table.stdout.contains(&bytes), "{}", table.stdout);
}

#[test]
fn precisions_that_lack_something_are_wrong_usage() {
    let folder = Folder::new();
    let texts = folder.write("texts.txt", "a\nb\n");
    for precision in ["int8", "uint8"] {
        cli(&["embed", "a", "--precision", precision]).fails(2, &["--calibration", "\nhint: "]);
    }
    cli(&[
        "embed",
        "a",
        "--precision",
        "binary",
        "--calibration",
        &texts,
    ])
    .fails(2, &["int8"]);
    cli(&["embed", "a", "--calibration", &texts]).fails(2, &["int8"]);
    cli(&["embed", "a", "--precision", "int8", "--calibration", "-"])
        .fails(2, &["expected a file"]);
    cli(&[
        "embed",
        "a",
        "--precision",
        "int8",
        "--calibration",
        &texts,
        "--output",
        &texts,
    ])
    .fails(2, &["is both the input and the output"]);
    assert_eq!(folder.read("texts.txt"), b"a\nb\n");
    cli(&["embed", "a", "--precision", "binary", "--pooling", "tokens"]).fails(2, &["f32"]);
    cli(&["embed", "a", "--precision", "f64"]).fails(2, &[]);
    let output = folder.path("a.npy");
    let bad = [
        "embed",
        "a",
        "--precision",
        "binary",
        "--skip-bad",
        "--output",
        &output,
    ];
    cli(&bad).fails(2, &["--skip-bad", "\nhint: "]);
}

#[test]
fn a_calibration_that_does_not_fit_is_an_error() {
    let folder = Folder::new();
    let calibrated =
        |file: &str| cli(&["embed", "a", "--precision", "int8", "--calibration", file]);
    calibrated(&folder.write("none.txt", ""))
        .fails(1, &["none.txt`: no embeddings to take ranges from"]);
    calibrated(&folder.write("bad.txt", b"good\nb\xffd\n")).fails(1, &["bad.txt`, line 2"]);
    calibrated(&folder.path("absent.txt")).fails(1, &["absent.txt"]);
    let npy = folder.path("cut.npy");
    cli(&["embed", "a", "b", "--truncate-dim", "3", "--output", &npy]).ok();
    calibrated(&npy).fails(
        1,
        &["cut.npy`, row 1", &format!("{DIMENSION} values, found 3")],
    );
    calibrated(&folder.write("no.npy", "not an array")).fails(1, &["expected a NumPy array"]);
}

#[test]
fn windows_take_in_all_of_a_long_text() {
    let text = format!("{}end", "word ".repeat(40));
    let run = cli(&[
        "embed",
        &text,
        "short",
        "--max-length",
        "12",
        "--stride",
        "2",
    ])
    .ok();
    let rows = run.rows();
    assert_eq!(
        (&rows[0]["truncated"], &rows[0]["text"]),
        (&false.into(), &text.as_str().into())
    );
    // 41 tokens, 10 a window, of which 2 are in common: 5 windows with 2 special tokens each.
    assert_eq!(rows[0]["tokens"], 41 + 4 * 2 + 5 * 2);
    assert!(
        run.stderr.contains("2 rows") && run.stderr.contains(" 0 truncated"),
        "{}",
        run.stderr
    );
    let short = cli(&["embed", "short"]).ok().row();
    assert_eq!(rows[1]["embedding"], short["embedding"]);
    let other_end = format!("{}start", "word ".repeat(40));
    let other = cli(&["embed", &other_end, "--max-length", "12", "--stride", "2"])
        .ok()
        .row();
    assert_ne!(rows[0]["embedding"], other["embedding"]);
    let tokens = cli(&[
        "embed",
        &text,
        "--max-length",
        "12",
        "--stride",
        "2",
        "--pooling",
        "tokens",
    ])
    .ok()
    .row();
    assert_eq!(tokens["pieces"].as_array().unwrap().len(), 43);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let one = ["embed", "a", "--max-length", "12", "--stride"];
    cli(&[&one[..], &["10"]].concat()).fails(1, &["stride 10", "10 tokens of text"]);
    cli(&[&one[..], &["-1"]].concat()).fails(2, &["from 0"]);
    cli(&[&one[..], &["2", "--pair", "b"]].concat())
        .fails(2, &["`--stride` is not available for pairs"]);
    cli_with(&["embed", "--stride", "2", "--pairs"], "one\ttwo\n")
        .fails(2, &["`--stride` is not available for pairs"]);
    // The option's name before it was that of `tag`.
    let old = cli(&["embed", "a", "--window", "2"]).ok().row();
    assert_eq!(old, cli(&["embed", "a", "--stride", "2"]).ok().row());
}

#[test]
fn safetensors_holds_the_numbers_of_npy() {
    use safetensors::{Dtype, SafeTensors};
    let folder = Folder::new();
    let (npy, safetensors) = (folder.path("a.npy"), folder.path("a.safetensors"));
    for (options, dtype) in [
        (&["--skip-bad"][..], Dtype::F32),
        (&["--precision", "binary"], Dtype::I8),
    ] {
        let text: &[u8] = if dtype == Dtype::F32 {
            b"good\nb\xffd\nbetter\n"
        } else {
            b"good\nbetter\n"
        };
        for output in [&npy, &safetensors] {
            cli_with(&[&["embed", "--output", output], options].concat(), text).ok();
        }
        let file = folder.read("a.safetensors");
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let tensor = tensors.tensor("embeddings").unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.shape()[0]),
            (dtype, text.split(|&byte| byte == b'\n').count() - 1)
        );
        assert!(tensor.data() == &folder.read("a.npy")[128..]);
    }
    let bad = [
        "embed",
        "a",
        "--precision",
        "binary",
        "--skip-bad",
        "--output",
        &safetensors,
    ];
    cli(&bad).fails(2, &["--skip-bad", "safetensors", "\nhint: "]);
    cli(&["embed", "a", "--format", "safetensors"]).fails(2, &["--output", "\nhint: "]);
    let tokens = [
        "embed",
        "a",
        "--pooling",
        "tokens",
        "--output",
        &safetensors,
    ];
    cli(&tokens).fails(2, &["format `safetensors`: not a format of this command"]);
}
