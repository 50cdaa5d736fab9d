//! Matrix products with packed weights (GEMM): the loops, the caches they are made for, and the
//! micro-kernel inside.
//!
//! `C = A B` for `A (M, K)`, the activations, and `B (K, N)`, the weights. The structure is that of
//! Goto & van de Geijn and of BLIS, with two differences. B does not change between products, so it
//! is packed once, when a model loads ([`PackedMatrix`]). A is not packed, because a row block of
//! it fits the second-level cache without a copy.
//!
//! ```text
//!  loop over                  one step works on                            which lives in
//!  ────────────────────────   ──────────────────────────────────────────   ──────────────
//!  row blocks of C            MC rows of A and C                           memory or L3
//!   └ depth blocks            MC × KC of A, reused by every panel          L2
//!      └ panels of B          KC × NR of B, reused by every row tile       L2, then L1
//!         └ row tiles         MR × KC of A; MR × NR of C                   L1
//!            └ micro-kernel   all MR × NR sums, for every k of KC          registers
//!
//!                  NR                                NR
//!           ┌──┬──┬──┬──┐                     ┌──┬──┬──┬──┐
//!           │  │▓▓│  │  │                     │  │▓▓│  │  │  KC
//!  MC  C    │  │▓▓│  │  │   +=   A  ░░░░░░░   └──┴──┴──┴──┘
//!           │  │██│  │  │           ███████ MR      B packed: each panel is contiguous
//!           └──┴──┴──┴──┘           ░░░░░░░
//!                                      KC
//! ```
//!
//! **The micro-kernel** ([`Microkernel`]) holds MR × NR sums in registers. For each k it loads one
//! row of the panel (NR values), broadcasts MR values of A, and issues MR × NR / lanes fused
//! multiply-adds. It reads `MR + NR` values for `MR × NR` multiply-adds, so the tile is as large
//! and as square as the registers permit, with one row of the panel and one broadcast left over:
//!
//! | instruction set | registers | lanes | tile MR × NR | loads per multiply-add |
//! |---|--:|--:|--:|--:|
//! | AVX-512 | 32 | 16 | 8 × 48 | 0.46 |
//! | AVX2 | 16 | 8 | 6 × 16 | 0.67 |
//! | NEON | 32 | 4 | 8 × 12 | 0.46 |
//! | portable | – | 4 | 4 × 8 | 0.75 |
//!
//! **KC** (the depth of a block) is a trade-off: each depth block loads and stores all of C once
//! more, but a row block of MC × KC values must stay in L2 together with the panels that stream
//! through it. MC is 256; KC is the largest depth, up to 768, whose row block fills three quarters
//! of this machine's L2: 384 for 512 KiB (Zen 2 and 3), 768 from 1 MiB on.
//!
//! **Prefetch.** While a panel is in use, the micro-kernel prefetches the next one, a share of its
//! lines per row tile, so that a panel moves from L3 to L2 before it is needed.
//!
//! **Epilogue.** The bias and the activation run on a tile as soon as its last sum is stored, while
//! it is in L1 ([`Epilogue`]).
//!
//! **Threads** split C into [partitions](loops): over panels first, so that each thread reads its
//! own part of B, then over rows.
//!
//! **Order of summation.** Each element of C is one sum over k in ascending order. Between depth
//! blocks the partial sums are stored in C without rounding, since they are f32 in the registers
//! too. So the result does not depend on MC, KC, the tile that holds a row, or the number of
//! threads: the same row gives the same bits. Work is never split over k.
//!
//! Int8 products ([`quantized`](crate::quantized)) share the loops and replace the micro-kernel's
//! inner step ([`TileProduct`]); attention calls the micro-kernel directly.
//!
//! Sources: Goto & van de Geijn 2008, *Anatomy of High-Performance Matrix Multiplication* (blocks
//! and caches); Van Zee & van de Geijn 2015, *BLIS: A Framework for Rapidly Instantiating BLAS
//! Functionality* (loops around a micro-kernel, and the words used here).

mod cache;
mod loops;
mod microkernel;
mod packed;
mod product;
mod rows;
mod submatrix;

use loops::BLOCK_ROWS;
pub use loops::{Epilogue, Threads};
pub(crate) use loops::{Operands, TileInputs, multiply};
pub(crate) use microkernel::{F32Product, Microkernel, Prefetch, Tile, TileProduct};
pub use packed::{PackedMatrix, PackedView};
pub use product::product;
pub(crate) use rows::{RowTiles, even, fit};
pub use rows::{Rows, RowsMut};
pub(crate) use submatrix::Submatrix;
