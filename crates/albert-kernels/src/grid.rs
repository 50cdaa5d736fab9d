//! A product in blocks that fit the caches, on one thread or several: what is the same for all
//! kinds of factors.

use std::ops::Range;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::level::Level;
use crate::rectangle::Rectangle;
use crate::rows::{RowsMut, Strips, even, fit};
use crate::simd::{Kernel, Simd};
use crate::tile::{Ahead, Target};

/// What becomes of a sum over K.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// It replaces what was there.
    Nothing,
    /// It is added to what was there, which was a sum over the columns of A before these.
    Accumulate,
    /// The bias of its column is added, and the activation computed.
    Activate(&'a [f32], Activation),
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone.
    One,
    /// All threads of the current rayon pool.
    All,
}

/// Rows of A in a block, and as many as make a strip whole: 768 KiB of the second cache in f32,
/// where K is 768.
const BLOCK_ROWS: usize = 256;

/// A and B: how they are summed up over K.
pub(crate) trait Factors: Copy {
    /// What B is of its packed matrix, `(K, N)`.
    fn part(&self) -> &Rectangle;

    /// Blocks of K that are summed up for all columns before the next.
    fn depth_blocks(&self) -> usize;

    /// Where a panel has the row `depth` of B; may be its end.
    fn address(&self, panel: usize, depth: usize) -> *const u8;

    /// Runs a kernel on the instructions that B is packed for.
    fn run<K: Kernel>(level: Level, kernel: K) -> K::Output;

    /// Sums up some rows of A times one panel over some of K.
    ///
    /// # Safety
    /// A has the rows of `part` that `target` asks for, B the panel and the depths of `part`, and
    /// `target` is as [`CheckedTile`](crate::tile::CheckedTile) asks for.
    unsafe fn sum_up<S: Simd>(&self, s: S, part: Part, target: Target);
}

/// What of A and B goes into one tile.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Which strip of A's rows.
    pub(crate) strip: usize,
    /// The first row of A.
    pub(crate) row: usize,
    pub(crate) depths: Range<usize>,
    /// The panel of B.
    pub(crate) panel: usize,
    /// Whether to add to what is in C.
    pub(crate) accumulate: bool,
    pub(crate) ahead: Ahead,
}

/// `C = A B`, then what `then` says.
///
/// # Safety
/// A has as many rows as C, and `factors` tells the truth about B.
///
/// # Panics
/// If C or the bias has another width than B.
pub(crate) unsafe fn multiply<F: Factors + Send + Sync>(
    level: Level,
    factors: F,
    c: RowsMut<'_>,
    then: Then<'_>,
    threads: Threads,
) {
    let (rows, columns) = (c.count, factors.part().width());
    assert!(
        c.stride >= columns,
        "rows of {columns} columns, found {}",
        c.stride
    );
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(
        fit(c.numbers, rows, c.stride, columns),
        "{rows} rows of {columns} sums"
    );
    if let Then::Activate(bias, _) = then {
        assert!(
            bias.len() == columns,
            "a bias of {columns} numbers, found {}",
            bias.len()
        );
    }
    let strips = Strips::new(rows, level.tile_rows());
    let whole = Blocks {
        factors,
        c: c.numbers.as_mut_ptr(),
        c_stride: c.stride,
        then,
        strips,
        part: 0..strips.count,
        panels: 0..factors.part().panel_count(),
    };
    match threads {
        Threads::One => F::run(level, whole),
        Threads::All => {
            let parts = whole.split(rayon::current_num_threads());
            parts.into_par_iter().for_each(|part| F::run(level, part));
        }
    }
}

/// A rectangle of C that one thread computes.
#[derive(Clone)]
struct Blocks<'a, F> {
    factors: F,
    c: *mut f32,
    c_stride: usize,
    then: Then<'a>,
    /// Of all rows.
    strips: Strips,
    /// Which of them.
    part: Range<usize>,
    panels: Range<usize>,
}

// SAFETY: `multiply` borrows C for as long as its threads run, and gives each a rectangle of its
// own.
unsafe impl<F: Send> Send for Blocks<'_, F> {}

impl<F: Factors> Blocks<'_, F> {
    /// Splits over columns first, so that each thread reads its own part of B, then over rows.
    fn split(&self, threads: usize) -> Vec<Self> {
        const PANELS: usize = 2;
        const STRIPS: usize = 4;
        let across = threads.min(self.panels.len().div_ceil(PANELS)).max(1);
        let down = (threads / across)
            .min(self.part.len().div_ceil(STRIPS))
            .max(1);
        let mut parts = Vec::with_capacity(across * down);
        for part in even(self.part.clone(), down) {
            for panels in even(self.panels.clone(), across) {
                parts.push(Self {
                    part: part.clone(),
                    panels,
                    ..self.clone()
                });
            }
        }
        parts
    }
}

impl<F: Factors> Kernel for Blocks<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let row_blocks = self.part.len().div_ceil(BLOCK_ROWS.div_ceil(S::TILE_ROWS));
        let (depth, depth_blocks) = (self.factors.part().depth(), self.factors.depth_blocks());
        for block in even(self.part.clone(), row_blocks) {
            for depths in even(0..depth, depth_blocks) {
                for panel in self.panels.clone() {
                    // SAFETY: `multiply` has checked the shapes, and no other thread has this part.
                    unsafe { self.panel(s, block.clone(), depths.clone(), panel) }
                }
            }
        }
    }
}

impl<F: Factors> Blocks<'_, F> {
    /// Some rows of C in one panel, summed over some of K.
    ///
    /// # Safety
    /// All rows of A and C are there, and no other thread has this part of C.
    #[inline(always)]
    unsafe fn panel<S: Simd>(
        &self,
        s: S,
        strips: Range<usize>,
        depths: Range<usize>,
        panel: usize,
    ) {
        let width = S::PANEL_VECTORS * S::LANES;
        let columns = panel * width..((panel + 1) * width).min(self.factors.part().width());
        // While this panel is used, the next one comes from a farther cache, a part by each strip.
        let ahead = self.after(panel, &depths);
        let bytes = self.factors.address(panel, depths.end) as usize
            - self.factors.address(panel, depths.start) as usize;
        let part = bytes.div_ceil(strips.len());
        for (index, strip) in strips.enumerate() {
            let rows = self.strips.rows(strip);
            // SAFETY: these rows of C are there.
            let c = unsafe { self.c.add(rows.start * self.c_stride + columns.start) };
            let target = Target {
                rows: rows.len(),
                c,
                c_stride: self.c_stride,
                columns: columns.len(),
            };
            let part = Part {
                strip,
                row: rows.start,
                depths: depths.clone(),
                panel,
                accumulate: depths.start > 0 || matches!(self.then, Then::Accumulate),
                ahead: Ahead {
                    address: ahead.wrapping_add(index * part),
                    count: part,
                },
            };
            // SAFETY: the caller's promise.
            unsafe { self.factors.sum_up(s, part, target) };
            if let Then::Activate(bias, activation) = self.then
                && depths.end == self.factors.part().depth()
            {
                // SAFETY: as above.
                unsafe { activation.apply(s, c, self.c_stride, rows.len(), &bias[columns.clone()]) }
            }
        }
    }

    /// What is read after these rows of a panel.
    fn after(&self, panel: usize, depths: &Range<usize>) -> *const u8 {
        if panel + 1 < self.panels.end {
            self.factors.address(panel + 1, depths.start)
        } else {
            self.factors.address(self.panels.start, depths.end)
        }
    }
}
