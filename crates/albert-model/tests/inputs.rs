//! Inputs of a model: masks in every type, and inputs that it must refuse.

mod support;

use albert_model::candle_core::{DType, Device, Result, Tensor};
use albert_model::candle_nn::{VarBuilder, VarMap};
use albert_model::{
    AlbertForMaskedLM, AlbertForMultipleChoice, AlbertModel, Checkpoint, LoadOptions, ModelInput,
    Pretrained,
};

/// f32 hidden states of a padded row and of the row alone, whose products may be summed in another
/// order.
const ROUNDING: f32 = 1e-5;

fn checkpoint() -> Checkpoint {
    Checkpoint::from_dir(support::path("grouped-model")).unwrap()
}

fn model() -> AlbertModel {
    AlbertModel::load(&checkpoint(), &LoadOptions::default()).unwrap()
}

fn ids<const ROWS: usize>(rows: &[[u32; 4]; ROWS]) -> Tensor {
    Tensor::new(rows, &Device::Cpu).unwrap()
}

/// The modules themselves in half precision, as they run on a GPU.
fn in_type(dtype: DType) -> Result<AlbertModel> {
    let tensors = albert_model::candle_core::safetensors::load(
        support::path("grouped-model").join("model.safetensors"),
        &Device::Cpu,
    )?;
    AlbertModel::new(
        checkpoint().config(),
        VarBuilder::from_tensors(tensors, dtype, &Device::Cpu),
    )
}

#[test]
fn padding_and_fully_masked_rows_are_finite_in_every_type() -> Result<()> {
    let mask = Tensor::new(&[[1u8, 1, 0, 0], [0, 0, 0, 0]], &Device::Cpu)?;
    let input = ModelInput::new(ids(&[[2, 5, 0, 0], [2, 7, 8, 3]])).with_attention_mask(mask);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for train in [false, true] {
            let output = in_type(dtype)?.forward_t(&input, train)?;
            let states = output
                .last_hidden_state
                .to_dtype(DType::F32)?
                .flatten_all()?
                .to_vec1::<f32>()?;
            assert!(
                states.iter().all(|x| x.is_finite()),
                "{dtype:?}, train {train}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_padded_does_not_matter() -> Result<()> {
    let mask = Tensor::new(&[[1u8, 1, 1, 0]], &Device::Cpu)?;
    let run = |last| -> Result<Vec<f32>> {
        let input = ModelInput::new(ids(&[[2, 5, 3, last]])).with_attention_mask(mask.clone());
        model()
            .forward(&input)?
            .last_hidden_state
            .narrow(1, 0, 3)?
            .flatten_all()?
            .to_vec1()
    };
    assert_eq!(run(0)?, run(41)?);
    Ok(())
}

#[test]
fn ids_may_be_bytes_and_absent_types_are_zeros() -> Result<()> {
    let model = model();
    let states = |input: ModelInput| -> Result<Vec<f32>> {
        model
            .forward(&input)?
            .last_hidden_state
            .flatten_all()?
            .to_vec1()
    };
    let plain = states(ModelInput::new(ids(&[[2, 5, 6, 3]])))?;
    assert_eq!(
        plain,
        states(ModelInput::new(Tensor::new(
            &[[2u8, 5, 6, 3]],
            &Device::Cpu
        )?))?
    );
    let zeros = Tensor::zeros((1, 4), DType::U32, &Device::Cpu)?;
    assert_eq!(
        plain,
        states(ModelInput::new(ids(&[[2, 5, 6, 3]])).with_token_type_ids(zeros))?
    );
    Ok(())
}

#[test]
fn impossible_inputs_are_refused_by_name() -> Result<()> {
    let model = model();
    let long = Tensor::zeros((1, 25), DType::U32, &Device::Cpu)?;
    let good = || ModelInput::new(ids(&[[2, 5, 6, 3]]));
    let short = || Tensor::zeros((1, 3), DType::U32, &Device::Cpu);
    for (input, expected) in [
        (
            ModelInput::new(ids(&[[2, 97, 6, 3]])),
            "token id 97 is outside the vocabulary: expected 0 to 96",
        ),
        (
            ModelInput::new(long),
            "a sequence of 25 tokens is longer than the model's 24 positions",
        ),
        (
            ModelInput::new(Tensor::zeros((1, 0), DType::U32, &Device::Cpu)?),
            "expected at least one token",
        ),
        (
            ModelInput::new(Tensor::zeros(4, DType::U32, &Device::Cpu)?),
            "expected the shape (batch, tokens)",
        ),
        (
            ModelInput::new(Tensor::zeros((1, 4), DType::F32, &Device::Cpu)?),
            "a token id is a u32, i64 or u8",
        ),
        (
            good().with_attention_mask(short()?),
            "attention mask: expected the shape of the token ids, [1, 4]",
        ),
        (
            good().with_token_type_ids(short()?),
            "token type ids: expected the shape of the token ids",
        ),
        (
            good().with_token_type_ids(ids(&[[0, 0, 1, 2]])),
            "token type id 2 is outside `type_vocab_size`",
        ),
        (
            good().with_position_ids(ids(&[[0, 1, 2, 24]])),
            "position id 24 is outside `max_position_embeddings`",
        ),
        (
            good().with_position_ids(short()?),
            "position ids: expected the shape of the token ids",
        ),
    ] {
        let error = model.forward(&input).unwrap_err().to_string();
        assert!(
            error.contains(expected),
            "expected {expected:?}, found {error:?}"
        );
    }
    let negative = Tensor::new(&[[2i64, -1, 3]], &Device::Cpu)?;
    assert!(
        model
            .forward(&ModelInput::new(negative))
            .unwrap_err()
            .to_string()
            .contains("token id -1")
    );
    Ok(())
}

#[test]
fn multiple_choice_wants_a_dimension_for_the_choices() -> Result<()> {
    let checkpoint = Checkpoint::from_dir(support::path("grouped-choice")).unwrap();
    let model = AlbertForMultipleChoice::load(&checkpoint, &LoadOptions::default()).unwrap();
    let error = model
        .forward(&ModelInput::new(ids(&[[2, 5, 6, 3]])))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected the shape (batch, choices, tokens), found [1, 4]"),
        "{error}"
    );
    Ok(())
}

#[test]
fn the_sequences_of_a_ragged_batch_are_choices_of_one_text() -> Result<()> {
    let checkpoint = Checkpoint::from_dir(support::path("grouped-choice")).unwrap();
    let model = AlbertForMultipleChoice::load(&checkpoint, &LoadOptions::default()).unwrap();
    let rows: [&[u32]; 3] = [&[2, 5, 6, 3], &[2, 7, 3], &[2, 9, 10, 11, 3]];
    let ragged = ModelInput::ragged(Tensor::new(rows.concat(), &Device::Cpu)?, vec![4, 3, 5]);
    let found = model.forward(&ragged)?.logits.to_vec2::<f32>()?;
    let alone = |row: &&[u32]| -> Result<f32> {
        let ids = Tensor::new(*row, &Device::Cpu)?.reshape((1, 1, row.len()))?;
        let logits = model.forward(&ModelInput::new(ids))?.logits;
        logits.get(0)?.get(0)?.to_scalar()
    };
    let expected: Vec<f32> = rows.iter().map(alone).collect::<Result<_>>()?;
    assert_eq!(found, [expected]);
    Ok(())
}

#[test]
fn a_ragged_batch_is_padded_for_an_encoder_that_takes_no_other() -> Result<()> {
    // Weights that are variables are never packed.
    let config = checkpoint().config().clone();
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let model = AlbertModel::new(&config, vb)?;
    let rows: [&[u32]; 2] = [&[2, 5, 3], &[2, 7, 8, 9, 3]];
    let ragged = ModelInput::ragged(Tensor::new(rows.concat(), &Device::Cpu)?, vec![3, 5]);
    let found = model.forward(&ragged)?.last_hidden_state;
    assert_eq!(found.dims(), [8, config.hidden_size]);
    let mut start = 0;
    for row in rows {
        let ids = Tensor::new(row, &Device::Cpu)?.unsqueeze(0)?;
        let alone = model.forward(&ModelInput::new(ids))?.last_hidden_state;
        let own = found.narrow(0, start, row.len())?;
        let difference = (alone.squeeze(0)? - own)?.abs()?.max_all()?;
        assert!(difference.to_scalar::<f32>()? <= ROUNDING);
        start += row.len();
    }
    Ok(())
}

#[test]
fn dropout_acts_only_while_training() -> Result<()> {
    let mut config = checkpoint().config().clone();
    config.hidden_dropout_prob = 0.5;
    let variables = VarMap::new();
    let model = AlbertModel::new(
        &config,
        VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu),
    )?;
    let run = |train| -> Result<Vec<f32>> {
        let output = model.forward_t(&ModelInput::new(ids(&[[2, 5, 6, 3]])), train)?;
        output.last_hidden_state.flatten_all()?.to_vec1()
    };
    assert_eq!(run(false)?, run(false)?);
    assert_ne!(run(true)?, run(true)?);
    Ok(())
}

/// A weight that is a variable and one that is packed are multiplied in different ways.
#[test]
fn embeddings_of_another_width_are_refused_by_it() -> Result<()> {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let trainable = AlbertModel::new(checkpoint().config(), vb)?;
    // As many numbers as four embeddings of the right width, and as many as none.
    for shape in [(1, 8, 8), (1, 3, 5)] {
        let embeddings = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        for model in [&model(), &trainable] {
            let error = model
                .encoder()
                .forward_t(&embeddings, None, false)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("dense layer: expected a last dimension of 16, found the shape"),
                "{error}"
            );
        }
    }
    Ok(())
}

#[test]
fn positions_to_decode_lie_in_the_batch() -> Result<()> {
    let checkpoint = Checkpoint::from_dir(support::path("grouped-masked-lm")).unwrap();
    let model = AlbertForMaskedLM::load(&checkpoint, &LoadOptions::default()).unwrap();
    let input = ModelInput::new(ids(&[[2, 5, 6, 3]]));
    let vocab_size = model.config().vocab_size;
    assert_eq!(
        model
            .forward_at(&input, &Tensor::new(&[3u32, 0], &Device::Cpu)?)?
            .dims(),
        [2, vocab_size]
    );
    // For the largest number Candle would give a row of zeros.
    for outside in [4, u32::MAX] {
        let error = model
            .forward_at(&input, &Tensor::new(&[0, outside], &Device::Cpu)?)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!(
                "position {outside} is outside the batch: expected 0 to 3"
            )),
            "{error}"
        );
    }
    Ok(())
}

/// A model without its numbers, and one whose file is in memory without its bytes.
#[test]
fn what_is_shown_for_debugging_fits_a_screen_or_two() {
    let folder = support::path("grouped-model");
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let checkpoint = Checkpoint::from_bytes(&config, weights, "weights").unwrap();
    let model = AlbertModel::load(&checkpoint, &LoadOptions::default()).unwrap();
    let shown = format!("{model:?}");
    assert!(
        shown.len() < 10_000 && shown.contains("PackedMatrix(16 × 21"),
        "{} bytes: {shown}",
        shown.len()
    );
    // Each of its tensors reports where its bytes are.
    let shown = format!("{checkpoint:?}");
    assert!(
        shown.len() < 50_000 && shown.contains("Bytes("),
        "{} bytes",
        shown.len()
    );
}
