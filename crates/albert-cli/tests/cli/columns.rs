//! Columns of the input that rows keep, and columns under other names.

use serde_json::{Value, json};

use crate::harness::{Folder, cli, cli_with, keys};

/// Records with columns of several types.
const RECORDS: &str = concat!(
    r#"{"id":7,"text":"one","lang":"en","meta":{"a":[1,2]}}"#,
    "\n",
    r#"{"id":8,"text":"two","lang":null,"meta":{"a":[]}}"#,
    "\n",
);

fn kept(args: &[&str]) -> Vec<Value> {
    let args = [&["tokenize", "--input-format", "jsonl", "--keep"], args].concat();
    cli_with(&args, RECORDS).ok().rows()
}

#[test]
fn columns_of_the_input_follow_those_of_the_rows() {
    let rows = kept(&["id,lang"]);
    assert_eq!(keys(&rows[0])[7..], ["id", "lang"]);
    assert_eq!(
        (&rows[0]["id"], &rows[0]["lang"]),
        (&json!(7), &json!("en"))
    );
    assert_eq!(
        (&rows[1]["id"], &rows[1]["lang"]),
        (&json!(8), &Value::Null)
    );
    let rows = kept(&["all"]);
    assert_eq!(keys(&rows[0])[7..], ["id", "lang", "meta"]);
    assert_eq!(rows[0]["meta"], json!({"a": [1, 2]}));
}

#[test]
fn csv_keeps_and_renames_columns() {
    let folder = Folder::new();
    let input = folder.write("a.csv", "id,text\n007,one\n");
    let run = cli(&[
        "embed",
        "--input",
        &input,
        "--format",
        "csv",
        "--keep",
        "all",
        "--column-name",
        "embedding=vector",
        "--column-name",
        "index=row",
    ])
    .ok();
    let header = run.stdout.lines().next().unwrap();
    assert_eq!(header, "row,text,tokens,truncated,vector,id");
    assert!(run.stdout.trim_end().ends_with(",007"), "{}", run.stdout);
}

#[test]
fn a_bad_row_has_no_kept_columns() {
    let bad = format!("{RECORDS}nonsense\n");
    let args = [
        "tokenize",
        "--input-format",
        "jsonl",
        "--keep",
        "id",
        "--skip-bad",
    ];
    let rows = cli_with(&args, &bad).ok().rows();
    assert_eq!(keys(&rows[2]), ["index", "error"]);
    let csv = cli_with(&[&args[..], &["--format", "csv"]].concat(), bad).ok();
    assert_eq!(csv.stdout.lines().count(), 4);
}

#[test]
fn columns_that_cannot_be_are_refused_before_anything_is_written() {
    let folder = Folder::new();
    let output = folder.write("a.jsonl", "precious\n");
    let input = folder.write("in.jsonl", "{\"text\":\"a\",\"index\":1}\n");
    let embed =
        |more: &[&str]| cli(&[&["embed", "--input", &input, "--output", &output], more].concat());
    embed(&["--keep", "index"]).fails(
        1,
        &["a column `index`", "\nhint: ", "--column-name index=NAME"],
    );
    let csv = folder.write("b.csv", "text\na\n");
    cli(&["tokenize", "--input", &csv, "--keep", "absent"]).fails(1, &["no field `absent`"]);
    let twice = folder.write("twice.csv", "text,id,id,text\na,1,2,b\n");
    let from = |more: &[&str]| cli(&[&["embed", "--input", &twice], more].concat());
    from(&[]).fails(
        1,
        &["expected one column `text`, found two: columns 1 and 4"],
    );
    from(&["--field", "id"]).fails(1, &["columns 2 and 3"]);
    let twice = folder.write("twice.tsv", "text\tid\tid\na\t1\t2\n");
    cli(&["tokenize", "--input", &twice]).ok();
    cli(&["tokenize", "--input", &twice, "--keep", "id"]).fails(1, &["columns 2 and 3"]);
    cli(&["tokenize", "--input", &twice, "--keep", "all"])
        .fails(1, &["two columns of the input are named `id`"]);
    embed(&["--column-name", "vector=v"]).fails(2, &["no column `vector`", "embedding"]);
    embed(&["--column-name", "index=text"]).fails(2, &["two columns are named `text`"]);
    embed(&["--column-name", "index"]).fails(2, &["OLD=NEW"]);
    embed(&["--keep", "index", "--resume"]).fails(2, &["`--resume`"]);
    embed(&["--keep", "index", "--format", "npy"]).fails(2, &["the format `npy` has none"]);
    assert_eq!(folder.read("a.jsonl"), b"precious\n");
    cli_with(&["tokenize", "--keep", "id"], "a line\n").fails(2, &["lines have no columns"]);
    let renamed = cli(&[
        "embed",
        "--input",
        &input,
        "--keep",
        "index",
        "--column-name",
        "index=row",
    ])
    .ok()
    .row();
    assert_eq!(
        keys(&renamed),
        ["row", "text", "tokens", "truncated", "embedding", "index"]
    );
}

#[cfg(feature = "parquet")]
#[test]
fn tables_keep_columns_with_the_types_of_their_values() {
    let folder = Folder::new();
    let input = folder.write("in.jsonl", RECORDS);
    for extension in ["parquet", "arrow"] {
        let table = folder.path(&format!("a.{extension}"));
        cli(&[
            "embed",
            "--input",
            &input,
            "--output",
            &table,
            "--keep",
            "id,lang,meta",
            "--column-name",
            "embedding=vector",
        ])
        .ok();
        // The table is an input again, whose columns show their types.
        let rows = cli(&["tokenize", "--input", &table, "--keep", "id,lang,meta"])
            .ok()
            .rows();
        assert_eq!(
            (&rows[0]["id"], &rows[0]["lang"]),
            (&json!(7), &json!("en"))
        );
        assert_eq!(rows[0]["meta"], json!(r#"{"a":[1,2]}"#));
        assert_eq!(rows[1]["lang"], Value::Null);
        cli(&["search", "one", "--embeddings", &table]).fails(1, &["no field `embedding`"]);
    }
}

#[test]
fn hits_and_ranked_texts_keep_and_rename_columns() {
    let folder = Folder::new();
    let csv = "id;text\na1;A cat sleeps.\na2;Stocks fell.\na3;The cat ran.\n";
    let input = folder.write("a.csv", csv);
    let options = ["--input", &input, "--delimiter", ";", "--keep", "id"];
    let search = [&["search", "a cat", "--top-k", "2"], &options[..]].concat();
    let rows = cli(&search).ok().rows();
    let ids = ["a1", "a2", "a3"];
    let has_its_id = |row: &Value| row["id"] == ids[row["index"].as_u64().unwrap() as usize];
    assert!(rows.len() == 2 && rows.iter().all(has_its_id), "{rows:?}");
    let named = [&search[..], &["--column-name", "cosine=score"]].concat();
    let row = cli(&named).ok().rows().remove(0);
    assert_eq!(
        keys(&row),
        ["query", "rank", "index", "text", "score", "id"]
    );
    // The texts of saved vectors are looked up, and their columns with them.
    let vectors = folder.path("v.npy");
    let embed = ["embed", "--input", &input, "--delimiter", ";", "--output"];
    cli(&[&embed[..], &[&vectors]].concat()).ok();
    let looked_up = cli(&[&search[..], &["--embeddings", &vectors]].concat());
    assert_eq!(looked_up.ok().rows(), rows);
    let model = crate::harness::task_model("single");
    let rerank = [&["rerank", "a cat", "--model", &model], &options[..]].concat();
    let rows = cli(&rerank).ok().rows();
    assert!(rows.len() == 3 && rows.iter().all(has_its_id), "{rows:?}");

    let alone = ["search", "a", "--embeddings", &vectors];
    for option in [["--keep", "id"], ["--delimiter", ";"], ["--field", "id"]] {
        cli(&[&alone[..], &option].concat()).fails(2, &[option[0], "needs `--input`"]);
    }
    let clash = folder.write("b.csv", "rank,text\n1,A cat.\n");
    for command in [["search", "a", "--input"], ["rerank", "a", "--input"]] {
        let kept = [&command[..], &[&clash, "--keep", "rank", "--model"]].concat();
        cli(&[&kept[..], &[&model]].concat()).fails(1, &["a column `rank`", "\nhint: "]);
    }
    cli(&[&rerank[..], &["--column-name", "nothing=x"]].concat()).fails(2, &["no column"]);
}
