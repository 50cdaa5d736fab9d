//! Trained weights of base size, an extra that the repository is too small for: PL-BERT
//! (Kokoro-82M), 12 repetitions of a layer 768 wide, with hidden states computed in float64 by
//! numpy.
//!
//! `ALBERT_DATA` names the folder that holds `pl-bert/`.

mod support;

use std::io::Write;
use std::path::PathBuf;

use albert_model::candle_core::{Device, Tensor, safetensors};
use albert_model::{
    AlbertModel, Checkpoint, Head, LoadOptions, ModelInput, Outputs, Pretrained, WeightFormat,
};

/// f32 sums of up to 2048 terms through 12 repetitions, against float64.
const TOLERANCE: f64 = 1e-5;

fn data() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("ALBERT_DATA")?).join("pl-bert"))
}

#[test]
fn pl_bert_has_the_hidden_states_of_its_reference() -> anyhow::Result<()> {
    let Some(data) = data() else {
        // Past the capture of tests' output: that nothing was compared must be seen.
        writeln!(
            std::io::stderr(),
            "SKIPPED: ALBERT_DATA is not set; no trained weights were compared"
        )?;
        return Ok(());
    };
    let checkpoint = Checkpoint::from_dir(&data)?;
    let model = AlbertModel::load(&checkpoint, &LoadOptions::default())?;
    let report = checkpoint.check(Head::Encoder)?;
    assert_eq!(
        report.missing,
        ["albert.pooler.weight", "albert.pooler.bias"]
    );

    let reference = safetensors::load(data.join("reference.safetensors"), &Device::Cpu)?;
    let run = |ids: &Tensor| {
        model.forward(&ModelInput::new(ids.unsqueeze(0)?).with_outputs(Outputs::HIDDEN_STATES))
    };
    let states = run(&reference["ids_0"])?.hidden_states.expect("requested");
    assert_eq!(states.len(), 13);
    for (index, state) in states.iter().enumerate() {
        let delta =
            support::relative_difference(&reference["hidden_0"].get(index)?, &state.squeeze(0)?)?;
        assert!(delta <= TOLERANCE, "hidden state {index}: {delta:e}");
    }
    let last = run(&reference["ids_2"])?.last_hidden_state;
    let delta = support::relative_difference(&reference["hidden_2"], &last)?;
    assert!(delta <= TOLERANCE, "128 tokens: {delta:e}");
    Ok(())
}

/// The least mean cosine of a text's tokens between a model and its 8-bit form. Seen: 0.99938.
const LEAST_MEAN_COSINE: f32 = 0.999;

/// The largest ratio of 8-bit weights' loss of a token's direction to bf16 weights' loss, in the
/// median. Seen: 3.1.
const MOST_OF_BF16: f32 = 4.0;

/// The least cosine of any token between a model and its 8-bit form, for the first [`STRICT`]
/// models. Seen: 0.99807.
const LEAST_COSINE: f32 = 0.995;
const STRICT: u64 = 5;

/// A few tokens depend on the last digit of a sum, with bf16 weights too, and different ones on
/// each instruction set. So over all models one token in this many may be below [`LEAST_COSINE`].
/// Seen: four of 2312.
const FEW: usize = 300;

/// No token of any model may be below this. Seen: 0.98267.
const LOWEST_COSINE: f32 = 0.95;

/// These weights lie on a 7-bit grid: noise of up to half its step makes more models of them.
const SEEDS: u64 = 16;

#[test]
fn pl_bert_in_8_bits_keeps_the_direction_of_every_token() -> anyhow::Result<()> {
    let Some(data) = data() else {
        writeln!(
            std::io::stderr(),
            "SKIPPED: ALBERT_DATA is not set; no trained weights were rounded"
        )?;
        return Ok(());
    };
    let reference = safetensors::load(data.join("reference.safetensors"), &Device::Cpu)?;
    let config = std::fs::read_to_string(data.join("config.json"))?;
    let (mut of_bf16, mut of_int8) = (Vec::new(), Vec::new());
    for seed in 0..=SEEDS {
        let mut tensors = safetensors::load(data.join("model.safetensors"), &Device::Cpu)?;
        for (name, tensor) in &mut tensors {
            if seed > 0 && name.contains("albert_layers") && tensor.rank() == 2 {
                *tensor = widened(tensor, seed)?;
            }
        }
        let bytes = ::safetensors::serialize(&tensors, None)?;
        let checkpoint = Checkpoint::from_bytes(&config, bytes, "widened")?;
        let model =
            |dtype| AlbertModel::load(&checkpoint, &LoadOptions::default().with_weights(dtype));
        let [exact, bf16, int8] = [
            model(WeightFormat::F32)?,
            model(WeightFormat::BF16)?,
            model(WeightFormat::Int8)?,
        ];
        for ids in ["ids_0", "ids_2"] {
            let input = ModelInput::new(reference[ids].unsqueeze(0)?);
            let exact = exact.forward(&input)?.last_hidden_state;
            of_bf16.extend(cosines(&exact, &bf16.forward(&input)?.last_hidden_state)?);
            let cosines = cosines(&exact, &int8.forward(&input)?.last_hidden_state)?;
            let worst = cosines.iter().copied().fold(f32::INFINITY, f32::min);
            let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
            writeln!(
                std::io::stdout(),
                "seed {seed}, {ids}: worst cosine {worst:.5}, mean {mean:.5}"
            )?;
            assert!(
                seed >= STRICT || worst >= LEAST_COSINE,
                "seed {seed}, {ids}: {worst}"
            );
            assert!(mean >= LEAST_MEAN_COSINE, "seed {seed}, {ids}: {mean}");
            of_int8.extend(cosines);
        }
    }
    let [bf16, int8] = [of_bf16, of_int8].map(|mut cosines| {
        cosines.sort_by(f32::total_cmp);
        cosines
    });
    let median = |cosines: &[f32]| 1.0 - cosines[cosines.len() / 2];
    let few = |cosines: &[f32]| {
        cosines
            .iter()
            .filter(|cosine| **cosine < LEAST_COSINE)
            .count()
    };
    for (name, cosines) in [("bf16", &bf16), ("int8", &int8)] {
        let (median, few, all, worst) = (median(cosines), few(cosines), cosines.len(), cosines[0]);
        writeln!(
            std::io::stdout(),
            "{name}: 1 - cosine is {median:.1e} in the median; {few} of {all} tokens below {LEAST_COSINE}; the worst {worst:.5}",
        )?;
    }
    assert!(median(&int8) <= MOST_OF_BF16 * median(&bf16));
    assert!(few(&int8) * FEW <= int8.len() && int8[0] >= LOWEST_COSINE);
    Ok(())
}

/// Token by token, of states `(1, T, H)`.
fn cosines(a: &Tensor, b: &Tensor) -> candle_core::Result<Vec<f32>> {
    let dot = |a: &Tensor, b: &Tensor| (a * b)?.sum(2);
    let norms = (dot(a, a)? * dot(b, b)?)?.sqrt()?;
    (dot(a, b)? / norms)?.flatten_all()?.to_vec1()
}

/// A matrix with uniform noise of half a step of each row's grid.
fn widened(weight: &Tensor, seed: u64) -> anyhow::Result<Tensor> {
    let step = (weight.abs()?.max_keepdim(1)? / 63.0)?;
    let mut state = seed;
    let noise: Vec<f32> = (0..weight.elem_count())
        .map(|_| {
            // Knuth's linear congruential generator.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect();
    let noise = Tensor::from_vec(noise, weight.shape(), &Device::Cpu)?;
    Ok((weight + noise.broadcast_mul(&step)?)?)
}
