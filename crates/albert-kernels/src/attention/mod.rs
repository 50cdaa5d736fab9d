//! Self-attention of one sequence.

mod arithmetic;
mod float32;
mod int16;
mod panels;
mod qkv;
mod softmax;

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use crate::attention::arithmetic::{Arithmetic, Scratch};
use crate::attention::float32::Float32;
use crate::attention::int16::Int16;
use crate::attention::qkv::{Qkv, RowsPtr};
pub(crate) use crate::attention::softmax::exponentials;
use crate::gemm::{Threads, even};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// N
    pub count: usize,
    /// D
    pub size: usize,
}

/// Computes `softmax(Q Kᵀ / √D) V` for every head of one sequence.
///
/// Only the scores of a few queries of one head exist at a time, and the division by the sum of
/// exponentials comes last. Work is split over heads and queries.
///
/// # Shapes
/// - `qkv`: `(T, 3H)`; each row holds the queries, then the keys, then the values of all heads; H =
///   N D
/// - `context`: `(T, H)`
///
/// # Panics
/// If the shapes do not match.
///
/// Source: Vaswani et al. 2017, eq. 1.
pub fn attention(
    instructions: InstructionSet,
    heads: Heads,
    qkv: &[f32],
    context: &mut [f32],
    threads: Threads,
) {
    attend::<Float32>(instructions, heads, qkv, context, threads);
}

/// Computes [`attention`] with products of 16-bit integers, for models with int8 weights.
///
/// Queries, keys and values of a head are each rounded with one scale: queries and keys to as many
/// bits as let a sum of D products fit 32 bits, values to 12 bits, and exponentials to 15. Dot
/// product instructions (VNNI) compute two 16-bit products in the time of one in f32.
///
/// # Panics
/// Like [`attention`], and if the sequence has 2²⁰ tokens or more.
pub fn attention_int16(
    instructions: InstructionSet,
    heads: Heads,
    qkv: &[f32],
    context: &mut [f32],
    threads: Threads,
) {
    attend::<Int16>(instructions, heads, qkv, context, threads);
}

/// The number of queries whose scores are computed together.
const BLOCK_QUERIES: usize = 32;

fn attend<A: Arithmetic>(
    instructions: InstructionSet,
    heads: Heads,
    qkv: &[f32],
    context: &mut [f32],
    threads: Threads,
) {
    let width = heads
        .count
        .checked_mul(heads.size)
        .expect("heads that fit into memory");
    assert!(
        width > 0 && context.len().is_multiple_of(width),
        "rows of {width} numbers"
    );
    assert!(
        qkv.len() == 3 * context.len(),
        "three times {} numbers, found {}",
        context.len(),
        qkv.len()
    );
    let tokens = context.len() / width;
    assert!(
        tokens <= A::MOST_TOKENS,
        "{} tokens at most, found {tokens}",
        A::MOST_TOKENS
    );
    let blocks = tokens.div_ceil(BLOCK_QUERIES);
    let qkv = Qkv {
        heads,
        tokens,
        first: qkv.as_ptr(),
    };
    let context = context.as_mut_ptr();
    let share = |work| Share {
        qkv,
        blocks,
        context,
        work,
        arithmetic: PhantomData::<A>,
    };
    let work = 0..heads.count * blocks;
    match threads {
        Threads::One => A::run(instructions, share(work)),
        Threads::All => {
            let threads = rayon::current_num_threads().min(work.len());
            let shares: Vec<_> = even(work, threads).map(share).collect();
            shares
                .into_par_iter()
                .for_each(|share| A::run(instructions, share));
        }
    }
}

/// The share of one thread. Blocks of queries are numbered head by head.
struct Share<A> {
    qkv: Qkv,
    /// Blocks of queries.
    blocks: usize,
    context: *mut f32,
    work: Range<usize>,
    arithmetic: PhantomData<A>,
}

// SAFETY: `attend` borrows both slices while its threads run, and no two shares write the same
// queries of the same head.
unsafe impl<A> Send for Share<A> {}

impl<A: Arithmetic> Kernel for Share<A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Taken out and put back, because code within a closure would not be compiled for the
        // instruction set.
        let mut scratch = A::scratch().take();
        let mut packed = None;
        for work in self.work.clone() {
            let (head, block) = (work / self.blocks, work % self.blocks);
            let tokens = self.qkv.tokens;
            let queries = tokens * block / self.blocks..tokens * (block + 1) / self.blocks;
            // SAFETY: `attend` has checked the shapes; only this share has the context of these
            // queries.
            unsafe {
                if packed != Some(head) {
                    scratch.packed.pack(s, self.qkv, head);
                    packed = Some(head);
                }
                self.attend(s, head, queries, &mut scratch);
            }
        }
        A::scratch().set(scratch);
    }
}

impl<A: Arithmetic> Share<A> {
    /// # Safety
    /// See [`Qkv::row`] for all `queries`, whose context nothing else reads or writes.
    #[inline(always)]
    unsafe fn attend<S: Simd>(
        &self,
        s: S,
        head: usize,
        queries: Range<usize>,
        scratch: &mut Scratch<A>,
    ) {
        let (qkv, Heads { count, size }) = (self.qkv, self.qkv.heads);
        let Scratch { packed, scores } = scratch;
        let stride = qkv.tokens.next_multiple_of(S::LANES);
        scores.resize(BLOCK_QUERIES * stride);
        let rows = RowsPtr {
            first: scores.as_mut_ptr(),
            stride,
        };
        // SAFETY: the caller's promise.
        let unit = unsafe { packed.scores(s, qkv, head, queries.clone(), rows) };

        let scale = unit / (size as f32).sqrt();
        let mut factors = [0.0; BLOCK_QUERIES];
        let each = scores
            .chunks_exact_mut(stride)
            .zip(&mut factors[..queries.len()]);
        for (query, (row, factor)) in each.enumerate() {
            let row = &mut row[..qkv.tokens];
            let sum = exponentials(s, row, scale);
            *factor = packed.weights(s, query, row, sum);
        }

        // SAFETY: the context of this head starts within its first row.
        let first = unsafe { self.context.add((queries.start * count + head) * size) };
        let context = RowsPtr {
            first,
            stride: count * size,
        };
        // SAFETY: the scores have been turned into exponentials; the context is writable.
        unsafe { packed.contexts(s, qkv, queries.len(), rows, context) };
        for (row, factor) in factors[..queries.len()].iter().enumerate() {
            // SAFETY: one query's context, which is there.
            let context =
                unsafe { std::slice::from_raw_parts_mut(first.add(row * context.stride), size) };
            let factor = s.splat(*factor);
            for xs in context.chunks_mut(S::LANES) {
                let y = s.mul(s.load(xs), factor);
                s.store(xs, y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 sums of up to 700 terms, with a softmax between them. Seen: 1.3e-6.
    const TOLERANCE: f64 = 2e-6;

    /// Half a step of 12 bits for values up to 2, and the effect on a weight of half a step of 9
    /// bits (D 1024) to 15 bits (D 4) in Q and K. Seen: 0.
    const INT16_TOLERANCE: f64 = 2e-3;

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
                let scores = (0..tokens).map(|key| {
                    row(0, query)
                        .zip(row(1, key))
                        .map(|(q, k)| q * k)
                        .sum::<f64>()
                });
                let weights: Vec<f64> = scores
                    .map(|score| (score / (heads.size as f64).sqrt()).exp())
                    .collect();
                let total: f64 = weights.iter().sum();
                for (key, weight) in weights.iter().enumerate() {
                    let context = &mut context[query * h + head * heads.size..];
                    context
                        .iter_mut()
                        .zip(row(2, key))
                        .for_each(|(c, v)| *c += weight / total * v);
                }
            }
        }
        context
    }

    type Attention = fn(InstructionSet, Heads, &[f32], &mut [f32], Threads);

    /// Both kinds of attention, with their tolerances.
    const KINDS: [(Attention, f64); 2] =
        [(attention, TOLERANCE), (attention_int16, INT16_TOLERANCE)];

    #[test]
    fn every_head_attends_as_the_formula_says() {
        for ((attention, tolerance), instructions) in KINDS.into_iter().flat_map(|kind| {
            InstructionSet::available()
                .into_iter()
                .map(move |instructions| (kind, instructions))
        }) {
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
                let qkv: Vec<f32> = numbers(tokens * 3 * count * size, 7)
                    .iter()
                    .map(|x| 2.0 * x)
                    .collect();
                let mut context = vec![f32::NAN; tokens * count * size];
                attention(instructions, heads, &qkv, &mut context, Threads::One);
                for (exact, found) in exact(heads, &qkv).iter().zip(&context) {
                    let error = (exact - f64::from(*found)).abs();
                    assert!(
                        error <= tolerance,
                        "{error:.1e} for {heads:?}, {tokens} tokens on {instructions}"
                    );
                }
                for threads in [2, 5] {
                    let pool = rayon::ThreadPoolBuilder::new()
                        .num_threads(threads)
                        .build()
                        .unwrap();
                    let mut split = vec![f32::NAN; context.len()];
                    pool.install(|| attention(instructions, heads, &qkv, &mut split, Threads::All));
                    assert_eq!(split, context, "{threads} threads on {instructions}");
                }
            }
        }
    }

    #[test]
    fn words_that_could_overflow_do_not() {
        // The largest possible scores, equal weights, and the largest values.
        for instructions in InstructionSet::available() {
            for (size, tokens) in [(64, 600), (1024, 3), (1, 40)] {
                let qkv = vec![-5.0; tokens * 3 * size];
                let mut context = vec![f32::NAN; tokens * size];
                attention_int16(
                    instructions,
                    Heads { count: 1, size },
                    &qkv,
                    &mut context,
                    Threads::One,
                );
                let error = context.iter().map(|x| (x + 5.0).abs()).fold(0.0, f32::max);
                assert!(
                    f64::from(error) <= INT16_TOLERANCE,
                    "{error:.1e} on {instructions}"
                );
            }
        }
    }

    #[test]
    fn many_small_weights_beside_a_large_one_are_not_lost() {
        // One score is 9 above 511 others, whose weights sum to a sixteenth of its weight.
        for instructions in InstructionSet::available() {
            let heads = Heads { count: 1, size: 2 };
            let row = |token: usize| {
                if token == 0 {
                    [3.0, 0.0, 3.0 * 2f32.sqrt(), 0.0, 0.0, 0.0]
                } else {
                    [3.0, 0.0, 0.0, 0.0, 1.0, 2.0]
                }
            };
            let qkv: Vec<f32> = (0..512).flat_map(row).collect();
            let mut context = vec![f32::NAN; 512 * 2];
            attention_int16(instructions, heads, &qkv, &mut context, Threads::One);
            let exact = exact(heads, &qkv);
            assert!(exact[0] > 0.05, "{}", exact[0]);
            for (exact, found) in exact.iter().zip(&context) {
                let error = (exact - f64::from(*found)).abs();
                assert!(error <= INT16_TOLERANCE, "{error:.1e} on {instructions}");
            }
        }
    }

    #[test]
    fn scores_far_apart_do_not_overflow() {
        for (attention, tolerance) in KINDS {
            for instructions in InstructionSet::available() {
                let qkv = [300.0, 300.0, 1.0, 300.0, -300.0, 2.0];
                let mut context = [0.0; 2];
                attention(
                    instructions,
                    Heads { count: 1, size: 1 },
                    &qkv,
                    &mut context,
                    Threads::One,
                );
                assert!(
                    context
                        .iter()
                        .all(|x| (f64::from(*x) - 1.0).abs() <= tolerance),
                    "{context:?} {instructions}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for (attention, _) in KINDS {
            for instructions in InstructionSet::available() {
                for (bad, at) in [
                    (f32::NAN, 0),
                    (f32::INFINITY, 2),
                    (f32::NEG_INFINITY, 5),
                    (f32::NAN, 4),
                ] {
                    let mut qkv = numbers(4 * 6, 1);
                    qkv[at] = bad;
                    let mut context = vec![0.0; 4 * 2];
                    attention(
                        instructions,
                        Heads { count: 1, size: 2 },
                        &qkv,
                        &mut context,
                        Threads::One,
                    );
                    assert!(
                        context.iter().any(|x| !x.is_finite()),
                        "{bad} at {at} on {instructions}: {context:?}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "heads that fit into memory")]
    fn heads_beyond_all_memory_are_refused() {
        let heads = Heads {
            count: usize::MAX / 2 + 2,
            size: 2,
        };
        attention(
            InstructionSet::available()[0],
            heads,
            &[0.0; 6],
            &mut [0.0; 2],
            Threads::One,
        );
    }

    #[test]
    fn no_token_is_no_work() {
        for (attention, _) in KINDS {
            attention(
                InstructionSet::available()[0],
                Heads { count: 2, size: 3 },
                &[],
                &mut [],
                Threads::All,
            );
        }
    }
}
