//! Launches [`Attention`](super::Attention) on a GPU.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::{Map1, WrapErr, kernel_name};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape, WithDType, bail};

use super::{HEAD_STEP, OverSequences};

/// The PTX that nvcc generates from `attention.cu`, compiled by the driver.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/attention.ptx"));

/// The threads in a warp.
const LANES: u32 = 32;

/// The warps in a block, with 16 queries each.
const WARPS: u32 = 4;
const QUERIES: usize = 64;

/// The head widths of the kernels; narrower heads are padded with zeros.
const WIDTHS: [usize; 3] = [32, 64, 128];

/// Returns true if the device has compute capability 8.0, which bf16 tensor cores and asynchronous
/// copies into shared memory need.
pub(super) fn can_run_on(device: &CudaDevice) -> Result<bool> {
    let (major, _) = device.cuda_stream().context().compute_capability().w()?;
    Ok(major >= 8)
}

impl OverSequences {
    /// Computes attention, `(ΣT, H)`, for inputs whose shapes have been checked.
    pub(super) fn launch(
        &self,
        (qkv, qkv_layout): (&CudaStorage, &Layout),
        starts: (&CudaStorage, &Layout),
        tokens: usize,
    ) -> Result<(CudaStorage, Shape)> {
        let device = qkv.device().clone();
        let slice = Launch {
            op: self,
            starts,
            tokens,
        }
        .map(&qkv.slice, &device, qkv_layout)?;
        let width = self.attention.heads * self.attention.head_size;
        Ok((CudaStorage { slice, device }, (tokens, width).into()))
    }
}

struct Launch<'a> {
    op: &'a OverSequences,
    starts: (&'a CudaStorage, &'a Layout),
    tokens: usize,
}

impl Map1 for Launch<'_> {
    #[expect(
        unsafe_code,
        reason = "memory that a kernel fills, and the kernel's launch"
    )]
    fn f<T: DeviceRepr + WithDType>(
        &self,
        qkv: &CudaSlice<T>,
        device: &CudaDevice,
        qkv_layout: &Layout,
    ) -> Result<CudaSlice<T>> {
        let attention = self.op.attention;
        let (Some((first, end)), Some((first_start, end_of_starts))) = (
            qkv_layout.contiguous_offsets(),
            self.starts.1.contiguous_offsets(),
        ) else {
            bail!("attention: expected contiguous tensors")
        };
        if !first.is_multiple_of(HEAD_STEP) {
            bail!("attention: expected a tensor that starts at a multiple of 16 bytes")
        }
        let qkv = qkv.slice(first..end);
        let starts = self
            .starts
            .0
            .as_cuda_slice::<u32>()?
            .slice(first_start..end_of_starts);
        let Some(width) = WIDTHS
            .into_iter()
            .find(|&width| attention.head_size <= width)
        else {
            bail!(
                "attention: expected a head width of at most 128, found {}",
                attention.head_size
            )
        };
        let name = kernel_name::<T>(&format!("attention_{width}"));
        let function = device.get_or_load_custom_func(&name, "attention", PTX)?;
        // SAFETY: the kernel writes the row of every token before anything reads it, because
        // `starts` covers all tokens.
        let out =
            unsafe { device.alloc::<T>(self.tokens * attention.heads * attention.head_size)? };
        let tiles = self.op.longest.div_ceil(QUERIES);
        let blocks = (end_of_starts - first_start - 1) * tiles * attention.heads;
        let (heads, head_size, tiles) = (
            attention.heads as i32,
            attention.head_size as i32,
            tiles as i32,
        );
        let scale = attention.scale();
        let mut arguments = function.builder();
        arguments
            .arg(&out)
            .arg(&qkv)
            .arg(&starts)
            .arg(&heads)
            .arg(&head_size)
            .arg(&tiles)
            .arg(&scale);
        let Ok(blocks) = i32::try_from(blocks) else {
            bail!("attention: {blocks} blocks exceed the limit of a launch")
        };
        let config = LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (LANES, WARPS, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the arguments match the kernels in `attention.cu` in number, order and type;
        // `check` has verified the lengths of the inputs, and the starts are within them.
        unsafe { arguments.launch(config) }.w()?;
        Ok(out)
    }
}
