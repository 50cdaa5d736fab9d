//! Kernels of our own for CUDA: attention over sequences without padding, and what lies between the
//! products of a layer.
//!
//! They serve inference where the environment variable `ALBERT_GPU_KERNELS` asks for them, for no
//! GPU has measured them yet: `1` on CUDA, `everywhere` on the CPU too. There plain loops stand for
//! them in place of what is faster, so that tests can take the ways around them. A folder has a
//! kernel, its launch, and `check.cpp`, which runs the kernel itself on the CPU; `emulation.h`
//! stands for CUDA then.

mod attention;
mod rows;

use std::sync::LazyLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, Layout, Result, Tensor, WithDType, bail};

pub(crate) use attention::Attention;
pub(crate) use rows::RowKernel;

/// Where they are asked for.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Nowhere,
    OnCuda,
    Everywhere,
}

static ASKED: LazyLock<Asked> =
    LazyLock::new(|| match std::env::var("ALBERT_GPU_KERNELS").as_deref() {
        Ok("1") => Asked::OnCuda,
        Ok("everywhere") => Asked::Everywhere,
        _ => Asked::Nowhere,
    });

/// Whether they take the place of Candle's operations for this input.
pub(crate) fn serve(xs: &Tensor) -> bool {
    !xs.track_op() && serve_on(xs.device(), xs.dtype())
}

/// Whether they take the place of Candle's operations there.
fn serve_on(device: &Device, dtype: DType) -> bool {
    let is_asked_for = match device {
        Device::Cpu => *ASKED == Asked::Everywhere,
        Device::Cuda(_) => *ASKED != Asked::Nowhere,
        Device::Metal(_) => false,
    };
    is_asked_for && matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

/// The numbers of a contiguous tensor in f32.
fn numbers(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f32>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("kernels: expected contiguous tensors")
    };
    match storage {
        CpuStorage::F32(numbers) => Ok(numbers[start..end].to_vec()),
        CpuStorage::F16(numbers) => Ok(numbers[start..end]
            .iter()
            .map(|number| number.to_f32())
            .collect()),
        CpuStorage::BF16(numbers) => Ok(numbers[start..end]
            .iter()
            .map(|number| number.to_f32())
            .collect()),
        other => bail!(
            "kernels: expected f32, f16 or bf16, found {:?}",
            other.dtype()
        ),
    }
}

/// f32 numbers in the type of the input that they were made of.
fn stored(numbers: Vec<f32>, dtype: DType) -> Result<CpuStorage> {
    match dtype {
        DType::F32 => Ok(CpuStorage::F32(numbers)),
        DType::F16 => Ok(CpuStorage::F16(rounded(&numbers))),
        DType::BF16 => Ok(CpuStorage::BF16(rounded(&numbers))),
        other => bail!("kernels: expected f32, f16 or bf16, found {other:?}"),
    }
}

fn rounded<T: WithDType>(numbers: &[f32]) -> Vec<T> {
    numbers
        .iter()
        .map(|&number| T::from_f64(number.into()))
        .collect()
}
