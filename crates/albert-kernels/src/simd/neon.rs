//! NEON: four lanes, 32 registers.

use std::arch::aarch64::*;

use super::{Kernel, Simd, tables_in_memory};

/// A proof that the CPU has NEON.
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

/// Defines methods that are a single expression of intrinsics.
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
    type I = int32x4_t;

    tables_in_memory!();

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
        select_less(a, b, yes, no) vbslq_f32(vcltq_f32(a, b), yes, no);
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
    fn swap_lanes(self, v: float32x4_t, apart: usize) -> float32x4_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            if apart == 1 {
                vrev64q_f32(v)
            } else {
                vextq_f32::<2>(v, v)
            }
        }
    }

    #[inline(always)]
    fn splat_bytes(self, bytes: [u8; 4]) -> int32x4_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { vdupq_n_s32(i32::from_ne_bytes(bytes)) }
    }

    #[inline(always)]
    fn dot_u8i8(self, sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            // Widens the bytes of two lanes at a time to 16 bits.
            let (a, b) = (vreinterpretq_u8_s32(a), vreinterpretq_s8_s32(b));
            let a_low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(a)));
            let a_high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(a)));
            let (b_low, b_high) = (vmovl_s8(vget_low_s8(b)), vmovl_s8(vget_high_s8(b)));
            let low = vpaddq_s32(
                vmull_s16(vget_low_s16(a_low), vget_low_s16(b_low)),
                vmull_s16(vget_high_s16(a_low), vget_high_s16(b_low)),
            );
            let high = vpaddq_s32(
                vmull_s16(vget_low_s16(a_high), vget_low_s16(b_high)),
                vmull_s16(vget_high_s16(a_high), vget_high_s16(b_high)),
            );
            vaddq_s32(sum, vpaddq_s32(low, high))
        }
    }

    #[inline(always)]
    fn dot_i16(self, sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            let high = vmull_s16(vget_high_s16(a), vget_high_s16(b));
            vaddq_s32(sum, vpaddq_s32(low, high))
        }
    }

    #[inline(always)]
    fn xor(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { veorq_s32(a, b) }
    }

    #[inline(always)]
    fn to_f32(self, a: int32x4_t) -> float32x4_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { vcvtq_f32_s32(a) }
    }

    #[inline(always)]
    unsafe fn load_bytes_from(self, from: *const i8) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_s32_s8(vld1q_s8(from)) }
    }

    #[inline(always)]
    unsafe fn store_u8_to(self, to: *mut u8, v: float32x4_t) {
        let mut lanes = [0.0; 4];
        // SAFETY: the array has four values; as the caller promises.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), self.round(v));
            to.cast::<[u8; 4]>().write(lanes.map(|x| x as u8));
        }
    }

    #[inline(always)]
    unsafe fn store_i16_to(self, to: *mut i16, v: float32x4_t) {
        // SAFETY: the caller's promise.
        unsafe { vst1_s16(to, vqmovn_s32(vcvtnq_s32_f32(v))) }
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
