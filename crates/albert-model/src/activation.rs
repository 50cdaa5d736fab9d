//! The activation functions that Hugging Face's `ACT2FN` names, each computed exactly.
//!
//! `gelu` is always the erf form and `gelu_new` the tanh form, with no faster approximation in
//! place of either: a checkpoint computes what its `config.json` says. Functions with trained
//! parameters (`prelu`, `xielu`) are refused, because ALBERT checkpoints hold no tensors for them.
//!
//! Source: transformers 4.46.3 and 5.23.0, `activations.py`, `ACT2CLS`.

use std::fmt;
use std::str::FromStr;

use albert_kernels::Activation;
use candle_core::{DType, Module, Result, Tensor};
use candle_nn::ops::sigmoid;

/// An activation function, named as in `config.json` (`hidden_act`).
///
/// Several names mean the same function (`silu` and `swish`); the name is kept, so that a
/// configuration is written back as it was read. Every function is differentiable, and is computed
/// in f32 for f16 and bf16 input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HiddenAct {
    /// `x Φ(x) = x/2 (1 + erf(x / √2))`
    Gelu,
    /// Another name for [`Gelu`](Self::Gelu).
    GeluPython,
    /// [`Gelu`](Self::Gelu) clipped to [-10, 10]
    Gelu10,
    /// `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, with which ALBERT v2 was trained
    GeluNew,
    /// Another name for [`GeluNew`](Self::GeluNew).
    GeluAccurate,
    /// Another name for [`GeluNew`](Self::GeluNew).
    GeluPytorchTanh,
    /// Another name for [`GeluNew`](Self::GeluNew).
    GeluPythonTanh,
    /// [`GeluNew`](Self::GeluNew) with √(2/π) given to ten digits, which is the same f32 value
    GeluFast,
    /// `x σ(1.702 x)`
    QuickGelu,
    /// `x min(max(x + 3, 0), 6) / 6`
    Hardswish,
    /// `(1 + erf((x - μ) / (σ √2))) / 2` with μ = 0.707107, σ = 0.282095
    Laplace,
    /// `max(x, 0.01 x)`
    LeakyRelu,
    /// `x`
    Linear,
    /// `x tanh(ln(1 + eˣ))`
    Mish,
    /// `max(x, 0)`
    Relu,
    /// `max(x, 0)²`
    Relu2,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `σ(x) = 1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `x σ(x)`
    Silu,
    /// `√(ln(1 + eˣ))`
    SqrtSoftplus,
    /// Another name for [`Silu`](Self::Silu).
    Swish,
    /// `tanh x`
    Tanh,
}

/// 1/√2 to six digits, as transformers rounds it.
#[expect(clippy::approx_constant, reason = "the reference's own digits")]
const LAPLACE_MEAN: f64 = 0.707107;
const LAPLACE_DEVIATION: f64 = 0.282095;

const NAMES: [(&str, HiddenAct); 22] = [
    ("gelu", HiddenAct::Gelu),
    ("gelu_10", HiddenAct::Gelu10),
    ("gelu_accurate", HiddenAct::GeluAccurate),
    ("gelu_fast", HiddenAct::GeluFast),
    ("gelu_new", HiddenAct::GeluNew),
    ("gelu_python", HiddenAct::GeluPython),
    ("gelu_python_tanh", HiddenAct::GeluPythonTanh),
    ("gelu_pytorch_tanh", HiddenAct::GeluPytorchTanh),
    ("hardswish", HiddenAct::Hardswish),
    ("laplace", HiddenAct::Laplace),
    ("leaky_relu", HiddenAct::LeakyRelu),
    ("linear", HiddenAct::Linear),
    ("mish", HiddenAct::Mish),
    ("quick_gelu", HiddenAct::QuickGelu),
    ("relu", HiddenAct::Relu),
    ("relu2", HiddenAct::Relu2),
    ("relu6", HiddenAct::Relu6),
    ("sigmoid", HiddenAct::Sigmoid),
    ("silu", HiddenAct::Silu),
    ("sqrtsoftplus", HiddenAct::SqrtSoftplus),
    ("swish", HiddenAct::Swish),
    ("tanh", HiddenAct::Tanh),
];

/// The error for a name that is not an activation ALBERT can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {}, found `{name}`", HiddenAct::expected(name))]
pub struct UnknownActivation {
    name: String,
}

impl FromStr for HiddenAct {
    type Err = UnknownActivation;

    fn from_str(name: &str) -> std::result::Result<Self, UnknownActivation> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, act)| *act)
            .ok_or_else(|| UnknownActivation { name: name.into() })
    }
}

impl fmt::Display for HiddenAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = NAMES
            .iter()
            .find(|(_, act)| act == self)
            .expect("every variant has a name");
        f.write_str(name)
    }
}

impl Module for HiddenAct {
    /// Applies the function to each element.
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match xs.dtype() {
            DType::F16 | DType::BF16 => self.apply(&xs.to_dtype(DType::F32)?)?.to_dtype(xs.dtype()),
            _ => self.apply(xs),
        }
    }
}

impl HiddenAct {
    /// Describes the names that are accepted in place of `name`.
    pub(crate) fn expected(name: &str) -> String {
        match name {
            "prelu" | "xielu" => "a function without trained parameters of its own".into(),
            _ => format!("one of {}", NAMES.map(|(name, _)| name).join(", ")),
        }
    }

    /// Returns the CPU kernel for the function.
    pub(crate) fn kernel(&self) -> Activation {
        match self {
            Self::Gelu | Self::GeluPython => Activation::Gelu,
            Self::Gelu10 => Activation::Gelu10,
            Self::GeluNew
            | Self::GeluAccurate
            | Self::GeluPytorchTanh
            | Self::GeluPythonTanh
            | Self::GeluFast => Activation::GeluTanh,
            Self::QuickGelu => Activation::QuickGelu,
            Self::Hardswish => Activation::Hardswish,
            Self::Laplace => Activation::Laplace,
            Self::LeakyRelu => Activation::LeakyRelu,
            Self::Linear => Activation::Linear,
            Self::Mish => Activation::Mish,
            Self::Relu => Activation::Relu,
            Self::Relu2 => Activation::Relu2,
            Self::Relu6 => Activation::Relu6,
            Self::Sigmoid => Activation::Sigmoid,
            Self::Silu | Self::Swish => Activation::Silu,
            Self::SqrtSoftplus => Activation::SqrtSoftplus,
            Self::Tanh => Activation::Tanh,
        }
    }

    fn apply(&self, xs: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu | Self::GeluPython => xs.gelu_erf(),
            Self::Gelu10 => xs.gelu_erf()?.clamp(-10f64, 10f64),
            // Candle's `gelu` computes the tanh form.
            Self::GeluNew
            | Self::GeluAccurate
            | Self::GeluPytorchTanh
            | Self::GeluPythonTanh
            | Self::GeluFast => xs.gelu(),
            Self::QuickGelu => xs * sigmoid(&(xs * 1.702)?)?,
            Self::Hardswish => xs * ((xs + 3.0)?.clamp(0f64, 6f64)? / 6.0)?,
            Self::Laplace => {
                let z = ((xs - LAPLACE_MEAN)? / (LAPLACE_DEVIATION * std::f64::consts::SQRT_2))?;
                (z.erf()? + 1.0)? * 0.5
            }
            Self::LeakyRelu => xs.relu()? - (xs.neg()?.relu()? * 0.01)?,
            Self::Linear => Ok(xs.clone()),
            Self::Mish => xs * softplus(xs)?.tanh()?,
            Self::Relu => xs.relu(),
            Self::Relu2 => xs.relu()?.sqr(),
            Self::Relu6 => xs.clamp(0f64, 6f64),
            Self::Sigmoid => sigmoid(xs),
            Self::Silu | Self::Swish => xs.silu(),
            Self::SqrtSoftplus => softplus(xs)?.sqrt(),
            Self::Tanh => xs.tanh(),
        }
    }
}

/// Computes `ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|)`, which never overflows.
fn softplus(xs: &Tensor) -> Result<Tensor> {
    let exp = xs.abs()?.neg()?.exp()?;
    let log = (&exp + 1.0)?.log()?;
    // If e^-|x| is small, 1 + e^-|x| loses its digits, but ln(1 + e) = e - e²/2 + e³/3 - e⁴/4 keeps
    // them.
    let series = (((&exp * (-1.0 / 4.0))? + 1.0 / 3.0)? * &exp)?;
    let series = ((((series - 1.0 / 2.0)? * &exp)? + 1.0)? * &exp)?;
    xs.relu()? + exp.lt(1e-2)?.where_cond(&series, &log)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_written_as_it_was_read() {
        for (name, act) in NAMES {
            assert_eq!(name.parse::<HiddenAct>().as_ref(), Ok(&act));
            assert_eq!(act.to_string(), name);
        }
    }

    #[test]
    fn parametric_activations_are_refused_with_the_reason() {
        let error = "prelu".parse::<HiddenAct>().unwrap_err().to_string();
        assert_eq!(
            error,
            "expected a function without trained parameters of its own, found `prelu`"
        );
    }
}
