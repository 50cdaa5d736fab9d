//! Vectors of f32, and of bytes to multiply, by one name for every instruction set, so that a
//! kernel is written once.
//!
//! A kernel is a struct that implements [`Kernel`], generic over [`Simd`]; [`Simd::call`] compiles
//! it once for each instruction set, and [`InstructionSet::run`](crate::InstructionSet) calls the one that was
//! chosen. Everything within a kernel is `#[inline(always)]`: only code that ends up inside the
//! function with the target features is compiled with them.

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

/// The most lanes that any instruction set has.
pub(crate) const MAX_LANES: usize = 16;

/// Runs the body for each vector of a row of `$width` values, the last of which may be short, with
/// its range and the index of one of four accumulators.
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

/// A proof that the CPU has an instruction set, and the vectors that come with it.
///
/// Only [`InstructionSet::run`](crate::InstructionSet) makes values of the implementing types,
/// after it has checked that the CPU has the instructions: that is why the methods are safe.
pub(crate) trait Simd: Copy {
    /// A vector of [`LANES`](Self::LANES) numbers.
    type V: Copy;

    /// A vector of [`LANES`](Self::LANES) 32-bit integers, or of four bytes or two 16-bit
    /// integers in the place of each.
    type I: Copy;

    /// Numbers in a vector; divides [`MAX_LANES`].
    const LANES: usize;

    /// Rows that the product kernel keeps in registers at once.
    const TILE_ROWS: usize;

    /// Vectors side by side in a panel of packed weights. With [`TILE_ROWS`](Self::TILE_ROWS) they
    /// fill the registers, and leave room for one row of a panel and one number.
    const PANEL_VECTORS: usize;

    /// Form of the activations that [`dot_u8i8`](Self::dot_u8i8) takes: magnitudes and sign masks
    /// rather than bytes with an offset of 128.
    ///
    /// For instruction sets without a dot product of bytes. `vpmaddubsw` adds two products in 16
    /// bits and saturates: 2 · 255 · 127 does not fit, 2 · 127 · 128 does.
    const SIGN_MAGNITUDE: bool = false;

    /// Calls a kernel that is compiled for this instruction set.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`, rounded once where the CPU can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller; `b` where one is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` where one is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// The magnitude of `a` with the sign of `b`.
    fn copy_sign(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, halves to even.
    fn round(self, a: Self::V) -> Self::V;
    /// 2ⁿ of integers `n` from -127, which gives 0, to 127.
    fn power_of_two(self, n: Self::V) -> Self::V;
    /// `a 2ⁿ` of integers `n` from -126 to 127.
    #[inline(always)]
    fn times_power_of_two(self, a: Self::V, n: Self::V) -> Self::V {
        self.mul(a, self.power_of_two(n))
    }
    /// `yes` where `a < b`, else `no`.
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;

    /// Lanes so far apart in each other's places: a power of two below [`LANES`](Self::LANES).
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

    /// Broadcasts four bytes to every lane.
    fn splat_bytes(self, bytes: [u8; 4]) -> Self::I;
    /// `sum + Σ aⱼ bⱼ` over the four bytes of each lane, those of `a` unsigned and those of `b`
    /// signed: exact. With [`SIGN_MAGNITUDE`](Self::SIGN_MAGNITUDE) the bytes of `a` are at most
    /// 127.
    fn dot_u8i8(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// `sum + Σ aⱼ bⱼ` over the two signed 16-bit integers of each lane: exact where it fits.
    fn dot_i16(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// The exclusive or of all bits.
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// Converts integers to f32.
    fn to_f32(self, a: Self::I) -> Self::V;

    /// # Safety
    /// Four times [`LANES`](Self::LANES) bytes can be read at `from`.
    unsafe fn load_bytes_from(self, from: *const i8) -> Self::I;
    /// Writes numbers from 0 to 255 as bytes, rounded to the nearest integer, halves to even.
    ///
    /// # Safety
    /// [`LANES`](Self::LANES) bytes can be written at `to`.
    unsafe fn store_u8_to(self, to: *mut u8, v: Self::V);

    /// Writes numbers that 16 bits with a sign can hold, rounded to the nearest integer, halves to
    /// even. NaN becomes some number.
    ///
    /// # Safety
    /// [`LANES`](Self::LANES) 16-bit integers can be written at `to`.
    unsafe fn store_i16_to(self, to: *mut i16, v: Self::V);

    /// # Safety
    /// [`LANES`](Self::LANES) numbers can be read at `from`.
    unsafe fn load_from(self, from: *const f32) -> Self::V;
    /// # Safety
    /// [`LANES`](Self::LANES) numbers can be written at `to`.
    unsafe fn store_to(self, to: *mut f32, v: Self::V);

    /// Asks for the cache line at `_address`, which need not be valid.
    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}

    /// The first [`LANES`](Self::LANES) of `xs`, or as many as there are and then `fill`.
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

    /// The first [`LANES`](Self::LANES) of `xs`, or as many as there are and then zeros.
    #[inline(always)]
    fn load(self, xs: &[f32]) -> Self::V {
        self.load_or(xs, 0.0)
    }

    /// Writes `v` to the start of `ys`, as much of it as there is room for.
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

    /// The numbers of a vector, then zeros.
    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; MAX_LANES] {
        let mut lanes = [0.0; MAX_LANES];
        // SAFETY: the array has as many numbers as any vector.
        unsafe { self.store_to(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// The sum of all lanes, the halves added until one is left.
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

    /// The largest of all lanes, none of which is NaN.
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

/// A computation written once for all instruction sets.
pub(crate) trait Kernel {
    type Output;

    /// Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
