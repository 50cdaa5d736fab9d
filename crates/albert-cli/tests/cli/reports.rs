//! Public reports of inputs that programs of this kind get wrong, and the test that holds each here.
//!
//! The inputs were made for this project; those that are not in the repository are run again from
//! a folder that the variable `ALBERT_REPORTS` names, if it is set.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Folder, Run, cli, floats};

/// A report, by repository and number, or a kind of fault; the file of its test from `crates/`, and
/// the test.
const TESTS: &[(&str, &str, &str)] = &[
    (
        "rust-csv#7: lines that end in CR alone",
        "albert-cli/tests/cli/inputs.rs",
        "lines_that_end_in_a_return_alone_are_lines",
    ),
    (
        "an input without a row",
        "albert-cli/tests/cli/inputs.rs",
        "an_input_without_a_row_is_said",
    ),
    (
        "qsv#4580: an output emptied by an error",
        "albert-cli/tests/cli/streams.rs",
        "a_failure_before_the_first_row_leaves_an_existing_output_alone",
    ),
    (
        "sentence-transformers#3575: max_seq_length",
        "albert-tasks/tests/tasks/folders.rs",
        "the_shortest_of_the_limits_on_length_holds",
    ),
    (
        "a network in 0_Transformer",
        "albert-tasks/tests/tasks/folders.rs",
        "a_network_in_a_folder_of_its_own_is_the_same_model",
    ),
    (
        "the same at the Hub",
        "albert-tasks/tests/tasks/hub.rs",
        "a_network_in_a_folder_of_its_own_is_fetched_and_found_again",
    ),
    (
        "mlx-lm#661, transformers#47838: extra_special_tokens",
        "albert-tasks/tests/tasks/spiece.rs",
        "extra_special_tokens_are_a_list_or_names_with_tokens",
    ),
    (
        "added tokens next to a spiece.model; TokenizersBackend",
        "albert-tasks/tests/tasks/spiece.rs",
        "tokens_that_a_tokenizer_json_adds_are_taken_out_as_transformers_5_does",
    ),
    (
        "google-research/albert#237: 30k-clean.model",
        "albert-tasks/tests/tasks/spiece.rs",
        "googles_archives_name_their_files_otherwise",
    ),
    (
        "the same, converted",
        "albert-tasks/tests/tasks/convert.rs",
        "googles_names_of_a_tokenizer_become_those_of_transformers",
    ),
    (
        "huggingface_hub#2797, datasets#7900: a read-only cache",
        "albert-tasks/tests/tasks/hub.rs",
        "a_cache_that_cannot_be_written_serves_what_it_has",
    ),
    (
        "deepmd-kit#4147, open_clip#1078, pytorch#134346: objects in a pickle",
        "albert-model/tests/layouts.rs",
        "every_layout_gives_the_numbers_of_transformers_and_all_give_the_same",
    ),
    (
        "tensors of types that are not read",
        "albert-model/tests/layouts.rs",
        "entries_that_are_not_read_are_listed_as_unused",
    ),
    (
        "sentence-transformers#3402, candle#1632: a root before the names",
        "albert-model/tests/layouts.rs",
        "the_report_says_what_was_chosen_and_taken_off",
    ),
    (
        "peft#310: an adapter; torch.save(model)",
        "albert-model/tests/layouts.rs",
        "an_adapter_and_a_model_saved_whole_are_refused_with_the_way_out",
    ),
    (
        "datasets#6908: compressed inputs",
        "albert-cli/tests/cli/inputs.rs",
        "compression_is_recognized_by_its_content",
    ),
    (
        "Parquet and Arrow under any name",
        "albert-cli/tests/cli/inputs.rs",
        "tables_are_recognized_by_their_content",
    ),
    (
        "airbyte#1246: NaN in JSON",
        "albert-cli/tests/cli/inputs.rs",
        "numbers_of_python_s_json_do_not_matter_in_other_fields",
    ),
    (
        "NaN in config.json",
        "albert-tasks/tests/tasks/folders.rs",
        "numbers_that_are_not_finite_do_not_matter_where_nobody_reads_them",
    ),
    (
        "text-embeddings-inference#244: prompts by name",
        "albert-cli/tests/cli/search.rs",
        "the_prompts_of_a_folder_are_those_of_queries_and_documents",
    ),
    (
        "sentence-transformers#1058: the activation of a cross-encoder",
        "albert-tasks/src/classify/score_function.rs",
        "the_activation_of_a_cross_encoder_comes_first",
    ),
    (
        "transformers#17706: align_to_words, answers",
        "albert-tasks/tests/tasks/options.rs",
        "several_answers_agree_with_the_pipeline",
    ),
    (
        "the same: entities",
        "albert-cli/tests/cli/labels.rs",
        "words_without_spaces_are_tagged_token_by_token_if_asked",
    ),
    (
        "transformers#6150: lines with tabs",
        "albert-cli/tests/cli/inputs.rs",
        "a_line_is_one_text_unless_pairs_are_asked_for",
    ),
    (
        "a text far longer than the model",
        "albert-tasks/tests/long_text_memory.rs",
        "a_text_far_longer_than_the_model_takes_what_its_beginning_takes",
    ),
    (
        "the same: its tokens",
        "albert-tasks/tests/tasks/options.rs",
        "a_far_too_long_text_has_the_first_tokens_of_the_whole",
    ),
    (
        "separators of CSV",
        "albert-cli/tests/cli/inputs.rs",
        "a_separator_is_an_option_a_line_or_a_hint",
    ),
    (
        "UTF-16, with a mark and without",
        "albert-cli/tests/cli/inputs.rs",
        "text_in_two_bytes_a_character_is_named",
    ),
    (
        "safetensors#414: files under each other's names",
        "albert-model/tests/layouts.rs",
        "every_layout_gives_the_numbers_of_transformers_and_all_give_the_same",
    ),
    (
        "BPE and character models",
        "albert-tasks/tests/tasks/spiece.rs",
        "models_of_pairs_and_of_characters_are_cut_as_the_slow_albert_tokenizer_does",
    ),
    (
        "huggingface_hub#4492: a cache without refs",
        "albert-tasks/tests/tasks/hub.rs",
        "without_the_branch_the_only_commit_in_the_cache_is_taken",
    ),
    (
        "BERTopic#1244: a name without its owner",
        "albert-tasks/src/hub/error.rs",
        "a_name_without_an_owner_gets_the_likely_one",
    ),
    (
        "nested fields, commas in names",
        "albert-cli/tests/cli/inputs.rs",
        "a_field_may_be_nested_or_have_a_comma_in_its_name",
    ),
    (
        "nested and run-end encoded columns",
        "albert-cli/tests/cli/inputs.rs",
        "nested_and_run_end_encoded_columns_are_read",
    ),
    (
        "columns of words",
        "albert-cli/tests/cli/inputs.rs",
        "tag_reads_a_column_of_words",
    ),
    (
        "a hundred masks",
        "albert-cli/tests/cli/fill_mask.rs",
        "a_hundred_masks_are_filled_together",
    ),
    (
        "ties between cuts",
        "albert-tasks/src/tokenizer/sentencepiece/unigram.rs",
        "of_equal_cuts_the_one_whose_longer_piece_comes_last_wins",
    ),
    (
        "a truncated Arrow file",
        "albert-cli/tests/cli/inputs.rs",
        "an_arrow_file_that_is_cut_is_an_error_wherever_it_is_cut",
    ),
    (
        "an Arrow stream without its end mark",
        "albert-cli/tests/cli/inputs.rs",
        "a_stream_without_its_end_mark_is_read_and_said",
    ),
    (
        "embeddings of an interrupted run",
        "albert-cli/tests/cli/inputs.rs",
        "interrupted_embeddings_are_refused",
    ),
    (
        "rows of CSV lost in silence",
        "albert-cli/tests/cli/inputs.rs",
        "no_row_of_csv_is_lost",
    ),
    (
        "CSV as Python reads it",
        "albert-data/src/delimited.rs",
        "ten_thousand_files_are_read_as_python_reads_them",
    ),
    (
        "a storage with fewer bytes than announced",
        "albert-tasks/tests/tasks/hub.rs",
        "a_storage_with_fewer_bytes_than_announced_is_given_up",
    ),
    (
        "http addresses through a proxy",
        "albert-tasks/tests/tasks/hub.rs",
        "a_proxy_is_used_unless_the_host_is_excepted",
    ),
    (
        "Location: HTTP://",
        "albert-tasks/src/hub/address.rs",
        "a_redirect_is_relative_to_where_it_came_from",
    ),
    (
        "a token that is not ASCII",
        "albert-tasks/src/hub/settings.rs",
        "a_token_that_no_header_can_hold_is_refused_at_once",
    ),
    (
        "206 without Content-Range",
        "albert-tasks/tests/tasks/hub.rs",
        "what_an_earlier_run_left_damaged_is_fetched_anew",
    ),
    (
        "sparse files in a model's folder",
        "albert-formats/src/small_file.rs",
        "a_sparse_file_is_refused_by_its_size",
    ),
    (
        "pipes and devices in a model's folder",
        "albert-formats/src/small_file.rs",
        "pipes_and_devices_are_not_opened",
    ),
    (
        "all tokens of a long text",
        "albert-tasks/tests/long_text_memory.rs",
        "all_tokens_of_a_long_text_take_a_few_bytes_for_each_of_its_own",
    ),
    (
        "windows of a long text",
        "albert-tasks/tests/long_text_memory.rs",
        "windows_of_a_long_text_take_a_few_bytes_for_each_token",
    ),
    (
        "long lines in a pipe",
        "albert-data/src/feed.rs",
        "few_long_lines_are_read_ahead",
    ),
    (
        "a header without an end",
        "albert-data/tests/memory.rs",
        "a_header_without_an_end_takes_little_memory",
    ),
    (
        "a full disk",
        "albert-cli/tests/cli/signals.rs",
        "a_full_disk_leaves_a_whole_file_of_the_rows_that_fit_and_says_how_many",
    ),
    (
        "SIGINT and SIGTERM",
        "albert-cli/tests/cli/signals.rs",
        "a_signal_completes_the_output_in_every_format",
    ),
    (
        "--help to a closed output",
        "albert-cli/tests/cli/streams.rs",
        "a_standard_output_that_was_closed_before_the_start_is_an_error",
    ),
    (
        "a folder whose path is not UTF-8",
        "albert-cli/tests/cli/inspect.rs",
        "a_folder_whose_path_is_not_utf8_is_a_model",
    ),
    (
        "a sentence-order head with other labels",
        "albert-tasks/tests/tasks/forward.rs",
        "a_sentence_order_head_of_any_width_is_written",
    ),
    (
        "RUST_MIN_STACK, RAYON_NUM_THREADS, ALBERT_KERNELS",
        "albert-cli/tests/cli/usage.rs",
        "the_environment_sets_what_options_do_not",
    ),
    (
        "forward --ids -1",
        "albert-cli/tests/cli/forward.rs",
        "ids_that_are_negative_are_named",
    ),
    (
        "inspect of a broken tokenizer",
        "albert-cli/tests/cli/inspect.rs",
        "a_tokenizer_that_cannot_be_read_is_a_failure_and_none_is_not",
    ),
    (
        "little address space",
        "albert-cli/tests/cli/reports.rs",
        "little_address_space_is_enough",
    ),
    (
        "big-endian Arrow",
        "albert-data/src/batches/ipc.rs",
        "big_endian_values_are_refused_by_name",
    ),
    (
        "vectors that are not finite",
        "albert-cli/tests/cli/search.rs",
        "vectors_that_are_not_finite_are_counted_and_no_hit",
    ),
    (
        "Brotli, LZO and encrypted Parquet",
        "albert-cli/tests/cli/inputs.rs",
        "codecs_and_encryption_that_are_not_read_are_named",
    ),
    (
        "columns of one name in csv",
        "albert-data/src/delimited.rs",
        "a_field_that_two_columns_have_ends_the_reading",
    ),
    (
        "columns of one name in a table",
        "albert-data/src/table.rs",
        "a_field_that_two_columns_have_is_refused",
    ),
    (
        "an unclosed quote under --skip-bad",
        "albert-cli/tests/cli/inputs.rs",
        "a_quote_that_is_never_closed_has_its_row",
    ),
];

#[test]
fn every_report_has_its_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (report, file, test) in TESTS {
        let source = fs::read_to_string(crates.join(file)).unwrap();
        let name = format!("fn {test}()");
        assert!(source.contains(&name), "{report}: no `{name}` in {file}");
    }
}

/// A fault of allocators: an arena of 64 MB for each thread.
#[cfg(target_os = "linux")]
#[test]
fn little_address_space_is_enough() {
    use std::process::Command;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -v 150000; exec \"$0\" embed 'a text'"])
        .arg(env!("CARGO_BIN_EXE_albert-cli"));
    crate::harness::isolate(&mut shell);
    let run = crate::harness::finish(shell.env("RAYON_NUM_THREADS", "2")).ok();
    assert_eq!(run.rows().len(), 1);
}

/// The folder of the inputs, if the variable names it.
fn reports() -> Option<PathBuf> {
    let folder = env::var_os("ALBERT_REPORTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: ALBERT_REPORTS names no folder with the inputs of reports");
    }
    folder
}

/// f32 sums in another order than the reference's, on numbers up to about 2.
const TOLERANCE: f32 = 1e-5;

fn assert_begins(vector: &Value, expected: &[f32]) {
    let found = floats(vector);
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < TOLERANCE,
            "{found}, expected {expected}"
        );
    }
}

fn assert_score(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap();
    assert!(
        (found - expected).abs() < f64::from(TOLERANCE),
        "{found}, expected {expected}"
    );
}

fn texts(run: Run) -> Vec<String> {
    let rows = run.ok().rows();
    let text = |row: &Value| row["text"].as_str().unwrap().to_string();
    rows.iter().map(text).collect()
}

#[test]
fn the_inputs_of_reports_give_their_right_values() {
    let Some(folder) = reports() else { return };
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let model = |name: &str| path(&format!("models/{name}"));
    let read = |name: &str, more: &[&str]| {
        texts(cli(&[&["tokenize", "--input", &path(name)], more].concat()))
    };
    // Rows.
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            "cr-only.csv",
            &[],
            &["first row", "second row", "third row"],
        ),
        ("rows.jsonl.gz", &[], &["one", "two"]),
        ("rows.csv.gz", &[], &["one", "two"]),
        ("gz-named.jsonl", &[], &["one", "two"]),
        ("nan.jsonl", &[], &["one", "two", "three"]),
        ("tabs.txt", &[], &["Name:\tAlice", "A\tB\tC", "plain"]),
        (
            "struct.parquet",
            &["--field", "data.text"],
            &["nested one", "nested two"],
        ),
        ("nested.jsonl", &["--field", "data.text"], &["nested"]),
        ("comma-col.csv", &["--field", "\"Review, long\""], &["nice"]),
        ("ree.arrow", &[], &["r", "r", "s"]),
        ("whole.arrow", &[], &["row 0", "row 1", "row 2", "row 3"]),
        ("emptyq2.csv", &[], &["", "a"]),
        ("q4.csv", &[], &["abc\r", "x"]),
        (
            "csv_random_031.csv",
            &[],
            &["x y\r", "a\r\n0x y", "😀", "é", "a,", ",\"\r0"],
        ),
        ("blankfirst_crlf.csv", &[], &["hello", "world"]),
        (
            "endmark.csv",
            &[],
            &["hello", "\0end of input\0", "rest", "rest2"],
        ),
    ];
    for (name, more, expected) in rows {
        assert_eq!(read(name, more), *expected, "{name}");
    }
    let semicolons = read("semicolon.csv", &["--delimiter", ";"]);
    assert!(!semicolons.is_empty());
    for (name, words) in [
        ("semicolon.csv", "--delimiter ';'"),
        ("emptyheader.csv", "no field `text`"),
        ("file_cut.arrow", "found the end"),
    ] {
        cli(&["tokenize", "--input", &path(name)]).fails(1, &[words]);
    }
    let output = Folder::new();
    let existing = output.write("a.jsonl", "precious\n");
    for name in ["good.csv", "good.jsonl"] {
        let input = path(name);
        let args = [
            "embed", "--input", &input, "--field", "txet", "--output", &existing,
        ];
        cli(&args).fails(1, &["no field `txet`"]);
        assert_eq!(output.read("a.jsonl"), b"precious\n");
    }
    // Models.
    let embed = |name: &str, more: &[&str]| {
        cli(&[&["embed", "--model", &model(name)], more].concat())
            .ok()
            .rows()
    };
    let long = embed("st-a", &["--input", &path("st-texts.txt")]);
    assert_eq!(long[1]["tokens"], 64);
    assert_begins(
        &long[1]["embedding"],
        &[-1.084_828_4, -0.398_852_97, -0.963_677_4],
    );
    // transformers 4.46.3, mean over the last hidden state.
    for name in [
        "np-scalar",
        "namespace",
        "device",
        "extra-bool",
        "px-0auto",
        "px-peft",
        "renamed",
        "stbin",
    ] {
        let rows = embed(name, &["one two", "--normalize", "false"]);
        assert_begins(
            &rows[0]["embedding"],
            &[-1.262_531_9, -0.363_474_04, -0.972_596_7],
        );
    }
    for (name, words) in [
        ("adapter", "LoRA adapter for `albert/albert-base-v2`"),
        ("peft-unmerged", "not merged"),
        ("whole", "model.state_dict()"),
    ] {
        cli(&["embed", "one two", "--model", &model(name)]).fails(1, &[words]);
    }
    let ids = |name: &str, text: &str| {
        let row = cli(&["tokenize", text, "--model", &model(name)]).ok().row();
        serde_json::from_value::<Vec<u32>>(row["ids"].clone()).unwrap()
    };
    let text = "[E1] Alice [E2] runs.";
    assert_eq!(
        ids("v5-spiece", text),
        [2, 600, 18, 548, 21, 601, 527, 15, 9, 3]
    );
    assert_eq!(
        ids("spm-bpe", "Hello world"),
        [2, 261, 322, 98, 21, 9, 322, 323, 3]
    );
    let characters = [2, 5, 16, 6, 14, 14, 10, 5, 27, 10, 12, 14, 15, 3];
    assert_eq!(ids("spm-char", "Hello world"), characters);
    let row = cli(&["classify", text, "--model", &model("v5-spiece")])
        .ok()
        .row();
    assert_eq!(row["labels"][0]["label"], "LABEL_1");
    assert_score(&row["labels"][0]["score"], 0.59636);
    let pair = [
        "classify",
        "one two",
        "--pair",
        "three",
        "--model",
        &model("ce-identity-old"),
    ];
    assert_score(&cli(&pair).ok().row()["labels"][0]["score"], 0.590_144_2);
    // torch 2.15 on the ids of transformers 4.46.3's slow AlbertTokenizer; the score that the
    // report names belongs to a question that it does not name.
    let context = "oneword-without-any-space,and-another.end";
    let ask = [
        "answer",
        "what",
        "--context",
        context,
        "--align-to-words",
        "false",
        "--model",
        &model("qa"),
    ];
    let answer = cli(&ask).ok().row();
    assert_eq!((&answer["start"], &answer["end"]), (&6.into(), &7.into()));
    assert_score(&answer["score"], 0.002_235_99);
    let search = [
        "search",
        "river",
        "--model",
        &model("st-prompts"),
        "--input",
        &path("docs.txt"),
    ];
    let hits = cli(&search).ok().rows();
    for (hit, (text, cosine)) in hits.iter().zip([
        ("a short text", 0.99505),
        ("the river runs", 0.98717),
        ("numbers 1 2 3", 0.97755),
    ]) {
        assert_eq!(hit["text"], text);
        assert_score(&hit["cosine"], cosine);
    }
    let inspected = cli(&["inspect", "--model", &model("albert_tiny")]).ok();
    assert!(
        inspected.stdout.contains("30k-clean.model"),
        "{}",
        inspected.stdout
    );
    let converted = output.path("converted");
    cli(&[
        "convert",
        "--model",
        &model("albert_tiny"),
        "--output",
        &converted,
    ])
    .ok();
    assert!(Path::new(&converted).join("spiece.model").exists());
    let tensors = output.path("a.safetensors");
    let logits = ["--outputs", "logits", "--output", &tensors];
    let forward = [
        "forward",
        "--model",
        &model("sop_other_than_2"),
        "--ids",
        "2,4,3",
    ];
    cli(&[&forward[..], &logits].concat()).ok();
    let header = String::from_utf8_lossy(&output.read("a.safetensors")).into_owned();
    assert!(header.contains("\"sop_logits\":{\"dtype\":\"F32\",\"shape\":[1,5]"));
}
