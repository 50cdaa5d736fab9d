//! Tasks of a shared model give the bits of tasks that were loaded alone.

use std::fmt::Debug;

use albert_tasks::{
    Answerer, Chooser, Classifier, Embedder, ForwardOutput, Forwarder, MaskFiller, ModelFiles,
    Reranker, Result, RunOptions, SharedModel, Tagger, WeightFormat, ZeroShotClassifier,
};

use crate::pipelines::model;
use crate::support::{Folder, tiny};

const TEXTS: [&str; 3] = ["The doctor went to the river.", "", "the town in the hills"];

/// Compares the answers of a task that was loaded alone and of one of a shared model. Rust writes
/// floating-point numbers of different bits differently.
fn assert_same<T, A: Debug>(
    shared: &SharedModel,
    load: impl Fn(&ModelFiles, &RunOptions) -> Result<T>,
    from_model: impl Fn(&SharedModel) -> Result<T>,
    run: impl Fn(&T) -> Result<A>,
) {
    let alone = load(shared.files(), shared.options()).unwrap();
    let expected = run(&alone).unwrap();
    let found = run(&from_model(shared).unwrap()).unwrap();
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}

fn share(files: &ModelFiles, weights: WeightFormat) -> SharedModel {
    SharedModel::new(files, &RunOptions::default().with_weights(weights)).unwrap()
}

fn assert_same_embeddings(shared: &SharedModel) {
    assert_same(shared, Embedder::load, Embedder::from_model, |embedder| {
        let embeddings = embedder.embed(&TEXTS)?;
        let vectors = embeddings.into_iter().map(|embedding| embedding.vector);
        Ok(vectors.collect::<Vec<_>>())
    });
}

#[test]
fn tasks_of_a_shared_model_give_the_bits_of_tasks_loaded_alone() {
    for weights in [WeightFormat::Auto, WeightFormat::Int8] {
        for files in [tiny(), model("masked")] {
            let shared = share(&files, weights);
            assert_same(
                &shared,
                MaskFiller::load,
                MaskFiller::from_model,
                |filler| {
                    let text = format!("the {} of the town", filler.mask_token());
                    Ok((
                        filler.fill(&[text], &Default::default())?,
                        filler.score(&TEXTS)?,
                    ))
                },
            );
            assert_same_embeddings(&shared);
        }
        let shared = share(&model("sentiment"), weights);
        assert_same_embeddings(&shared);
        assert_same(&shared, Classifier::load, Classifier::from_model, |it| {
            it.classify(&TEXTS, &Default::default())
        });
        let shared = share(&model("nli"), weights);
        let (load, from) = (ZeroShotClassifier::load, ZeroShotClassifier::from_model);
        assert_same(&shared, load, from, |it| {
            it.classify(&TEXTS, &["town", "river"], &Default::default())
        });
        let shared = share(&model("single"), weights);
        assert_same(&shared, Classifier::load, Classifier::from_model, |it| {
            it.classify(&TEXTS, &Default::default())
        });
        assert_same(&shared, Reranker::load, Reranker::from_model, |it| {
            it.rank("river", &TEXTS, &Default::default())
        });
        let shared = share(&model("entities"), weights);
        assert_same(&shared, Tagger::load, Tagger::from_model, |it| {
            it.tag(&TEXTS, &Default::default())
        });
        assert_same_embeddings(&shared);
        let shared = share(&model("question"), weights);
        assert_same(&shared, Answerer::load, Answerer::from_model, |it| {
            it.answer(&[("Where is the doctor?", TEXTS[0])], &Default::default())
        });
        let shared = share(&model("choice"), weights);
        assert_same(&shared, Chooser::load, Chooser::from_model, |it| {
            it.choose(&[(TEXTS[0], &TEXTS[1..])])
        });
    }
}

#[test]
fn tensors_by_name_come_from_the_shared_encoder_too() {
    let outputs = ForwardOutput::ALL.map(|(output, _)| output);
    let outputs: Vec<_> = outputs
        .into_iter()
        .filter(|output| *output != ForwardOutput::PoolerOutput)
        .collect();
    let shared = share(&model("masked"), WeightFormat::Auto);
    assert_same_embeddings(&shared);
    let load = |files: &ModelFiles, options: &RunOptions| Forwarder::load(files, options, &outputs);
    let from = |model: &SharedModel| Forwarder::from_model(model, &outputs);
    assert_same(&shared, load, from, |forwarder| {
        let tensors = forwarder.run(&[2, 5, 7, 3], None, None)?;
        let tensors = tensors.into_iter().map(|(name, tensor)| {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            Ok((name, values))
        });
        tensors.collect::<Result<Vec<_>>>()
    });
}

#[test]
fn tasks_share_a_tokenizer() {
    let shared = share(&tiny(), WeightFormat::Auto);
    let embedder = Embedder::from_model(&shared).unwrap();
    let filler = MaskFiller::from_model(&shared).unwrap();
    assert!(std::ptr::eq(embedder.tokenizer(), filler.tokenizer()));
}

#[test]
fn embeddings_that_lowercase_have_a_tokenizer_of_their_own() {
    let lowercase = r#"{"max_seq_length": 40, "do_lower_case": true}"#;
    let folder = Folder::new().with("sentence_bert_config.json", lowercase);
    let shared = share(&folder.files(), WeightFormat::Auto);
    let embedder = Embedder::from_model(&shared).unwrap();
    let filler = MaskFiller::from_model(&shared).unwrap();
    assert!(!std::ptr::eq(embedder.tokenizer(), filler.tokenizer()));
    let again = Embedder::from_model(&shared).unwrap();
    assert!(std::ptr::eq(embedder.tokenizer(), again.tokenizer()));
}
