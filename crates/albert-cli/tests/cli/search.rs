//! `search`: the best hits out of texts or saved vectors.

use std::fs;

use serde_json::Value;

use crate::harness::{DIMENSION, Folder, cli, cli_with, keys};

const CORPUS: &str = "Stocks fell sharply on Monday.\nA kitten naps on the sofa.\n\nThe train is late.\nA dog sleeps.\n";

const QUERY: &str = "a resting animal";

/// The outputs of `embed`, one file for each format.
const VECTORS: &[&str] = &[
    "v.npy",
    "v.safetensors",
    "v.json",
    "v.jsonl",
    "v.csv",
    #[cfg(feature = "parquet")]
    "v.parquet",
    #[cfg(feature = "parquet")]
    "v.arrow",
];

fn indices(rows: &[Value]) -> Vec<u64> {
    rows.iter()
        .map(|row| row["index"].as_u64().unwrap())
        .collect()
}

#[test]
fn rows_are_the_best_hits_in_order() {
    let rows = cli_with(&["search", QUERY], CORPUS).ok().rows();
    assert_eq!(rows.len(), 5);
    assert_eq!(keys(&rows[0]), ["query", "rank", "index", "text", "cosine"]);
    let lines: Vec<&str> = CORPUS.lines().collect();
    for (rank, row) in rows.iter().enumerate() {
        assert_eq!(
            (&row["query"], &row["rank"]),
            (&QUERY.into(), &(rank + 1).into())
        );
        assert_eq!(row["text"], lines[row["index"].as_u64().unwrap() as usize]);
    }
    assert!(rows.is_sorted_by(|a, b| a["cosine"].as_f64() >= b["cosine"].as_f64()));
    assert!([1, 4].contains(&indices(&rows)[0]), "{rows:?}");
}

#[test]
fn neither_texts_nor_vectors_are_written_over() {
    let folder = Folder::new();
    let (texts, vectors) = (
        folder.write("texts.jsonl", "{\"text\":\"a\"}\n"),
        folder.path("v.csv"),
    );
    cli(&["embed", "--input", &texts, "--output", &vectors]).ok();
    for output in [&texts, &vectors] {
        let before = fs::read(output).unwrap();
        let run = cli(&[
            "search",
            QUERY,
            "--embeddings",
            &vectors,
            "--input",
            &texts,
            "--output",
            output,
        ]);
        run.fails(2, &["is both the input and the output"]);
        assert_eq!(fs::read(output).unwrap(), before);
    }
}

#[test]
fn the_cosine_is_that_of_similarity() {
    let rows = cli_with(&["search", QUERY, "--top-k", "1"], CORPUS)
        .ok()
        .rows();
    assert_eq!(rows.len(), 1);
    let alone = cli(&["similarity", QUERY, rows[0]["text"].as_str().unwrap()])
        .ok()
        .row();
    let difference = alone["cosine"].as_f64().unwrap() - rows[0]["cosine"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5, "{difference}");
}

#[test]
fn ten_hits_unless_told_otherwise() {
    let corpus: String = (0..30)
        .map(|number| format!("Text number {number}.\n"))
        .collect();
    assert_eq!(cli_with(&["search", "a"], &corpus).ok().rows().len(), 10);
    let all = cli_with(
        &["search", "a", "--top-k", "99", "--batch-tokens", "16"],
        &corpus,
    )
    .ok();
    assert_eq!(all.rows().len(), 30);
    assert!(all.stderr.starts_with("30 rows, "), "{}", all.stderr);
    cli_with(&["search", "a", "--top-k", "0"], &corpus).fails(2, &["from 1"]);
    assert_eq!(cli_with(&["search", "a"], "").ok().stdout, "");
}

#[test]
fn vectors_that_embed_wrote_give_the_same_hits() {
    let folder = Folder::new();
    let corpus = folder.write("corpus.txt", CORPUS);
    let direct = cli(&["search", QUERY, "--input", &corpus]).ok().rows();
    for name in VECTORS {
        let vectors = folder.path(name);
        cli(&["embed", "--input", &corpus, "--output", &vectors]).ok();
        let run = cli(&["search", QUERY, "--embeddings", &vectors]).ok();
        let found = run.rows();
        assert_eq!(indices(&found), indices(&direct), "{name}");
        let has_text = !["v.npy", "v.safetensors"].contains(name);
        assert!(found.iter().zip(&direct).all(|(a, b)| a["text"]
            == if has_text {
                b["text"].clone()
            } else {
                Value::Null
            }));
        let with_texts = cli(&[
            "search",
            QUERY,
            "--embeddings",
            &vectors,
            "--input",
            &corpus,
        ])
        .ok()
        .rows();
        assert!(
            with_texts
                .iter()
                .zip(&direct)
                .all(|(a, b)| a["text"] == b["text"]),
            "{name}"
        );
    }
}

#[test]
fn bad_rows_count_and_are_never_found() {
    let folder = Folder::new();
    let corpus = folder.write("corpus.txt", b"A dog sleeps.\nb\xffd\nA kitten naps.\n");
    cli(&["search", QUERY, "--input", &corpus]).fails(1, &["line 2", "UTF-8"]);
    let run = cli(&["search", QUERY, "--input", &corpus, "--skip-bad"]).ok();
    let mut direct = indices(&run.rows());
    direct.sort_unstable();
    assert_eq!(direct, [0, 2]);
    assert!(
        run.stderr.contains("skipped: ") && run.stderr.contains("(1 bad)"),
        "{}",
        run.stderr
    );
    for name in VECTORS {
        let vectors = folder.path(name);
        cli(&[
            "embed",
            "--input",
            &corpus,
            "--skip-bad",
            "--output",
            &vectors,
        ])
        .ok();
        let mut found = indices(
            &cli(&["search", QUERY, "--embeddings", &vectors])
                .ok()
                .rows(),
        );
        found.sort_unstable();
        assert_eq!(found, direct, "{name}");
    }
}

#[test]
fn files_that_are_no_vectors_are_refused() {
    let folder = Folder::new();
    let search = |path: &str| cli(&["search", QUERY, "--embeddings", path]);
    search("/no/such.npy").fails(1, &["/no/such.npy"]);
    search(&folder.write("a.txt", "text")).fails(
        2,
        &[
            "npy, safetensors, json, jsonl, csv, parquet or arrow",
            "\nhint: ",
        ],
    );
    search(&folder.write("a.npy", "text")).fails(1, &["a.npy", "NumPy"]);
    search(&folder.write("a.jsonl", "{\"text\":\"a\"}\n")).fails(1, &["line 1", "embedding"]);
    search(&folder.write("b.jsonl", "{\"embedding\":[1.0]}\n"))
        .fails(1, &["expected embeddings of", "found 1", "\nhint: "]);
    search(&folder.write("a.csv", "a,b\n1,2\n")).fails(1, &["no field `embedding`"]);
    // A run that was killed leaves a header of no rows.
    let path = folder.path("cut.npy");
    cli(&["embed", "a", "b", "--output", &path]).ok();
    let whole = folder.read("cut.npy");
    folder.write("cut.npy", &whole[..whole.len() - 4]);
    search(&path).fails(1, &["cut.npy", "interrupted"]);
}

#[test]
fn the_table_ranks_for_people() {
    let run = cli_with(
        &["search", QUERY, "--format", "table", "--top-k", "2"],
        CORPUS,
    )
    .ok();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!((lines[0], lines.len()), (" rank   cosine   index  text", 3));
    assert!(lines[1].starts_with("    1   0."), "{}", run.stdout);
    let csv = cli_with(
        &["search", QUERY, "--format", "csv", "--top-k", "1"],
        CORPUS,
    )
    .ok()
    .stdout;
    assert!(
        csv.starts_with("query,rank,index,text,cosine\na resting animal,1,"),
        "{csv}"
    );
}

#[test]
fn a_search_needs_a_query_and_a_corpus() {
    cli(&["search"]).fails(2, &["QUERY"]);
    cli(&["search", "a", "b"]).fails(2, &[]);
    cli(&["search", "a", "--pair", "b"]).fails(2, &["--pair"]);
    cli(&["search", "a", "--input", "/no/such/file"]).fails(1, &["/no/such/file"]);
    cli(&["search", "a", "--embeddings", "v.npy", "--field", "text"]).fails(2, &["--input"]);
}

#[test]
fn vectors_that_are_not_finite_are_counted_and_no_hit() {
    let folder = Folder::new();
    let vector = |value: &str| {
        format!(
            "{{\"text\":\"{value}\",\"embedding\":[{}]}}\n",
            [value; DIMENSION].join(",")
        )
    };
    let vectors = folder.write("a.jsonl", vector("1e39") + &vector("0.5"));
    let run = cli(&["search", "a", "--embeddings", &vectors]).ok();
    assert_eq!((run.rows().len(), &run.rows()[0]["index"]), (1, &1.into()));
    assert!(
        run.stderr.contains("1 of 2 vectors are not finite"),
        "{}",
        run.stderr
    );
}

/// The prompts `query` and `document` of a folder, as sentence-transformers' `encode_query` and
/// `encode_document` take them.
#[test]
fn the_prompts_of_a_folder_are_those_of_queries_and_documents() {
    let folder = Folder::with_model_files(&[
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]);
    let prompts = r#"{"prompts": {"query": "find: ", "document": "text: "}}"#;
    folder.write("config_sentence_transformers.json", prompts);
    let texts = "A cat sleeps.\nStocks fell.\nThe river runs.\n";
    let search = |more: &[&str]| {
        let args = ["search", "river", "--model", folder.as_str()];
        cli_with(&[&args[..], more].concat(), texts).ok().rows()
    };
    let own = search(&[]);
    let given = ["--query-prompt", "find: ", "--document-prompt", "text: "];
    assert_eq!(own, search(&given));
    assert_ne!(
        own,
        search(&["--query-prompt", "", "--document-prompt", ""])
    );
    let named = search(&["--prompt-name", "query"]);
    assert_eq!(
        named,
        search(&["--query-prompt", "find: ", "--document-prompt", "find: "])
    );
    // The cosine is that of the two embeddings.
    let embed = |prompt: &str, text: &str| {
        let args = [
            "embed",
            text,
            "--model",
            folder.as_str(),
            "--prompt",
            prompt,
        ];
        crate::harness::floats(&cli(&args).ok().row()["embedding"])
    };
    let query = embed("find: ", "river");
    for hit in &own {
        let vector = embed("text: ", hit["text"].as_str().unwrap());
        let cosine: f32 = query.iter().zip(&vector).map(|(a, b)| a * b).sum();
        assert!(
            (f64::from(cosine) - hit["cosine"].as_f64().unwrap()).abs() < 1e-5,
            "{hit}"
        );
    }
    let with_name = [
        "embed",
        "river",
        "--model",
        folder.as_str(),
        "--prompt-name",
        "query",
    ];
    assert_eq!(
        crate::harness::floats(&cli(&with_name).ok().row()["embedding"]),
        query
    );
}
