//! Matrix products of 8-bit activations with 8-bit weights.

use std::sync::atomic::{Ordering, compiler_fence};

use crate::gemm::{Epilogue, Operands, Prefetch, RowsMut, Submatrix, Threads, TileInputs};
use crate::gemm::{TileProduct, multiply};
use crate::instruction_set::InstructionSet;
use crate::quantized::{QuantizedRows, QuantizedView, SCALE_BLOCK};
use crate::simd::{Kernel, Simd};

/// Computes `C = A B`, followed by the epilogue, as [the module](crate::quantized) defines it.
///
/// # Shapes
/// - `a`: `(M, K)`, `b`: `(K, N)`, `c`: `(M, N)`
///
/// # Panics
/// If the shapes do not match, or A was quantized for a matrix with other outliers.
pub fn quantized_product(
    a: &QuantizedRows,
    b: &QuantizedView<'_>,
    c: RowsMut<'_>,
    epilogue: Epilogue<'_>,
    threads: Threads,
) {
    let (rows, depth) = (a.rows(), b.submatrix().depth());
    assert!(
        c.count == rows && a.depth() == depth,
        "{rows} rows of {depth} values"
    );
    assert!(
        b.channels().eq(a.channels().iter().copied()),
        "rows quantized for other outliers"
    );
    // SAFETY: A has as many rows as C, and both operands are borrowed.
    unsafe {
        multiply(
            b.instruction_set(),
            Int8Operands { a, b },
            c,
            epilogue,
            threads,
        )
    }
}

/// The number of columns of A between two prefetches.
const PREFETCH_COLUMNS: usize = 128;

/// The operands A and B in 8 bits.
#[derive(Clone, Copy)]
struct Int8Operands<'a> {
    a: &'a QuantizedRows,
    b: &'a QuantizedView<'a>,
}

impl Operands for Int8Operands<'_> {
    type Product = Int8Product;

    #[inline(always)]
    fn submatrix(&self) -> &Submatrix {
        self.b.submatrix()
    }

    fn tile_rows(instructions: InstructionSet) -> usize {
        instructions.int8_tile_rows()
    }

    /// Returns 1: the scale blocks of a tile are summed one after another while C is in L1.
    fn depth_blocks(&self) -> usize {
        1
    }

    #[inline(always)]
    fn panel_address(&self, panel: usize, depth: usize) -> *const u8 {
        self.b.quads(panel, depth).as_ptr().cast()
    }

    #[inline(always)]
    fn run<K: Kernel>(instructions: InstructionSet, kernel: K) -> K::Output {
        instructions.run_integer(kernel)
    }

    #[inline(always)]
    fn tile_product<S: Simd>(&self, inputs: TileInputs) -> Int8Product {
        let TileInputs {
            row_tile, panel, ..
        } = inputs;
        Int8Product {
            depth: inputs.depths.len(),
            a: self.a.bytes(row_tile).as_ptr(),
            row_offsets: self.a.offsets(row_tile).as_ptr(),
            row_scales: self.a.scales(row_tile).as_ptr(),
            outliers: self.a.outliers(row_tile).as_ptr(),
            outlier_count: self.a.channels().len(),
            panel: self.b.quads(panel, 0).as_ptr(),
            column_scales: self.b.scales(panel).as_ptr(),
            column_offsets: self.b.offsets(panel).as_ptr(),
            scales_stride: self.b.scales_stride(),
            outlier_panel: self.b.outliers(panel).as_ptr(),
            accumulate: inputs.accumulate,
            prefetch: inputs.prefetch,
        }
    }
}

/// Computes `Σ_o x_o w_o`, then adds `Σ_g s_mg s_gn Σ_k q r`, one scale block g after another.
///
/// A is a row tile as [`QuantizedRows`] lays it out.
#[derive(Debug, Clone, Copy)]
struct Int8Product {
    depth: usize,
    a: *const u8,
    /// With [`Simd::SIGN_MAGNITUDE`], the start value of each integer sum: one per row of each
    /// scale block.
    row_offsets: *const i32,
    row_scales: *const f32,
    outliers: *const f32,
    /// The number of outliers.
    outlier_count: usize,
    /// The rows of the panel, four at a time.
    panel: *const i8,
    /// One scale per column of each scale block.
    column_scales: *const f32,
    /// Without [`Simd::SIGN_MAGNITUDE`], the start value of each integer sum: one per column of
    /// each scale block.
    column_offsets: *const i32,
    /// The distance between the scales of successive blocks.
    scales_stride: usize,
    /// One row of the panel per outlier.
    outlier_panel: *const f32,
    /// True to add to the values in C.
    accumulate: bool,
    prefetch: Prefetch,
}

impl Int8Product {
    /// Stores the sums over the outliers in C, or adds them if the product accumulates.
    ///
    /// # Safety
    /// See [`TileProduct::compute`].
    #[inline(always)]
    unsafe fn outlier_sums<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *const f32,
        c_stride: usize,
    ) -> [[S::V; VECTORS]; ROWS] {
        let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
        // SAFETY: all offsets are within the row tile and the panel that the caller promises.
        unsafe {
            if self.accumulate {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = s.load_from(c.add(row * c_stride + v * S::LANES));
                    }
                }
            }
            let (mut a, mut panel) = (self.outliers, self.outlier_panel);
            for _ in 0..self.outlier_count {
                let mut b = [s.splat(0.0); VECTORS];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = s.load_from(panel.add(v * S::LANES));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = s.splat(*a.add(row));
                    for (sum, b) in sums.iter_mut().zip(&b) {
                        *sum = s.mul_add(a, *b, *sum);
                    }
                }
                a = a.add(S::INT8_TILE_ROWS);
                panel = panel.add(S::PANEL_VECTORS * S::LANES);
            }
        }
        sums
    }
}

impl TileProduct for Int8Product {
    #[inline(always)]
    unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *mut f32,
        c_stride: usize,
    ) {
        let width = S::PANEL_VECTORS * S::LANES;
        let blocks = self.depth.div_ceil(SCALE_BLOCK);
        let share = self.prefetch.bytes.div_ceil(blocks);
        // SAFETY: all offsets are within the row tile and the panels that the caller promises.
        unsafe {
            let sums = self.outlier_sums::<S, ROWS, VECTORS>(s, c, c_stride);
            for (row, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store_to(c.add(row * c_stride + v * S::LANES), *sum);
                }
            }
            let (mut a, mut panel) = (self.a, self.panel);
            let (mut row_scales, mut column_scales) = (self.row_scales, self.column_scales);
            let (mut row_offsets, mut column_offsets) = (self.row_offsets, self.column_offsets);
            let step = QuantizedRows::step(S::SIGN_MAGNITUDE);
            let row_step = QuantizedRows::row_step(S::SIGN_MAGNITUDE);
            for block in 0..blocks {
                let depth = SCALE_BLOCK.min(self.depth - block * SCALE_BLOCK);
                let prefetch = Prefetch {
                    address: self.prefetch.address.wrapping_add(block * share),
                    bytes: share,
                };
                let mut sums = [[s.splat_bytes([0; 4]); VECTORS]; ROWS];
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = if S::SIGN_MAGNITUDE {
                            s.splat_bytes((*row_offsets.add(row)).to_ne_bytes())
                        } else {
                            s.load_bytes_from(column_offsets.add(v * S::LANES).cast())
                        };
                    }
                }
                prefetch.interleave(
                    s,
                    depth.div_ceil(step),
                    PREFETCH_COLUMNS / step,
                    #[inline(always)]
                    || {
                        for quad in 0..step / 4 {
                            let mut b = [s.splat_bytes([0; 4]); VECTORS];
                            for (v, b) in b.iter_mut().enumerate() {
                                *b =
                                    s.load_bytes_from(panel.add(4 * (quad * width + v * S::LANES)));
                            }
                            for (row, sums) in sums.iter_mut().enumerate() {
                                let a = a.add(row * row_step + 4 * quad).cast::<[u8; 4]>();
                                let bytes = s.splat_bytes(a.read());
                                if S::SIGN_MAGNITUDE {
                                    let signs = s.splat_bytes(a.byte_add(step).read());
                                    for (sum, b) in sums.iter_mut().zip(&b) {
                                        *sum = s.dot_u8i8(*sum, bytes, s.xor(*b, signs));
                                    }
                                } else {
                                    for (sum, b) in sums.iter_mut().zip(&b) {
                                        *sum = s.dot_u8i8(*sum, bytes, *b);
                                    }
                                }
                            }
                        }
                        a = a.add(row_step * S::INT8_TILE_ROWS);
                        panel = panel.add(step * width);
                    },
                );
                // The f32 sums stay in C, which is in L1, because the integer sums fill the
                // registers; the fence keeps the compiler from loading C before they are done.
                compiler_fence(Ordering::SeqCst);
                for v in 0..VECTORS {
                    let column_scale = s.load_from(column_scales.add(v * S::LANES));
                    for (row, sums) in sums.iter().enumerate() {
                        let scale = s.mul(column_scale, s.splat(*row_scales.add(row)));
                        let c = c.add(row * c_stride + v * S::LANES);
                        // The integer is below 2²⁴, so its conversion is exact.
                        let sum = s.mul_add(s.to_f32(sums[v]), scale, s.load_from(c));
                        s.store_to(c, sum);
                    }
                }
                row_scales = row_scales.add(S::INT8_TILE_ROWS);
                row_offsets = row_offsets.add(S::INT8_TILE_ROWS);
                column_scales = column_scales.add(self.scales_stride);
                column_offsets = column_offsets.add(self.scales_stride);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::gemm::Rows;
    use crate::quantized::{QuantizedMatrix, QuantizedPart, quantize_weights, rotate_weights};
    use crate::random::numbers;

    /// f32 sums of at most four terms, which are exact before they are scaled; relative to the
    /// largest value of the result. Seen: 5.0e-7.
    const ROUNDING: f64 = 1e-6;

    fn pack(
        instructions: InstructionSet,
        depth: usize,
        weights: &[f32],
        channels: &[usize],
    ) -> QuantizedMatrix {
        let outliers: Vec<f32> = weights
            .chunks(depth)
            .flat_map(|row| channels.iter().map(|&c| row[c]))
            .collect();
        let mut weights = weights.to_vec();
        weights
            .chunks_mut(depth)
            .for_each(|row| channels.iter().for_each(|&channel| row[channel] = 0.0));
        rotate_weights(&mut weights, depth);
        let (rounded, scales) = quantize_weights(&weights, depth);
        let part = QuantizedPart {
            rounded: &rounded,
            scales: &scales,
            outliers: &outliers,
        };
        QuantizedMatrix::from_transposed(instructions, depth, &[part], channels, true)
    }

    fn run(
        a: &[f32],
        matrix: &QuantizedMatrix,
        rows: usize,
        epilogue: Epilogue<'_>,
        threads: Threads,
    ) -> Vec<f32> {
        let (mut quantized, depth) = (QuantizedRows::default(), matrix.depth());
        quantized.quantize(Rows::new(a, rows, depth), &matrix.view(), threads);
        let mut c = vec![f32::NAN; rows * matrix.columns()];
        let c_rows = RowsMut::new(&mut c, rows, matrix.columns());
        quantized_product(&quantized, &matrix.view(), c_rows, epilogue, threads);
        c
    }

    /// Returns the product of the dequantized values in f64.
    fn exact(a: &[f32], matrix: &QuantizedMatrix) -> Vec<f64> {
        let depth = matrix.depth();
        let weights = matrix.to_transposed();
        let mut quantized = QuantizedRows::default();
        quantized.quantize(
            Rows::new(a, a.len() / depth, depth),
            &matrix.view(),
            Threads::One,
        );
        let mut products = Vec::new();
        for row in 0..a.len() / depth {
            let mut xs: Vec<f32> = (0..depth)
                .map(|k| {
                    let (scale, q) = quantized.get(row, k);
                    scale * q as f32
                })
                .collect();
            // The dequantized weights are not rotated, so these must be rotated back too.
            rotate_weights(&mut xs, depth);
            let mut xs: Vec<f64> = xs.into_iter().map(f64::from).collect();
            matrix
                .view()
                .channels()
                .for_each(|k| xs[k] = f64::from(a[row * depth + k]));
            let dot = |weights: &[f32]| {
                xs.iter()
                    .zip(weights)
                    .map(|(x, w)| x * f64::from(*w))
                    .sum::<f64>()
            };
            products.extend(weights.chunks(depth).map(dot));
        }
        products
    }

    #[test]
    fn every_element_is_the_sum_of_what_the_integers_stand_for() {
        for instructions in InstructionSet::available() {
            for (m, k, n, channels) in [
                (1, 1, 1, vec![]),
                (3, 7, 50, vec![2]),
                (17, 300, 33, vec![0, 256, 299]),
                (40, 64, 96, vec![]),
                (9, 1000, 47, vec![1, 2, 3, 4, 5, 6, 7]),
            ] {
                let (mut a, weights, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                for row in a.chunks_mut(k) {
                    channels
                        .iter()
                        .for_each(|&channel: &usize| row[channel] *= 100.0);
                }
                let matrix = pack(instructions, k, &weights, &channels);
                let c = run(
                    &a,
                    &matrix,
                    m,
                    Epilogue::BiasActivation(&bias, Activation::Relu),
                    Threads::One,
                );
                let exact = exact(&a, &matrix);
                let scale = exact.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
                for (i, (exact, c)) in exact.iter().zip(&c).enumerate() {
                    let error =
                        ((exact + f64::from(bias[i % n])).max(0.0) - f64::from(*c)).abs() / scale;
                    assert!(
                        error <= ROUNDING,
                        "{error:.1e} in {m}×{k}×{n} on {instructions}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads() {
        for instructions in InstructionSet::available() {
            let (m, k, n) = (270, 520, 200);
            let (a, weights, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
            let matrix = pack(instructions, k, &weights, &[5, 300]);
            let epilogue = Epilogue::BiasActivation(&bias, Activation::GeluTanh);
            let whole = run(&a, &matrix, m, epilogue, Threads::One);
            for rows in [0..1, 5..6, 7..20, 269..270, 100..257] {
                let alone = run(
                    &a[rows.start * k..rows.end * k],
                    &matrix,
                    rows.len(),
                    epilogue,
                    Threads::One,
                );
                assert_eq!(
                    alone,
                    whole[rows.start * n..rows.end * n],
                    "{rows:?} on {instructions}"
                );
            }
            for threads in [1, 2, 3, 16] {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let split = pool.install(|| run(&a, &matrix, m, epilogue, Threads::All));
                assert!(split == whole, "{threads} threads on {instructions}");
            }
        }
    }

    #[test]
    fn the_largest_integers_do_not_saturate() {
        for instructions in InstructionSet::available() {
            for (a, w) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
                let (m, k, n) = (7, 512, 50);
                let parts = QuantizedPart {
                    rounded: &vec![(127.0 * w) as i8; n * k],
                    scales: &vec![1.0; n * k / SCALE_BLOCK],
                    outliers: &[],
                };
                let b = QuantizedMatrix::from_transposed(instructions, k, &[parts], &[], false);
                // 127 exactly, with a scale of 1.
                let c = run(
                    &vec![127.0 * a; m * k],
                    &b,
                    m,
                    Epilogue::Store,
                    Threads::One,
                );
                let expected = 127.0 * 127.0 * k as f32 * a * w;
                assert!(
                    c.iter().all(|c| *c == expected),
                    "{a} {w} {instructions}: {c:?}"
                );
            }
        }
    }

    #[test]
    fn instructions_of_one_kind_of_rounding_give_the_same_bits() {
        let (m, k, n) = (20, 520, 100);
        let (a, weights) = (numbers(m * k, 1), numbers(n * k, 2));
        let instruction_sets = InstructionSet::available()
            .into_iter()
            .filter(|instructions| instructions.to_string() != "portable");
        let results: Vec<_> = instruction_sets
            .map(|instructions| {
                run(
                    &a,
                    &pack(instructions, k, &weights, &[9]),
                    m,
                    Epilogue::Store,
                    Threads::One,
                )
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn parts_of_a_product_make_the_whole() {
        for instructions in InstructionSet::available() {
            let (m, k, n) = (10, 600, 150);
            let (a, weights) = (numbers(m * k, 1), numbers(n * k, 2));
            let matrix = pack(instructions, k, &weights, &[3, 250, 256, 599]);
            let whole = run(&a, &matrix, m, Epilogue::Store, Threads::One);
            let mut summed = vec![f32::NAN; m * n];
            let mut quantized = QuantizedRows::default();
            for (rows, epilogue) in [(0..256, Epilogue::Store), (256..k, Epilogue::Accumulate)] {
                let part = Rows::new(&a[rows.start..], m, k);
                let view = matrix.view().rows(rows);
                quantized.quantize(part, &view, Threads::One);
                quantized_product(
                    &quantized,
                    &view,
                    RowsMut::new(&mut summed, m, n),
                    epilogue,
                    Threads::One,
                );
            }
            let largest = whole.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            for (whole, summed) in whole.iter().zip(&summed) {
                // The sums of the outliers come before each part instead of all at the start.
                assert!(
                    f64::from((whole - summed).abs() / largest) <= ROUNDING,
                    "{instructions}"
                );
            }
            quantized.quantize(Rows::new(&a, m, k), &matrix.view(), Threads::One);
            let cut = 2 * matrix.panel_width();
            for columns in [0..cut, cut..n] {
                let mut part = vec![f32::NAN; m * columns.len()];
                let view = matrix.view().columns(columns.clone());
                let c_rows = RowsMut::new(&mut part, m, columns.len());
                quantized_product(&quantized, &view, c_rows, Epilogue::Store, Threads::One);
                for (part, whole) in part.chunks(columns.len()).zip(whole.chunks(n)) {
                    assert_eq!(part, &whole[columns.clone()], "{instructions}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for instructions in InstructionSet::available() {
            let mut a = numbers(2 * 20, 1);
            a[25] = f32::NAN;
            let c = run(
                &a,
                &pack(instructions, 20, &numbers(30 * 20, 2), &[]),
                2,
                Epilogue::Store,
                Threads::One,
            );
            assert!(
                c[..30].iter().all(|x| x.is_finite()) && c[30..].iter().all(|x| x.is_nan()),
                "{instructions}"
            );
        }
    }
}
