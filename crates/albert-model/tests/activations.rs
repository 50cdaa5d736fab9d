//! Every activation, and its derivative, is that of transformers under the same name.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use albert_model::HiddenAct;
use albert_model::candle_core::{self, DType, Device, Module, Tensor, Var};

/// f32 on both sides: a few roundings of numbers of size 1, or of the result where that is larger.
/// Seen: 2.4e-7.
const VALUE_TOLERANCE: f32 = 1e-6;

/// [`VALUE_TOLERANCE`] for derivatives, which are sums of more terms. Seen: 1.1e-6.
const DERIVATIVE_TOLERANCE: f32 = 2e-6;

fn reference() -> candle_core::Result<HashMap<String, Tensor>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/activations.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu)
}

/// The activations of the reference, by name, with their values or derivatives.
fn named<'a>(
    reference: &'a HashMap<String, Tensor>,
    kind: &'static str,
) -> impl Iterator<Item = (&'a str, Vec<f32>)> {
    reference.iter().filter_map(move |(name, tensor)| {
        Some((
            name.strip_prefix(kind)?,
            tensor.to_vec1().expect("the reference is a list of f32"),
        ))
    })
}

/// Returns the points where the derivative jumps: any value between those of the two sides is a
/// subgradient there.
fn kinks(name: &str) -> &'static [f32] {
    match name {
        "relu" | "leaky_relu" => &[0.0],
        "relu6" => &[0.0, 6.0],
        "hardswish" => &[-3.0, 3.0],
        "gelu_10" => &[10.0],
        _ => &[],
    }
}

fn assert_close(
    name: &str,
    x: &[f32],
    expected: &[f32],
    found: &[f32],
    tolerance: f32,
    skip: &[f32],
) {
    assert_eq!(expected.len(), found.len());
    for ((x, expected), found) in x
        .iter()
        .zip(expected)
        .zip(found)
        .filter(|((x, _), _)| !skip.contains(x))
    {
        let difference = (expected - found).abs();
        // Not `>`: a NaN must fail.
        let close = difference <= tolerance * expected.abs().max(1.0);
        assert!(
            close,
            "{name}({x:e}): expected {expected:e}, found {found:e}"
        );
    }
}

#[test]
fn values_are_those_of_transformers() -> anyhow::Result<()> {
    let reference = reference()?;
    let x = &reference["x"];
    for (name, expected) in named(&reference, "act.") {
        let found = HiddenAct::from_str(name)?.forward(x)?.to_vec1::<f32>()?;
        assert_close(
            name,
            &x.to_vec1::<f32>()?,
            &expected,
            &found,
            VALUE_TOLERANCE,
            &[],
        );
    }
    Ok(())
}

#[test]
fn derivatives_are_those_of_transformers() -> anyhow::Result<()> {
    let reference = reference()?;
    let x = Var::from_tensor(&reference["x"])?;
    for (name, expected) in named(&reference, "grad.") {
        let gradients = HiddenAct::from_str(name)?
            .forward(&x)?
            .sum_all()?
            .backward()?;
        let found = gradients
            .get(&x)
            .expect("every activation is differentiable")
            .to_vec1::<f32>()?;
        assert_close(
            name,
            &x.to_vec1::<f32>()?,
            &expected,
            &found,
            DERIVATIVE_TOLERANCE,
            kinks(name),
        );
    }
    Ok(())
}

#[test]
fn half_precision_is_the_f32_value_rounded() -> anyhow::Result<()> {
    let reference = reference()?;
    for dtype in [DType::F16, DType::BF16] {
        let x = reference["x"].to_dtype(dtype)?;
        for (name, _) in named(&reference, "act.") {
            let act = HiddenAct::from_str(name)?;
            let rounded = act
                .forward(&x.to_dtype(DType::F32)?)?
                .to_dtype(dtype)?
                .to_dtype(DType::F32)?;
            let found = act.forward(&x)?;
            assert_eq!(found.dtype(), dtype, "{name}");
            assert_eq!(
                found.to_dtype(DType::F32)?.to_vec1::<f32>()?,
                rounded.to_vec1::<f32>()?,
                "{name} in {dtype:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn names_are_kept() -> anyhow::Result<()> {
    let reference = reference()?;
    assert_eq!(
        named(&reference, "act.").count(),
        22,
        "as many as transformers 5.23.0 has without parameters"
    );
    for (name, _) in named(&reference, "act.") {
        assert_eq!(HiddenAct::from_str(name)?.to_string(), name);
    }
    Ok(())
}

#[test]
fn parametric_activations_are_refused() {
    for name in ["prelu", "xielu"] {
        assert!(HiddenAct::from_str(name).is_err(), "{name}");
    }
}
