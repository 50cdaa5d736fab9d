//! Compiles the kernels in `src/ops` for the feature `cuda`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    cudaforge::KernelBuilder::new()
        .source_files(["src/ops/attention/attention.cu", "src/ops/rows/rows.cu"])
        .watch(["src/ops/attention/instructions.h", "src/ops/cuda/numbers.h"])
        // The kernel needs instructions of compute capability 8.0, and later GPUs run the same PTX.
        .with_compute_override("attention.cu", 80)
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()
        .expect("nvcc compiles src/ops");
}
