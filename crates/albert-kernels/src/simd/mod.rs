//! Vectors of f32 values and of integers with one interface for all instruction sets, so that each
//! kernel is written only once.
//!
//! A kernel is a struct that implements [`Kernel`], generic over [`Simd`]. [`Simd::call`] compiles
//! it for each instruction set, and [`InstructionSet::run`](crate::InstructionSet) calls the
//! version for the chosen one. All code in a kernel is `#[inline(always)]`, because only code that
//! is inlined into the function with the target features is compiled with them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;

/// The maximum number of lanes of all instruction sets.
pub(crate) const MAX_LANES: usize = 16;

/// The number of values in a table of [`Simd::look_up`].
pub(crate) const TABLE: usize = 32;

/// Runs the body for each vector of a row of `$width` values, the last of which may be partial,
/// with its range and the index of one of four accumulators.
macro_rules! each_vector {
    ($simd:ty, $width:expr, |$at:ident, $sum:ident| $body:expr) => {
        let (width, lanes) = ($width, <$simd>::LANES);
        for group in 0..width / (4 * lanes) {
            for $sum in 0..4 {
                let start = (4 * group + $sum) * lanes;
                let $at = start..start + lanes;
                $body
            }
        }
        for ($sum, start) in (width / (4 * lanes) * 4 * lanes..width)
            .step_by(lanes)
            .enumerate()
        {
            let $at = start..width.min(start + lanes);
            $body
        }
    };
}
pub(crate) use each_vector;

/// A proof that the CPU has an instruction set, and the vector operations of that set.
///
/// The methods are safe because only [`InstructionSet::run`](crate::InstructionSet) creates values
/// of the implementing types, after it has checked that the CPU has the instructions.
pub(crate) trait Simd: Copy {
    /// A vector of [`LANES`](Self::LANES) f32 values.
    type V: Copy;

    /// A vector of [`LANES`](Self::LANES) 32-bit integers, each of which may also hold four bytes
    /// or two 16-bit integers.
    type I: Copy;

    /// A table of [`TABLE`] values, in registers if they hold one.
    type Table: Copy;

    /// The number of values in a vector; divides [`MAX_LANES`].
    const LANES: usize;

    /// The number of rows of a tile (MR).
    const TILE_ROWS: usize;

    /// The number of vectors in a row of a panel (NR / lanes). A tile of
    /// [`TILE_ROWS`](Self::TILE_ROWS) rows fills the registers except for one row of a panel and
    /// one broadcast value.
    const PANEL_VECTORS: usize;

    /// The number of rows of a tile in products of bytes. Without a dot product of bytes these need
    /// more registers, for signs and partial sums, and so fewer rows.
    const INT8_TILE_ROWS: usize = Self::TILE_ROWS;

    /// True if [`dot_u8i8`](Self::dot_u8i8) takes activations as magnitudes and sign masks, false
    /// if it takes bytes with an offset of 128.
    ///
    /// Instruction sets without a dot product of bytes need it: `vpmaddubsw` adds two products in
    /// 16 bits and saturates, where 2 · 255 · 127 does not fit but 2 · 127 · 128 does.
    const SIGN_MAGNITUDE: bool = false;

    /// True if [`look_up`](Self::look_up) is one instruction.
    const HAS_TABLES: bool = false;

    /// Calls a kernel that is compiled for this instruction set.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns `a b + c`, rounded once if the CPU can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Returns the smaller value; `b` if one is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns the larger value; `b` if one is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// Returns the magnitude of `a` with the sign of `b`.
    fn copy_sign(self, a: Self::V, b: Self::V) -> Self::V;
    /// Rounds to the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// Returns 2ⁿ for integers `n` from -127, which gives 0, to 127.
    fn power_of_two(self, n: Self::V) -> Self::V;
    /// Returns `a 2ⁿ` for integers `n` from -126 to 127.
    #[inline(always)]
    fn times_power_of_two(self, a: Self::V, n: Self::V) -> Self::V {
        self.mul(a, self.power_of_two(n))
    }
    /// Returns `yes` in lanes where `a < b`, else `no`.
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;

    /// Exchanges lanes that are `apart` lanes apart, a power of two below [`LANES`](Self::LANES).
    #[inline(always)]
    fn swap_lanes(self, v: Self::V, apart: usize) -> Self::V {
        let lanes = self.to_array(v);
        let mut exchanged = [0.0; MAX_LANES];
        for lane in 0..Self::LANES {
            exchanged[lane] = lanes[lane ^ apart];
        }
        // SAFETY: the array has as many numbers as any vector.
        unsafe { self.load_from(exchanged.as_ptr()) }
    }

    fn load_table(self, values: &'static [f32; TABLE]) -> Self::Table;
    /// Returns the value of a table in each lane, at the index in the last five bits of `index`.
    fn look_up(self, table: Self::Table, index: Self::V) -> Self::V;

    /// Broadcasts four bytes to every lane.
    fn splat_bytes(self, bytes: [u8; 4]) -> Self::I;
    /// Returns `sum + Σ aⱼ bⱼ` over the four bytes of each lane, unsigned in `a` and signed in `b`,
    /// exactly. With [`SIGN_MAGNITUDE`](Self::SIGN_MAGNITUDE) the bytes of `a` are at most 127.
    fn dot_u8i8(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// Returns `sum + Σ aⱼ bⱼ` over the two signed 16-bit integers of each lane, exactly unless it
    /// overflows.
    fn dot_i16(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// Returns the exclusive or of all bits.
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// Converts integers to f32.
    fn to_f32(self, a: Self::I) -> Self::V;

    /// # Safety
    /// Four times [`LANES`](Self::LANES) bytes can be read at `from`.
    unsafe fn load_bytes_from(self, from: *const i8) -> Self::I;
    /// Writes values from 0 to 255 as bytes, rounded to the nearest integer, ties to even.
    ///
    /// # Safety
    /// [`LANES`](Self::LANES) bytes can be written at `to`.
    unsafe fn store_u8_to(self, to: *mut u8, v: Self::V);

    /// Writes values within the range of i16, rounded to the nearest integer, ties to even. NaN
    /// becomes an unspecified integer.
    ///
    /// # Safety
    /// [`LANES`](Self::LANES) 16-bit integers can be written at `to`.
    unsafe fn store_i16_to(self, to: *mut i16, v: Self::V);

    /// # Safety
    /// [`LANES`](Self::LANES) values can be read at `from`.
    unsafe fn load_from(self, from: *const f32) -> Self::V;
    /// # Safety
    /// [`LANES`](Self::LANES) values can be written at `to`.
    unsafe fn store_to(self, to: *mut f32, v: Self::V);

    /// Prefetches the cache line at `_address`, which need not be valid.
    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}

    /// Loads the first [`LANES`](Self::LANES) values of `xs`, padded with `fill`.
    #[inline(always)]
    fn load_or(self, xs: &[f32], fill: f32) -> Self::V {
        if xs.len() >= Self::LANES {
            // SAFETY: the length was just checked.
            unsafe { self.load_from(xs.as_ptr()) }
        } else {
            let mut lanes = [fill; MAX_LANES];
            lanes[..xs.len()].copy_from_slice(xs);
            // SAFETY: the array has as many numbers as any vector.
            unsafe { self.load_from(lanes.as_ptr()) }
        }
    }

    /// Loads the first [`LANES`](Self::LANES) values of `xs`, padded with zeros.
    #[inline(always)]
    fn load(self, xs: &[f32]) -> Self::V {
        self.load_or(xs, 0.0)
    }

    /// Writes as many lanes of `v` to the start of `ys` as fit.
    #[inline(always)]
    fn store(self, ys: &mut [f32], v: Self::V) {
        if ys.len() >= Self::LANES {
            // SAFETY: the length was just checked.
            unsafe { self.store_to(ys.as_mut_ptr(), v) }
        } else {
            let lanes = self.to_array(v);
            ys.copy_from_slice(&lanes[..ys.len()]);
        }
    }

    /// Returns the values of a vector, padded with zeros.
    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; MAX_LANES] {
        let mut lanes = [0.0; MAX_LANES];
        // SAFETY: the array has as many numbers as any vector.
        unsafe { self.store_to(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// Returns the sum of all lanes, adding halves until one lane is left.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let mut lanes = self.to_array(v);
        let mut half = Self::LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// Returns the largest lane, if no lane is NaN.
    #[inline(always)]
    fn max_lane(self, v: Self::V) -> f32 {
        let mut lanes = self.to_array(v);
        let mut half = Self::LANES / 2;
        while half > 0 {
            for lane in 0..half {
                let (a, b) = (lanes[lane], lanes[lane + half]);
                lanes[lane] = if a > b { a } else { b };
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// Implements the tables of [`Simd`] in memory.
macro_rules! tables_in_memory {
    () => {
        type Table = &'static [f32; crate::simd::TABLE];

        #[inline(always)]
        fn load_table(self, values: &'static [f32; crate::simd::TABLE]) -> Self::Table {
            values
        }

        #[inline(always)]
        fn look_up(self, table: Self::Table, index: Self::V) -> Self::V {
            let found = self
                .to_array(index)
                .map(|index| table[index.to_bits() as usize % table.len()]);
            // SAFETY: the array has as many values as any vector.
            unsafe { self.load_from(found.as_ptr()) }
        }
    };
}
use tables_in_memory;

/// A computation written once for all instruction sets.
pub(crate) trait Kernel {
    type Output;

    /// Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
