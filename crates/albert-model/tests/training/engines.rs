//! The two engines against each other: losses, counts and gradients are the same, with dropout too.

use albert_model::candle_core::DType;
use albert_model::train::{Dropout, Frozen};

use crate::fixture::{CASES, Fixture, TOLERANCE};

/// Both engines in f32, each within [`TOLERANCE`] of the exact gradient.
const F32_TOLERANCE: f64 = 2.0 * TOLERANCE;

/// [`TOLERANCE`] where dropout makes vectors short: CoSENT multiplies differences of their cosines
/// by 20. Seen: 1.1e-5.
const DROPOUT_TOLERANCE: f64 = 2e-5;

/// bf16 keeps 8 bits; sums over a few dozen rows average the rounding out.
const BF16_TOLERANCE: f64 = 0.1;

/// Logits and vectors of size 1 to 3, in f32 on both sides.
const VALUE_TOLERANCE: f32 = 1e-5;

#[test]
fn autograd_has_the_losses_and_gradients_of_pytorch() -> anyhow::Result<()> {
    for name in CASES {
        let fixture = Fixture::open(name)?;
        let expected = fixture.expected()?;
        for (dtype, tolerance) in [(DType::F64, TOLERANCE), (DType::F32, F32_TOLERANCE)] {
            let (_, gradients) = fixture.autograd_step(dtype, |_| ())?;
            let (error, tensor) = fixture.difference(&expected, &gradients);
            assert!(
                error <= tolerance,
                "{name} in {dtype:?}: the gradient of `{tensor}` is off by {error:.1e}"
            );
        }
    }
    Ok(())
}

#[test]
fn both_engines_drop_the_same_values_and_freeze_the_same_parts() -> anyhow::Result<()> {
    let dropout = Dropout {
        hidden: 0.2,
        feed_forward: 0.2,
        attention: 0.3,
        classifier: 0.25,
    };
    for name in CASES {
        let fixture = Fixture::open(name)?;
        for (embeddings, encoder) in [(false, false), (true, false), (false, true)] {
            let change = |options: &mut albert_model::train::PassOptions| {
                options.dropout = dropout;
                options.frozen = Frozen {
                    embeddings,
                    encoder,
                };
            };
            let (loss, gradients) = fixture.step(change)?;
            let (autograd_loss, autograd) = fixture.autograd_step(DType::F64, change)?;
            let error = (loss - autograd_loss).abs() / loss.abs().max(1.0);
            assert!(
                error <= 2e-6,
                "{name}: loss {loss}, by autograd {autograd_loss}"
            );
            if encoder && autograd.iter().all(|gradient| *gradient == 0.0) {
                // A model without a head has nothing left to train.
                assert_eq!(gradients, autograd, "{name}");
                continue;
            }
            let (error, tensor) = fixture.difference(&autograd, &gradients);
            assert!(
                error <= DROPOUT_TOLERANCE,
                "{name}: the gradient of `{tensor}` is off by {error:.1e}"
            );
        }
    }
    Ok(())
}

#[test]
fn half_precision_keeps_the_direction_of_the_gradient() -> anyhow::Result<()> {
    for name in CASES {
        let fixture = Fixture::open(name)?;
        let expected = fixture.expected()?;
        let (_, found) = fixture.autograd_step(DType::BF16, |_| ())?;
        let product = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        let norms = product(&expected, &expected).sqrt() * product(&found, &found).sqrt();
        let error = 1.0 - product(&expected, &found) / norms;
        assert!(error <= BF16_TOLERANCE, "{name}: 1 - cosine is {error:.2e}");
    }
    Ok(())
}

#[test]
fn both_engines_predict_the_same_values() -> anyhow::Result<()> {
    for name in CASES {
        let fixture = Fixture::open(name)?;
        let (found, expected) = (fixture.predictions(true)?, fixture.predictions(false)?);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.len(), expected.len(), "{name}");
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() <= VALUE_TOLERANCE, "{name}: {a} and {b}");
            }
        }
    }
    Ok(())
}
