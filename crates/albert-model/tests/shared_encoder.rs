//! Models on a shared encoder compute the bits of models that were loaded alone.

mod support;

use albert_model::{
    AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForNextSentencePrediction,
    AlbertForPreTraining, AlbertForQuestionAnswering, AlbertForSequenceClassification,
    AlbertForTokenClassification, AlbertModel, Checkpoint, LoadOptions, ModelInput, Pretrained,
    SharedEncoder, WeightFormat,
};
use support::{Expected, Model, Named, path};

/// Loads a model on a shared encoder.
type Loader = fn(&SharedEncoder) -> albert_model::Result<Box<dyn Model>>;

fn on<M: Pretrained + Model + 'static>(
    shared: &SharedEncoder,
) -> albert_model::Result<Box<dyn Model>> {
    Ok(Box::new(shared.load::<M>()?))
}

/// Creates a model from the tensors of a checkpoint, without a [`SharedEncoder`].
fn alone<M: Pretrained + Model + 'static>(
    checkpoint: &Checkpoint,
    options: &LoadOptions,
) -> anyhow::Result<Box<dyn Model>> {
    let checkpoint = match options.weights {
        WeightFormat::Int8 => checkpoint.quantize()?,
        _ => checkpoint.clone(),
    };
    let vb = checkpoint.var_builder(options)?;
    Ok(Box::new(M::new(checkpoint.config(), vb)?))
}

/// A model with its two loaders.
type Case = (support::Loader, Loader);

fn case<M: Pretrained + Model + 'static>() -> Case {
    (alone::<M>, on::<M>)
}

fn assert_same_bits(expected: &Named, found: &Named, what: &str) -> anyhow::Result<()> {
    assert!(expected.keys().eq(found.keys()), "{what}");
    for (name, expected) in expected {
        let bits = |tensor: &albert_model::candle_core::Tensor| {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            anyhow::Ok(values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        assert_eq!(bits(expected)?, bits(&found[name])?, "{name} of {what}");
    }
    Ok(())
}

#[test]
fn every_head_has_the_bits_of_a_model_loaded_alone() -> anyhow::Result<()> {
    let pretraining = vec![
        case::<AlbertForMaskedLM>(),
        case::<AlbertForPreTraining>(),
        case::<AlbertForNextSentencePrediction>(),
    ];
    let folders = [
        ("grouped-pretraining", pretraining.clone()),
        ("bert/pretraining", pretraining),
        (
            "grouped-sequence",
            vec![case::<AlbertForSequenceClassification>()],
        ),
        (
            "grouped-token",
            vec![case::<AlbertForTokenClassification>()],
        ),
        ("grouped-qa", vec![case::<AlbertForQuestionAnswering>()]),
        ("grouped-choice", vec![case::<AlbertForMultipleChoice>()]),
    ];
    for (folder, mut cases) in folders {
        let input = Expected::of(folder)?.input()?;
        let checkpoint = Checkpoint::from_dir(path(folder))?;
        for weights in [WeightFormat::Auto, WeightFormat::BF16, WeightFormat::Int8] {
            let options = LoadOptions::default().with_weights(weights);
            let shared = SharedEncoder::new(checkpoint.clone(), options.clone());
            // A head that reads no pooler is once the first and once the last.
            cases.reverse();
            for (alone, on) in &cases {
                let what = format!("{folder} in {weights}");
                let expected = alone(&checkpoint, &options)?.run(&input, false)?;
                assert_same_bits(&expected, &on(&shared)?.run(&input, false)?, &what)?;
            }
        }
    }
    Ok(())
}

#[test]
fn an_encoder_has_its_pooler_whatever_was_loaded_before() -> anyhow::Result<()> {
    let folder = "grouped-pretraining";
    let input = Expected::of(folder)?.input()?;
    let checkpoint = Checkpoint::from_dir(path(folder))?;
    let options = LoadOptions::default();
    let vb = checkpoint.var_builder(&options)?.pp("albert");
    let expected = AlbertModel::new(checkpoint.config(), vb)?.forward(&input)?;
    let shared = SharedEncoder::new(checkpoint, options);
    shared.load::<AlbertForMaskedLM>()?;
    let found = shared.load::<AlbertModel>()?.forward(&input)?;
    let pooled = |output: albert_model::AlbertOutput| {
        let pooled = output.pooler_output.expect("the checkpoint has a pooler");
        Named::from([("pooler_output".to_string(), pooled)])
    };
    assert_same_bits(&pooled(expected), &pooled(found), folder)
}

#[test]
fn a_head_that_the_checkpoint_lacks_is_an_error_before_anything_is_loaded() -> anyhow::Result<()> {
    let checkpoint = Checkpoint::from_dir(path("grouped-masked-lm"))?;
    let shared = SharedEncoder::new(checkpoint, LoadOptions::default());
    assert!(shared.load::<AlbertForQuestionAnswering>().is_err());
    assert!(format!("{shared:?}").contains("loaded: Mutex { data: None"));
    assert!(shared.load::<AlbertForMaskedLM>().is_ok());
    Ok(())
}

#[test]
fn a_head_that_reads_the_pooler_refuses_an_encoder_without_one() -> anyhow::Result<()> {
    let checkpoint = Checkpoint::from_dir(path("grouped-sequence"))?;
    let vb = checkpoint.var_builder(&LoadOptions::default())?;
    let bare = AlbertModel::without_pooler(checkpoint.config(), vb.pp("albert"))?;
    let error = AlbertForSequenceClassification::from_encoder(bare, vb).unwrap_err();
    let expected = "AlbertForSequenceClassification: expected an encoder with a pooler";
    assert!(error.to_string().starts_with(expected), "{error}");
    Ok(())
}

#[test]
fn threads_that_load_at_the_same_time_share_one_encoder() -> anyhow::Result<()> {
    let checkpoint = Checkpoint::from_dir(path("grouped-masked-lm"))?;
    let shared = SharedEncoder::new(checkpoint, LoadOptions::default());
    let input = Expected::of("grouped-masked-lm")?.input()?;
    let load = || -> anyhow::Result<Named> {
        let model: AlbertForMaskedLM = shared.load()?;
        Ok(Model::run(&model, &ModelInput::clone(&input), false)?)
    };
    std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(load), scope.spawn(load));
        let [one, other] = [one, other].map(|thread| thread.join().expect("no thread panics"));
        assert_same_bits(&one?, &other?, "two threads")
    })
}

#[test]
fn a_head_is_not_taken_from_a_file_that_has_changed_since() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(path("grouped-masked-lm").join(file), dir.path().join(file))?;
    }
    let weights = dir.path().join("model.safetensors");
    let shared = SharedEncoder::new(Checkpoint::from_dir(dir.path())?, LoadOptions::default());
    shared.load::<AlbertModel>()?;
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    std::fs::File::options()
        .write(true)
        .open(&weights)?
        .set_modified(later)?;
    let error = shared.load::<AlbertForMaskedLM>().unwrap_err().to_string();
    let expected = "has changed since the model's encoder was loaded from it";
    assert!(error.ends_with(expected), "{error}");
    Ok(())
}
