//! AVX2 with FMA: eight lanes, 16 registers; with or without AVX-VNNI.

use std::arch::x86_64::*;

use super::{Kernel, Simd, tables_in_memory};

/// A proof that the CPU has AVX2 and FMA, and AVX-VNNI if `VNNI` is true.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    /// # Safety
    /// The CPU has AVX2 and FMA, and AVX-VNNI if `VNNI` is true.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Defines methods that are a single expression of intrinsics.
macro_rules! lanewise {
    ($($name:ident($($x:ident),*) $e:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($x: __m256),*) -> __m256 {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { $e }
        }
    )*};
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type V = __m256;
    type I = __m256i;

    tables_in_memory!();

    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const PANEL_VECTORS: usize = 2;
    const INT8_TILE_ROWS: usize = if VNNI { Self::TILE_ROWS } else { 4 };
    const SIGN_MAGNITUDE: bool = !VNNI;

    lanewise! {
        add(a, b) _mm256_add_ps(a, b);
        sub(a, b) _mm256_sub_ps(a, b);
        mul(a, b) _mm256_mul_ps(a, b);
        div(a, b) _mm256_div_ps(a, b);
        mul_add(a, b, c) _mm256_fmadd_ps(a, b, c);
        min(a, b) _mm256_min_ps(a, b);
        max(a, b) _mm256_max_ps(a, b);
        sqrt(a) _mm256_sqrt_ps(a);
        abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        copy_sign(a, b) {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
        };
        round(a) _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        power_of_two(n) {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        };
        select_less(a, b, yes, no) _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
    }

    #[inline]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn compiled<K: Kernel, S: Simd>(kernel: K, s: S) -> K::Output {
            kernel.run(s)
        }
        #[target_feature(enable = "avx2,fma,avxvnni")]
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
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn swap_lanes(self, v: __m256, apart: usize) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            match apart {
                1 => _mm256_permute_ps::<0b10_11_00_01>(v),
                2 => _mm256_permute_ps::<0b01_00_11_10>(v),
                _ => _mm256_permute2f128_ps::<1>(v, v),
            }
        }
    }

    #[inline(always)]
    fn load_or(self, xs: &[f32], fill: f32) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instructions; masked lanes are not read.
        unsafe {
            if xs.len() >= Self::LANES {
                return _mm256_loadu_ps(xs.as_ptr());
            }
            let mask = first_lanes(xs.len());
            let loaded = _mm256_maskload_ps(xs.as_ptr(), mask);
            _mm256_blendv_ps(_mm256_set1_ps(fill), loaded, _mm256_castsi256_ps(mask))
        }
    }

    #[inline(always)]
    fn store(self, ys: &mut [f32], v: __m256) {
        // SAFETY: `self` proves that the CPU has the instructions; masked lanes are not written.
        unsafe {
            if ys.len() >= Self::LANES {
                return _mm256_storeu_ps(ys.as_mut_ptr(), v);
            }
            _mm256_maskstore_ps(ys.as_mut_ptr(), first_lanes(ys.len()), v);
        }
    }

    #[inline(always)]
    fn splat_bytes(self, bytes: [u8; 4]) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_set1_epi32(i32::from_ne_bytes(bytes)) }
    }

    #[inline(always)]
    fn dot_u8i8(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sum, a, b);
            }
            // Two products of at most 127 · 128 each: their sum in 16 bits cannot saturate.
            let pairs = _mm256_maddubs_epi16(a, b);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn dot_i16(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            if VNNI {
                return _mm256_dpwssd_avx_epi32(sum, a, b);
            }
            _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
        }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn to_f32(self, a: __m256i) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn load_bytes_from(self, from: *const i8) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_u8_to(self, to: *mut u8, v: __m256) {
        // SAFETY: the caller's promise.
        unsafe {
            let words = _mm256_cvtps_epi32(v);
            let halves = _mm_packus_epi32(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
        }
    }

    #[inline(always)]
    unsafe fn store_i16_to(self, to: *mut i16, v: __m256) {
        // SAFETY: the caller's promise.
        unsafe {
            let lanes = _mm256_cvtps_epi32(v);
            let words = _mm_packs_epi32(
                _mm256_castsi256_si128(lanes),
                _mm256_extracti128_si256::<1>(lanes),
            );
            _mm_storeu_si128(to.cast(), words);
        }
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store_to(self, to: *mut f32, v: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
}

/// Returns the mask of fewer than 8 lanes.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
    }
}
