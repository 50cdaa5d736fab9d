//! Launches [`RowKernel`]s on a GPU.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::{Map3, WrapErr, kernel_name};
use candle_core::{CudaDevice, CudaStorage, CustomOp3, Layout, Result, Shape, WithDType, bail};

use super::{RowKernel, function};

/// The PTX that nvcc generates from `rows.cu`, compiled by the driver.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/rows.ptx"));

/// The threads of a warp, which computes one row.
const LANES: u32 = 32;

/// The rows, and warps, of a block.
const ROWS_OF_BLOCK: u32 = 4;

impl RowKernel {
    /// Computes the rows of contiguous inputs whose shapes have been checked.
    pub(super) fn launch(
        &self,
        [xs, other, constants]: [&CudaStorage; 3],
        [xs_layout, other_layout, constants_layout]: [&Layout; 3],
        (rows, columns): (usize, usize),
    ) -> Result<(CudaStorage, Shape)> {
        let launch = Launch {
            kernel: self,
            rows,
            columns,
        };
        let device = xs.device().clone();
        let slice = launch.map(
            &xs.slice,
            xs_layout,
            &other.slice,
            other_layout,
            &constants.slice,
            constants_layout,
            &device,
        )?;
        Ok((CudaStorage { slice, device }, xs_layout.shape().clone()))
    }

    /// Returns the scalar arguments of the kernel.
    fn parameters(&self) -> (f32, i32) {
        match *self {
            Self::AddNorm { eps } => (eps, 0),
            Self::Softmax { rows_of_mask } => (0.0, rows_of_mask as i32),
            Self::Activate(act) => (
                0.0,
                function(act).expect("`activation` has checked that there is one"),
            ),
        }
    }
}

struct Launch<'a> {
    kernel: &'a RowKernel,
    rows: usize,
    columns: usize,
}

impl Map3 for Launch<'_> {
    #[expect(
        unsafe_code,
        reason = "memory that a kernel fills, and the kernel's launch"
    )]
    fn f<T: DeviceRepr + WithDType>(
        &self,
        xs: &CudaSlice<T>,
        xs_layout: &Layout,
        other: &CudaSlice<T>,
        other_layout: &Layout,
        constants: &CudaSlice<T>,
        constants_layout: &Layout,
        device: &CudaDevice,
    ) -> Result<CudaSlice<T>> {
        let range = |layout: &Layout| match layout.contiguous_offsets() {
            Some((start, end)) => Ok(start..end),
            None => bail!("row kernels: expected contiguous tensors"),
        };
        let xs = xs.slice(range(xs_layout)?);
        let other = other.slice(range(other_layout)?);
        let constants = constants.slice(range(constants_layout)?);
        let function = device.get_or_load_custom_func(
            &kernel_name::<T>(self.kernel.name()),
            "row_kernels",
            PTX,
        )?;
        // SAFETY: the kernel writes every element before anything reads it.
        let ys = unsafe { device.alloc::<T>(self.rows * self.columns)? };
        let (rows, columns) = (self.rows as i32, self.columns as i32);
        let (number, count) = self.kernel.parameters();
        let mut arguments = function.builder();
        arguments
            .arg(&ys)
            .arg(&xs)
            .arg(&other)
            .arg(&constants)
            .arg(&rows)
            .arg(&columns)
            .arg(&number)
            .arg(&count);
        let config = LaunchConfig {
            grid_dim: ((self.rows as u32).div_ceil(ROWS_OF_BLOCK), 1, 1),
            block_dim: (LANES, ROWS_OF_BLOCK, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the arguments match the kernels in `rows.cu` in number, order and type;
        // `RowKernel::check` has verified the lengths of the inputs.
        unsafe { arguments.launch(config) }.w()?;
        Ok(ys)
    }
}
