//! A text's result does not depend on its batch, and no length fails.

use albert_tasks::{
    Answerer, Chooser, Classifier, Embedder, FillOptions, Forwarder, MaskFiller, ModelFiles,
    Orderer, PoolingMode, RunOptions, Searcher, SimilarityScorer, Tagger, Tokenizer,
    VectorQuantizer, ZeroShotClassifier,
};

use crate::support::{max_difference, message, options, tiny};

/// Products of other widths sum in another order in f32; values up to 3.
const ROUNDING: f32 = 2e-6;

const TEXTS: [&str; 6] = [
    "A man is playing a guitar.",
    "",
    "the river",
    "She opened the [MASK] and walked in.",
    "The train leaves the station at nine in the morning and the streets are empty.",
    " \t\n ",
];

#[test]
fn every_pipeline_can_be_shared_between_threads() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<ModelFiles>();
    assert_shared::<Tokenizer>();
    assert_shared::<Embedder>();
    assert_shared::<VectorQuantizer>();
    assert_shared::<SimilarityScorer>();
    assert_shared::<Searcher>();
    assert_shared::<MaskFiller>();
    assert_shared::<Classifier>();
    assert_shared::<ZeroShotClassifier>();
    assert_shared::<Tagger>();
    assert_shared::<Answerer>();
    assert_shared::<Chooser>();
    assert_shared::<Orderer>();
    assert_shared::<Forwarder>();
}

#[test]
fn a_batch_is_each_text_alone() {
    for mode in PoolingMode::ALL.map(|(mode, _)| mode) {
        let load = |batch_tokens| {
            Embedder::load(&tiny(), &options(None, batch_tokens))
                .unwrap()
                .with_pooling(mode)
                .unwrap()
        };
        let together = load(4096).embed(&TEXTS).unwrap();
        let alone = load(0).embed(&TEXTS).unwrap();
        for (together, alone) in together.iter().zip(&alone) {
            assert_eq!(together.tokens, alone.tokens);
            let difference = max_difference(&together.vector, &alone.vector);
            assert!(difference <= ROUNDING, "{mode}: {difference}");
        }
    }
}

#[test]
fn filled_texts_keep_their_order_and_their_errors() {
    let filler = MaskFiller::load(&tiny(), &RunOptions::default()).unwrap();
    let filled = filler.fill_each(&TEXTS, &FillOptions::default());
    for (index, (filled, text)) in filled.into_iter().zip(TEXTS).enumerate() {
        match filled {
            Ok(filled) => {
                assert_eq!(index, 3);
                let alone = filler
                    .fill_each(&[text], &FillOptions::default())
                    .pop()
                    .unwrap()
                    .unwrap();
                assert_eq!(filled.masks[0].position, alone.masks[0].position);
                let scores = |text: &albert_tasks::FilledText| -> Vec<f32> {
                    text.masks[0]
                        .candidates
                        .iter()
                        .map(|candidate| candidate.score)
                        .collect()
                };
                assert!(max_difference(&scores(&filled), &scores(&alone)) <= ROUNDING);
            }
            Err(error) => assert_eq!(
                error.to_string(),
                "no `[MASK]` in the text: expected at least one"
            ),
        }
    }
}

#[test]
fn nothing_gives_nothing_and_an_empty_text_is_two_tokens() {
    let embedder = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    assert!(embedder.embed::<&str>(&[]).unwrap().is_empty());
    let embeddings = embedder.embed(&["", "  \n"]).unwrap();
    assert_eq!(embeddings[0].tokens, 2);
    assert_eq!(embeddings[0], embeddings[1]);
    assert!(embeddings[0].vector.iter().all(|value| value.is_finite()));
}

#[test]
fn token_vectors_pool_to_the_embedding() {
    let embedder = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    let embedder = embedder
        .with_pooling(PoolingMode::Mean)
        .unwrap()
        .with_normalize(false);
    let tokens = &embedder.embed_tokens(&TEXTS).unwrap()[0];
    let embedding = &embedder.embed(&TEXTS).unwrap()[0];
    assert_eq!(
        (tokens.pieces[0].as_str(), tokens.pieces.len()),
        ("[CLS]", embedding.tokens)
    );
    let mean: Vec<f32> = (0..embedder.dim())
        .map(|dim| {
            tokens.vectors.iter().map(|vector| vector[dim]).sum::<f32>()
                / tokens.vectors.len() as f32
        })
        .collect();
    assert!(max_difference(&mean, &embedding.vector) <= ROUNDING);
}

#[test]
fn a_pair_has_types_of_its_own() {
    let embedder = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    let pair = &embedder.embed(&[("the river", "the town")]).unwrap()[0];
    let swapped = &embedder.embed(&[("the town", "the river")]).unwrap()[0];
    assert_eq!(pair.tokens, 7);
    assert!(max_difference(&pair.vector, &swapped.vector) > 0.01);
}

#[test]
fn cutting_dimensions_normalizes_again_only_when_asked() {
    let load = || Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    let norm = |embedder: Embedder| -> f32 {
        let vector = embedder.embed(&["the river"]).unwrap().remove(0).vector;
        assert_eq!(vector.len(), 10);
        vector.iter().map(|value| value * value).sum::<f32>().sqrt()
    };
    assert!(norm(load().with_truncate_dim(10).unwrap()) < 0.99);
    assert!((norm(load().with_truncate_dim(10).unwrap().with_normalize(true)) - 1.0).abs() < 1e-6);
    for dim in [0, 49] {
        let error = message(load().with_truncate_dim(dim));
        assert_eq!(
            error,
            format!("embeddings cannot be cut to {dim} dimensions: expected 1 to 48")
        );
    }
}

#[test]
fn a_mask_behind_the_models_length_is_its_own_error() {
    let text = "the river and the town ".repeat(9) + "[MASK]";
    let filler = MaskFiller::load(&tiny(), &options(Some(16), 4096)).unwrap();
    let filled = filler.fill_each(&[text.as_str(), "the [MASK]"], &FillOptions::default());
    let [long, short] = <[_; 2]>::try_from(filled).unwrap();
    assert_eq!(
        message(long),
        "1 of 1 `[MASK]` lie beyond the first 16 tokens of the text"
    );
    assert!(!short.unwrap().truncated);
    let before = filler
        .fill_each(
            &[format!("the [MASK] {}", &text[..180])],
            &FillOptions::default(),
        )
        .pop()
        .unwrap();
    assert!(before.unwrap().truncated);
}

#[test]
fn targets_outside_the_vocabulary_and_beyond_the_length_are_errors() {
    let filler = MaskFiller::load(&tiny(), &RunOptions::default()).unwrap();
    let fill = |text: &str, target: &str| {
        let options = FillOptions::default().with_targets(vec![target.to_string()]);
        filler.fill_each(&[text], &options).pop().unwrap()
    };
    for target in ["東京", ""] {
        assert_eq!(
            message(fill("the [MASK]", target)),
            format!("target `{target}` is outside the vocabulary")
        );
    }
    let long = "river ".repeat(60);
    let error = message(fill("the [MASK]", &long));
    assert!(
        error.ends_with("makes the text 63 tokens long: expected at most 40"),
        "{error}"
    );
}

#[test]
fn a_length_without_room_for_text_is_refused() {
    for length in [0, 2] {
        let error = message(Embedder::load(&tiny(), &options(Some(length), 64)));
        assert_eq!(
            error,
            format!(
                "max length {length} leaves no room for text: expected more than the 2 special tokens"
            )
        );
    }
    let embedder = Embedder::load(&tiny(), &options(Some(3), 64)).unwrap();
    let embedding = &embedder.embed(&["the river and the town"]).unwrap()[0];
    assert_eq!((embedding.tokens, embedding.truncated), (3, true));
}

#[test]
fn a_very_long_text_is_cut_to_the_same_tokens() {
    let embedder = Embedder::load(&tiny(), &options(Some(16), 4096)).unwrap();
    let words = "the river and the town ";
    // The second is cut before it is tokenized; the third has few tokens for its bytes.
    let texts = [
        words.repeat(10),
        words.repeat(5000),
        format!("the river{}and", " ".repeat(100_000)),
    ];
    let [short, long, spaces] = <[_; 3]>::try_from(embedder.embed(&texts).unwrap()).unwrap();
    assert_eq!(short, long);
    assert!(long.truncated && !spaces.truncated);
    assert_eq!(spaces, embedder.embed(&["the river and"]).unwrap()[0]);
}
