//! NEON: four lanes, 32 registers.

use std::arch::aarch64::*;

use super::{Kernel, Simd};

/// Proof of NEON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The CPU has NEON.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Methods that are one expression of intrinsics.
macro_rules! lanewise {
    ($($name:ident($($x:ident),*) $e:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($x: float32x4_t),*) -> float32x4_t {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { $e }
        }
    )*};
}

impl Simd for Neon {
    type V = float32x4_t;

    const LANES: usize = 4;
    const TILE_ROWS: usize = 8;
    const PANEL_VECTORS: usize = 3;

    lanewise! {
        add(a, b) vaddq_f32(a, b);
        sub(a, b) vsubq_f32(a, b);
        mul(a, b) vmulq_f32(a, b);
        div(a, b) vdivq_f32(a, b);
        mul_add(a, b, c) vfmaq_f32(c, a, b);
        min(a, b) vbslq_f32(vcltq_f32(a, b), a, b);
        max(a, b) vbslq_f32(vcgtq_f32(a, b), a, b);
        sqrt(a) vsqrtq_f32(a);
        abs(a) vabsq_f32(a);
        copy_sign(a, b) vbslq_f32(vdupq_n_u32(1 << 31), b, a);
        round(a) vrndnq_f32(a);
        power_of_two(n) {
            let biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        };
        where_less(a, b, yes, no) vbslq_f32(vcltq_f32(a, b), yes, no);
    }

    #[inline]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        #[inline(never)]
        fn compiled<K: Kernel, S: Simd>(kernel: K, s: S) -> K::Output {
            kernel.run(s)
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { compiled(kernel, self) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store_to(self, to: *mut f32, v: float32x4_t) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(to, v) }
    }
}
