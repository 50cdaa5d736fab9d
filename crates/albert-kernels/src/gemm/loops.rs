//! The loops around the micro-kernel, on one thread or several, for all types of operands.

use std::ops::Range;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::gemm::{Microkernel, Prefetch, RowTiles, RowsMut, Submatrix, Tile, TileProduct};
use crate::gemm::{even, fit};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

/// The last step of a product, applied to each sum over K.
#[derive(Debug, Clone, Copy)]
pub enum Epilogue<'a> {
    /// Stores the sum.
    Store,
    /// Adds the sum to C, which holds the sum over the preceding columns of A.
    Accumulate,
    /// Adds the bias of its column, `(N)`, applies the activation, and stores the result.
    BiasActivation(&'a [f32], Activation),
}

/// The threads that share the work of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// Only the calling thread.
    One,
    /// All threads of the current rayon pool.
    All,
}

/// MC, the rows of A in a block.
pub(super) const BLOCK_ROWS: usize = 256;

/// The operands A and B, and the arithmetic that multiplies them.
pub(crate) trait Operands: Copy + Send + Sync {
    /// The inner step of the micro-kernel.
    type Product: TileProduct;

    /// Returns the position of B, `(K, N)`, in its packed matrix.
    fn submatrix(&self) -> &Submatrix;

    /// Returns the number of rows in a tile of these operands (MR).
    fn tile_rows(instructions: InstructionSet) -> usize;

    /// Returns the number of blocks into which K is divided.
    fn depth_blocks(&self) -> usize;

    /// Returns the address of row `depth` in a panel of B; `depth` may be K.
    fn panel_address(&self, panel: usize, depth: usize) -> *const u8;

    /// Runs a kernel with the instructions that multiply these operands.
    fn run<K: Kernel>(instructions: InstructionSet, kernel: K) -> K::Output;

    /// Returns the product of a row tile of A and a panel of B.
    fn tile_product<S: Simd>(&self, inputs: TileInputs) -> Self::Product;
}

/// The rows of A and the panel of B that are multiplied for one tile of C.
#[derive(Debug, Clone)]
pub(crate) struct TileInputs {
    /// Index of the row tile.
    pub(crate) row_tile: usize,
    /// First row of A.
    pub(crate) row: usize,
    pub(crate) depths: Range<usize>,
    /// Index of the panel of B.
    pub(crate) panel: usize,
    /// True to add to the values in C.
    pub(crate) accumulate: bool,
    pub(crate) prefetch: Prefetch,
}

/// Computes `C = A B`, followed by the epilogue.
///
/// # Safety
/// A has as many rows as C, and for every row tile, panel and depth range of the operands'
/// submatrix, [`Operands::tile_product`] returns a product whose inputs can be read.
///
/// # Panics
/// If the width of C or of the bias differs from that of B.
pub(crate) unsafe fn multiply<O: Operands>(
    instructions: InstructionSet,
    operands: O,
    c: RowsMut<'_>,
    epilogue: Epilogue<'_>,
    threads: Threads,
) {
    let (rows, columns) = (c.count, operands.submatrix().width());
    assert!(
        c.stride >= columns,
        "rows of {columns} columns, found {}",
        c.stride
    );
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(
        fit(c.values, rows, c.stride, columns),
        "{rows} rows of {columns} sums"
    );
    if let Epilogue::BiasActivation(bias, _) = epilogue {
        assert!(
            bias.len() == columns,
            "a bias of {columns} values, found {}",
            bias.len()
        );
    }
    let tile_rows = O::tile_rows(instructions);
    let row_tiles = RowTiles::new(rows, tile_rows);
    let whole = Partition {
        operands,
        c: c.values.as_mut_ptr(),
        c_stride: c.stride,
        epilogue,
        row_tiles,
        block_tiles: BLOCK_ROWS.div_ceil(tile_rows),
        tiles: 0..row_tiles.count,
        panels: 0..operands.submatrix().panel_count(),
    };
    match threads {
        Threads::One => O::run(instructions, whole),
        Threads::All => {
            let parts = whole.split(rayon::current_num_threads());
            let parts = parts.into_par_iter();
            parts.for_each(|part| O::run(instructions, part));
        }
    }
}

/// A rectangle of C that one thread computes.
#[derive(Clone)]
struct Partition<'a, O> {
    operands: O,
    c: *mut f32,
    c_stride: usize,
    epilogue: Epilogue<'a>,
    /// The tiles of all rows of C.
    row_tiles: RowTiles,
    /// The maximum number of row tiles in a block.
    block_tiles: usize,
    /// The row tiles of this partition.
    tiles: Range<usize>,
    panels: Range<usize>,
}

// SAFETY: `multiply` borrows C while its threads run, and gives each thread a separate rectangle.
unsafe impl<O: Send> Send for Partition<'_, O> {}

impl<O: Operands> Partition<'_, O> {
    /// Splits the rectangle over panels first, so that each thread reads its own part of B, then
    /// over rows.
    fn split(&self, threads: usize) -> Vec<Self> {
        /// The minimum work of a thread: with fewer panels, threads read more than they multiply.
        const MIN_PANELS: usize = 2;
        const MIN_ROW_TILES: usize = 4;
        let across = threads.min(self.panels.len().div_ceil(MIN_PANELS)).max(1);
        let down = (threads / across)
            .min(self.tiles.len().div_ceil(MIN_ROW_TILES))
            .max(1);
        let mut parts = Vec::with_capacity(across * down);
        for tiles in even(self.tiles.clone(), down) {
            for panels in even(self.panels.clone(), across) {
                parts.push(Self {
                    tiles: tiles.clone(),
                    panels,
                    ..self.clone()
                });
            }
        }
        parts
    }
}

impl<O: Operands> Kernel for Partition<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let row_blocks = self.tiles.len().div_ceil(self.block_tiles);
        let depth = self.operands.submatrix().depth();
        let depth_blocks = self.operands.depth_blocks();
        for tiles in even(self.tiles.clone(), row_blocks) {
            for depths in even(0..depth, depth_blocks) {
                for panel in self.panels.clone() {
                    // SAFETY: `multiply` has checked the shapes, and no other thread has this
                    // rectangle.
                    unsafe { self.panel(s, tiles.clone(), depths.clone(), panel) }
                }
            }
        }
    }
}

impl<O: Operands> Partition<'_, O> {
    /// Runs the two inner loops: some row tiles of C in one panel, summed over one depth block.
    ///
    /// # Safety
    /// A and C have all rows, and no other thread has this part of C.
    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, s: S, tiles: Range<usize>, depths: Range<usize>, panel: usize) {
        let width = S::PANEL_VECTORS * S::LANES;
        let submatrix = self.operands.submatrix();
        let columns = panel * width..((panel + 1) * width).min(submatrix.width());
        // Each row tile prefetches its share of the next panel.
        let next = self.next_panel(panel, &depths);
        let bytes = self.operands.panel_address(panel, depths.end) as usize
            - self.operands.panel_address(panel, depths.start) as usize;
        let share = bytes.div_ceil(tiles.len());
        for (index, row_tile) in tiles.enumerate() {
            let rows = self.row_tiles.rows(row_tile);
            // SAFETY: C has these rows.
            let c = unsafe { self.c.add(rows.start * self.c_stride + columns.start) };
            let tile = Tile {
                rows: rows.len(),
                c,
                c_stride: self.c_stride,
                columns: columns.len(),
            };
            let product = self.operands.tile_product::<S>(TileInputs {
                row_tile,
                row: rows.start,
                depths: depths.clone(),
                panel,
                accumulate: depths.start > 0 || matches!(self.epilogue, Epilogue::Accumulate),
                prefetch: Prefetch {
                    address: next.wrapping_add(index * share),
                    bytes: share,
                },
            });
            // SAFETY: the caller's promise about C, `multiply`'s about the product.
            s.call(unsafe { Microkernel::new(tile, product) });
            if let Epilogue::BiasActivation(bias, activation) = self.epilogue
                && depths.end == submatrix.depth()
            {
                // SAFETY: C has these rows.
                unsafe { activation.apply(s, c, self.c_stride, rows.len(), &bias[columns.clone()]) }
            }
        }
    }

    /// Returns the address of the panel that is read after this one.
    fn next_panel(&self, panel: usize, depths: &Range<usize>) -> *const u8 {
        if panel + 1 < self.panels.end {
            self.operands.panel_address(panel + 1, depths.start)
        } else {
            self.operands.panel_address(self.panels.start, depths.end)
        }
    }
}
