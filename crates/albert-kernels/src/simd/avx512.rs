//! AVX-512: sixteen lanes, 32 registers; with or without VNNI.

use std::arch::x86_64::*;

use super::{Kernel, Simd, TABLE};

/// A proof that the CPU has AVX-512 F, BW, DQ and VL, and VNNI if `VNNI` is true.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512<const VNNI: bool>(());

impl<const VNNI: bool> Avx512<VNNI> {
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ and VL, and VNNI if `VNNI` is true.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Defines methods that are a single expression of intrinsics.
macro_rules! lanewise {
    ($($name:ident($($x:ident),*) $e:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($x: __m512),*) -> __m512 {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { $e }
        }
    )*};
}

impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type V = __m512;
    type I = __m512i;
    type Table = [__m512; 2];

    const LANES: usize = 16;
    const TILE_ROWS: usize = 8;
    const PANEL_VECTORS: usize = 3;
    const SIGN_MAGNITUDE: bool = !VNNI;
    const HAS_TABLES: bool = true;

    lanewise! {
        add(a, b) _mm512_add_ps(a, b);
        sub(a, b) _mm512_sub_ps(a, b);
        mul(a, b) _mm512_mul_ps(a, b);
        div(a, b) _mm512_div_ps(a, b);
        mul_add(a, b, c) _mm512_fmadd_ps(a, b, c);
        min(a, b) _mm512_min_ps(a, b);
        max(a, b) _mm512_max_ps(a, b);
        sqrt(a) _mm512_sqrt_ps(a);
        abs(a) _mm512_abs_ps(a);
        copy_sign(a, b) _mm512_or_ps(_mm512_abs_ps(a), _mm512_and_ps(b, _mm512_set1_ps(-0.0)));
        round(a) _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        power_of_two(n) {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        };
        times_power_of_two(a, n) _mm512_scalef_ps(a, n);
        select_less(a, b, yes, no) _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes);
    }

    #[inline]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        #[inline(never)]
        fn compiled<K: Kernel, S: Simd>(kernel: K, s: S) -> K::Output {
            kernel.run(s)
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
        #[inline(never)]
        fn compiled_with_vnni<K: Kernel, S: Simd>(kernel: K, s: S) -> K::Output {
            kernel.run(s)
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            if VNNI {
                compiled_with_vnni(kernel, self)
            } else {
                compiled(kernel, self)
            }
        }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn swap_lanes(self, v: __m512, apart: usize) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            match apart {
                1 => _mm512_permute_ps::<0b10_11_00_01>(v),
                2 => _mm512_permute_ps::<0b01_00_11_10>(v),
                4 => _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v),
                _ => _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v),
            }
        }
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_reduce_add_ps(v) }
    }

    #[inline(always)]
    fn max_lane(self, v: __m512) -> f32 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_reduce_max_ps(v) }
    }

    #[inline(always)]
    fn load_table(self, values: &'static [f32; TABLE]) -> [__m512; 2] {
        // SAFETY: `self` proves that the CPU has the instructions; the table has 32 values.
        unsafe {
            [
                _mm512_loadu_ps(values.as_ptr()),
                _mm512_loadu_ps(values[16..].as_ptr()),
            ]
        }
    }

    #[inline(always)]
    fn look_up(self, table: [__m512; 2], index: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_permutex2var_ps(table[0], _mm512_castps_si512(index), table[1]) }
    }

    #[inline(always)]
    fn load_or(self, xs: &[f32], fill: f32) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions; masked lanes are not read.
        unsafe {
            if xs.len() >= Self::LANES {
                return _mm512_loadu_ps(xs.as_ptr());
            }
            _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(xs.len()), xs.as_ptr())
        }
    }

    #[inline(always)]
    fn store(self, ys: &mut [f32], v: __m512) {
        // SAFETY: `self` proves that the CPU has the instructions; masked lanes are not written.
        unsafe {
            if ys.len() >= Self::LANES {
                return _mm512_storeu_ps(ys.as_mut_ptr(), v);
            }
            _mm512_mask_storeu_ps(ys.as_mut_ptr(), first_lanes(ys.len()), v);
        }
    }

    #[inline(always)]
    fn splat_bytes(self, bytes: [u8; 4]) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_set1_epi32(i32::from_ne_bytes(bytes)) }
    }

    #[inline(always)]
    fn dot_u8i8(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            if VNNI {
                return _mm512_dpbusd_epi32(sum, a, b);
            }
            // Two products of at most 127 · 128 each: their sum in 16 bits cannot saturate.
            let pairs = _mm512_maddubs_epi16(a, b);
            _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn dot_i16(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            if VNNI {
                return _mm512_dpwssd_epi32(sum, a, b);
            }
            _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
        }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn to_f32(self, a: __m512i) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn load_bytes_from(self, from: *const i8) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_u8_to(self, to: *mut u8, v: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))) }
    }

    #[inline(always)]
    unsafe fn store_i16_to(self, to: *mut i16, v: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v))) }
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store_to(self, to: *mut f32, v: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
}

/// Returns the mask of fewer than 16 lanes.
#[inline(always)]
fn first_lanes(count: usize) -> __mmask16 {
    (1 << count) - 1
}
