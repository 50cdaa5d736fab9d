//! Compiles `row_kernels.cu` for the feature `cuda`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    cudaforge::KernelBuilder::new()
        .source_files(["src/row_kernels/row_kernels.cu"])
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()
        .expect("nvcc compiles src/row_kernels/row_kernels.cu");
}
