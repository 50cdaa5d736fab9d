//! The training pass: losses and gradients of every objective are PyTorch's, in any division of the
//! batch.
//!
//! The fixtures come from `scripts/make_training_fixtures.py`.

mod engines;
mod fixture;

use std::sync::Arc;

use albert_model::candle_core::DType;
use albert_model::train::{
    Classification, Draw, Dropout, Frozen, MaskedLm, ModelPart, PassOptions, Pooling,
    SentenceVectors, Spans, TrainingBatch, TrainingPass, VectorLoss,
};

use fixture::{CASES, Fixture, TOLERANCE};

#[test]
fn losses_and_gradients_of_every_objective_are_those_of_pytorch() -> anyhow::Result<()> {
    for name in CASES {
        let fixture = Fixture::open(name)?;
        let expected_loss = fixture.tensors["loss"]
            .to_dtype(DType::F64)?
            .to_scalar::<f64>()?;
        let expected = fixture.expected()?;
        for (slots, bundle_tokens, skip_unread_rows) in
            [(1, 256, true), (2, 256, false), (3, 16, true), (8, 1, true)]
        {
            let (loss, gradients) = fixture.step(|options| {
                options.slots = slots;
                options.bundle_tokens = bundle_tokens;
                options.skip_unread_rows = skip_unread_rows;
            })?;
            let error = (loss - expected_loss).abs() / expected_loss.abs().max(1.0);
            assert!(
                error <= 2e-6,
                "{name}: loss {loss}, expected {expected_loss}"
            );
            let (error, tensor) = fixture.difference(&expected, &gradients);
            assert!(
                error <= TOLERANCE,
                "{name}, {slots} slots of {bundle_tokens} tokens, skipping {skip_unread_rows}: the \
                 gradient of `{tensor}` is off by {error:.1e}"
            );
        }
    }
    Ok(())
}

#[test]
fn gradients_have_the_same_bits_on_any_number_of_threads() -> anyhow::Result<()> {
    for name in ["pretraining-inner", "in-batch-negatives"] {
        let fixture = Fixture::open(name)?;
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()?;
            pool.install(|| {
                fixture.step(|options| {
                    options.slots = 4;
                    options.bundle_tokens = 8;
                    options.dropout = Dropout {
                        hidden: 0.1,
                        feed_forward: 0.1,
                        attention: 0.1,
                        classifier: 0.1,
                    };
                })
            })
        };
        let expected = run(1)?;
        for threads in [2, 3, 5] {
            assert!(run(threads)? == expected, "{name} on {threads} threads");
        }
    }
    Ok(())
}

/// The masks of `scripts/make_bert_training_fixtures.py` are those of the test's draw.
#[test]
fn a_bert_with_dropout_has_the_losses_and_gradients_of_pytorch_with_the_same_masks()
-> anyhow::Result<()> {
    for name in ["pretraining", "classification", "token-labels"] {
        let fixture = Fixture::open(&format!("../training-bert/{name}-dropout"))?;
        let configured = Dropout::from_config(fixture.layout.config());
        assert!(configured.feed_forward == 0.2 && configured.classifier == 0.25);
        let expected_loss = fixture.tensors["loss"]
            .to_dtype(DType::F64)?
            .to_scalar::<f64>()?;
        let expected = fixture.expected()?;
        for skip_unread_rows in [true, false] {
            let (loss, gradients) = fixture.step(|options| {
                options.skip_unread_rows = skip_unread_rows;
            })?;
            let error = (loss - expected_loss).abs() / expected_loss.abs().max(1.0);
            assert!(
                error <= 2e-6,
                "{name}: loss {loss}, expected {expected_loss}"
            );
            let (error, tensor) = fixture.difference(&expected, &gradients);
            assert!(
                error <= TOLERANCE,
                "{name}, skipping {skip_unread_rows}: the gradient of `{tensor}` is off by {error:.1e}"
            );
        }
    }
    Ok(())
}

/// With a fixed draw the loss is a smooth function of the parameters: its derivative along the
/// gradient is the gradient's square.
#[test]
fn gradients_with_dropout_are_the_slope_of_the_loss_with_the_same_masks() -> anyhow::Result<()> {
    for name in [
        "pretraining-inner",
        "token-labels",
        "classification",
        "choice",
        "similarities",
    ] {
        let mut fixture = Fixture::open(name)?;
        let all = Dropout {
            hidden: 0.2,
            feed_forward: 0.2,
            attention: 0.3,
            classifier: 0.25,
        };
        let (_, gradients) = fixture.step(|options| options.dropout = all)?;
        let (_, skipped) = fixture.step(|options| {
            options.dropout = all;
            options.skip_unread_rows = false;
        })?;
        let (error, tensor) = fixture.difference(&gradients, &skipped);
        assert!(
            error <= TOLERANCE,
            "{name}: skipping changes `{tensor}` by {error:.1e}"
        );

        let square: f64 = gradients.iter().map(|g| f64::from(*g).powi(2)).sum();
        let step = 1e-3 / square.sqrt();
        let start = fixture.parameters.clone();
        let mut shifted = |by: f64| -> anyhow::Result<f64> {
            let values = start.values().iter().zip(&gradients);
            let shifted = values.map(|(p, g)| (f64::from(*p) + by * f64::from(*g)) as f32);
            let shifted: Vec<f32> = shifted.collect();
            fixture.parameters.values_mut().copy_from_slice(&shifted);
            Ok(fixture.step(|options| options.dropout = all)?.0)
        };
        let slope = (shifted(step)? - shifted(-step)?) / (2.0 * step);
        let error = (slope / square - 1.0).abs();
        assert!(
            error <= 2e-3,
            "{name}: slope {slope:.6e}, expected {square:.6e}"
        );
    }
    Ok(())
}

#[test]
fn another_draw_drops_other_values() -> anyhow::Result<()> {
    let fixture = Fixture::open("pretraining-one-group")?;
    let objectives = fixture.objectives()?;
    let objectives: Vec<_> = objectives.iter().map(|objective| &**objective).collect();
    let mut options = PassOptions::new(fixture.layout.config());
    options.dropout = Dropout {
        hidden: 0.1,
        feed_forward: 0.1,
        attention: 0.0,
        classifier: 0.0,
    };
    let mut pass = TrainingPass::new(Arc::clone(&fixture.layout), options)?;
    let mut loss = |seed, step| {
        let draw = Draw { seed, step };
        let report = pass.step(&fixture.parameters, &fixture.batch, &objectives, draw);
        anyhow::Ok(report?.0.loss())
    };
    assert_eq!(loss(1, 1)?, loss(1, 1)?);
    assert_ne!(loss(1, 1)?, loss(1, 2)?);
    assert_ne!(loss(1, 1)?, loss(2, 1)?);
    Ok(())
}

#[test]
fn frozen_parts_have_no_gradient_and_the_others_keep_theirs() -> anyhow::Result<()> {
    for name in ["pretraining-one-group", "classification"] {
        let fixture = Fixture::open(name)?;
        let (_, all) = fixture.step(|_| ())?;
        for frozen in [
            Frozen {
                embeddings: true,
                encoder: false,
            },
            Frozen {
                embeddings: false,
                encoder: true,
            },
        ] {
            let (_, found) = fixture.step(|options| options.frozen = frozen)?;
            for tensor in fixture.layout.tensors() {
                let range = tensor.range.clone();
                let is_frozen = match tensor.part {
                    ModelPart::Embeddings => true,
                    ModelPart::Encoder => frozen.encoder,
                    _ => false,
                };
                if is_frozen {
                    assert!(
                        found[range].iter().all(|g| *g == 0.0),
                        "{name}: {}",
                        tensor.name
                    );
                } else {
                    assert!(
                        found[range.clone()] == all[range],
                        "{name}: {}",
                        tensor.name
                    );
                }
            }
        }
    }
    Ok(())
}

/// A step of several batches: each is divided by the items of all.
#[test]
fn accumulated_batches_have_the_gradient_of_one() -> anyhow::Result<()> {
    let fixture = Fixture::open("masked-lm-untied")?;
    let (loss, expected) = fixture.step(|_| ())?;
    let targets = fixture.rows_with("tokens")?;
    let mut pass = TrainingPass::new(
        Arc::clone(&fixture.layout),
        PassOptions::new(fixture.layout.config()),
    )?;
    let (ids, types) = (fixture.integers("ids")?, fixture.integers("types")?);
    let mut sum = 0.0;
    for sequences in [0..2, 2..fixture.batch.len()] {
        let mut batch = TrainingBatch::new();
        for sequence in sequences.clone() {
            let rows = fixture.batch.rows(sequence);
            batch.push(&ids[rows.clone()], &types[rows]);
        }
        let start = fixture.batch.rows(sequences.start).start;
        let rows = start..start + batch.tokens();
        let mine = targets.iter().filter(|(row, _)| rows.contains(row));
        let mine = mine.map(|(row, id)| (row - start, *id)).collect();
        let objective = MaskedLm::new(&fixture.layout, mine)?.with_divisor(targets.len() as f64);
        sum += pass
            .accumulate(&fixture.parameters, &batch, &[&objective], Draw::default())?
            .loss();
    }
    assert!((sum - loss).abs() <= 1e-6);
    let (error, tensor) = fixture.difference(&expected, pass.gradients());
    assert!(error <= TOLERANCE, "`{tensor}` is off by {error:.1e}");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_by_name() -> anyhow::Result<()> {
    let fixture = Fixture::open("masked-lm-untied")?;
    let message = |objective: albert_model::train::Result<MaskedLm>| -> anyhow::Result<String> {
        let mut pass = TrainingPass::new(
            Arc::clone(&fixture.layout),
            PassOptions::new(fixture.layout.config()),
        )?;
        Ok(match objective {
            Err(error) => error.to_string(),
            Ok(objective) => pass
                .evaluate(&fixture.parameters, &fixture.batch, &[&objective])
                .map_or_else(|error| error.to_string(), |_| String::new()),
        })
    };
    let targets = |targets: &[(usize, u32)]| MaskedLm::new(&fixture.layout, targets.to_vec());
    assert_eq!(
        message(targets(&[(0, 37)]))?,
        "targets of masked_lm: expected tokens below 37, found 37"
    );
    assert_eq!(
        message(targets(&[(51, 0)]))?,
        "targets of masked_lm: expected rows below 51, found 51"
    );
    assert_eq!(
        message(targets(&[(3, 0), (3, 1)]))?,
        "targets of masked_lm: expected each row once, found row 3 twice"
    );
    let classifier = Classification::new(&fixture.layout, vec![None]).unwrap_err();
    assert_eq!(
        classifier.to_string(),
        "classification: expected a model with a pooler and a classifier, found one with \
         AlbertForMaskedLM"
    );
    Ok(())
}

/// f32 logits against the f64 loss that was computed from them.
const LOGIT_TOLERANCE: f64 = 1e-6;

#[test]
fn predictions_are_the_logits_that_the_loss_was_computed_from() -> anyhow::Result<()> {
    let fixture = Fixture::open("classification")?;
    let (layout, batch) = (&fixture.layout, &fixture.batch);
    let mut pass = TrainingPass::new(Arc::clone(layout), PassOptions::new(layout.config()))?;
    let objective = Classification::new(layout, vec![Some(0); batch.len()])?;
    let (report, logits) = pass.predict(&fixture.parameters, batch, &objective)?;
    let losses = logits.iter().map(|logits| {
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        sum.ln() - f64::from(logits[0])
    });
    let mean = losses.sum::<f64>() / batch.len() as f64;
    assert!((mean - report.loss()).abs() < LOGIT_TOLERANCE, "{mean}");
    Ok(())
}

#[test]
fn predictions_have_the_shape_of_the_head_and_none_for_sequences_without_a_target()
-> anyhow::Result<()> {
    let fixture = Fixture::open("spans")?;
    let (layout, batch) = (&fixture.layout, &fixture.batch);
    let mut ends = vec![Some((0, 0)); batch.len()];
    ends[0] = None;
    let mut pass = TrainingPass::new(Arc::clone(layout), PassOptions::new(layout.config()))?;
    let objective = Spans::new(layout, ends)?;
    let (_, logits) = pass.predict(&fixture.parameters, batch, &objective)?;
    assert!(logits[0].is_empty());
    assert_eq!(logits[1].len(), 2 * batch.rows(1).len());

    let loss = VectorLoss::InBatchNegatives { scale: 20.0 };
    let fixture = Fixture::open("in-batch-negatives")?;
    let (layout, batch) = (&fixture.layout, &fixture.batch);
    let mut pass = TrainingPass::new(Arc::clone(layout), PassOptions::new(layout.config()))?;
    let objective = SentenceVectors::new(layout, Pooling::Mean, loss)?;
    let (_, vectors) = pass.predict(&fixture.parameters, batch, &objective)?;
    let width = layout.config().hidden_size;
    assert!(vectors.iter().all(|vector| vector.len() == width));
    Ok(())
}
