//! Compiles the kernels in `src/gpu_kernels` for the feature `cuda`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    cudaforge::KernelBuilder::new()
        .source_files([
            "src/gpu_kernels/attention/attention.cu",
            "src/gpu_kernels/rows/rows.cu",
        ])
        .watch([
            "src/gpu_kernels/attention/instructions.h",
            "src/gpu_kernels/numbers.h",
        ])
        // What it is made of came with 8.0; later GPUs run the same.
        .with_compute_override("attention.cu", 80)
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()
        .expect("nvcc compiles src/gpu_kernels");
}
