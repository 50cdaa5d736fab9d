//! A narrower word table that keeps what the encoder reads of a wider one.
//!
//! The encoder reads `x = P LN(w + p + t) + b` of a piece w at position p with type t. The principal
//! axes A of x are taken, E - 2 of them, and a piece becomes
//!
//! ```text
//! z = A (x - mean x)                    its coordinates
//! y = (z, √(R² - ‖z‖²)) √E / R          completed to the same length for all pieces
//! w' = Q y                              Q: orthonormal, orthogonal to (1, …, 1)
//! ```
//!
//! so that a row has mean 0 and variance 1: `LN(w') = w'`, the norm loses nothing, and the new
//! projection `P' = (R / √E) Aᵀ Q_zᵀ`, with bias mean x, gives the projection of x on the axes. The
//! shifts of x by positions and types go through the same maps. Without the completion the norm would
//! divide every piece by its own length. All pieces count alike: axes that favor frequent pieces lose
//! rare words, by which texts differ.

use albert_tasks::albert_model::candle_core::{DType, Device, Result, Tensor};
use albert_tasks::albert_model::train::FlatParameters;

use super::principal::eigen;

/// Positions that pieces are averaged over: most texts are no longer.
const POSITIONS: usize = 128;

/// The maximum number of pieces that the shifts by positions and types are averaged over.
const SAMPLE: usize = 256;

/// The share of pieces that keep their length; longer ones are shortened to it.
const UNSHORTENED: f64 = 0.999;

/// The weight of the difference between the types relative to that between positions.
const TYPE_WEIGHT: f64 = 0.25;

/// The names of the tensors.
const WORDS: &str = "albert.embeddings.word_embeddings.weight";
const PLACES: &str = "albert.embeddings.position_embeddings.weight";
const TYPES: &str = "albert.embeddings.token_type_embeddings.weight";
const GAMMA: &str = "albert.embeddings.LayerNorm.weight";
const BETA: &str = "albert.embeddings.LayerNorm.bias";
const PROJECTION: &str = "albert.encoder.embedding_hidden_mapping_in.weight";
const PROJECTION_BIAS: &str = "albert.encoder.embedding_hidden_mapping_in.bias";

/// The embeddings of the original as tensors.
struct Original {
    words: Tensor,
    places: Tensor,
    types: Tensor,
    gamma: Tensor,
    beta: Tensor,
    projection: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Original {
    fn new(parameters: &FlatParameters) -> Result<Self> {
        let layout = parameters.layout();
        let tensor = |name: &str| -> Result<Tensor> {
            let tensor = layout.tensor(name).expect("an ALBERT has these tensors");
            let values = &parameters.values()[tensor.range.clone()];
            Tensor::from_slice(values, &tensor.shape[..], &Device::Cpu)
        };
        Ok(Self {
            words: tensor(WORDS)?,
            places: tensor(PLACES)?,
            types: tensor(TYPES)?,
            gamma: tensor(GAMMA)?,
            beta: tensor(BETA)?,
            projection: tensor(PROJECTION)?,
            bias: tensor(PROJECTION_BIAS)?,
            eps: layout.config().layer_norm_eps,
        })
    }

    /// `LN(rows)`
    fn norm(&self, rows: &Tensor) -> Result<Tensor> {
        let centered = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
        let variance = centered.sqr()?.mean_keepdim(1)?;
        let normed = centered.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        normed.broadcast_mul(&self.gamma)?.broadcast_add(&self.beta)
    }

    /// `P rows + b`
    fn project(&self, rows: &Tensor) -> Result<Tensor> {
        rows.matmul(&self.projection.t()?)?
            .broadcast_add(&self.bias)
    }
}

/// Writes the narrow embeddings of `original` into `student`. `pieces` are the remaining pieces by
/// their ids in the original.
pub(super) fn factorize(
    original: &FlatParameters,
    student: &mut FlatParameters,
    pieces: &[u32],
) -> Result<()> {
    let it = Original::new(original)?;
    let (h, e) = {
        let config = student.layout().config();
        (config.hidden_size, config.embedding_size)
    };
    let device = Device::Cpu;
    let pieces_tensor = Tensor::new(pieces, &device)?;
    let words = it.words.index_select(&pieces_tensor, 0)?; // (V, E₀)
    let count = it.places.dim(0)?;
    let usual = it.places.narrow(0, 0, count.min(POSITIONS))?.mean(0)?;
    let type_0 = it.types.get(0)?;
    let at = |words: &Tensor, place: &Tensor, kind: &Tensor| -> Result<Tensor> {
        it.norm(&words.broadcast_add(&(place + kind)?)?)
    };
    let x = it.project(&at(&words, &usual, &type_0)?)?; // (V, H)

    let mean = x.mean_keepdim(0)?; // (1, H)
    let centered = x.broadcast_sub(&mean)?;

    let step = pieces.len().div_ceil(SAMPLE);
    let sample: Vec<u32> = (0..pieces.len() as u32).step_by(step).collect();
    let sample = words.index_select(&Tensor::new(sample, &device)?, 0)?;
    // The projection is linear: the mean may come before it, and the bias cancels.
    let base = at(&sample, &usual, &type_0)?.mean(0)?;
    let shift = |place: &Tensor, kind: &Tensor| -> Result<Tensor> {
        at(&sample, place, kind)?.mean(0)? - &base
    };
    let place_shifts: Result<Vec<_>> = (0..count)
        .map(|index| shift(&it.places.get(index)?, &type_0))
        .collect();
    let place_shifts = Tensor::stack(&place_shifts?, 0)?.matmul(&it.projection.t()?)?; // (T, H)
    let type_shifts: Result<Vec<_>> = (0..it.types.dim(0)?)
        .map(|index| shift(&usual, &it.types.get(index)?))
        .collect();
    let type_shifts = Tensor::stack(&type_shifts?, 0)?.matmul(&it.projection.t()?)?;

    let covariance = ((centered.t()?.matmul(&centered)? / pieces.len() as f64)?
        + (place_shifts.t()?.matmul(&place_shifts)? / count as f64)?)?;
    let covariance = (covariance + (type_shifts.t()?.matmul(&type_shifts)? * TYPE_WEIGHT)?)?;
    let covariance = covariance.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let axes = eigen(covariance, h).into_iter().take(e - 2);
    let axes: Vec<f32> = axes.flat_map(|(_, axis)| axis).map(|x| x as f32).collect();
    let axes = Tensor::from_vec(axes, (e - 2, h), &device)?; // A

    let z = centered.matmul(&axes.t()?)?; // (V, E - 2)
    let mut coordinates: Vec<Vec<f32>> = z.to_vec2()?;
    let length = |row: &[f32]| {
        let square: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
        square.sqrt()
    };
    let mut lengths: Vec<f64> = coordinates.iter().map(|row| length(row)).collect();
    lengths.sort_by(f64::total_cmp);
    let radius = lengths[((lengths.len() - 1) as f64 * UNSHORTENED) as usize].max(1e-6);
    let scale = (e as f64).sqrt() / radius;
    for row in &mut coordinates {
        let own = length(row);
        if own > radius {
            row.iter_mut().for_each(|x| *x *= (radius / own) as f32);
        }
        row.push((radius * radius - own * own).max(0.0).sqrt() as f32);
    }
    let coordinates: Vec<f32> = coordinates.concat();
    let coordinates = Tensor::from_vec(coordinates, (pieces.len(), e - 1), &device)?;
    let basis = basis(e, &device)?; // Qᵀ
    let of_axes = basis.narrow(0, 0, e - 2)?; // Q_zᵀ
    let table = (coordinates.matmul(&basis)? * scale)?;
    let narrow = |shifts: &Tensor| -> Result<Tensor> {
        shifts.matmul(&axes.t()?)?.matmul(&of_axes)? * scale
    };
    let projection = (axes.t()?.matmul(&of_axes)? / scale)?;
    let ones = Tensor::ones(e, DType::F32, &device)?;
    let zeros = Tensor::zeros(e, DType::F32, &device)?;
    let layout = student.layout().clone();
    for (name, tensor) in [
        (WORDS, table),
        (PLACES, narrow(&place_shifts)?),
        (TYPES, narrow(&type_shifts)?),
        (GAMMA, ones),
        (BETA, zeros),
        (PROJECTION, projection),
        (PROJECTION_BIAS, mean),
    ] {
        let range = layout.tensor(name).expect("an ALBERT has these tensors");
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        student.values_mut()[range.range.clone()].copy_from_slice(&values);
    }
    Ok(())
}

/// Returns an orthonormal basis of the vectors whose mean is 0, `(E - 1, E)`: Helmert's.
fn basis(e: usize, device: &Device) -> Result<Tensor> {
    let mut rows = vec![0f32; (e - 1) * e];
    for (index, row) in rows.chunks_exact_mut(e).enumerate() {
        let k = (index + 1) as f64;
        let length = (k * (k + 1.0)).sqrt();
        row[..=index].fill((1.0 / length) as f32);
        row[index + 1] = (-k / length) as f32;
    }
    Tensor::from_vec(rows, (e - 1, e), device)
}
