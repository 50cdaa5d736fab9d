//! Attention in f32.

use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

use crate::aligned::Aligned;
use crate::attention::arithmetic::{Arithmetic, Scratch};
use crate::attention::panels::{panel_width, tiles, transpose_into_panels};
use crate::attention::qkv::{Qkv, RowsPtr};
use crate::gemm::{F32Product, Prefetch};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

/// The packed keys and values of one head in f32. Queries and exponentials are used in place.
#[derive(Default)]
pub(super) struct Float32 {
    /// Kᵀ in panels `(D, W)` of W tokens.
    keys: Aligned,
    /// V in panels `(T, W)` of W of its D columns.
    values: Aligned,
}

thread_local! {
    static SCRATCH: RefCell<Scratch<Float32>> = RefCell::default();
}

impl Arithmetic for Float32 {
    const MOST_TOKENS: usize = usize::MAX;

    fn scratch() -> &'static LocalKey<RefCell<Scratch<Self>>> {
        &SCRATCH
    }

    #[inline(always)]
    fn run<K: Kernel>(instructions: InstructionSet, kernel: K) -> K::Output {
        instructions.run(kernel)
    }

    #[inline(always)]
    unsafe fn pack<S: Simd>(&mut self, _: S, qkv: Qkv, head: usize) {
        let (tokens, depth) = (qkv.tokens, qkv.heads.size);
        let width = panel_width::<S>(tokens);
        self.keys.resize(tokens.div_ceil(width) * width * depth);
        // SAFETY: the tokens are of the sequence.
        transpose_into_panels(
            0.0,
            [tokens, depth, width],
            |token| unsafe { qkv.row(1, head, token) },
            &mut self.keys,
        );

        let width = panel_width::<S>(depth);
        self.values.resize(depth.div_ceil(width) * width * tokens);
        for (index, panel) in self.values.chunks_exact_mut(width * tokens).enumerate() {
            let columns = index * width..((index + 1) * width).min(depth);
            for (token, packed) in panel.chunks_exact_mut(width).enumerate() {
                // SAFETY: the token is one of the sequence.
                let value = unsafe { &qkv.row(2, head, token)[columns.clone()] };
                packed[..columns.len()].copy_from_slice(value);
                packed[columns.len()..].fill(0.0);
            }
        }
    }

    #[inline(always)]
    unsafe fn scores<S: Simd>(
        &self,
        s: S,
        qkv: Qkv,
        head: usize,
        queries: Range<usize>,
        scores: RowsPtr,
    ) -> f32 {
        let (tokens, depth) = (qkv.tokens, qkv.heads.size);
        let width = panel_width::<S>(tokens);
        let products = |row: usize, panel: usize| F32Product {
            depth,
            // SAFETY: the query is one of the sequence.
            a: unsafe { qkv.row(0, head, queries.start + row) }.as_ptr(),
            a_stride: qkv.stride(),
            panel: self.keys[panel * width * depth..].as_ptr(),
            panel_width: width,
            accumulate: false,
            prefetch: Prefetch::NONE,
        };
        // Whole vectors: the rows of scores and the panels have room for them.
        let columns = tokens.next_multiple_of(S::LANES);
        // SAFETY: the queries are readable, and `scores` has a row of such columns for each.
        unsafe { tiles(s, queries.len(), [columns, width], scores, products) };
        1.0
    }

    #[inline(always)]
    fn weights<S: Simd>(&mut self, _: S, _query: usize, _exponentials: &[f32], sum: f32) -> f32 {
        sum.recip()
    }

    #[inline(always)]
    unsafe fn contexts<S: Simd>(
        &self,
        s: S,
        qkv: Qkv,
        queries: usize,
        scores: RowsPtr,
        context: RowsPtr,
    ) {
        let (tokens, depth) = (qkv.tokens, qkv.heads.size);
        let width = panel_width::<S>(depth);
        let products = |row: usize, panel: usize| F32Product {
            depth: tokens,
            // SAFETY: scores have such a row.
            a: unsafe { scores.first.add(row * scores.stride) },
            a_stride: scores.stride,
            panel: self.values[panel * width * tokens..].as_ptr(),
            panel_width: width,
            accumulate: false,
            prefetch: Prefetch::NONE,
        };
        // SAFETY: the caller's promise.
        unsafe { tiles(s, queries, [depth, width], context, products) };
    }
}
