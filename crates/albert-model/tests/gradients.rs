//! Training reaches every variable, with transformers' gradients and dropout where it is
//! configured.
//!
//! Candle's fused layer norm and softmax have no backward pass: with them everything upstream stays
//! as it was, silently. So every head is asked here for the gradient of each of its variables.

mod support;

use std::collections::{HashMap, HashSet};

use albert_model::candle_core::{self, DType, Tensor, Var};
use albert_model::candle_nn::{Optimizer, SGD, VarBuilder, VarMap, loss};
use albert_model::{
    AlbertConfig, AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForPreTraining,
    AlbertForQuestionAnswering, AlbertForSequenceClassification, AlbertForTokenClassification,
    AlbertModel, Pretrained,
};
use support::{Expected, Model, device, path, relative_difference};

/// f32 on both sides, and gradients of queries and keys are small sums of large terms. Seen:
/// 4.8e-6; versions 4 and 5 of transformers differ by up to 5.5e-6.
const GRADIENT_TOLERANCE: f64 = 2e-5;

/// [`GRADIENT_TOLERANCE`] on a GPU, which sums in other orders.
const DEVICE_TOLERANCE: f64 = 1e-4;

/// Gradients below this part of the largest one are rounding. Seen: at least 1e-3 of it for true
/// gradients, 5e-9 for those that are 0 in exact arithmetic.
const ROUNDING: f32 = 1e-6;

/// Softmax does not see a number added to all scores of a query, and that is all a key's bias adds:
/// its gradient is 0, and what is computed is rounding.
fn has_no_gradient(name: &str) -> bool {
    name.ends_with("attention.key.bias")
}

fn tolerance() -> candle_core::Result<f64> {
    Ok(if device()?.is_cpu() {
        GRADIENT_TOLERANCE
    } else {
        DEVICE_TOLERANCE
    })
}

/// A model of variables, with the weights of a fixture.
fn trainable<M: Pretrained>(folder: &str) -> anyhow::Result<(M, VarMap)> {
    trainable_with(folder, |_| ())
}

fn trainable_with<M: Pretrained>(
    folder: &str,
    change: impl FnOnce(&mut AlbertConfig),
) -> anyhow::Result<(M, VarMap)> {
    let stored =
        candle_core::safetensors::load(path(folder).join("model.safetensors"), &device()?)?;
    let names: HashSet<_> = stored.keys().cloned().collect();
    let variables = VarMap::new();
    for (name, tensor) in stored {
        variables
            .data()
            .lock()
            .expect("no other thread")
            .insert(name, Var::from_tensor(&tensor)?);
    }
    let mut config = AlbertConfig::from_file(path(folder).join("config.json"))?;
    change(&mut config);
    let model = M::new(
        &config,
        VarBuilder::from_varmap(&variables, DType::F32, &device()?),
    )?;
    let after: HashSet<_> = variables
        .data()
        .lock()
        .expect("no other thread")
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        names, after,
        "{folder}: the model's variables and the file's tensors"
    );
    Ok((model, variables))
}

fn gradients(loss: &Tensor, variables: &VarMap) -> anyhow::Result<HashMap<String, Tensor>> {
    let gradients = loss.backward()?;
    let variables = variables.data().lock().expect("no other thread");
    let named = variables.iter().map(|(name, variable)| {
        let gradient = gradients
            .get(variable)
            .ok_or_else(|| anyhow::anyhow!("`{name}` has no gradient"))?;
        Ok((name.clone(), gradient.clone()))
    });
    named.collect()
}

fn largest(tensor: &Tensor) -> candle_core::Result<f32> {
    tensor.abs()?.max_all()?.to_scalar()
}

const PRETRAINING: &str = "grouped-pretraining";

/// Transformers' loss and gradients of one batch.
fn reference() -> anyhow::Result<HashMap<String, Tensor>> {
    Ok(candle_core::safetensors::load(
        path(PRETRAINING).join("training.safetensors"),
        &device()?,
    )?)
}

/// The loss of masked tokens and of the order of sentences, on that batch.
fn loss_of(
    model: &AlbertForPreTraining,
    reference: &HashMap<String, Tensor>,
) -> anyhow::Result<Tensor> {
    let output = model.forward_t(&Expected::of(PRETRAINING)?.input_on_device()?, true)?;
    let labels = reference["labels.masked_lm"]
        .flatten_all()?
        .to_vec1::<i64>()?;
    let (positions, tokens): (Vec<_>, Vec<_>) = labels
        .iter()
        .enumerate()
        .filter(|(_, label)| **label >= 0)
        .map(|(i, label)| (i as u32, *label as u32))
        .unzip();
    let positions = Tensor::new(positions, &device()?)?;
    let predictions = output
        .prediction_logits
        .flatten_to(1)?
        .index_select(&positions, 0)?;
    let masked_lm = loss::cross_entropy(&predictions, &Tensor::new(tokens, &device()?)?)?;
    let order = reference["labels.sentence_order"].to_dtype(DType::U32)?;
    Ok((masked_lm + loss::cross_entropy(&output.sop_logits, &order)?)?)
}

#[test]
fn loss_and_gradients_of_pretraining_are_those_of_transformers() -> anyhow::Result<()> {
    let (model, variables) = trainable::<AlbertForPreTraining>(PRETRAINING)?;
    let reference = reference()?;
    let loss = loss_of(&model, &reference)?;
    assert!(relative_difference(&reference["loss"], &loss)? <= tolerance()?);

    let found = gradients(&loss, &variables)?;
    for (name, gradient) in &found {
        let expected = &reference[&format!("grad.{name}")];
        if has_no_gradient(name) {
            // Rounding on both sides, of the sums that give the query's bias its gradient.
            let scale = largest(&found[&name.replace("attention.key", "attention.query")])?;
            assert!(
                largest(gradient)? <= tolerance()? as f32 * scale,
                "`{name}`: {gradient}"
            );
            continue;
        }
        let difference = relative_difference(expected, gradient)?;
        assert!(
            difference <= tolerance()?,
            "the gradient of `{name}` is off by {difference:.1e}"
        );
    }
    let expected = reference
        .keys()
        .filter(|name| name.starts_with("grad."))
        .count();
    assert_eq!(found.len(), expected);
    Ok(())
}

/// One step of plain gradient descent goes against transformers' gradients, and downhill.
#[test]
fn a_training_step_lowers_the_loss_along_the_gradients_of_transformers() -> anyhow::Result<()> {
    const RATE: f64 = 1e-2;
    let (model, variables) = trainable::<AlbertForPreTraining>(PRETRAINING)?;
    let reference = reference()?;
    let before: Vec<_> = {
        let variables = variables.data().lock().expect("no other thread");
        let copied = variables
            .iter()
            .map(|(name, variable)| Ok((name.clone(), variable.copy()?)));
        copied.collect::<candle_core::Result<_>>()?
    };
    let loss = loss_of(&model, &reference)?;
    SGD::new(variables.all_vars(), RATE)?.backward_step(&loss)?;

    for (name, before) in before.iter().filter(|(name, _)| !has_no_gradient(name)) {
        let after = variables.data().lock().expect("no other thread")[name].copy()?;
        let step = ((before - after)? / RATE)?;
        // The step is a small difference of f32 numbers: their own rounding is part of it.
        let rounding = f64::from(largest(before)? * f32::EPSILON) / RATE;
        let expected = &reference[&format!("grad.{name}")];
        let allowed = tolerance()? + rounding / f64::from(largest(expected)?);
        let difference = relative_difference(expected, &step)?;
        assert!(
            difference <= allowed,
            "the step of `{name}` is off by {difference:.1e}"
        );
    }
    let (before, after) = (
        loss.to_scalar::<f32>()?,
        loss_of(&model, &reference)?.to_scalar::<f32>()?,
    );
    assert!(after < before, "the loss went from {before} to {after}");
    Ok(())
}

/// Draws every output toward a pattern, and looks at what each variable feels of it.
fn assert_every_variable_learns<M: Pretrained + Model>(folder: &str) -> anyhow::Result<()> {
    let (model, variables) = trainable::<M>(folder)?;
    let mut total = Tensor::new(0f32, &device()?)?;
    for output in model
        .run(&Expected::of(folder)?.input_on_device()?, true)?
        .values()
    {
        let count = output.elem_count() as u32;
        let pattern = (Tensor::arange(0, count, &device()?)?.to_dtype(DType::F32)? * 0.7)?.sin()?;
        total = (total + loss::mse(output, &pattern.reshape(output.shape())?)?)?;
    }
    let gradients = gradients(&total, &variables)?;
    let scale = gradients
        .values()
        .map(largest)
        .try_fold(0f32, |most, size| {
            Ok::<_, candle_core::Error>(most.max(size?))
        })?;
    for (name, gradient) in &gradients {
        let size = largest(gradient)?;
        let sum = gradient.abs()?.sum_all()?.to_scalar::<f32>()?;
        assert!(sum.is_finite(), "`{name}` of {folder}: {gradient}");
        assert_eq!(
            size > ROUNDING * scale,
            !has_no_gradient(name),
            "the largest gradient of `{name}` in {folder} is {size:.1e}, that of any variable {scale:.1e}"
        );
    }
    Ok(())
}

#[test]
fn every_variable_of_the_encoder_learns() -> anyhow::Result<()> {
    assert_every_variable_learns::<AlbertModel>("grouped-model")?;
    assert_every_variable_learns::<AlbertModel>("uneven")
}

#[test]
fn every_variable_of_pretraining_learns() -> anyhow::Result<()> {
    for folder in ["grouped-pretraining", "square", "relu", "deep"] {
        assert_every_variable_learns::<AlbertForPreTraining>(folder)?;
    }
    Ok(())
}

#[test]
fn every_variable_of_a_masked_language_model_learns() -> anyhow::Result<()> {
    assert_every_variable_learns::<AlbertForMaskedLM>("grouped-masked-lm")
}

#[test]
fn every_variable_of_a_sequence_classifier_learns() -> anyhow::Result<()> {
    assert_every_variable_learns::<AlbertForSequenceClassification>("grouped-sequence")
}

#[test]
fn every_variable_of_a_token_classifier_learns() -> anyhow::Result<()> {
    assert_every_variable_learns::<AlbertForTokenClassification>("grouped-token")
}

#[test]
fn every_variable_of_question_answering_learns() -> anyhow::Result<()> {
    assert_every_variable_learns::<AlbertForQuestionAnswering>("grouped-qa")
}

#[test]
fn every_variable_of_multiple_choice_learns() -> anyhow::Result<()> {
    assert_every_variable_learns::<AlbertForMultipleChoice>("grouped-choice")
}

/// Half of everything is dropped, so that no run goes by without.
fn assert_drops_out<M: Pretrained + Model>(
    folder: &str,
    change: impl FnOnce(&mut AlbertConfig),
) -> anyhow::Result<()> {
    let (model, _) = trainable_with::<M>(folder, change)?;
    let expected = Expected::of(folder)?;
    let input = expected.input_on_device()?;
    let (inference, training) = (model.run(&input, false)?, model.run(&input, true)?);
    // The sentence-order logits of pretraining come last: its classifier is the one with dropout.
    let name = inference.keys().last().expect("every head has an output");
    let reference = &expected.tensors[&format!("output.{name}")];
    assert!(
        relative_difference(reference, &inference[name])? <= tolerance()?,
        "{folder}"
    );
    assert!(
        relative_difference(reference, &training[name])? > 0.01,
        "{folder}: nothing was dropped"
    );
    Ok(())
}

#[test]
fn every_dropout_acts_in_training_alone() -> anyhow::Result<()> {
    assert_drops_out::<AlbertModel>("grouped-model", |config| config.hidden_dropout_prob = 0.5)?;
    assert_drops_out::<AlbertModel>("grouped-model", |config| {
        config.attention_probs_dropout_prob = 0.5
    })?;
    let classifier = |config: &mut AlbertConfig| config.classifier_dropout_prob = Some(0.5);
    assert_drops_out::<AlbertForPreTraining>("grouped-pretraining", classifier)?;
    assert_drops_out::<AlbertForSequenceClassification>("grouped-sequence", classifier)?;
    assert_drops_out::<AlbertForTokenClassification>("grouped-token", classifier)?;
    assert_drops_out::<AlbertForMultipleChoice>("grouped-choice", classifier)
}
