//! Attention masks in the form that is added to attention scores.

use candle_core::{DType, Result, Tensor};

/// Converts a token mask to a mask that is added to scores: 0 for a token, very negative for
/// padding.
///
/// ```text
/// M = 0 where the mask is not 0, else floor;   scores = Q Kᵀ / √D + M
/// ```
///
/// The floor is half of the type's most negative finite value. Adding scores to it does not reach
/// -∞, so a row without any token to attend to gets uniform attention instead of NaN, in f32, f16
/// and bf16.
///
/// # Shapes
/// - `attention_mask`: `(B, T)`, any integer or floating-point type, 0 for padding
/// - returns `(B, 1, 1, T)` in `dtype`
///
/// # Errors
/// If the mask is not `(B, T)`, or `dtype` is not a floating-point type.
pub fn additive_mask(attention_mask: &Tensor, dtype: DType) -> Result<Tensor> {
    let (batch, tokens) = attention_mask.dims2()?;
    let floor = match dtype {
        DType::F16 => f64::from(-65504 / 2),
        DType::F32 | DType::F64 | DType::BF16 => f64::from(f32::MIN / 2.0),
        other => candle_core::bail!("an attention mask cannot be added to scores in {other:?}"),
    };
    let device = attention_mask.device();
    let is_token = attention_mask.ne(&attention_mask.zeros_like()?)?;
    let zero = Tensor::zeros((batch, tokens), DType::F32, device)?;
    let floor = Tensor::full(floor as f32, (batch, tokens), device)?;
    is_token
        .where_cond(&zero, &floor)?
        .to_dtype(dtype)?
        .reshape((batch, 1, 1, tokens))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn masks_are_finite_in_every_type_and_from_every_type() -> Result<()> {
        for from in [DType::U8, DType::U32, DType::I64, DType::F32, DType::F16] {
            let mask = Tensor::new(&[[1u8, 1, 0]], &Device::Cpu)?.to_dtype(from)?;
            for to in [DType::F32, DType::F16, DType::BF16, DType::F64] {
                let added = additive_mask(&mask, to)?
                    .flatten_all()?
                    .to_dtype(DType::F64)?
                    .to_vec1::<f64>()?;
                assert_eq!(added[..2], [0.0, 0.0]);
                assert!(
                    added[2].is_finite() && added[2] <= -32_000.0,
                    "{to:?}: {}",
                    added[2]
                );
            }
        }
        Ok(())
    }
}
