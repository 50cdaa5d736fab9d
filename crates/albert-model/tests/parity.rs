//! Every output of every head, layer by layer, is that of transformers.
//!
//! The models are small, random and far from the identity (`scripts/make_fixtures.py`): groups that
//! do not divide the layers, inner layers, odd head sizes, E = H, five activations, padded batches,
//! pairs, explicit positions. `VERSIONS.txt` next to them names what computed the values.

mod support;

use albert_model::candle_core::{self, D, Device, IndexOp, Tensor};
use albert_model::{
    AlbertForMaskedLM, AlbertForPreTraining, AlbertModel, Checkpoint, LoadOptions, Outputs,
    Pretrained, WeightFormat,
};
use support::{Expected, FIXTURES, Named, load, open, path, relative_difference};

/// f32 on both sides, transformers on the CPU. Seen: 1.8e-6; versions 4 and 5 of transformers
/// differ by up to 1.5e-6 on these models.
const F32_TOLERANCE: f64 = 1e-5;

/// Weights rounded to 11 bits, 2⁻¹² of each at most, which up to 21 layers pass on; the arithmetic
/// is f32. Seen: 5.5e-3.
const F16_TOLERANCE: f64 = 1e-2;

/// Rounding to bf16's 8 bits, at most 2⁻⁹ of each value. Seen: 2.7e-2.
const BF16_TOLERANCE: f64 = 5e-2;

/// f32 sums whose order depends on the size of the product. Seen: 1.8e-7.
const ALONE_TOLERANCE: f64 = 1e-6;

fn outputs(expected: &Expected) -> Named {
    let tensors = expected.tensors.iter();
    let outputs =
        tensors.filter_map(|(name, tensor)| Some((name.strip_prefix("output.")?, tensor)));
    outputs
        .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
        .collect()
}

fn assert_close(
    folder: &str,
    expected: &Named,
    found: &Named,
    tolerance: f64,
) -> candle_core::Result<()> {
    let names = |outputs: &Named| outputs.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(found), "{folder}");
    for (name, tensor) in expected {
        let difference = relative_difference(tensor, &found[name])?;
        assert!(
            difference <= tolerance,
            "`{name}` of {folder} is off by {difference:.1e}, {tolerance:.0e} is allowed"
        );
    }
    Ok(())
}

/// Outputs for each token, zeros at padding: inference computes nothing there.
fn at_tokens(expected: &Expected, outputs: &Named) -> anyhow::Result<Named> {
    let mask = expected
        .given("attention_mask")?
        .expect("every fixture has a mask");
    let mut kept = outputs.clone();
    for tensor in kept
        .values_mut()
        .filter(|tensor| tensor.dims().starts_with(mask.dims()))
    {
        let mut shape = mask.dims().to_vec();
        shape.resize(tensor.rank(), 1);
        *tensor = tensor.broadcast_mul(&mask.reshape(shape)?.to_dtype(tensor.dtype())?)?;
    }
    Ok(kept)
}

fn assert_all_close(dtype: WeightFormat, tolerance: f64) -> anyhow::Result<()> {
    for (folder, load) in FIXTURES {
        let expected = Expected::of(folder)?;
        let input = expected.input()?.with_outputs(Outputs::all());
        let model = open(folder, load, dtype)?;
        let found = model.run(&input, false)?;
        assert_close(folder, &outputs(&expected), &found, tolerance)?;

        // Without intermediate results, inference takes another path.
        let found = at_tokens(&expected, &model.run(&expected.input()?, false)?)?;
        let mut wanted = at_tokens(&expected, &outputs(&expected))?;
        wanted.retain(|name, _| found.contains_key(name));
        assert_close(folder, &wanted, &found, tolerance)?;
    }
    Ok(())
}

#[test]
fn every_output_is_that_of_transformers() -> anyhow::Result<()> {
    assert_all_close(WeightFormat::F32, F32_TOLERANCE)
}

/// Also where two logits are closer to each other than the tolerance.
#[test]
fn the_best_label_is_that_of_transformers() -> anyhow::Result<()> {
    for (folder, load) in FIXTURES {
        let expected = Expected::of(folder)?;
        let found = open(folder, load, WeightFormat::F32)?.run(&expected.input()?, false)?;
        let found = at_tokens(&expected, &found)?;
        for (name, logits) in at_tokens(&expected, &outputs(&expected))?
            .iter()
            .filter(|(name, _)| name.ends_with("logits"))
        {
            let best = |logits: &Tensor| logits.argmax(D::Minus1)?.flatten_all()?.to_vec1::<u32>();
            assert_eq!(best(logits)?, best(&found[name])?, "`{name}` of {folder}");
        }
    }
    Ok(())
}

#[test]
fn weights_stored_as_f16_stay_close() -> anyhow::Result<()> {
    assert_all_close(WeightFormat::F16, F16_TOLERANCE)
}

#[test]
fn weights_stored_as_bf16_stay_close() -> anyhow::Result<()> {
    assert_all_close(WeightFormat::BF16, BF16_TOLERANCE)
}

/// Training replaces the operations made for inference, which have no gradient, by differentiable
/// ones.
#[test]
fn training_mode_without_dropout_computes_the_same() -> anyhow::Result<()> {
    // The others have a classifier with dropout.
    let without_dropout = [
        "grouped-model",
        "grouped-pretraining",
        "grouped-masked-lm",
        "grouped-qa",
        "uneven",
        "positions",
    ];
    for (folder, load) in FIXTURES
        .iter()
        .filter(|(folder, _)| without_dropout.contains(folder))
    {
        let expected = Expected::of(folder)?;
        let input = expected.input()?.with_outputs(Outputs::all());
        let found = open(folder, *load, WeightFormat::F32)?.run(&input, true)?;
        assert_close(folder, &outputs(&expected), &found, F32_TOLERANCE)?;
    }
    Ok(())
}

#[test]
fn a_row_alone_is_the_row_in_its_padded_batch() -> anyhow::Result<()> {
    for (folder, load) in FIXTURES {
        let expected = Expected::of(folder)?;
        let model = open(folder, load, WeightFormat::F32)?;
        let batch = model.run(&expected.input()?.with_outputs(Outputs::all()), false)?;
        let mask = expected
            .given("attention_mask")?
            .expect("every fixture has a mask");
        let tokens = mask.dim(candle_core::D::Minus1)?;
        let lengths = mask.reshape(((), tokens))?.sum(1)?.to_vec1::<u32>()?;
        assert!(
            lengths.iter().any(|&length| (length as usize) < tokens),
            "{folder} has no padding"
        );

        for (row, &length) in lengths.iter().enumerate() {
            let input = expected.input_with(|tensor| {
                let alone = tensor
                    .reshape(((), tokens))?
                    .i((row..=row, ..length as usize))?;
                // A choice alone is one choice of one question.
                if tensor.rank() == 3 {
                    alone.unsqueeze(0)
                } else {
                    Ok(alone)
                }
            })?;
            let alone = model.run(&input.with_outputs(Outputs::all()), false)?;
            let cut = alone.iter().map(|(name, like)| {
                Ok((
                    name.clone(),
                    row_of(&batch[name], row, lengths.len(), like)?,
                ))
            });
            let cut = cut.collect::<candle_core::Result<Named>>()?;
            assert_close(
                &format!("row {row} of {folder}"),
                &cut,
                &alone,
                ALONE_TOLERANCE,
            )?;
        }
    }
    Ok(())
}

/// One row of a batch without its padding: as much of each axis as `like` has.
fn row_of(batch: &Tensor, row: usize, rows: usize, like: &Tensor) -> candle_core::Result<Tensor> {
    let batch = if batch.dim(0)? == rows {
        batch.clone()
    } else {
        batch.reshape((rows, ()))?
    };
    let row = batch.narrow(0, row, 1)?;
    (1..like.rank()).try_fold(row, |row, axis| row.narrow(axis, 0, like.dim(axis)?))
}

#[test]
fn there_is_a_hidden_state_and_an_attention_for_every_layer_call() -> anyhow::Result<()> {
    for (folder, layer_calls) in [
        ("grouped-model", 5 * 2),
        ("uneven", 7 * 3),
        ("positions", 2),
    ] {
        let checkpoint = Checkpoint::from_dir(path(folder))?;
        let model = AlbertModel::load(&checkpoint, &LoadOptions::default())?;
        let input = Expected::of(folder)?.input()?;

        let output = model.forward(&input.clone().with_outputs(Outputs::all()))?;
        let hidden_states = output.hidden_states.expect("hidden states were requested");
        assert_eq!(hidden_states.len(), 1 + layer_calls, "{folder}");
        assert_eq!(
            output.attentions.map(|list| list.len()),
            Some(layer_calls),
            "{folder}"
        );
        assert_eq!(
            relative_difference(&hidden_states[layer_calls], &output.last_hidden_state)?,
            0.0,
            "{folder}"
        );

        let only_attentions = model.forward(&input.clone().with_outputs(Outputs::ATTENTIONS))?;
        assert!(only_attentions.hidden_states.is_none() && only_attentions.attentions.is_some());
        let neither = model.forward(&input)?;
        assert!(neither.hidden_states.is_none() && neither.attentions.is_none());
    }
    Ok(())
}

#[test]
fn shards_are_the_single_file() -> anyhow::Result<()> {
    let expected = Expected::of("relu")?;
    let input = expected.input()?.with_outputs(Outputs::all());
    let single =
        open("relu", load::<AlbertForPreTraining>, WeightFormat::F32)?.run(&input, false)?;
    let sharded =
        open("sharded", load::<AlbertForPreTraining>, WeightFormat::F32)?.run(&input, false)?;
    assert_close("sharded", &single, &sharded, 0.0)?;
    Ok(())
}

#[test]
fn a_file_of_transformers_is_used_whole() -> anyhow::Result<()> {
    for folder in FIXTURES
        .map(|(folder, _)| folder)
        .into_iter()
        .chain(["sharded"])
    {
        let report = Checkpoint::from_dir(path(folder))?.report()?;
        assert_eq!(
            (report.missing, report.unused),
            (Vec::new(), Vec::new()),
            "{folder}"
        );
        assert!(report.renamed.is_empty(), "{folder}: {:?}", report.renamed);
    }
    Ok(())
}

#[test]
fn a_pretraining_file_serves_its_parts() -> anyhow::Result<()> {
    let expected = Expected::of("grouped-pretraining")?;
    let input = expected.input()?;
    let outputs = at_tokens(&expected, &outputs(&expected))?;
    let masked_lm = open(
        "grouped-pretraining",
        load::<AlbertForMaskedLM>,
        WeightFormat::F32,
    )?
    .run(&input, false)?;
    let masked_lm = at_tokens(&expected, &masked_lm)?;
    let encoder = open(
        "grouped-pretraining",
        load::<AlbertModel>,
        WeightFormat::F32,
    )?
    .run(&input, false)?;
    let encoder = at_tokens(&expected, &encoder)?;
    assert!(relative_difference(&outputs["logits"], &masked_lm["logits"])? <= F32_TOLERANCE);
    assert!(
        relative_difference(&outputs["hidden_states.10"], &encoder["last_hidden_state"])?
            <= F32_TOLERANCE
    );
    assert!(encoder.contains_key("pooler_output"));
    Ok(())
}

#[test]
fn chosen_positions_have_the_logits_of_the_whole() -> anyhow::Result<()> {
    let expected = Expected::of("grouped-masked-lm")?;
    let checkpoint = Checkpoint::from_dir(path("grouped-masked-lm"))?;
    let model = AlbertForMaskedLM::load(&checkpoint, &LoadOptions::default())?;
    let positions = Tensor::new(&[36u32, 0, 13, 13], &Device::Cpu)?;
    let chosen = model.forward_at(&expected.input()?, &positions)?;
    let whole = outputs(&expected)["logits"]
        .flatten_to(1)?
        .index_select(&positions, 0)?;
    assert!(relative_difference(&whole, &chosen)? <= F32_TOLERANCE);
    Ok(())
}
