//! Matrix products of f32 activations with packed f32 weights.

use crate::gemm::cache::second_level_bytes;
use crate::gemm::{BLOCK_ROWS, Threads, TileInputs, fit, multiply};
use crate::gemm::{Epilogue, F32Product, Operands, PackedView, Rows, RowsMut, Submatrix};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

/// The maximum of KC. An AVX-512 panel of this depth has 144 KiB, which streams from the
/// second-level cache; every additional block loads and stores C once more.
const MAX_BLOCK_DEPTH: usize = 768;

/// Returns KC: the depth at which a block of A fills three quarters of the second-level cache.
fn block_depth(second_level_bytes: usize) -> usize {
    let row_block_bytes_per_depth = BLOCK_ROWS * size_of::<f32>();
    (second_level_bytes / 4 * 3 / row_block_bytes_per_depth).clamp(1, MAX_BLOCK_DEPTH)
}

/// Computes `C = A B`, followed by the epilogue (GEMM with packed weights).
///
/// Each element is a sum over K in ascending order, one fused multiply-add after another, whatever
/// the number of rows, blocks and threads: the same row gives the same bits.
///
/// # Shapes
/// - `a`: `(M, K)`, `b`: `(K, N)`, `c`: `(M, N)`
///
/// # Panics
/// If the shapes do not match.
#[doc(alias = "gemm")]
#[doc(alias = "matmul")]
pub fn product(
    a: Rows<'_>,
    b: &PackedView<'_>,
    c: RowsMut<'_>,
    epilogue: Epilogue<'_>,
    threads: Threads,
) {
    product_in_blocks(
        a,
        b,
        c,
        epilogue,
        threads,
        block_depth(second_level_bytes()),
    );
}

/// Computes [`product`] with a KC of at most `block_depth`.
fn product_in_blocks(
    a: Rows<'_>,
    b: &PackedView<'_>,
    c: RowsMut<'_>,
    epilogue: Epilogue<'_>,
    threads: Threads,
    block_depth: usize,
) {
    let (rows, depth) = (a.count, b.submatrix().depth());
    assert!(c.count == rows, "{rows} rows, found {}", c.count);
    assert!(
        rows == 0 || fit(a.values, rows, a.stride, depth),
        "{rows} rows of {depth} values"
    );
    let operands = F32Operands {
        a: a.values.as_ptr(),
        a_stride: a.stride,
        b,
        depth_blocks: depth.div_ceil(block_depth).max(1),
    };
    // SAFETY: A has as many rows as C, each of `depth` values; B is borrowed.
    unsafe { multiply(b.instruction_set(), operands, c, epilogue, threads) }
}

/// The operands A and B in f32.
#[derive(Clone, Copy)]
struct F32Operands<'a> {
    a: *const f32,
    a_stride: usize,
    b: &'a PackedView<'a>,
    depth_blocks: usize,
}

// SAFETY: A is borrowed and only read while the product runs.
unsafe impl Send for F32Operands<'_> {}
// SAFETY: as above.
unsafe impl Sync for F32Operands<'_> {}

impl Operands for F32Operands<'_> {
    type Product = F32Product;

    #[inline(always)]
    fn submatrix(&self) -> &Submatrix {
        self.b.submatrix()
    }

    fn tile_rows(instructions: InstructionSet) -> usize {
        instructions.tile_rows()
    }

    fn depth_blocks(&self) -> usize {
        self.depth_blocks
    }

    #[inline(always)]
    fn panel_address(&self, panel: usize, depth: usize) -> *const u8 {
        self.b.panel_rows(panel, depth).as_ptr().cast()
    }

    #[inline(always)]
    fn run<K: Kernel>(instructions: InstructionSet, kernel: K) -> K::Output {
        instructions.run(kernel)
    }

    #[inline(always)]
    fn tile_product<S: Simd>(&self, inputs: TileInputs) -> F32Product {
        let TileInputs {
            row, depths, panel, ..
        } = inputs;
        F32Product {
            depth: depths.len(),
            a: self.a.wrapping_add(row * self.a_stride + depths.start),
            a_stride: self.a_stride,
            panel: self.b.panel_rows(panel, depths.start).as_ptr(),
            panel_width: S::PANEL_VECTORS * S::LANES,
            accumulate: inputs.accumulate,
            prefetch: inputs.prefetch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::gemm::PackedMatrix;
    use crate::random::numbers;

    /// Relative to √K, the typical size of a sum of K products of values from -1 to 1. Seen:
    /// 6.8e-7.
    const TOLERANCE: f64 = 2e-6;

    fn run(
        a: &[f32],
        b: &PackedView<'_>,
        rows: usize,
        epilogue: Epilogue<'_>,
        threads: Threads,
    ) -> Vec<f32> {
        let mut c = vec![f32::NAN; rows * b.submatrix().width()];
        product(
            Rows::new(a, rows, b.submatrix().depth()),
            b,
            RowsMut::new(&mut c, rows, b.submatrix().width()),
            epilogue,
            threads,
        );
        c
    }

    #[test]
    fn every_element_is_the_sum_of_its_products() {
        for instructions in InstructionSet::available() {
            for (m, k, n) in [
                (1, 1, 1),
                (3, 7, 50),
                (17, 300, 33),
                (40, 64, 96),
                (300, 20, 13),
                (9, 1000, 47),
            ] {
                let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let b = PackedMatrix::from_transposed(instructions, k, &[&weight]);
                let c = run(
                    &a,
                    &b.view(),
                    m,
                    Epilogue::BiasActivation(&bias, Activation::Relu),
                    Threads::One,
                );
                for (row, c) in c.chunks(n).enumerate() {
                    for (column, c) in c.iter().enumerate() {
                        let products = a[row * k..][..k].iter().zip(&weight[column * k..][..k]);
                        let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        let error =
                            ((sum + f64::from(bias[column])).max(0.0) - f64::from(*c)).abs();
                        assert!(
                            error <= TOLERANCE * (k as f64).sqrt(),
                            "{error:.1e} in {m}×{k}×{n} on {instructions}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads() {
        for instructions in InstructionSet::available() {
            let (m, k, n) = (270, 520, 200);
            let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
            let b = PackedMatrix::from_transposed(instructions, k, &[&weight]);
            let epilogue = Epilogue::BiasActivation(&bias, Activation::GeluTanh);
            let whole = run(&a, &b.view(), m, epilogue, Threads::One);
            for rows in [0..1, 5..6, 7..20, 269..270, 100..257] {
                let alone = run(
                    &a[rows.start * k..],
                    &b.view(),
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
                let split = pool.install(|| run(&a, &b.view(), m, epilogue, Threads::All));
                assert!(split == whole, "{threads} threads on {instructions}");
            }
        }
    }

    #[test]
    fn the_size_of_blocks_does_not_change_a_bit() {
        for instructions in InstructionSet::available() {
            let (m, k, n) = (300, 1000, 70);
            let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
            let b = PackedMatrix::from_transposed(instructions, k, &[&weight]);
            let epilogue = Epilogue::BiasActivation(&bias, Activation::Gelu);
            let whole = run(&a, &b.view(), m, epilogue, Threads::One);
            for block_depth in [1, 7, 192, 384, 768, 1000, 5000] {
                let mut c = vec![f32::NAN; m * n];
                product_in_blocks(
                    Rows::new(&a, m, k),
                    &b.view(),
                    RowsMut::new(&mut c, m, n),
                    epilogue,
                    Threads::One,
                    block_depth,
                );
                assert!(c == whole, "{block_depth} on {instructions}");
            }
        }
    }

    #[test]
    fn a_block_fits_the_second_level_cache() {
        let depths = [128, 256, 512, 1024, 2048].map(|kib| block_depth(kib << 10));
        assert_eq!(depths, [96, 192, 384, 768, 768]);
    }

    #[test]
    fn parts_of_a_product_make_the_whole_bit_for_bit() {
        for instructions in InstructionSet::available() {
            let (m, k, n) = (10, 400, 150);
            let (a, weight) = (numbers(m * k, 1), numbers(n * k, 2));
            let b = PackedMatrix::from_transposed(instructions, k, &[&weight]);
            let whole = run(&a, &b.view(), m, Epilogue::Store, Threads::One);
            let mut summed = vec![f32::NAN; m * n];
            for (rows, epilogue) in [
                (0..70, Epilogue::Store),
                (70..71, Epilogue::Accumulate),
                (71..k, Epilogue::Accumulate),
            ] {
                let a = Rows::new(&a[rows.start..], m, k);
                product(
                    a,
                    &b.view().rows(rows),
                    RowsMut::new(&mut summed, m, n),
                    epilogue,
                    Threads::One,
                );
            }
            assert_eq!(summed, whole, "{instructions}");
            let cut = 2 * b.panel_width();
            for columns in [0..cut, cut..n] {
                let part = run(
                    &a,
                    &b.view().columns(columns.clone()),
                    m,
                    Epilogue::Store,
                    Threads::One,
                );
                for (part, whole) in part.chunks(columns.len()).zip(whole.chunks(n)) {
                    assert_eq!(part, &whole[columns.clone()], "{instructions}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows of 8 values")]
    fn too_few_numbers_are_refused() {
        let b = PackedMatrix::from_transposed(InstructionSet::available()[0], 8, &[&[0.0; 8]]);
        product(
            Rows::new(&[0.0; 15], 2, 8),
            &b.view(),
            RowsMut::new(&mut [0.0; 2], 2, 1),
            Epilogue::Store,
            Threads::One,
        );
    }
}
