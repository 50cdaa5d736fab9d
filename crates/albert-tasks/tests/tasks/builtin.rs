//! The model in the program: it knows some English, and it is the same model as its files in a
//! folder.

use albert_tasks::tools::inspect;
use albert_tasks::{BUILTIN, Embedder, Embedding, FillOptions, MaskFiller, ModelFiles, RunOptions};

fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(&a.vector, &b.vector) / (dot(&a.vector, &a.vector) * dot(&b.vector, &b.vector)).sqrt()
}

#[test]
fn similar_sentences_are_closer_than_dissimilar_ones() {
    let embedder = Embedder::load(
        &ModelFiles::resolve(BUILTIN).unwrap(),
        &RunOptions::default(),
    )
    .unwrap();
    let triples = [
        (
            "A man is playing a guitar.",
            "Someone plays an instrument.",
            "The stock market fell sharply.",
        ),
        (
            "How do I cook rice?",
            "What is the best way to boil rice?",
            "Where was the president born?",
        ),
        (
            "The cat sleeps on the sofa.",
            "A kitten is napping on the couch.",
            "The train was late again.",
        ),
    ];
    for (text, similar, other) in triples {
        let embeddings = embedder.embed(&[text, similar, other]).unwrap();
        let (near, far) = (
            cosine(&embeddings[0], &embeddings[1]),
            cosine(&embeddings[0], &embeddings[2]),
        );
        assert!(
            near > far,
            "{text}: {near} to `{similar}`, {far} to `{other}`"
        );
    }
}

#[test]
fn a_mask_is_filled_with_a_word_that_fits() {
    let filler = MaskFiller::load(&ModelFiles::builtin().unwrap(), &RunOptions::default()).unwrap();
    let filled = filler
        .fill_each(
            &["She opened the [MASK] and walked in."],
            &FillOptions::default(),
        )
        .pop()
        .unwrap()
        .unwrap();
    let tokens: Vec<&str> = filled.masks[0]
        .candidates
        .iter()
        .map(|candidate| candidate.token.as_str())
        .collect();
    assert!(tokens.contains(&"door"), "{tokens:?}");
}

#[test]
fn its_files_in_a_folder_are_the_same_model() {
    let builtin = ModelFiles::builtin().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    for (name, bytes) in albert_mini_en::FILES {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let embed = |files: &ModelFiles| {
        Embedder::load(files, &RunOptions::default())
            .unwrap()
            .embed(&["A quick test", "another"])
            .unwrap()
    };
    assert_eq!(
        embed(&builtin),
        embed(&ModelFiles::from_dir(dir.path()).unwrap())
    );
}

#[test]
fn every_tensor_has_its_use() {
    let inspection = inspect(&ModelFiles::builtin().unwrap(), &RunOptions::default()).unwrap();
    assert_eq!(inspection.model, BUILTIN);
    assert!(
        inspection.tensors.missing.is_empty(),
        "{:?}",
        inspection.tensors.missing
    );
    assert!(
        inspection.tensors.unused.is_empty(),
        "{:?}",
        inspection.tensors.unused
    );
}

#[test]
fn what_is_shown_for_debugging_holds_no_weights() {
    let files = ModelFiles::builtin().unwrap();
    assert_eq!(format!("{files:?}"), format!("ModelFiles({BUILTIN:?})"));
    let embedder = Embedder::load(&files, &RunOptions::default()).unwrap();
    let shown = format!("{embedder:?}");
    assert!(shown.len() < 20_000, "{} bytes", shown.len());
}
