//! Chooses between this crate's CUDA kernels and Candle's operations.
//!
//! The kernels are off by default (docs/gpu.md lists what was checked): inference only uses them if
//! the environment variable `ALBERT_GPU_KERNELS` is set, to `1` for CUDA, or to `everywhere` for the
//! CPU too, where plain loops compute the same functions so that tests can take the paths around the
//! kernels. The folder of an operation has its kernel, its launch code, and `check.cpp`, which runs
//! the kernel itself on the CPU with `emulation.h` in place of CUDA.

use std::sync::LazyLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, Layout, Result, Tensor, WithDType, bail};

/// The devices on which the kernels are requested.
#[derive(Clone, Copy, PartialEq)]
enum Requested {
    Nowhere,
    OnCuda,
    Everywhere,
}

static REQUESTED: LazyLock<Requested> =
    LazyLock::new(|| match std::env::var("ALBERT_GPU_KERNELS").as_deref() {
        Ok("1") => Requested::OnCuda,
        Ok("everywhere") => Requested::Everywhere,
        _ => Requested::Nowhere,
    });

/// Returns true if the kernels replace Candle's operations for this input.
pub(crate) fn serves(xs: &Tensor) -> bool {
    !xs.track_op() && serves_on(xs.device(), xs.dtype())
}

/// Returns true if the kernels replace Candle's operations on this device.
pub(super) fn serves_on(device: &Device, dtype: DType) -> bool {
    let is_requested = match device {
        Device::Cpu => *REQUESTED == Requested::Everywhere,
        Device::Cuda(_) => *REQUESTED != Requested::Nowhere,
        Device::Metal(_) => false,
    };
    is_requested && matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

/// Converts the values of a contiguous tensor to f32.
pub(super) fn to_f32(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f32>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("kernels: expected contiguous tensors")
    };
    match storage {
        CpuStorage::F32(values) => Ok(values[start..end].to_vec()),
        CpuStorage::F16(values) => Ok(values[start..end]
            .iter()
            .map(|value| value.to_f32())
            .collect()),
        CpuStorage::BF16(values) => Ok(values[start..end]
            .iter()
            .map(|value| value.to_f32())
            .collect()),
        other => bail!(
            "kernels: expected f32, f16 or bf16, found {:?}",
            other.dtype()
        ),
    }
}

/// Converts f32 values to a storage of type `dtype`.
pub(super) fn from_f32(values: Vec<f32>, dtype: DType) -> Result<CpuStorage> {
    match dtype {
        DType::F32 => Ok(CpuStorage::F32(values)),
        DType::F16 => Ok(CpuStorage::F16(rounded(&values))),
        DType::BF16 => Ok(CpuStorage::BF16(rounded(&values))),
        other => bail!("kernels: expected f32, f16 or bf16, found {other:?}"),
    }
}

fn rounded<T: WithDType>(values: &[f32]) -> Vec<T> {
    values
        .iter()
        .map(|&value| T::from_f64(value.into()))
        .collect()
}
