//! Self-attention of one sequence.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::aligned::Aligned;
use crate::functions::exp_between;
use crate::grid::Threads;
use crate::level::Level;
use crate::rows::even;
use crate::simd::{Kernel, Simd, each_vector};
use crate::tile::{Ahead, CheckedTile, Products, Target};

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// N
    pub count: usize,
    /// D
    pub size: usize,
}

/// `softmax(Q Kᵀ / √D) V` for every head of one sequence.
///
/// Scores exist for a few queries of one head at a time. They are kept without their divisor,
/// which is the last thing that the result is divided by. Work is split over heads and queries.
///
/// # Shapes
/// - `qkv`: `(T, 3H)`, in each row the queries of all heads, their keys, their values; H = N D
/// - `context`: `(T, H)`
///
/// # Panics
/// If the shapes do not fit.
///
/// Source: Vaswani et al. 2017, eq. 1.
pub fn attention(level: Level, heads: Heads, qkv: &[f32], context: &mut [f32], threads: Threads) {
    let width = heads.count.checked_mul(heads.size).expect("heads that fit into memory");
    assert!(width > 0 && context.len().is_multiple_of(width), "rows of {width} numbers");
    assert!(qkv.len() == 3 * context.len(), "three times {} numbers, found {}", context.len(), qkv.len());
    let tokens = context.len() / width;
    let blocks = tokens.div_ceil(BLOCK_QUERIES);
    let whole = Share {
        heads,
        tokens,
        blocks,
        qkv: qkv.as_ptr(),
        context: context.as_mut_ptr(),
        work: 0..heads.count * blocks,
    };
    match threads {
        Threads::One => level.run(whole),
        Threads::All => {
            let threads = rayon::current_num_threads().min(whole.work.len());
            let shares = even(whole.work.clone(), threads).map(|work| Share { work, ..whole.clone() });
            shares.collect::<Vec<_>>().into_par_iter().for_each(|share| level.run(share));
        }
    }
}

/// Queries whose scores are computed together.
const BLOCK_QUERIES: usize = 32;

/// What one thread does: the work is numbered block of queries by block of queries, head by head.
#[derive(Clone)]
struct Share {
    heads: Heads,
    tokens: usize,
    /// Blocks of queries.
    blocks: usize,
    qkv: *const f32,
    context: *mut f32,
    work: Range<usize>,
}

// SAFETY: `attention` borrows both slices for as long as its threads run, and no two shares write the
// same queries of the same head.
unsafe impl Send for Share {}

/// The width of panels for so many columns: as few panels as can be, of whole vectors, as even as can be.
#[inline(always)]
fn panel_width<S: Simd>(columns: usize) -> usize {
    let panels = columns.div_ceil(S::PANEL_VECTORS * S::LANES);
    columns.div_ceil(panels).next_multiple_of(S::LANES)
}

/// Memory that a thread keeps from call to call.
#[derive(Default)]
struct Scratch {
    /// Kᵀ of one head in panels `(D, W)` of W tokens.
    keys: Aligned,
    /// V of one head in panels `(T, W)` of W of its D columns.
    values: Aligned,
    /// `(BLOCK_QUERIES, T)`, rows a multiple of a vector apart.
    scores: Aligned,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Kernel for Share {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Taken out and put back: within a closure nothing would be compiled for the instructions.
        let mut scratch = SCRATCH.take();
        let mut packed = None;
        for work in self.work.clone() {
            let (head, block) = (work / self.blocks, work % self.blocks);
            // SAFETY: `attention` has checked the shapes; the context of these queries is this
            // share's own.
            unsafe {
                if packed != Some(head) {
                    self.pack_keys::<S>(head, &mut scratch.keys);
                    self.pack_values::<S>(head, &mut scratch.values);
                    packed = Some(head);
                }
                let start = self.tokens * block / self.blocks;
                let end = self.tokens * (block + 1) / self.blocks;
                self.attend(s, head, start..end, &mut scratch);
            }
        }
        SCRATCH.set(scratch);
    }
}

impl Share {
    fn width(&self) -> usize {
        self.heads.count * self.heads.size
    }

    /// The numbers of one head in one token: `part` 0 is Q, 1 is K, 2 is V.
    ///
    /// # Safety
    /// `qkv` has `tokens` rows, and `token` is one of them.
    #[inline(always)]
    unsafe fn row(&self, part: usize, head: usize, token: usize) -> &[f32] {
        let offset = token * 3 * self.width() + part * self.width() + head * self.heads.size;
        // SAFETY: within the row, as the caller promises.
        unsafe { std::slice::from_raw_parts(self.qkv.add(offset), self.heads.size) }
    }

    /// # Safety
    /// As [`row`](Self::row).
    #[inline(always)]
    unsafe fn pack_keys<S: Simd>(&self, head: usize, keys: &mut Aligned) {
        let (width, depth) = (panel_width::<S>(self.tokens), self.heads.size);
        keys.resize(self.tokens.div_ceil(width) * width * depth);
        for (index, panel) in keys.chunks_exact_mut(width * depth).enumerate() {
            let tokens = index * width..((index + 1) * width).min(self.tokens);
            if tokens.len() < width {
                panel.fill(0.0);
            }
            // Four tokens at a time, and of them four numbers: the compiler turns such a square with shuffles.
            const SQUARE: usize = 4;
            let whole = tokens.len() / SQUARE * SQUARE;
            for column in (0..whole).step_by(SQUARE) {
                // SAFETY: the tokens are of the sequence.
                let keys =
                    [0, 1, 2, 3].map(|i| unsafe { self.row(1, head, tokens.start + column + i) }.as_chunks());
                for d in 0..depth / SQUARE {
                    let square: [[f32; SQUARE]; SQUARE] = keys.map(|(chunks, _)| chunks[d]);
                    for i in 0..SQUARE {
                        let turned = &mut panel[(SQUARE * d + i) * width + column..][..SQUARE];
                        turned.copy_from_slice(&square.map(|row| row[i]));
                    }
                }
                for (i, (_, rest)) in keys.into_iter().enumerate() {
                    for (d, x) in (depth / SQUARE * SQUARE..depth).zip(rest) {
                        panel[d * width + column + i] = *x;
                    }
                }
            }
            for column in whole..tokens.len() {
                // SAFETY: the token is one of the sequence.
                let key = unsafe { self.row(1, head, tokens.start + column) };
                for (packed, x) in panel[column..].iter_mut().step_by(width).zip(key) {
                    *packed = *x;
                }
            }
        }
    }

    /// # Safety
    /// As [`row`](Self::row).
    #[inline(always)]
    unsafe fn pack_values<S: Simd>(&self, head: usize, values: &mut Aligned) {
        let width = panel_width::<S>(self.heads.size);
        values.resize(self.heads.size.div_ceil(width) * width * self.tokens);
        for (index, panel) in values.chunks_exact_mut(width * self.tokens).enumerate() {
            let columns = index * width..((index + 1) * width).min(self.heads.size);
            for (token, packed) in panel.chunks_exact_mut(width).enumerate() {
                // SAFETY: the token is one of the sequence.
                let value = unsafe { &self.row(2, head, token)[columns.clone()] };
                packed[..columns.len()].copy_from_slice(value);
                packed[columns.len()..].fill(0.0);
            }
        }
    }

    /// # Safety
    /// As [`row`](Self::row) for all `queries`, whose context nothing else reads or writes.
    #[inline(always)]
    unsafe fn attend<S: Simd>(&self, s: S, head: usize, queries: Range<usize>, scratch: &mut Scratch) {
        let (depth, tokens) = (self.heads.size, self.tokens);
        let stride = tokens.next_multiple_of(S::LANES);
        scratch.scores.resize(BLOCK_QUERIES * stride);
        let scores = &mut scratch.scores;
        let strips = queries.len().div_ceil(S::TILE_ROWS);

        let width = panel_width::<S>(tokens);
        for (index, panel) in scratch.keys.chunks_exact(width * depth).enumerate() {
            for strip in even(0..queries.len(), strips) {
                // SAFETY: the queries are there, and scores have a row for each.
                unsafe {
                    let products = Products {
                        depth,
                        a: self.row(0, head, queries.start + strip.start).as_ptr(),
                        a_stride: 3 * self.width(),
                        panel: panel.as_ptr(),
                        panel_width: width,
                        accumulate: false,
                        ahead: Ahead::NONE,
                    };
                    let target = Target {
                        rows: strip.len(),
                        c: scores.as_mut_ptr().add(strip.start * stride + index * width),
                        c_stride: stride,
                        columns: width.min(tokens - index * width),
                    };
                    s.call(CheckedTile::new(target, products));
                }
            }
        }

        let scale = 1.0 / (depth as f32).sqrt();
        let mut divisors = [0.0; BLOCK_QUERIES];
        for (row, divisor) in scores.chunks_exact_mut(stride).zip(&mut divisors[..queries.len()]) {
            *divisor = exponentials(s, &mut row[..tokens], scale);
        }

        // SAFETY: the context of this head begins within its first row.
        let context = unsafe { self.context.add(queries.start * self.width() + head * depth) };
        let width = panel_width::<S>(depth);
        for (index, panel) in scratch.values.chunks_exact(width * tokens).enumerate() {
            for strip in even(0..queries.len(), strips) {
                // SAFETY: scores have a row for each query, and so has the context.
                unsafe {
                    let products = Products {
                        depth: tokens,
                        a: scores.as_ptr().add(strip.start * stride),
                        a_stride: stride,
                        panel: panel.as_ptr(),
                        panel_width: width,
                        accumulate: false,
                        ahead: Ahead::NONE,
                    };
                    let target = Target {
                        rows: strip.len(),
                        c: context.add(strip.start * self.width() + index * width),
                        c_stride: self.width(),
                        columns: width.min(depth - index * width),
                    };
                    s.call(CheckedTile::new(target, products));
                }
            }
        }
        for (row, divisor) in divisors[..queries.len()].iter().enumerate() {
            // SAFETY: one query's context, which is there.
            let context = unsafe { std::slice::from_raw_parts_mut(context.add(row * self.width()), depth) };
            let factor = s.splat(divisor.recip());
            for xs in context.chunks_mut(S::LANES) {
                let y = s.mul(s.load(xs), factor);
                s.store(xs, y);
            }
        }
    }
}

/// `x = e^(scale (x - max x))`; returns their sum.
#[inline(always)]
fn exponentials<S: Simd>(s: S, row: &mut [f32], scale: f32) -> f32 {
    let mut largest = [s.splat(f32::NEG_INFINITY); 4];
    each_vector!(S, row.len(), |at, one| {
        // Passes over a NaN, which the sum will have.
        largest[one] = s.max(s.load_or(&row[at], f32::NEG_INFINITY), largest[one]);
    });
    let largest = s.max(s.max(largest[0], largest[1]), s.max(largest[2], largest[3]));
    let (largest, scale) = (s.splat(s.largest_number(largest)), s.splat(scale));
    let mut sums = [s.splat(0.0); 4];
    each_vector!(S, row.len(), |at, one| {
        let x = s.load_or(&row[at.clone()], f32::NEG_INFINITY);
        let y = exp_between(s, s.mul(s.sub(x, largest), scale));
        sums[one] = s.add(sums[one], y);
        s.store(&mut row[at], y);
    });
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 sums of up to 700 terms, softmax between them. Seen: 1.3e-6.
    const TOLERANCE: f64 = 2e-6;

    fn exact(heads: Heads, qkv: &[f32]) -> Vec<f64> {
        let h = heads.count * heads.size;
        let tokens = qkv.len() / (3 * h);
        let mut context = vec![0.0; tokens * h];
        for head in 0..heads.count {
            let row = |part: usize, token: usize| {
                qkv[token * 3 * h + part * h + head * heads.size..][..heads.size]
                    .iter()
                    .map(|x| f64::from(*x))
            };
            for query in 0..tokens {
                let scores =
                    (0..tokens).map(|key| row(0, query).zip(row(1, key)).map(|(q, k)| q * k).sum::<f64>());
                let weights: Vec<f64> =
                    scores.map(|score| (score / (heads.size as f64).sqrt()).exp()).collect();
                let total: f64 = weights.iter().sum();
                for (key, weight) in weights.iter().enumerate() {
                    let context = &mut context[query * h + head * heads.size..];
                    context.iter_mut().zip(row(2, key)).for_each(|(c, v)| *c += weight / total * v);
                }
            }
        }
        context
    }

    #[test]
    fn every_head_attends_as_the_formula_says() {
        for level in Level::available() {
            for (count, size, tokens) in [
                (1, 1, 1),
                (12, 64, 7),
                (2, 13, 33),
                (3, 16, 100),
                (1, 128, 49),
                (4, 5, 2),
                (2, 64, 700),
                (1, 150, 20),
            ] {
                let heads = Heads { count, size };
                let qkv: Vec<f32> = numbers(tokens * 3 * count * size, 7).iter().map(|x| 2.0 * x).collect();
                let mut context = vec![f32::NAN; tokens * count * size];
                attention(level, heads, &qkv, &mut context, Threads::One);
                for (exact, found) in exact(heads, &qkv).iter().zip(&context) {
                    let error = (exact - f64::from(*found)).abs();
                    assert!(error <= TOLERANCE, "{error:.1e} for {heads:?}, {tokens} tokens on {level}");
                }
                for threads in [2, 5] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut split = vec![f32::NAN; context.len()];
                    pool.install(|| attention(level, heads, &qkv, &mut split, Threads::All));
                    assert_eq!(split, context, "{threads} threads on {level}");
                }
            }
        }
    }

    #[test]
    fn scores_far_apart_do_not_overflow() {
        for level in Level::available() {
            let qkv = [300.0, 300.0, 1.0, 300.0, -300.0, 2.0];
            let mut context = [0.0; 2];
            attention(level, Heads { count: 1, size: 1 }, &qkv, &mut context, Threads::One);
            assert_eq!(context, [1.0, 1.0], "{level}");
        }
    }

    #[test]
    #[should_panic(expected = "heads that fit into memory")]
    fn heads_beyond_all_memory_are_refused() {
        let heads = Heads { count: usize::MAX / 2 + 2, size: 2 };
        attention(Level::available()[0], heads, &[0.0; 6], &mut [0.0; 2], Threads::One);
    }

    #[test]
    fn no_token_is_no_work() {
        attention(Level::available()[0], Heads { count: 2, size: 3 }, &[], &mut [], Threads::All);
    }
}
