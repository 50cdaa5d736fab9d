//! The arithmetic that attention runs in: how a head is packed, and its two products.

use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

use crate::aligned::Aligned;
use crate::attention::qkv::{Qkv, RowsPtr};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

/// The arithmetic of the two products of attention. A value holds one packed head.
pub(super) trait Arithmetic: Default + 'static {
    /// The maximum length of a sequence.
    const MOST_TOKENS: usize;

    /// Returns the memory that a thread keeps between calls.
    fn scratch() -> &'static LocalKey<RefCell<Scratch<Self>>>;

    /// Runs a kernel with the best instructions for this arithmetic.
    fn run<K: Kernel>(instructions: InstructionSet, kernel: K) -> K::Output;

    /// Packs the keys and values of one head.
    ///
    /// # Safety
    /// See [`Qkv::row`].
    unsafe fn pack<S: Simd>(&mut self, s: S, qkv: Qkv, head: usize);

    /// Writes `Q Kᵀ` for some queries of the packed head; returns the factor that scales it.
    ///
    /// # Safety
    /// See [`Qkv::row`] for all queries; `scores` has rows for them.
    unsafe fn scores<S: Simd>(
        &self,
        s: S,
        qkv: Qkv,
        head: usize,
        queries: Range<usize>,
        scores: RowsPtr,
    ) -> f32;

    /// Stores the exponentials of one query, whose sum is given, as weights of the values; returns
    /// the factor that scales the products.
    fn weights<S: Simd>(&mut self, s: S, query: usize, exponentials: &[f32], sum: f32) -> f32;

    /// Writes the products of the weights with the values for `queries` queries.
    ///
    /// # Safety
    /// `scores` has the exponentials of these queries, and [`weights`](Self::weights) was called
    /// for each; `context` has rows for them.
    unsafe fn contexts<S: Simd>(
        &self,
        s: S,
        qkv: Qkv,
        queries: usize,
        scores: RowsPtr,
        context: RowsPtr,
    );
}

#[derive(Default)]
pub(super) struct Scratch<A> {
    pub(super) packed: A,
    /// `(BLOCK_QUERIES, T)`, with a row stride of whole vectors.
    pub(super) scores: Aligned,
}
