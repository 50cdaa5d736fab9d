//! Inputs that people have: odd line ends, separators, compression, nested fields, truncated files.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::{Folder, Run, cli, cli_with, command};

fn texts(run: Run) -> Vec<String> {
    let rows = run.ok().rows();
    let text = |row: &serde_json::Value| row["text"].as_str().unwrap().to_string();
    rows.iter().map(text).collect()
}

/// The texts of a file with this name.
fn read(name: &str, content: impl AsRef<[u8]>, more: &[&str]) -> Vec<String> {
    texts(run(name, content, more))
}

fn run(name: &str, content: impl AsRef<[u8]>, more: &[&str]) -> Run {
    let folder = Folder::new();
    let file = folder.write(name, content);
    cli(&[&["tokenize", "--input", &file], more].concat())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn lines_that_end_in_a_return_alone_are_lines() {
    let expected = ["first row", "second row", "third row"];
    let csv = "text,id\rfirst row,1\rsecond row,2\rthird row,3\r";
    assert_eq!(read("a.csv", csv, &[]), expected);
    assert_eq!(read("a.tsv", csv.replace(',', "\t"), &[]), expected);
    assert_eq!(read("a.txt", expected.join("\r"), &[]), expected);
    let jsonl = expected.map(|text| format!("{{\"text\":\"{text}\"}}"));
    assert_eq!(read("a.jsonl", jsonl.join("\r"), &[]), expected);
}

#[test]
fn no_row_of_csv_is_lost() {
    assert_eq!(read("a.csv", "text\r\n\"\"\r\na\r\n", &[]), ["", "a"]);
    assert_eq!(read("a.csv", "text\n\"abc\r\"\nx\r\n", &[]), ["abc\r", "x"]);
    let lines = ["hello", "world"];
    assert_eq!(read("a.csv", "\r\ntext\r\nhello\r\nworld\r\n", &[]), lines);
    let marked = "text\nhello\n\0end of input\0\nrest\n";
    assert_eq!(
        read("a.csv", marked, &[]),
        ["hello", "\0end of input\0", "rest"]
    );
    run("a.csv", ",,\ntext,b,c\nhello,1,2\n", &[]).fails(1, &["line 1: no field `text`"]);
}

#[test]
fn a_quote_that_is_never_closed_has_its_row() {
    let content = "id,text\n1,a\n2,\"open\n3,b\n";
    let words = ["line 3: expected a closing quote, found the end of the input"];
    assert_eq!(run("a.csv", content, &[]).fails(1, &words).rows().len(), 1);
    let rows = run("a.csv", content, &["--skip-bad"]).ok().rows();
    assert_eq!((rows.len(), &rows[1]["index"]), (2, &1.into()));
    assert!(rows[1]["error"].as_str().unwrap().contains("line 3"));
}

#[test]
fn an_input_without_a_row_is_said() {
    for (name, content) in [
        ("a.csv", "id,text\n"),
        ("a.jsonl", " \n\n"),
        ("a.tsv", "text\n"),
    ] {
        let run = run(name, content, &[]).ok();
        assert!(run.stdout.is_empty());
        assert!(run.stderr.contains("bytes but no rows"), "{}", run.stderr);
    }
    assert!(!cli_with(&["tokenize"], "").ok().stderr.contains("no row"));
}

#[test]
fn compression_is_recognized_by_its_content() {
    let jsonl = b"{\"text\":\"one\"}\n{\"text\":\"two\"}\n";
    let expected = ["one", "two"];
    let packed = [gzip(jsonl), zstd::encode_all(&jsonl[..], 1).unwrap()];
    for packed in &packed {
        for name in ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl"] {
            assert_eq!(read(name, packed, &[]), expected, "{name}");
        }
        let args = ["tokenize", "--input-format", "jsonl"];
        assert_eq!(texts(cli_with(&args, packed)), expected);
        let half = &packed[..packed.len() - 6];
        run("a.jsonl", half, &[]).fails(1, &["cannot read", "truncated"]);
    }
    assert_eq!(read("a.csv.gz", gzip(b"text\none\n"), &[]), ["one"]);
    assert_eq!(read("a.txt", gzip(b"one\n"), &[]), ["one"]);
    run("a.txt", "BZh91AY&SY...", &[]).fails(1, &["found bzip2", "\nhint: "]);
    run("a.csv", "PK\x03\x04...", &[]).fails(1, &["found a ZIP archive", "\nhint: "]);
}

#[test]
fn a_pipe_is_recognized_without_waiting_for_more_of_it() {
    use std::io::{BufRead, BufReader};
    let mut child = command()
        .arg("tokenize")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    // Beginnings of magic numbers, and a line that ends in a return whose second half comes later.
    for (line, text) in [("P\n", "P"), ("PAR\r", "PAR"), ("\nb\n", "b")] {
        stdin.write_all(line.as_bytes()).unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.contains(&format!("\"text\":\"{text}\"")), "{answer}");
    }
    drop(stdin);
    assert!(answers.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn numbers_of_python_s_json_do_not_matter_in_other_fields() {
    let jsonl = "{\"id\":1,\"text\":\"one\",\"score\":NaN}\n{\"text\":\"two\",\"score\":-Infinity}\n\
                 {\"score\":[Infinity],\"text\":\"three\"}\n";
    assert_eq!(read("a.jsonl", jsonl, &[]), ["one", "two", "three"]);
    run("a.jsonl", "{\"text\":NaN}\n", &[]).fails(1, &["expected a string, found a number"]);
    run("a.jsonl", "{\"text\":\"a\",\"x\":nan}\n", &[]).fails(1, &["expected JSON"]);
}

#[test]
fn a_separator_is_an_option_a_line_or_a_hint() {
    let csv = "id;text\n1;hello there\n2;\"good; bye\"\n";
    let expected = ["hello there", "good; bye"];
    assert_eq!(read("a.csv", csv, &["--delimiter", ";"]), expected);
    assert_eq!(read("a.csv", format!("sep=;\r\n{csv}"), &[]), expected);
    run("a.csv", csv, &[]).fails(1, &["no field `text`", "\nhint: ", "`--delimiter ';'`"]);
    let tabs = csv.replace(';', "\t");
    assert_eq!(
        read("a.csv", &tabs, &["--delimiter", "\\t"])[0],
        "hello there"
    );
    run("a.csv", &tabs, &[]).fails(1, &["\nhint: ", "a tab"]);
    run("a.jsonl", "{}", &["--delimiter", ";"]).fails(2, &["`--delimiter` applies to csv"]);
    run("a.csv", csv, &["--delimiter", ";;"]).fails(2, &["one ASCII character"]);
}

#[test]
fn text_in_two_bytes_a_character_is_named() {
    for content in ["id,text\n1,é\n", "\u{feff}id,text\n1,é\n"] {
        let little: Vec<u8> = content.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = content.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big] {
            for name in ["a.txt", "a.csv", "a.tsv", "a.jsonl"] {
                run(name, &bytes, &["--skip-bad"]).fails(1, &["found UTF-16", "iconv"]);
            }
            cli_with(&["tokenize"], &bytes).fails(1, &["standard input", "found UTF-16"]);
        }
    }
}

#[test]
fn a_field_may_be_nested_or_have_a_comma_in_its_name() {
    let nested = "{\"data\":{\"text\":\"nested\"}}\n";
    assert_eq!(
        read("a.jsonl", nested, &["--field", "data.text"]),
        ["nested"]
    );
    let flat = "data.text\nflat\n";
    assert_eq!(read("a.csv", flat, &["--field", "data.text"]), ["flat"]);
    let comma = "\"Review, long\",id\nnice,1\n";
    assert_eq!(
        read("a.csv", comma, &["--field", "\"Review, long\""]),
        ["nice"]
    );
    run("a.csv", comma, &["--field", "\"Review"]).fails(2, &["--field"]);
}

#[test]
fn a_line_is_one_text_unless_pairs_are_asked_for() {
    let content = "Name:\tAlice\nA\tB\tC\nplain\n";
    let expected = ["Name:\tAlice", "A\tB\tC", "plain"];
    assert_eq!(read("a.txt", content, &[]), expected);
    let folder = Folder::new();
    let file = folder.write("a.txt", content);
    assert_eq!(texts(cli(&["embed", "--input", &file])), expected);
    let run = run("a.txt", content, &["--pairs", "--skip-bad"]).ok();
    let rows = run.rows();
    assert_eq!(
        (&rows[0]["text"], &rows[0]["pair"]),
        (&"Name:".into(), &"Alice".into())
    );
    assert!(
        rows[1]["error"]
            .as_str()
            .unwrap()
            .contains("at most one tab")
    );
    assert!(rows[2].get("pair").is_none());
    cli(&["score", "--pairs", "--input", &file]).fails(2, &["--pairs"]);
    cli(&["tokenize", "--pairs", "a\tb"]).fails(2, &["`--pairs` applies to files"]);
}

#[test]
fn a_wide_header_is_refused_in_few_words() {
    let csv = format!("{}\nx\n", "column,".repeat(10_000));
    let run = run("a.csv", csv, &["--input-format", "csv"]).fails(1, &["no field `text`"]);
    assert!(run.stderr.len() < 1000, "{}", run.stderr.len());
    let csv = format!("{}\nx\n", "column,".repeat(1_000_000));
    let folder = Folder::new();
    let file = folder.write("a.csv", csv);
    cli(&["tokenize", "--input", &file]).fails(1, &["bytes in the header"]);
    drop(fs::remove_file(file));
}

#[cfg(feature = "parquet")]
mod tables {
    use std::fs::File;
    use std::sync::Arc;

    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, RecordBatch, RunArray, StringArray, StructArray};
    use arrow_ipc::writer::{FileWriter, StreamWriter};
    use arrow_schema::{DataType, Field};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn batch(name: &str, column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([(name, column)]).unwrap()
    }

    fn strings(texts: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(texts.to_vec()))
    }

    /// An Arrow file or stream of several batches, as bytes.
    fn arrow(batches: &[RecordBatch], is_file: bool) -> Vec<u8> {
        let schema = batches[0].schema();
        let mut bytes = Vec::new();
        if is_file {
            let mut writer = FileWriter::try_new(&mut bytes, &schema).unwrap();
            batches
                .iter()
                .for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        } else {
            let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
            batches
                .iter()
                .for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
        bytes
    }

    fn parquet(batch: &RecordBatch) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn two() -> Vec<RecordBatch> {
        vec![
            batch("text", strings(&["a", "b"])),
            batch("text", strings(&["c", "d"])),
        ]
    }

    /// The places where a message of a stream ends, so that a stream may be cut there.
    fn message_ends(bytes: &[u8]) -> Vec<usize> {
        let begins = |at: &usize| bytes[*at..].starts_with(&[0xff; 4]);
        (8..bytes.len() - 4).filter(begins).collect()
    }

    #[test]
    fn an_arrow_file_that_is_cut_is_an_error_wherever_it_is_cut() {
        let whole = arrow(&two(), true);
        assert_eq!(read("a.arrow", &whole, &[]), ["a", "b", "c", "d"]);
        let ends = message_ends(&whole);
        assert!(ends.len() >= 4, "{ends:?}");
        for end in ends.into_iter().chain([whole.len() - 1, whole.len() - 6]) {
            let words = ["truncated", "\nhint: the run that wrote it was interrupted"];
            let run = run("a.arrow", &whole[..end], &[]).fails(1, &words);
            assert_eq!(run.stdout, "", "known before the first row");
            let args = ["tokenize", "--input-format", "arrow"];
            cli_with(&args, &whole[..end]).fails(1, &["standard input"]);
        }
    }

    #[test]
    fn an_end_mark_in_an_arrow_file_s_middle_is_an_error() {
        let mut bytes = arrow(&two(), true);
        let ends = message_ends(&bytes);
        // The second batch is overwritten by what looks like the end of the stream.
        bytes[ends[2] + 4..ends[2] + 8].fill(0);
        run("a.arrow", &bytes, &[]).fails(1, &["expected 2 record batches, found 1"]);
    }

    #[test]
    fn a_stream_without_its_end_mark_is_read_and_said() {
        let whole = arrow(&two(), false);
        let ends = message_ends(&whole);
        let cut = &whole[..*ends.last().unwrap()];
        let run = run("a.arrow", cut, &[]);
        assert!(run.stderr.contains("no end mark"), "{}", run.stderr);
        assert_eq!(texts(run), ["a", "b", "c", "d"]);
        let args = ["tokenize", "--input-format", "arrow"];
        assert!(cli_with(&args, cut).ok().stderr.contains("no end mark"));
        for part in [2, 4] {
            let cut = &whole[..ends.last().unwrap() + part];
            super::run("a.arrow", cut, &[]).fails(1, &["a.arrow"]);
        }
        let twice = [&whole[..], &whole[..]].concat();
        super::run("a.arrow", twice, &[]).fails(1, &["found more bytes"]);
    }

    #[test]
    fn interrupted_embeddings_are_refused() {
        let folder = Folder::new();
        let file = folder.path("a.arrow");
        cli(&["embed", "a", "b", "--output", &file]).ok();
        let whole = folder.read("a.arrow");
        let cut = folder.write("cut.arrow", &whole[..whole.len() - 8]);
        let empty = [
            folder.write("a.parquet", ""),
            folder.write("empty.arrow", ""),
        ];
        cli(&["search", "a", "--embeddings", &file]).ok();
        for file in empty.iter().chain([&cut]) {
            cli(&["search", "a", "--embeddings", file])
                .fails(1, &["\nhint: the run that wrote it was interrupted"]);
        }
    }

    #[test]
    fn tables_are_recognized_by_their_content() {
        let table = batch("text", strings(&["a", "b"]));
        let stream = arrow(std::slice::from_ref(&table), false);
        let file = arrow(std::slice::from_ref(&table), true);
        let parquet = parquet(&table);
        for name in ["a", "a.txt", "a.csv", "a.parquet", "a.arrow"] {
            for bytes in [&stream, &file, &parquet] {
                assert_eq!(read(name, bytes, &[]), ["a", "b"], "{name}");
                assert_eq!(read(name, gzip(bytes), &[]), ["a", "b"], "{name}, gzip");
            }
        }
        for bytes in [&stream, &file, &parquet] {
            assert_eq!(texts(cli_with(&["tokenize"], bytes)), ["a", "b"]);
        }
        run("a.txt", &parquet, &["--input-format", "csv"]).fails(1, &["found a Parquet file"]);
        assert_eq!(read("a.txt", "PAR1 is magic\nARROW1\n", &[]).len(), 2);
    }

    #[test]
    fn nested_and_run_end_encoded_columns_are_read() {
        let field = Arc::new(Field::new("text", DataType::Utf8, true));
        let nested: ArrayRef = Arc::new(StructArray::from(vec![(field, strings(&["x", "y"]))]));
        let table = batch("data", nested);
        for (name, bytes) in [
            ("a.parquet", parquet(&table)),
            ("a.arrow", arrow(std::slice::from_ref(&table), true)),
        ] {
            assert_eq!(read(name, &bytes, &["--field", "data.text"]), ["x", "y"]);
            run(name, &bytes, &["--field", "data.txt"]).fails(1, &["no field `data.txt`"]);
            run(name, &bytes, &["--field", "data"]).fails(1, &["expected strings, found Struct"]);
        }
        let values = StringArray::from(vec!["a", "b"]);
        let runs: RunArray<Int32Type> = RunArray::try_new(&vec![2, 3].into(), &values).unwrap();
        let bytes = arrow(&[batch("text", Arc::new(runs))], true);
        assert_eq!(read("a.arrow", bytes, &[]), ["a", "a", "b"]);
    }

    /// The codec of a column in a Parquet file's metadata: field 4 after the path, a Thrift integer.
    #[test]
    fn codecs_and_encryption_that_are_not_read_are_named() {
        let bytes = parquet(&batch("text", strings(&["a"])));
        let path_and_codec = b"\x19\x18\x04text\x15";
        let at = bytes
            .windows(path_and_codec.len())
            .rposition(|it| it == path_and_codec);
        let codec = at.unwrap() + path_and_codec.len();
        for (number, name) in [(3, "LZO"), (4, "Brotli")] {
            let mut bytes = bytes.clone();
            bytes[codec] = number << 1;
            let words = [
                "column `text`",
                "snappy, gzip, zstd or lz4",
                name,
                "\nhint: ",
            ];
            run("a.parquet", bytes, &[]).fails(1, &words);
        }
        // An encrypted footer has a magic number of its own.
        let mut encrypted = bytes;
        let end = encrypted.len() - 4;
        encrypted[..4].copy_from_slice(b"PARE");
        encrypted[end..].copy_from_slice(b"PARE");
        run("a.parquet", encrypted, &[]).fails(1, &["found an encrypted Parquet file"]);
    }

    #[test]
    fn tag_reads_a_column_of_words() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("Alice"), Some("runs")]);
        lists.append_value([Some("to"), Some("Paris"), Some(".")]);
        let table = batch("tokens", Arc::new(lists.finish()));
        let model = crate::harness::task_model("entities");
        for (name, bytes) in [
            ("a.parquet", parquet(&table)),
            ("a.arrow", arrow(std::slice::from_ref(&table), true)),
        ] {
            let folder = Folder::new();
            let file = folder.write(name, bytes);
            let args = [
                "tag", "--model", &model, "--field", "tokens", "--input", &file,
            ];
            let rows = cli(&args).ok().rows();
            assert_eq!((rows.len(), &rows[1]["text"]), (2, &"to Paris .".into()));
            let entities = rows
                .iter()
                .flat_map(|row| row["entities"].as_array().unwrap());
            assert!(
                entities.clone().count() > 0
                    && entities.clone().all(|it| it["first_word"].is_u64())
            );
        }
    }

    #[test]
    fn lists_where_texts_belong_are_named() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("Alice"), Some("runs")]);
        let bytes = parquet(&batch("text", Arc::new(lists.finish())));
        run("a.parquet", bytes, &[]).fails(1, &["field `text`: expected strings, found List"]);
    }

    #[test]
    fn an_empty_file_is_an_empty_table() {
        let folder = Folder::new();
        let file = folder.path("a.parquet");
        File::create(&file).unwrap();
        assert_eq!(cli(&["tokenize", "--input", &file]).ok().stdout, "");
    }
}
