//! Comparing and searching by embeddings, and what a model without the asked head says.

use albert_tasks::{
    Answerer, Chooser, Classifier, Embedder, Error, MaskFiller, ModelFiles, Orderer, RunOptions,
    Searcher, SimilarityScorer, Tagger, ZeroShotClassifier, ZeroShotOptions,
};

use crate::pipelines::model;
use crate::support::{message, options, tiny};

/// f32 products of lengths near 1.
const TOLERANCE: f32 = 1e-6;

const CORPUS: [&str; 5] = [
    "A man is playing a guitar.",
    "The river runs through the old town.",
    "",
    "A man is playing a guitar.",
    "Nobody knew what the letter said.",
];

#[test]
fn the_cosine_is_that_of_the_embeddings() {
    let embedder = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    let embeddings = embedder.embed(&CORPUS).unwrap();
    let similarity = SimilarityScorer::new(embedder);
    let answers = similarity.compare(&[
        (CORPUS[0], CORPUS[1]),
        (CORPUS[2], CORPUS[4]),
        (CORPUS[0], CORPUS[3]),
    ]);
    let cosines: Vec<f32> = answers
        .unwrap()
        .into_iter()
        .map(|answer| answer.cosine)
        .collect();
    // The tiny model's embeddings have length 1.
    let dot = |a: usize, b: usize| -> f32 {
        embeddings[a]
            .vector
            .iter()
            .zip(&embeddings[b].vector)
            .map(|(a, b)| a * b)
            .sum()
    };
    for (found, expected) in cosines.iter().zip([dot(0, 1), dot(2, 4), 1.0]) {
        assert!((found - expected).abs() <= TOLERANCE, "{found} {expected}");
    }
}

#[test]
fn the_best_hits_come_first_and_equals_in_the_order_of_the_corpus() {
    let searcher = Searcher::load(&tiny(), &RunOptions::default()).unwrap();
    let all = searcher.search(CORPUS[0], &CORPUS, 99).unwrap();
    assert_eq!(all.len(), CORPUS.len());
    assert_eq!((all[0].index, all[1].index), (0, 3));
    assert!(all.is_sorted_by(|a, b| a.cosine >= b.cosine));
    assert!(
        all.iter()
            .all(|hit| hit.text.as_deref() == Some(CORPUS[hit.index]))
    );
    assert_eq!(searcher.search(CORPUS[0], &CORPUS, 2).unwrap(), all[..2]);
    assert!(searcher.search(CORPUS[0], &CORPUS, 0).unwrap().is_empty());
    assert!(searcher.search::<&str>("a", &[], 3).unwrap().is_empty());
}

#[test]
fn a_search_piece_by_piece_or_over_vectors_finds_the_same() {
    let searcher = Searcher::load(&tiny(), &options(None, 1)).unwrap();
    let whole = searcher.search("the town", &CORPUS, 3).unwrap();
    let mut pieces = searcher.start("the town", 3).unwrap();
    for text in &CORPUS {
        pieces.add_texts(&[text]).unwrap();
    }
    assert_eq!(pieces.hits(), whole);
    let mut vectors = searcher.start("the town", 3).unwrap();
    for embedding in searcher.embedder().embed(&CORPUS).unwrap() {
        vectors.add_vector(&embedding.vector, None).unwrap();
    }
    let hits = vectors.hits();
    assert!(
        hits.iter()
            .zip(&whole)
            .all(|(a, b)| (a.index, a.cosine) == (b.index, b.cosine) && a.text.is_none())
    );
}

#[test]
fn a_bad_row_counts_and_is_never_a_hit() {
    let searcher = Searcher::load(&tiny(), &RunOptions::default()).unwrap();
    let dim = searcher.embedder().dim();
    let mut search = searcher.start("the town", 9).unwrap();
    search.add_vector(&vec![f32::NAN; dim], None).unwrap();
    search.skip();
    search.add_texts(&["the river"]).unwrap();
    assert!(matches!(
        search.add_vector(&[1.0], None),
        Err(Error::VectorWidth { found: 1, .. })
    ));
    assert_eq!(search.seen(), 3);
    let hits = search.hits();
    assert_eq!(hits.iter().map(|hit| hit.index).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_model_without_the_head_says_what_it_serves() {
    let hint = |error: Error| error.hint().unwrap();
    let options = RunOptions::default();
    let missing = Classifier::load(&tiny(), &options).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("AlbertForSequenceClassification"),
        "{missing}"
    );
    assert_eq!(
        hint(missing),
        "this model can be loaded as `Embedder`, `SimilarityScorer`, `Searcher`, `Orderer`, `MaskFiller`"
    );
    assert_eq!(
        hint(Tagger::load(&model("sentiment"), &options).unwrap_err()),
        "this model can be loaded as `Classifier`, `ZeroShotClassifier`"
    );
    assert_eq!(
        hint(Classifier::load(&model("entities"), &options).unwrap_err()),
        "this model can be loaded as `Tagger`"
    );
    assert_eq!(
        hint(ZeroShotClassifier::load(&model("choice"), &options).unwrap_err()),
        "this model can be loaded as `Chooser`"
    );
    for error in [
        Answerer::load(&model("choice"), &options).unwrap_err(),
        Chooser::load(&model("question"), &options).unwrap_err(),
        Orderer::load(&model("rating"), &options).unwrap_err(),
        MaskFiller::load(&model("topics"), &options).unwrap_err(),
    ] {
        assert!(hint(error).starts_with("this model can be loaded as "));
    }
}

#[test]
fn zero_shot_needs_labels_a_place_for_them_and_two_classes() {
    let load =
        |files: ModelFiles, max_length| ZeroShotClassifier::load(&files, &options(max_length, 64));
    assert_eq!(
        message(load(model("rating"), None)),
        "zero-shot needs a natural language inference model: expected at least 2 labels, found 1"
    );
    let zero_shot = load(model("nli"), Some(9)).unwrap();
    let ask = |labels: &[&str], hypothesis: &str| {
        let options = ZeroShotOptions::default()
            .with_hypothesis(hypothesis.to_string())
            .with_multi_label(false);
        zero_shot.classify(&["a text that is longer than the model"], labels, &options)
    };
    assert_eq!(message(ask(&[], "{}")), "no labels: expected at least one");
    assert!(message(ask(&["a"], "It is.")).contains("expected `{}` where the label goes"));
    assert!(
        message(ask(&["the river runs through the old town"], "{}"))
            .starts_with("the hypothesis takes ")
    );
    assert!(ask(&["the river", "the town"], "{}").unwrap()[0].truncated);
}
