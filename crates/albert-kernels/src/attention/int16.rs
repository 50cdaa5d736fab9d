//! Attention in 16 bits.
//!
//! ```text
//! q ≈ u_q i,  k ≈ u_k j,  v ≈ u_v l       one unit each for the queries, the keys and the values of a head
//! e ≈ w / f                               f for each query, as large as the sum of its exponentials allows
//!
//! q · k ≈ u_q u_k Σ_d i j,   Σ_t e v / Σ_t e ≈ u_v Σ_t w l / Σ_t w
//! ```
//!
//! The sums are exact: no sum of products is as large as 2³¹.

use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

use crate::aligned::Aligned;
use crate::attention::BLOCK_QUERIES;
use crate::attention::arithmetic::{Arithmetic, Scratch};
use crate::attention::panels::{panel_width, tiles, transpose_into_panels};
use crate::attention::qkv::{Qkv, RowsPtr};
use crate::gemm::TileProduct;
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd, each_vector};

/// The largest 16-bit integer.
const LARGEST: f32 = i16::MAX as f32;

/// The largest integer to which a value of V is rounded.
const LARGEST_VALUE: f32 = 2047.0;

/// The bound on the sum of the rounded exponentials of a query; [`LARGEST_VALUE`] times this is
/// below 2³¹.
const LARGEST_SUM: usize = 1 << 20;

/// Returns the largest integer to which a value of Q or K is rounded: the sum of D products is
/// below 2³¹.
fn largest_factor(depth: usize) -> f32 {
    (f64::from(i32::MAX) / depth as f64)
        .sqrt()
        .floor()
        .min(f64::from(LARGEST)) as f32
}

/// One packed head in 16 bits. Integers that are multiplied in one instruction are adjacent pairs.
#[derive(Default)]
pub(super) struct Int16 {
    /// `(T, D)`, each row padded to whole vectors.
    queries: Aligned<i16>,
    /// Kᵀ in panels `(D / 2, W, 2)` of W tokens.
    keys: Aligned<i16>,
    /// V in panels `(T / 2, W, 2)` of W of its D columns.
    values: Aligned<i16>,
    /// The exponentials, `(BLOCK_QUERIES, T)`, each row padded to whole vectors.
    weights: Aligned<i16>,
    /// Keys or values before they are rearranged.
    rounded: Aligned<i16>,
    /// `u_q u_k`
    score_unit: f32,
    /// `u_v`
    value_unit: f32,
}

thread_local! {
    static SCRATCH: RefCell<Scratch<Int16>> = RefCell::default();
}

impl Arithmetic for Int16 {
    const MOST_TOKENS: usize = LARGEST_SUM - 1;

    fn scratch() -> &'static LocalKey<RefCell<Scratch<Self>>> {
        &SCRATCH
    }

    #[inline(always)]
    fn run<K: Kernel>(instructions: InstructionSet, kernel: K) -> K::Output {
        instructions.run_integer(kernel)
    }

    #[inline(always)]
    unsafe fn pack<S: Simd>(&mut self, s: S, qkv: Qkv, head: usize) {
        let (tokens, depth) = (qkv.tokens, qkv.heads.size);
        let (largest, stride) = (largest_factor(depth), depth.next_multiple_of(S::LANES));
        // SAFETY: the caller's promise.
        self.score_unit = unsafe {
            round(s, qkv, 0, head, largest, &mut self.queries)
                * round(s, qkv, 1, head, largest, &mut self.rounded)
        };
        let (width, pairs) = (panel_width::<S>(tokens), depth.div_ceil(2));
        self.keys.resize(tokens.div_ceil(width) * width * pairs * 2);
        let rounded = &self.rounded;
        let key = |token: usize| rounded[token * stride..][..2 * pairs].as_chunks().0;
        transpose_into_panels(
            [0i16; 2],
            [tokens, pairs, width],
            key,
            self.keys.as_chunks_mut().0,
        );

        // SAFETY: as above.
        self.value_unit = unsafe { round(s, qkv, 2, head, LARGEST_VALUE, &mut self.rounded) };
        let (width, pairs) = (panel_width::<S>(depth), tokens.div_ceil(2));
        self.values
            .resize(depth.div_ceil(width) * width * pairs * 2);
        for (index, panel) in self.values.chunks_exact_mut(width * pairs * 2).enumerate() {
            let columns = index * width..((index + 1) * width).min(depth);
            for (pair, packed) in panel
                .as_chunks_mut::<2>()
                .0
                .chunks_exact_mut(width)
                .enumerate()
            {
                let value = |token: usize| &self.rounded[token * stride..][columns.clone()];
                let first = value(2 * pair);
                if 2 * pair + 1 < tokens {
                    let second = value(2 * pair + 1);
                    packed
                        .iter_mut()
                        .zip(first.iter().zip(second))
                        .for_each(|(to, (a, b))| *to = [*a, *b]);
                } else {
                    packed
                        .iter_mut()
                        .zip(first)
                        .for_each(|(to, a)| *to = [*a, 0]);
                }
                packed[columns.len()..].fill([0; 2]);
            }
        }
        self.weights
            .resize(BLOCK_QUERIES * tokens.next_multiple_of(S::LANES));
    }

    #[inline(always)]
    unsafe fn scores<S: Simd>(
        &self,
        s: S,
        qkv: Qkv,
        _: usize,
        queries: Range<usize>,
        scores: RowsPtr,
    ) -> f32 {
        let (tokens, depth) = (qkv.tokens, qkv.heads.size);
        let (width, pairs, stride) = (
            panel_width::<S>(tokens),
            depth.div_ceil(2),
            depth.next_multiple_of(S::LANES),
        );
        let products = |row: usize, panel: usize| Int16Product {
            pairs,
            a: self.queries[(queries.start + row) * stride..].as_ptr(),
            a_stride: stride,
            panel: self.keys[panel * width * pairs * 2..].as_ptr(),
            panel_width: width,
        };
        // Whole vectors: the rows of scores and the panels have room for them.
        let columns = tokens.next_multiple_of(S::LANES);
        // SAFETY: the queries are readable, and `scores` has a row of such columns for each.
        unsafe { tiles(s, queries.len(), [columns, width], scores, products) };
        self.score_unit
    }

    #[inline(always)]
    fn weights<S: Simd>(&mut self, s: S, query: usize, exponentials: &[f32], sum: f32) -> f32 {
        let tokens = exponentials.len();
        // Rounding adds at most one half to each integer. An exponential is at most 1.
        let factor = LARGEST.min((LARGEST_SUM - tokens) as f32 / sum);
        let row = &mut self.weights[query * tokens.next_multiple_of(S::LANES)..];
        self.value_unit / round_row(s, exponentials, factor, row)
    }

    #[inline(always)]
    unsafe fn contexts<S: Simd>(
        &self,
        s: S,
        qkv: Qkv,
        queries: usize,
        _: RowsPtr,
        context: RowsPtr,
    ) {
        let (tokens, depth) = (qkv.tokens, qkv.heads.size);
        let (width, pairs, stride) = (
            panel_width::<S>(depth),
            tokens.div_ceil(2),
            tokens.next_multiple_of(S::LANES),
        );
        let products = |row: usize, panel: usize| Int16Product {
            pairs,
            a: self.weights[row * stride..].as_ptr(),
            a_stride: stride,
            panel: self.values[panel * width * pairs * 2..].as_ptr(),
            panel_width: width,
        };
        // SAFETY: as the caller promises; there are weights for as many queries.
        unsafe { tiles(s, queries, [depth, width], context, products) };
    }
}

/// Rounds one part of a head to integers up to `largest`, `(T, D)`, each row padded to whole
/// vectors; returns their unit, which is NaN if a value is not finite.
///
/// It is NaN where a number is not finite.
///
/// # Safety
/// See [`Qkv::row`].
#[inline(always)]
unsafe fn round<S: Simd>(
    s: S,
    qkv: Qkv,
    part: usize,
    head: usize,
    largest: f32,
    integers: &mut Aligned<i16>,
) -> f32 {
    let (tokens, stride) = (qkv.tokens, qkv.heads.size.next_multiple_of(S::LANES));
    let zero = s.splat(0.0);
    let (mut found, mut poison) = ([zero; 4], [zero; 4]);
    for token in 0..tokens {
        // SAFETY: the caller's promise.
        let row = unsafe { qkv.row(part, head, token) };
        each_vector!(S, row.len(), |at, one| {
            let x = s.load(&row[at]);
            found[one] = s.max(s.abs(x), found[one]);
            // Becomes NaN at the first value that is not finite, which `found` would ignore.
            poison[one] = s.mul_add(x, zero, poison[one]);
        });
    }
    let found = s.max(s.max(found[0], found[1]), s.max(found[2], found[3]));
    let found = s.max_lane(found);
    let poison = s.sum(s.add(s.add(poison[0], poison[1]), s.add(poison[2], poison[3])));
    let unit = found / largest;
    // Zeros, and values so small that their unit is subnormal, become zeros.
    let factor = if unit >= f32::MIN_POSITIVE {
        largest / found
    } else {
        0.0
    };
    integers.resize(tokens * stride);
    for (token, integers) in integers.chunks_exact_mut(stride).enumerate() {
        // SAFETY: the caller's promise.
        round_row(s, unsafe { qkv.row(part, head, token) }, factor, integers);
    }
    unit + poison
}

/// Writes the values times `factor` as integers, then zeros up to a whole vector; returns their
/// sum, which is exact below 2²⁴.
#[inline(always)]
fn round_row<S: Simd>(s: S, xs: &[f32], factor: f32, integers: &mut [i16]) -> f32 {
    let factor = s.splat(factor);
    let mut sums = [s.splat(0.0); 4];
    each_vector!(S, xs.len(), |at, one| {
        let x = s.round(s.mul(s.load(&xs[at.clone()]), factor));
        sums[one] = s.add(sums[one], x);
        let integers = &mut integers[at.start..][..S::LANES];
        // SAFETY: the slice has as many integers.
        unsafe { s.store_i16_to(integers.as_mut_ptr(), x) };
    });
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

/// Computes `A B` of 16-bit integers, with the result in f32.
#[derive(Debug, Clone, Copy)]
struct Int16Product {
    /// K / 2
    pairs: usize,
    a: *const i16,
    /// The distance between rows of A.
    a_stride: usize,
    /// The rows of the panel in pairs, with the two integers of a column next to each other.
    panel: *const i16,
    /// The distance between such pairs of rows, in pairs.
    panel_width: usize,
}

impl TileProduct for Int16Product {
    #[inline(always)]
    unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *mut f32,
        c_stride: usize,
    ) {
        let mut sums = [[s.splat_bytes([0; 4]); VECTORS]; ROWS];
        let (mut a, mut panel) = (self.a, self.panel);
        // SAFETY: all offsets are within the rows that the caller promises.
        unsafe {
            for _ in 0..self.pairs {
                let mut b = [s.splat_bytes([0; 4]); VECTORS];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = s.load_bytes_from(panel.add(2 * v * S::LANES).cast());
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = s.splat_bytes(a.add(row * self.a_stride).cast::<[u8; 4]>().read());
                    for (sum, b) in sums.iter_mut().zip(&b) {
                        *sum = s.dot_i16(*sum, a, *b);
                    }
                }
                a = a.add(2);
                panel = panel.add(2 * self.panel_width);
            }
            for (row, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store_to(c.add(row * c_stride + v * S::LANES), s.to_f32(*sum));
                }
            }
        }
    }
}
