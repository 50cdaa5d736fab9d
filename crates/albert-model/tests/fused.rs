//! Inference on the CPU computes without padding, in blocks, on packed weights; its numbers are
//! those of the layers one by one, and do not depend on company or threads.

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use albert_model::candle_core::{D, DType, Device, Error, IndexOp, Result, Tensor, Var};
use albert_model::candle_nn::{VarBuilder, VarMap};
use albert_model::{
    AlbertConfig, AlbertForMaskedLM, AlbertModel, AlbertOutput, Checkpoint, LoadOptions,
    ModelInput, Outputs, Pretrained, TokensRead, WeightFormat,
};
use support::relative_difference;

/// f32 sums of up to 512 terms in another order, through six layer calls. Seen: 2.8e-6;
/// of which each path is as far from f64 as the other, 5e-7 to 3e-6.
const TOLERANCE: f64 = 5e-6;

/// The environment variable that selects the kernels.
const INSTRUCTION_SET_VARIABLE: &str = "ALBERT_KERNELS";

fn config(heads: usize, head_size: usize, activation: &str) -> AlbertConfig {
    AlbertConfig {
        vocab_size: 50,
        embedding_size: 20,
        hidden_size: heads * head_size,
        num_attention_heads: heads,
        intermediate_size: 77,
        num_hidden_layers: 3,
        num_hidden_groups: 2,
        inner_group_num: 2,
        max_position_embeddings: 600,
        hidden_act: activation.parse().unwrap(),
        ..AlbertConfig::base_v2()
    }
}

/// Returns a model whose weights are not variables, equal in every run.
///
/// Weights are wide enough that attention is far from even, and narrow enough that the layers do
/// not turn rounding into differences: 1.5 / √(inputs). With 2.3 either path is up to 1e-5 from
/// f64.
fn frozen<M: Pretrained>(config: &AlbertConfig) -> Result<M> {
    let variables = VarMap::new();
    M::new(
        config,
        VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu),
    )?;
    let variables = variables.data().lock().unwrap();
    // In an order of their own, for a map has none.
    let names: BTreeSet<_> = variables.keys().cloned().collect();
    let mut random = fastrand::Rng::with_seed(1);
    let tensors = names.into_iter().map(|name| {
        let shape = variables[&name].shape().clone();
        let (center, width) = match (
            name.contains("LayerNorm.weight") || name.contains("norm.weight"),
            shape.rank(),
        ) {
            (true, _) => (1.0, 0.4),
            (_, 2) => (0.0, 1.5 / (shape.dims()[1] as f32).sqrt()),
            _ => (0.0, 0.2),
        };
        let numbers = (0..shape.elem_count())
            .map(|_| center + width * 3f32.sqrt() * (2.0 * random.f32() - 1.0));
        Ok((
            name,
            Tensor::from_vec(numbers.collect(), shape, &Device::Cpu)?,
        ))
    });
    let tensors = tensors.collect::<Result<_>>()?;
    M::new(
        config,
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu),
    )
}

fn ids(row: usize, tokens: usize) -> Vec<u32> {
    (0..tokens)
        .map(|at| (row * 31 + at * 7) as u32 % 50)
        .collect()
}

/// Rows of these lengths, padded.
fn batch(lengths: &[usize]) -> Result<ModelInput> {
    let longest = lengths.iter().copied().max().unwrap_or(1);
    let ids = (0..lengths.len()).flat_map(|row| ids(row, longest));
    let mask = lengths
        .iter()
        .flat_map(|&length| (0..longest).map(move |at| u32::from(at < length)));
    let shape = (lengths.len(), longest);
    let ids = Tensor::from_vec(ids.collect(), shape, &Device::Cpu)?;
    Ok(ModelInput::new(ids).with_attention_mask(Tensor::from_vec(
        mask.collect::<Vec<_>>(),
        shape,
        &Device::Cpu,
    )?))
}

/// The two paths, the other one with zeros at padding too.
fn both(model: &AlbertModel, lengths: &[usize]) -> Result<(Tensor, Tensor)> {
    let input = batch(lengths)?;
    let fused = model.forward(&input)?.last_hidden_state;
    let eager = model
        .forward(&input.with_outputs(Outputs::HIDDEN_STATES))?
        .last_hidden_state;
    let longest = eager.dim(1)?;
    let mask = lengths
        .iter()
        .flat_map(|&length| (0..longest).map(move |at| f32::from(u8::from(at < length))));
    let mask = Tensor::from_vec(mask.collect(), (lengths.len(), longest, 1), &Device::Cpu)?;
    Ok((fused, eager.broadcast_mul(&mask)?))
}

#[test]
fn both_paths_give_the_same_for_every_shape() -> Result<()> {
    for (heads, head_size) in [(1, 13), (3, 16), (2, 64), (1, 128), (5, 7)] {
        let model = frozen::<AlbertModel>(&config(heads, head_size, "gelu_new"))?;
        for lengths in [
            &[1][..],
            &[1, 5, 2, 33, 8],
            &[300],
            &[512, 40],
            &[64; 5],
            &[3; 100],
        ] {
            let (fused, eager) = both(&model, lengths)?;
            let difference = relative_difference(&eager, &fused)?;
            assert!(
                difference <= TOLERANCE,
                "{heads} × {head_size}, {lengths:?}: {difference:.1e}"
            );
        }
    }
    Ok(())
}

#[test]
fn both_paths_give_the_same_for_every_activation() -> Result<()> {
    for name in [
        "gelu",
        "gelu_10",
        "gelu_new",
        "quick_gelu",
        "hardswish",
        "laplace",
        "leaky_relu",
        "linear",
        "mish",
        "relu",
        "relu2",
        "relu6",
        "sigmoid",
        "silu",
        "sqrtsoftplus",
        "tanh",
    ] {
        let (fused, eager) = both(&frozen::<AlbertModel>(&config(2, 16, name))?, &[9, 17])?;
        let difference = relative_difference(&eager, &fused)?;
        assert!(difference <= TOLERANCE, "{name}: {difference:.1e}");
    }
    Ok(())
}

/// The process chooses its instructions once, so each choice is a process.
#[test]
fn every_instruction_set_passes_these_tests() {
    if std::env::var_os(INSTRUCTION_SET_VARIABLE).is_some() {
        return;
    }
    for level in albert_kernels::InstructionSet::available() {
        let tests = Command::new(std::env::current_exe().unwrap())
            .args(["both_paths", "bits"])
            .env(INSTRUCTION_SET_VARIABLE, level.to_string())
            .output()
            .unwrap();
        assert!(
            tests.status.success(),
            "{level}: {}",
            String::from_utf8_lossy(&tests.stdout)
        );
    }
}

#[test]
fn an_unknown_instruction_set_is_an_error() {
    const CHILD: &str = "ALBERT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let error = frozen::<AlbertModel>(&config(1, 4, "relu"))
            .unwrap_err()
            .to_string();
        let expected = "`ALBERT_KERNELS`: expected an instruction set of this CPU (";
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("found `fpga`"), "{error}");
        return;
    }
    let test = Command::new(std::env::current_exe().unwrap())
        .args(["an_unknown_instruction_set_is_an_error", "--exact"])
        .envs([(INSTRUCTION_SET_VARIABLE, "fpga"), (CHILD, "1")])
        .output()
        .unwrap();
    assert!(
        test.status.success(),
        "{}",
        String::from_utf8_lossy(&test.stdout)
    );
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch() -> Result<()> {
    let model = frozen::<AlbertForMaskedLM>(&config(3, 20, "gelu"))?;
    let run = |input: &ModelInput| -> Result<[Tensor; 2]> {
        let hidden_states = model.albert().forward(input)?.last_hidden_state;
        Ok([model.decode(&hidden_states)?, hidden_states])
    };
    let lengths = [5, 300, 1, 64, 17, 64, 90, 2, 33, 130];
    let together = run(&batch(&lengths)?)?;
    for (row, &length) in lengths.iter().enumerate() {
        let alone = run(&ModelInput::new(Tensor::from_vec(
            ids(row, length),
            (1, length),
            &Device::Cpu,
        )?))?;
        for (together, alone) in together.iter().zip(&alone) {
            let difference = relative_difference(&together.i((row..=row, ..length))?, alone)?;
            assert_eq!(difference, 0.0, "row {row}");
        }
    }
    Ok(())
}

#[test]
fn any_number_of_threads_gives_the_same_bits() -> Result<()> {
    let model = frozen::<AlbertModel>(&config(3, 20, "gelu"))?;
    for lengths in [
        &[7][..],
        &[300, 10],
        &[64; 9],
        &[5, 6, 200, 7, 100, 100, 1, 1],
    ] {
        let run = |threads| -> Result<Tensor> {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            Ok(pool
                .install(|| model.forward(&batch(lengths)?))?
                .last_hidden_state)
        };
        let one = run(1)?;
        for threads in [2, 3, 8] {
            assert_eq!(
                relative_difference(&one, &run(threads)?)?,
                0.0,
                "{lengths:?} on {threads} threads"
            );
        }
    }
    Ok(())
}

#[test]
fn padding_may_stand_anywhere_and_becomes_zeros() -> Result<()> {
    let model = frozen::<AlbertModel>(&config(2, 16, "gelu"))?;
    let ids = Tensor::new(&[[9u32, 2, 5, 6, 3, 9], [2, 5, 9, 6, 9, 3]], &Device::Cpu)?;
    let mask = Tensor::new(
        &[[1f32, 0., 1., 1., 1., 0.], [1., 1., 0., 1., 0., 1.]],
        &Device::Cpu,
    )?;
    let input = ModelInput::new(ids).with_attention_mask(mask.clone());
    let fused = model.forward(&input)?.last_hidden_state;
    let eager = model
        .forward(&input.with_outputs(Outputs::HIDDEN_STATES))?
        .last_hidden_state;
    let eager = eager.broadcast_mul(&mask.unsqueeze(2)?)?;
    assert!(relative_difference(&eager, &fused)? <= TOLERANCE);
    Ok(())
}

/// As in transformers, though no token attends to it: the pooler reads what the network makes of
/// it.
#[test]
fn a_first_token_that_is_padding_is_pooled_all_the_same() -> Result<()> {
    let model = frozen::<AlbertModel>(&config(2, 16, "gelu"))?;
    let ids = Tensor::new(&[[9u32, 2, 5, 6], [2, 5, 9, 6]], &Device::Cpu)?;
    let mask = Tensor::new(&[[0u32, 1, 1, 1], [1, 1, 1, 0]], &Device::Cpu)?;
    let input = ModelInput::new(ids).with_attention_mask(mask);
    let pooled =
        |input: &ModelInput| Ok::<_, Error>(model.forward(input)?.pooler_output.expect("a pooler"));
    let expected = pooled(&input.clone().with_outputs(Outputs::PADDING))?;
    assert!(relative_difference(&expected, &pooled(&input)?)? <= TOLERANCE);
    Ok(())
}

#[test]
fn an_empty_batch_is_an_empty_result() -> Result<()> {
    let model = frozen::<AlbertModel>(&config(2, 16, "gelu"))?;
    let ids = Tensor::zeros((0, 4), DType::U32, &Device::Cpu)?;
    assert_eq!(
        model
            .forward(&ModelInput::new(ids))?
            .last_hidden_state
            .dims(),
        [0, 4, 32]
    );
    Ok(())
}

#[test]
fn variables_that_change_change_the_result() -> Result<()> {
    let variables = VarMap::new();
    let model = AlbertModel::new(
        &config(2, 16, "gelu"),
        VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu),
    )?;
    let before = model.forward(&batch(&[5])?)?.last_hidden_state;
    for variable in variables.all_vars() {
        variable.set(&variable.rand_like(-0.5, 0.5)?)?;
    }
    let after = model.forward(&batch(&[5])?)?.last_hidden_state;
    assert!(relative_difference(&before, &after)? > 0.1);
    Ok(())
}

/// Only the embeddings are variables: the gradient must pass through layers that are packed.
#[test]
fn gradients_pass_through_frozen_layers() -> Result<()> {
    let config = config(2, 16, "gelu");
    let all = VarMap::new();
    AlbertModel::new(
        &config,
        VarBuilder::from_varmap(&all, DType::F32, &Device::Cpu),
    )?;
    let (frozen, trained) = (VarMap::new(), VarMap::new());
    for (name, variable) in all.data().lock().unwrap().iter() {
        trained
            .data()
            .lock()
            .unwrap()
            .insert(name.clone(), variable.clone());
        frozen
            .data()
            .lock()
            .unwrap()
            .insert(name.clone(), Var::from_tensor(variable.as_tensor())?);
    }
    let loss = |model: &AlbertModel| {
        model
            .forward_t(&batch(&[5, 3])?, true)?
            .last_hidden_state
            .sqr()?
            .sum_all()
    };
    let whole = AlbertModel::new(
        &config,
        VarBuilder::from_varmap(&trained, DType::F32, &Device::Cpu),
    )?;
    let word = trained.data().lock().unwrap()["embeddings.word_embeddings.weight"].clone();
    let expected = loss(&whole)?.backward()?.get(&word).unwrap().clone();

    let tensors = frozen
        .data()
        .lock()
        .unwrap()
        .iter()
        .map(|(name, variable)| {
            let is_trained = name == "embeddings.word_embeddings.weight";
            (
                name.clone(),
                if is_trained {
                    word.as_tensor().clone()
                } else {
                    variable.as_tensor().detach()
                },
            )
        })
        .collect();
    let part = AlbertModel::new(
        &config,
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu),
    )?;
    let found = loss(&part)?
        .backward()?
        .get(&word)
        .expect("the gradient passed")
        .clone();
    assert!(relative_difference(&expected, &found)? <= TOLERANCE);
    Ok(())
}

/// Weights computed from variables, as adapters do, are not constants to pack.
#[test]
fn gradients_reach_what_weights_are_made_of() -> Result<()> {
    let config = config(2, 16, "gelu");
    let all = VarMap::new();
    AlbertModel::new(
        &config,
        VarBuilder::from_varmap(&all, DType::F32, &Device::Cpu),
    )?;
    let variables = all.data().lock().unwrap();
    let made = variables
        .iter()
        .map(|(name, variable)| Ok((name.clone(), (variable.as_tensor() * 0.5)?)));
    let made = made.collect::<Result<_>>()?;
    let model = AlbertModel::new(
        &config,
        VarBuilder::from_tensors(made, DType::F32, &Device::Cpu),
    )?;
    let loss = model
        .forward_t(&batch(&[5, 3])?, true)?
        .last_hidden_state
        .sum_all()?;
    let gradients = loss.backward()?;
    for (name, variable) in variables
        .iter()
        .filter(|(name, _)| !name.starts_with("pooler."))
    {
        assert!(
            gradients.get(variable).is_some(),
            "`{name}` has no gradient"
        );
    }
    Ok(())
}

#[test]
fn a_fixture_takes_the_fused_path() -> anyhow::Result<()> {
    // Zeros at padding are its mark.
    let checkpoint = Checkpoint::from_dir(support::path("grouped-model"))?;
    let model = AlbertModel::load(&checkpoint, &LoadOptions::default())?;
    let states = model.forward(&batch(&[4, 2])?)?.last_hidden_state;
    assert_eq!(
        states.i((1, 2..))?.abs()?.max_all()?.to_scalar::<f32>()?,
        0.0
    );
    Ok(())
}

#[test]
fn padding_is_computed_where_it_is_asked_for() -> Result<()> {
    let model = frozen::<AlbertModel>(&config(2, 16, "gelu"))?;
    let whole = |outputs: Outputs| model.forward(&batch(&[7, 3])?.with_outputs(outputs));
    let padding = |output: &Tensor| output.i((1, 3..))?.abs()?.max_all()?.to_scalar::<f32>();
    assert_eq!(padding(&whole(Outputs::empty())?.last_hidden_state)?, 0.0);
    let asked = whole(Outputs::PADDING)?.last_hidden_state;
    assert!(padding(&asked)? > 0.0);
    assert!(relative_difference(&whole(Outputs::all())?.last_hidden_state, &asked)? <= TOLERANCE);
    Ok(())
}

/// Returns the rows of `(…, H)` states as bits.
fn rows_of(states: &Tensor) -> Result<Vec<Vec<u32>>> {
    let h = states.dim(D::Minus1)?;
    let rows = states.reshape(((), h))?.to_vec2::<f32>()?;
    let bits = |row: &Vec<f32>| row.iter().map(|value| value.to_bits()).collect();
    Ok(rows.iter().map(bits).collect())
}

#[test]
fn tokens_that_are_read_have_the_bits_of_a_pass_over_all_tokens() -> anyhow::Result<()> {
    let lengths = [5usize, 2, 70, 1, 30, 41, 90];
    let (batch, longest) = (lengths.len(), 90);
    let column = |place: usize| (place / longest, place % longest);
    let places = 0..batch * longest;
    let id = |(row, token): (usize, usize)| (4 + (row * 7 + token * 3) % 40) as u32;
    let is_token = |(row, token): (usize, usize)| token < lengths[row];
    let ids: Vec<u32> = places.clone().map(|it| id(column(it))).collect();
    let mask: Vec<u32> = places
        .clone()
        .map(|it| is_token(column(it)).into())
        .collect();
    let flat = places.clone().filter(|&it| is_token(column(it)));
    let flat: Vec<u32> = flat.map(|it| id(column(it))).collect();
    let tensor = |values: &[u32]| Tensor::from_slice(values, (batch, longest), &Device::Cpu);
    let padded = ModelInput::new(tensor(&ids)?).with_attention_mask(tensor(&mask)?);
    let ragged = ModelInput::ragged(Tensor::new(flat, &Device::Cpu)?, lengths.to_vec());

    let config = config(3, 8, "gelu_new");
    let without_pooler = frozen::<AlbertForMaskedLM>(&config)?;
    let with_pooler = frozen::<AlbertModel>(&config)?;
    let int8 = {
        let folder = support::path("grouped-model");
        let checkpoint = Checkpoint::from_dir(folder)?.quantize()?;
        let options = LoadOptions::default().with_weights(WeightFormat::Int8);
        AlbertModel::load(&checkpoint, &options)?
    };
    let positions = int8.config().max_position_embeddings;
    assert!(positions >= 24, "{positions}");
    for (name, model) in [
        ("without a pooler", without_pooler.albert()),
        ("with a pooler", &with_pooler),
    ] {
        for (input, total) in [(&padded, batch * longest), (&ragged, lengths.iter().sum())] {
            let all = model.forward(input)?;
            let expected = rows_of(&all.last_hidden_state)?;
            let some: Vec<u32> = (0..total as u32).filter(|it| it % 11 == 5).rev().collect();
            for read in [
                TokensRead::First,
                TokensRead::At(some.clone()),
                TokensRead::At(vec![]),
            ] {
                let found = model.forward(&input.clone().with_tokens_read(read.clone()))?;
                let rows = rows_of(&found.last_hidden_state)?;
                assert_eq!(rows.len(), expected.len(), "{name}");
                let mut same = 0;
                for (row, expected) in rows.iter().zip(&expected) {
                    // A row is computed, with the same bits, or is zero.
                    let is_zero = row.iter().all(|&bits| bits == 0);
                    assert!(is_zero || row == expected, "{name}, {read:?}");
                    same += usize::from(!is_zero);
                }
                let pooled = |output: &AlbertOutput| output.pooler_output.as_ref().map(rows_of);
                assert_eq!(pooled(&found).transpose()?, pooled(&all).transpose()?);
                if let TokensRead::At(some) = &read {
                    for &token in some {
                        assert_eq!(rows[token as usize], expected[token as usize], "{name}");
                    }
                }
                assert!(
                    same < total / 5,
                    "{name}, {read:?}: {same} rows are computed"
                );
            }
        }
    }

    let ids: Vec<u32> = (4..44).collect();
    let short = ModelInput::ragged(Tensor::new(ids, &Device::Cpu)?, vec![17, 3, 20]);
    let expected = rows_of(&int8.forward(&short)?.last_hidden_state)?;
    let read = TokensRead::At(vec![39, 18, 2]);
    let found = rows_of(
        &int8
            .forward(&short.with_tokens_read(read))?
            .last_hidden_state,
    )?;
    for token in [0, 17, 20, 39, 18, 2] {
        assert_eq!(found[token], expected[token], "int8, {token}");
    }
    assert!(found[1].iter().all(|&bits| bits == 0));
    Ok(())
}

#[test]
fn a_token_outside_the_batch_cannot_be_read() -> anyhow::Result<()> {
    let model = frozen::<AlbertModel>(&config(3, 8, "relu"))?;
    let ids = Tensor::new(&[[5u32, 6, 7]], &Device::Cpu)?;
    let input = ModelInput::new(ids).with_tokens_read(TokensRead::At(vec![3]));
    let error = model.forward(&input).unwrap_err().to_string();
    assert!(
        error.contains("position 3 is outside the batch: expected 0 to 2"),
        "{error}"
    );
    Ok(())
}
