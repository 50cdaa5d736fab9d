//! Weights in 8 bits: near f32, the same from a file as made on the way, the same in any company.

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use albert_model::candle_core::{self, DType, Device, IndexOp, Tensor, safetensors};
use albert_model::{
    AlbertModel, Checkpoint, LoadOptions, ModelInput, Outputs, Pretrained, WeightFormat,
};
use support::{Expected, FIXTURES, path, relative_difference};
use tempfile::TempDir;

fn int8() -> LoadOptions {
    LoadOptions::default().with_weights(WeightFormat::Int8)
}

/// Relative to the largest number. Weights and activations are off by 2⁻⁸ each, and random
/// layers of these small widths average little of it out. Seen: 4.6e-2.
const NEAR: f64 = 0.1;

/// The effect of a value that one path rounds up and the other down, as they sum attention in
/// different orders. Seen: 2.9e-7, without such a value.
const PATHS: f64 = 2e-2;

#[test]
fn every_output_of_every_head_is_near_f32() -> anyhow::Result<()> {
    for (folder, load) in FIXTURES {
        let input = Expected::of(folder)?.input()?;
        let exact = support::open(folder, load, WeightFormat::F32)?.run(&input, false)?;
        let found = support::open(folder, load, WeightFormat::Int8)?.run(&input, false)?;
        for (name, exact) in exact {
            let delta = relative_difference(&exact, &found[&name])?;
            assert!(delta > 0.0 && delta <= NEAR, "{folder}, {name}: {delta:e}");
        }
    }
    Ok(())
}

#[test]
fn a_folder_in_8_bits_gives_the_bits_of_one_rounded_on_the_way() -> anyhow::Result<()> {
    for (folder, load) in FIXTURES {
        let input = Expected::of(folder)?.input()?;
        let source = Checkpoint::from_dir(path(folder))?;
        let dir = TempDir::new()?;
        source.quantize()?.save(dir.path(), WeightFormat::Int8)?;
        let saved = Checkpoint::from_dir(dir.path())?;
        assert!(saved.is_quantized() && !source.is_quantized());
        assert_eq!(saved.heads(), source.heads(), "{folder}");
        let report = saved.report()?;
        assert!(
            report.unused.is_empty() && report.missing.is_empty(),
            "{folder}: {report:?}"
        );
        let made = load(&source, &int8())?.run(&input, false)?;
        // int8 weights stay int8 unless another format is requested.
        let read = load(&saved, &LoadOptions::default())?.run(&input, false)?;
        assert_eq!(made.len(), read.len());
        for (name, made) in made {
            assert_eq!(numbers(&made)?, numbers(&read[&name])?, "{folder}, {name}");
        }
        // And once more: saving what was saved changes nothing.
        let again = TempDir::new()?;
        saved.save(again.path(), WeightFormat::Auto)?;
        for file in ["model.safetensors", "config.json"] {
            assert!(
                fs::read(dir.path().join(file))? == fs::read(again.path().join(file))?,
                "{folder}, {file}"
            );
        }
    }
    Ok(())
}

#[test]
fn f32_from_a_folder_in_8_bits_is_what_the_integers_stand_for() -> anyhow::Result<()> {
    let (folder, load) = FIXTURES[0];
    let dir = TempDir::new()?;
    Checkpoint::from_dir(path(folder))?
        .quantize()?
        .save(dir.path(), WeightFormat::Int8)?;
    let options = LoadOptions::default().with_weights(WeightFormat::F32);
    let input = Expected::of(folder)?.input()?;
    let unpacked = load(&Checkpoint::from_dir(dir.path())?, &options)?.run(&input, false)?;
    let exact = support::open(folder, load, WeightFormat::F32)?.run(&input, false)?;
    let delta = relative_difference(&exact["last_hidden_state"], &unpacked["last_hidden_state"])?;
    assert!(delta > 0.0 && delta <= NEAR, "{delta:e}");

    let back = TempDir::new()?;
    Checkpoint::from_dir(dir.path())?.save(back.path(), WeightFormat::F32)?;
    let back = Checkpoint::from_dir(back.path())?;
    assert!(!back.is_quantized() && !back.config().to_json().contains("quantization_config"));
    let again = load(&back, &options)?.run(&input, false)?;
    // And so is what a builder in 8 bits gives as f32, to variables for one.
    let variables = Checkpoint::from_dir(path(folder))?
        .quantize()?
        .var_map(&int8())?;
    let read = back.var_map(&options)?;
    let (variables, read) = (
        variables.data().lock().unwrap(),
        read.data().lock().unwrap(),
    );
    for (name, variable) in variables.iter() {
        assert_eq!(numbers(variable)?, numbers(&read[name])?, "{name}");
    }
    assert_eq!(
        numbers(&again["last_hidden_state"])?,
        numbers(&unpacked["last_hidden_state"])?
    );
    Ok(())
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_a_batch() -> anyhow::Result<()> {
    let model = AlbertModel::load(&Checkpoint::from_dir(path("grouped-model"))?, &int8())?;
    let expected = Expected::of("grouped-model")?;
    let whole = model.forward(&expected.input()?)?.last_hidden_state;
    for row in 0..whole.dim(0)? {
        let alone = model.forward(&expected.input_with(|tensor| match tensor.rank() {
            2 => tensor.narrow(0, row, 1),
            _ => Ok(tensor.clone()),
        })?)?;
        assert_eq!(
            numbers(&alone.last_hidden_state)?,
            numbers(&whole.i(row..row + 1)?)?,
            "row {row}"
        );
    }
    Ok(())
}

#[test]
fn hidden_states_one_by_one_are_near_the_fused_paths() -> anyhow::Result<()> {
    let model = AlbertModel::load(&Checkpoint::from_dir(path("deep"))?, &int8())?;
    let ids = Expected::of("deep")?.given("ids")?.expect("ids");
    let fused = model
        .forward(&ModelInput::new(ids.clone()))?
        .last_hidden_state;
    let eager = model.forward(&ModelInput::new(ids).with_outputs(Outputs::HIDDEN_STATES))?;
    let delta = relative_difference(&fused, &eager.last_hidden_state)?;
    assert!(delta <= PATHS, "{delta:e}");
    Ok(())
}

#[test]
fn gradients_pass_through_8_bits_to_what_is_trained_before_them() -> anyhow::Result<()> {
    let checkpoint = Checkpoint::from_dir(path("grouped-model"))?.quantize()?;
    let config = checkpoint.config();
    let encoder = albert_model::AlbertEncoder::new(
        config,
        checkpoint.var_builder(&int8())?.pp("albert.encoder"),
    )?;
    let embeddings =
        candle_core::Var::rand(-1f32, 1f32, (1, 4, config.embedding_size), &Device::Cpu)?;
    let states = encoder.forward_t(embeddings.as_tensor(), None, true)?;
    let gradient = states.sqr()?.sum_all()?.backward()?;
    let gradient = gradient
        .get(&embeddings)
        .expect("a gradient")
        .abs()?
        .max_all()?
        .to_scalar::<f32>()?;
    assert!(gradient > 0.0);
    Ok(())
}

/// A folder in 8 bits with one of its tensors exchanged.
fn with(name: &str, tensor: Option<Tensor>) -> anyhow::Result<TempDir> {
    let dir = TempDir::new()?;
    Checkpoint::from_dir(path("grouped-model"))?
        .quantize()?
        .save(dir.path(), WeightFormat::Int8)?;
    let file = dir.path().join("model.safetensors");
    let bytes = fs::read(&file)?;
    let mut tensors = HashMap::new();
    let stored = ::safetensors::SafeTensors::deserialize(&bytes)?;
    for (name, view) in stored.tensors() {
        tensors.insert(
            name,
            (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
        );
    }
    assert!(tensors.remove(name).is_some(), "{name}");
    if let Some(tensor) = tensor {
        let extra = dir.path().join("extra.safetensors");
        safetensors::save(&HashMap::from([("x".to_string(), tensor)]), &extra)?;
        let bytes = fs::read(&extra)?;
        let stored = ::safetensors::SafeTensors::deserialize(&bytes)?;
        let view = stored.tensor("x")?;
        tensors.insert(
            name.into(),
            (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
        );
        fs::remove_file(extra)?;
    }
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        Ok((
            name.clone(),
            ::safetensors::tensor::TensorView::new(*dtype, shape.clone(), data)?,
        ))
    });
    let views = views.collect::<anyhow::Result<HashMap<_, _>>>()?;
    ::safetensors::serialize_to_file(views, None, &file)?;
    Ok(dir)
}

fn error_of(dir: &Path) -> String {
    let loaded =
        Checkpoint::from_dir(dir).and_then(|it| AlbertModel::load(&it, &LoadOptions::default()));
    let error = anyhow::Error::from(loaded.expect_err("it is broken"));
    error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[test]
fn broken_companions_are_refused_by_name() -> anyhow::Result<()> {
    let ffn = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight";
    let name = |end: &str| format!("{ffn}{end}");
    let cpu = &Device::Cpu;
    let (out, outliers) = {
        let dir = TempDir::new()?;
        Checkpoint::from_dir(path("grouped-model"))?
            .quantize()?
            .save(dir.path(), WeightFormat::Int8)?;
        let bytes = fs::read(dir.path().join("model.safetensors"))?;
        let stored = ::safetensors::SafeTensors::deserialize(&bytes)?;
        let shape = |end: &str| stored.tensor(&name(end)).map(|view| view.shape().to_vec());
        (shape("_scale")?[0], shape("_outlier_channels")?[0])
    };
    let cases = [
        (name("_scale"), None, "I8"),
        (name("_outliers"), None, "_outliers"),
        (name("_outlier_channels"), None, "_outlier_channels"),
        (
            name("_scale"),
            Some(Tensor::zeros((out + 1, 1), DType::F32, cpu)?),
            "_scale` in",
        ),
        (
            name("_outliers"),
            Some(Tensor::zeros((out, outliers + 1), DType::F32, cpu)?),
            "_outliers` in",
        ),
        (
            name("_outlier_channels"),
            Some(Tensor::full(1_000_000u32, outliers, cpu)?),
            "found 1000000",
        ),
        (
            name("_outlier_channels"),
            Some(Tensor::zeros(outliers, DType::F32, cpu)?),
            "as F32",
        ),
    ];
    for (name, tensor, expected) in cases {
        let text = error_of(with(&name, tensor)?.path());
        assert!(
            text.contains(expected) && text.contains(ffn),
            "{name}: {text}"
        );
    }
    Ok(())
}

fn numbers(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
