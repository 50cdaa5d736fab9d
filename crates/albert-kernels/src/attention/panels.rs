//! Panels of packed keys and values, and products of some rows with all of them.

use crate::attention::qkv::RowsPtr;
use crate::gemm::{Microkernel, Tile, TileProduct, even};
use crate::simd::Simd;

/// Returns the width of panels for `columns`: as few panels as possible, of whole vectors, as even
/// as possible.
#[inline(always)]
pub(super) fn panel_width<S: Simd>(columns: usize) -> usize {
    let panels = columns.div_ceil(S::PANEL_VECTORS * S::LANES);
    columns.div_ceil(panels).next_multiple_of(S::LANES)
}

/// Packs the rows of a head's tokens as columns of panels `(depth, W)`, W tokens each, a multiple
/// of 4. The values after the last token are unspecified.
#[inline(always)]
pub(super) fn transpose_into_panels<'a, T: Copy + 'a>(
    zero: T,
    [tokens, depth, width]: [usize; 3],
    row: impl Fn(usize) -> &'a [T],
    panels: &mut [T],
) {
    for (index, panel) in panels.chunks_exact_mut(width * depth).enumerate() {
        let tokens = index * width..((index + 1) * width).min(tokens);
        if tokens.len() < width {
            panel.fill(zero);
        }
        // Four values of four tokens at a time: the compiler transposes such a square with
        // shuffles.
        const SQUARE: usize = 4;
        for column in (0..tokens.len()).step_by(SQUARE) {
            // The last square may have fewer tokens: the last one again fills columns that are not
            // read.
            let token = |i: usize| (tokens.start + column + i).min(tokens.end - 1);
            let rows = [0, 1, 2, 3].map(|i| row(token(i)).as_chunks());
            for d in 0..depth / SQUARE {
                let square: [[T; SQUARE]; SQUARE] = rows.map(|(chunks, _)| chunks[d]);
                for i in 0..SQUARE {
                    let turned = &mut panel[(SQUARE * d + i) * width + column..][..SQUARE];
                    turned.copy_from_slice(&square.map(|row| row[i]));
                }
            }
            for (i, (_, rest)) in rows.into_iter().enumerate() {
                for (d, x) in (depth / SQUARE * SQUARE..depth).zip(rest) {
                    panel[d * width + column + i] = *x;
                }
            }
        }
    }
}

/// Multiplies some rows with all panels, tile by tile; `sums` returns the product of the rows from
/// a given one on with a panel.
///
/// # Safety
/// See [`Microkernel::new`], for each tile.
#[inline(always)]
pub(super) unsafe fn tiles<S: Simd, T: TileProduct>(
    s: S,
    rows: usize,
    [columns, width]: [usize; 2],
    c: RowsPtr,
    product: impl Fn(usize, usize) -> T,
) {
    let row_tiles = rows.div_ceil(S::TILE_ROWS);
    for panel in 0..columns.div_ceil(width) {
        for row_tile in even(0..rows, row_tiles) {
            // SAFETY: the caller's promise.
            unsafe {
                let tile = Tile {
                    rows: row_tile.len(),
                    c: c.first.add(row_tile.start * c.stride + panel * width),
                    c_stride: c.stride,
                    columns: width.min(columns - panel * width),
                };
                s.call(Microkernel::new(tile, product(row_tile.start, panel)));
            }
        }
    }
}
