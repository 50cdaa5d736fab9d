//! Parquet and Arrow: tables in and out.

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use crate::harness::{Folder, cli, cli_with, command, finish, rows, task_model};

/// A table's rows, without what is null in them.
fn read(path: &str) -> Vec<Value> {
    let file = File::open(path).unwrap();
    let batches: Vec<RecordBatch> = if path.ends_with("parquet") {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        reader.build().unwrap().map(Result::unwrap).collect()
    } else {
        StreamReader::try_new(file, None)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(serde_arrow::from_record_batch::<Vec<Value>>(&batch).unwrap());
    }
    rows.iter().map(bare).collect()
}

/// A value without nulls, its numbers as 32-bit floats.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(k, v)| (k.clone(), bare(v)))
            .collect(),
        Value::Array(values) => values.iter().map(bare).collect(),
        Value::Number(number) if number.is_f64() => Value::from(number.as_f64().unwrap() as f32),
        other => other.clone(),
    }
}

fn write(path: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap();
    let file = File::create(path).unwrap();
    if path.ends_with("parquet") {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    } else if path.ends_with("feather") {
        let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    } else {
        let mut writer = StreamWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
}

fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

const ENDINGS: [&str; 3] = ["parquet", "arrow", "feather"];

#[test]
fn a_table_has_the_rows_of_jsonl() {
    let folder = Folder::new();
    let model = |name: &str| task_model(name);
    let bad = folder.write("bad.txt", b"A cat sleeps.\n\xff\nA dog barks at a cat.\n");
    let pairs = folder.write("pairs.txt", "one\ttwo\nthree\n");
    let corpus = folder.write("corpus.txt", "A cat.\nA dog.\n");
    let (sentiment, nli, entities) = (model("sentiment"), model("nli"), model("entities"));
    let (question, choice) = (model("question"), model("choice"));
    for args in [
        &["embed", "a", "a longer text"][..],
        &["embed", "--input", &bad, "--skip-bad"],
        &["embed", "--input", &pairs, "--pairs"],
        &["embed", "--precision", "binary", "a", "a longer text"],
        &[
            "embed",
            "--precision",
            "ubinary",
            "--input",
            &bad,
            "--skip-bad",
        ],
        &["embed", "--pooling", "tokens", "a", "a longer text"],
        &[
            "embed",
            "--pooling",
            "tokens",
            "--input",
            &bad,
            "--skip-bad",
        ],
        &["fill-mask", "The [MASK] barked at the [MASK].", "[MASK]"],
        &[
            "fill-mask",
            "The [MASK] barked.",
            "--targets",
            "dog,antidisestablishment",
        ],
        &["score", "A cat.", ""],
        &[
            "classify", "--model", &sentiment, "--input", &pairs, "--pairs",
        ],
        &[
            "classify",
            "--model",
            &sentiment,
            "--input",
            &bad,
            "--skip-bad",
        ],
        &["zero-shot", "--model", &nli, "a", "--labels", "x,y"],
        &["tag", "--model", &entities, "Alice went to Paris.", ""],
        &[
            "answer",
            "--model",
            &question,
            "Who?",
            "--context",
            "The king.",
        ],
        &[
            "choose", "--model", &choice, "a", "--choice", "b", "--choice", "c",
        ],
        &["order", "a", "b"],
        &["order", "--sort", "One. Two. Three."],
        &["similarity", "a", "b"],
        &["search", "a", "--input", &corpus],
        &["tokenize", "naïve é", "b", "--explain"],
        &["tokenize", "a", "b"],
        #[cfg(feature = "hub")]
        &["models"],
    ] {
        let expected: Vec<Value> = cli(&[args, &["--format", "jsonl"]].concat())
            .ok()
            .rows()
            .iter()
            .map(bare)
            .collect();
        for ending in ["parquet", "arrow"] {
            let output = folder.path(&format!("out.{ending}"));
            cli(&[args, &["--output", &output]].concat()).ok();
            assert_eq!(read(&output), expected, "{args:?} {ending}");
        }
    }
}

/// A column's type as docs/formats.md writes it.
fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string".to_string(),
        DataType::Boolean => "bool".to_string(),
        DataType::List(item) => format!("list<{}>", shown(item.data_type())),
        DataType::FixedSizeList(item, 2) => format!("list<{}>[2]", shown(item.data_type())),
        DataType::FixedSizeList(item, _) => format!("list<{}>[dim]", shown(item.data_type())),
        DataType::Struct(fields) => {
            format!(
                "{{{}}}",
                fields
                    .iter()
                    .map(|field| named(field))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        number => number.to_string().to_lowercase(),
    }
}

fn named(field: &Field) -> String {
    format!(
        "{}: {}{}",
        field.name(),
        shown(field.data_type()),
        if field.is_nullable() { "?" } else { "" }
    )
}

#[test]
fn the_columns_are_those_of_docs_formats() {
    let docs = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/formats.md"
    ))
    .unwrap();
    let folder = Folder::new();
    let corpus = folder.write("corpus.txt", "b\n");
    let model = |name: &str| task_model(name);
    for (command, args) in [
        ("embed", vec!["a"]),
        ("embed --pooling tokens", vec!["a"]),
        ("fill-mask", vec!["[MASK]"]),
        ("score", vec!["a"]),
        ("classify", vec!["a", "--model", &model("sentiment")]),
        (
            "zero-shot",
            vec!["a", "--labels", "x,y", "--model", &model("nli")],
        ),
        ("tag", vec!["a", "--model", &model("entities")]),
        (
            "answer",
            vec!["a", "--context", "b", "--model", &model("question")],
        ),
        (
            "choose",
            vec!["a", "--choice", "b", "--model", &model("choice")],
        ),
        ("order", vec!["a", "b"]),
        ("order --sort", vec!["a"]),
        ("similarity", vec!["a", "b"]),
        ("search", vec!["a", "--input", &corpus]),
        (
            "rerank",
            vec!["a", "--input", &corpus, "--model", &model("single")],
        ),
        ("neighbors", vec!["a", "b"]),
        ("tokenize", vec!["a"]),
    ] {
        let output = folder.path("out.arrow");
        let args = [
            &command.split(' ').collect::<Vec<_>>()[..],
            &args,
            &["--output", &output],
        ]
        .concat();
        cli(&args).ok();
        let schema = StreamReader::try_new(File::open(&output).unwrap(), None)
            .unwrap()
            .schema();
        let columns: Vec<_> = schema.fields().iter().map(|field| named(field)).collect();
        let line = format!("| `{command}` | `{}` |", columns.join(", "));
        assert!(docs.contains(&line), "docs/formats.md has no line\n{line}");
    }
}

#[test]
fn a_table_goes_to_a_pipe_too() {
    let folder = Folder::new();
    for format in ["parquet", "arrow"] {
        let file = File::create(folder.path(&format!("out.{format}"))).unwrap();
        finish(
            command()
                .args(["embed", "a", "b", "--format", format])
                .stdout(file),
        )
        .ok();
        assert_eq!(read(&folder.path(&format!("out.{format}"))).len(), 2);
    }
}

#[test]
fn no_texts_are_a_table_without_rows() {
    let folder = Folder::new();
    for ending in ["parquet", "arrow"] {
        let output = folder.path(&format!("out.{ending}"));
        cli_with(&["embed", "--output", &output], "").ok();
        assert!(read(&output).is_empty());
        assert_eq!(cli(&["tokenize", "--input", &output]).ok().stdout, "");
    }
}

#[test]
fn texts_come_from_a_table_s_column_from_files_and_pipes() {
    let folder = Folder::new();
    let texts: Vec<String> = (0..3000).map(|number| format!("text {number}")).collect();
    let expected = cli_with(&["tokenize"], texts.join("\n")).ok().stdout;
    let column: Vec<_> = texts.iter().map(|text| Some(text.as_str())).collect();
    for ending in ENDINGS {
        let file = folder.path(&format!("in.{ending}"));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter(0..3000));
        write(
            &file,
            vec![
                ("id", ids),
                ("text", strings(&column)),
                ("body", strings(&column)),
            ],
        );
        assert_eq!(
            cli(&["tokenize", "--input", &file]).ok().stdout,
            expected,
            "{ending}"
        );
        assert_eq!(
            cli(&["tokenize", "--input", &file, "--field", "body"])
                .ok()
                .stdout,
            expected
        );
        let format = if ending == "parquet" {
            "parquet"
        } else {
            "arrow"
        };
        let piped = cli_with(
            &["tokenize", "--input-format", format],
            fs::read(&file).unwrap(),
        )
        .ok();
        assert_eq!(piped.stdout, expected, "{ending}");
    }
}

#[test]
fn a_table_has_pairs_and_lists() {
    let folder = Folder::new();
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("b"), Some("c")]);
    lists.append_null();
    lists.append_value([Some("b"), None]);
    let choices: ArrayRef = Arc::new(lists.finish());
    let (choice, text) = (
        task_model("choice"),
        strings(&[Some("a"), Some("a"), Some("a")]),
    );
    let pair = strings(&[Some("x"), None, Some("")]);
    let expected = cli(&[
        "choose", "--model", &choice, "a", "--choice", "b", "--choice", "c",
    ])
    .ok()
    .row();
    for ending in ENDINGS {
        let file = folder.path(&format!("in.{ending}"));
        write(
            &file,
            vec![
                ("text", text.clone()),
                ("choices", choices.clone()),
                ("pair", pair.clone()),
            ],
        );
        let run = cli(&["choose", "--model", &choice, "--input", &file, "--skip-bad"]).ok();
        let rows = run.rows();
        assert_eq!(rows[0], expected);
        for row in &rows[1..] {
            assert!(
                row["error"]
                    .as_str()
                    .unwrap()
                    .contains("field `choices`: expected"),
                "{row}"
            );
        }
        let rows = cli(&[
            "tokenize",
            "--field",
            "text,pair",
            "--input",
            &file,
            "--skip-bad",
        ])
        .ok()
        .rows();
        assert_eq!(
            (&rows[0]["pair"], &rows[2]["pair"]),
            (&"x".into(), &"".into())
        );
        assert!(
            rows[1]["error"]
                .as_str()
                .unwrap()
                .contains("row 2: field `pair`"),
            "{}",
            rows[1]
        );
    }
}

#[test]
fn a_null_is_a_bad_row_and_a_column_that_is_not_there_ends_the_run() {
    let folder = Folder::new();
    for ending in ENDINGS {
        let file = folder.path(&format!("in.{ending}"));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        write(
            &file,
            vec![
                ("text", strings(&[Some("a"), None, Some("b")])),
                ("n", numbers),
            ],
        );
        let run = cli(&["tokenize", "--input", &file]);
        let run = run.fails(
            1,
            &[
                &format!("in.{ending}"),
                "row 2: field `text`: expected a string, found null",
            ],
        );
        assert_eq!(run.rows().len(), 1);
        let rows = cli(&["tokenize", "--input", &file, "--skip-bad"])
            .ok()
            .rows();
        assert_eq!(
            (rows.len(), &rows[1]["index"], &rows[2]["text"]),
            (3, &1.into(), &"b".into())
        );
        for more in [&[][..], &["--skip-bad"]] {
            let args = ["tokenize", "--input", &file, "--field"];
            let run = cli(&[&args[..], &["body"], more].concat());
            run.fails(1, &["no field `body`, found `text`, `n`"]);
            cli(&[&args[..], &["n"], more].concat())
                .fails(1, &["field `n`: expected strings, found Int64"]);
        }
    }
}

#[test]
fn a_broken_table_is_an_error_whatever_is_broken() {
    let folder = Folder::new();
    let texts: Vec<String> = (0..50).map(|number| format!("text {number}")).collect();
    let column: Vec<_> = texts.iter().map(|text| Some(text.as_str())).collect();
    for ending in ENDINGS {
        let file = folder.path(&format!("in.{ending}"));
        write(&file, vec![("text", strings(&column))]);
        let whole = fs::read(&file).unwrap();
        let name = format!("broken.{ending}");
        for part in 1..8 {
            let broken = folder.write(&name, &whole[..whole.len() * part / 8]);
            let run = cli(&["tokenize", "--input", &broken]);
            run.fails(1, &[&name]);
        }
        for place in (0..whole.len()).step_by(whole.len() / 16 + 1) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0xff;
            let broken = folder.write(&name, bytes);
            // The harness looks for panics.
            let run = cli(&["tokenize", "--input", &broken]);
            assert!(
                matches!(run.code, Some(0 | 1)),
                "{ending} {place}: {}",
                run.stderr
            );
        }
        let broken = folder.write(
            &name,
            "no table at all, but a text that is long enough to be one",
        );
        cli(&["tokenize", "--input", &broken]).fails(1, &[&name, "expected"]);
    }
    assert_eq!(
        cli_with(&["tokenize", "--input-format", "parquet"], "")
            .ok()
            .stdout,
        ""
    );
    assert_eq!(
        cli_with(&["tokenize", "--input-format", "arrow"], "")
            .ok()
            .stdout,
        ""
    );
    cli_with(&["tokenize", "--input-format", "arrow"], "FEA1....")
        .fails(1, &["Feather version 1", "\nhint: "]);
}

#[test]
fn a_failed_run_leaves_a_table_with_the_rows_before() {
    let folder = Folder::new();
    for ending in ["parquet", "arrow"] {
        let output = folder.path(&format!("out.{ending}"));
        cli_with(&["embed", "--output", &output], b"a\nb\n\xff\nc\n").fails(1, &["line 3"]);
        assert_eq!(read(&output).len(), 2);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for format in ["parquet", "arrow"] {
        let mut child = command()
            .args(["tokenize", "--quiet", "--format", format])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stdin = child.stdin.take().unwrap();
        drop(std::io::Write::write_all(
            &mut stdin,
            "a line of text\n".repeat(20_000).as_bytes(),
        ));
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{format}"
        );
    }
}

/// Reads every table that it is given with pyarrow and prints the rows as json lines.
const READS: &str = "
import json, sys, pyarrow.parquet as pq, pyarrow.ipc as ipc
for path in sys.argv[1:]:
    table = pq.read_table(path) if path.endswith('parquet') else ipc.open_stream(path).read_all()
    table.validate(full=True)
    for row in table.to_pylist():
        print(json.dumps(row))
";

/// Writes texts with pyarrow: every type of string, every compression.
const WRITES: &str = "
import sys, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as feather
texts = pa.array(['one', None, 'three, and longer than twelve bytes'])
types = {'utf8': pa.string(), 'large': pa.large_string(), 'view': pa.string_view(), 'binary': pa.binary()}
columns = {name: texts.cast(type) for name, type in types.items()}
columns['dictionary'] = texts.dictionary_encode()
table = pa.table(columns)
for name in ['none', 'snappy', 'gzip', 'lz4', 'zstd']:
    pq.write_table(table, f'{sys.argv[1]}/{name}.parquet', compression=name, row_group_size=2)
for name in ['uncompressed', 'lz4', 'zstd']:
    feather.write_feather(table, f'{sys.argv[1]}/{name}.feather', compression=name)
";

/// Runs where ALBERT_TABLES_PYTHON names a Python that has the package: `python -m venv v &&
/// v/bin/pip install pyarrow && ALBERT_TABLES_PYTHON=v/bin/python cargo test`.
#[test]
fn pyarrow_reads_our_tables_and_we_read_its() {
    let Ok(python) = std::env::var("ALBERT_TABLES_PYTHON") else {
        eprintln!("SKIPPED: ALBERT_TABLES_PYTHON names no Python with pyarrow");
        return;
    };
    let run = |script: &str, args: &[&str]| {
        finish(
            std::process::Command::new(&python)
                .args(["-c", script])
                .args(args),
        )
        .ok()
        .stdout
    };
    let folder = Folder::new();
    let bad = folder.write("bad.txt", b"A cat sleeps.\n\xff\nA dog barks.\n");
    for args in [
        &["embed", "--input", &bad, "--skip-bad"][..],
        &[
            "embed",
            "--pooling",
            "tokens",
            "--input",
            &bad,
            "--skip-bad",
        ],
        &["fill-mask", "The [MASK] barked at the [MASK]."],
        &["tokenize", "naïve", "--explain"],
    ] {
        let expected: Vec<Value> = cli(args).ok().rows().iter().map(bare).collect();
        for ending in ["parquet", "arrow"] {
            let output = folder.path(&format!("out.{ending}"));
            cli(&[args, &["--output", &output]].concat()).ok();
            let found: Vec<Value> = rows(&run(READS, &[&output])).iter().map(bare).collect();
            assert_eq!(found, expected, "{args:?} {ending}");
        }
    }
    run(WRITES, &[folder.as_str()]);
    let files = [
        "none.parquet",
        "snappy.parquet",
        "gzip.parquet",
        "lz4.parquet",
        "zstd.parquet",
    ];
    for name in files
        .into_iter()
        .chain(["uncompressed.feather", "lz4.feather", "zstd.feather"])
    {
        for field in ["utf8", "large", "view", "binary", "dictionary"] {
            let run = cli(&[
                "tokenize",
                "--input",
                &folder.path(name),
                "--field",
                field,
                "--skip-bad",
            ])
            .ok();
            let rows = run.rows();
            let texts: Vec<_> = rows.iter().map(|row| row["text"].as_str()).collect();
            assert_eq!(
                texts,
                [
                    Some("one"),
                    None,
                    Some("three, and longer than twelve bytes")
                ],
                "{name} {field}"
            );
        }
    }
}

/// The numbers of rows of an Arrow stream's batches.
fn batch_sizes(bytes: &[u8]) -> Vec<usize> {
    let reader = StreamReader::try_new(bytes, None).unwrap();
    reader.map(|batch| batch.unwrap().num_rows()).collect()
}

/// An Arrow stream of texts in batches of these sizes.
fn stream_of(sizes: &[usize]) -> Vec<u8> {
    let batch = |rows: usize| {
        let texts: Vec<String> = (0..rows).map(|row| format!("text {row}")).collect();
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        RecordBatch::try_from_iter([("text", texts)]).unwrap()
    };
    let mut writer = StreamWriter::try_new(Vec::new(), &batch(0).schema()).unwrap();
    for &rows in sizes {
        writer.write(&batch(rows)).unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn rows_may_have_the_record_batches_of_the_input() {
    let folder = Folder::new();
    for sizes in [&[0, 3, 0, 0, 1500, 1, 0][..], &[2], &[0], &[]] {
        let input = folder.write("in.arrow", stream_of(sizes));
        let output = folder.path("out.arrow");
        let tokenize = ["tokenize", "--row-batches", "as-input", "--output", &output];
        cli(&[&tokenize[..], &["--input", &input]].concat()).ok();
        assert_eq!(batch_sizes(&folder.read("out.arrow")), sizes);
        cli_with(&tokenize, stream_of(sizes)).ok();
        assert_eq!(batch_sizes(&folder.read("out.arrow")), sizes, "a pipe");
    }
    // Several inputs one after another, bad rows among them, and columns that are kept.
    let more = folder.write("more.arrow", stream_of(&[1, 2]));
    let input = folder.write("in.arrow", stream_of(&[0, 2]));
    let output = folder.path("out.arrow");
    let embed = ["embed", "--row-batches", "as-input", "--output", &output];
    let inputs = ["--input", &input, "--input", &more, "--keep", "all"];
    cli(&[&embed[..], &inputs].concat()).ok();
    assert_eq!(batch_sizes(&folder.read("out.arrow")), [0, 2, 1, 2]);

    let lines = folder.write("a.csv", "text\na\n");
    cli(&[&embed[..], &["--input", &lines]].concat()).fails(2, &["the input is csv"]);
    cli(&[&embed[..], &["a"]].concat()).fails(2, &["is for Arrow files"]);
    let jsonl = ["embed", "--row-batches", "as-input", "--input", &input];
    cli(&jsonl).fails(2, &["the output is jsonl", "\nhint: "]);
}
