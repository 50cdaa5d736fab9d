// The operations between a layer's matrix products, one pass over memory each. A warp takes a row;
// sums are in f32.
//
// All kernels have one signature: the rows that are made, the rows they are made of, two more
// inputs, and two numbers whose meaning is each kernel's own. `check.cpp` runs them on the CPU,
// with `../emulation.h` in place of CUDA.

#include "../cuda/numbers.h"

__device__ float sum_of_warp(float x) {
    for (int distance = LANES / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

__device__ float largest_of_warp(float x) {
    for (int distance = LANES / 2; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, distance));
    return x;
}

// y = γ (s - mean s) / √(var s + ε) + β with s = x + r; r in `other`, γ and then β in `constants`,
// ε in the first number. The variance is taken about the mean: the mean of squares less the square
// of the mean would lose its digits.
template <typename T>
__device__ void add_norm_row(T *y, const T *x, const T *r, const T *gamma, int columns, float eps) {
    const T *beta = gamma + columns;
    float sum = 0.f;
    for (int c = threadIdx.x; c < columns; c += LANES) sum += number(x[c]) + number(r[c]);
    const float mean = sum_of_warp(sum) / columns;
    float squares = 0.f;
    for (int c = threadIdx.x; c < columns; c += LANES) {
        const float centered = number(x[c]) + number(r[c]) - mean;
        squares += centered * centered;
    }
    const float scale = 1.f / sqrtf(sum_of_warp(squares) / columns + eps);
    for (int c = threadIdx.x; c < columns; c += LANES) {
        const float normed = (number(x[c]) + number(r[c]) - mean) * scale;
        store(y + c, normed * number(gamma[c]) + number(beta[c]));
    }
}

// y = softmax(x + mask), without a mask if `mask` is null; the second constant is the number of
// rows of x to a row of it.
template <typename T>
__device__ void softmax_row(T *y, const T *x, const T *mask, int columns) {
    auto score = [&](int c) { return number(x[c]) + (mask ? number(mask[c]) : 0.f); };
    float largest = -INFINITY;
    for (int c = threadIdx.x; c < columns; c += LANES) largest = fmaxf(largest, score(c));
    largest = largest_of_warp(largest);
    float sum = 0.f;
    for (int c = threadIdx.x; c < columns; c += LANES) sum += expf(score(c) - largest);
    const float inverse = 1.f / sum_of_warp(sum);
    for (int c = threadIdx.x; c < columns; c += LANES) store(y + c, expf(score(c) - largest) * inverse);
}

// The functions that ALBERT checkpoints come with, by the numbers that mod.rs gives them.
enum Activation { GELU = 0, GELU_TANH = 1, RELU = 2 };

__device__ float activated(float x, int function) {
    switch (function) {
        case GELU: return 0.5f * x * (1.f + erff(x * 0.70710678f));
        case GELU_TANH: return 0.5f * x * (1.f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
        default: return fmaxf(x, 0.f);
    }
}

// y = act(x + bias)
template <typename T>
__device__ void activate_row(T *y, const T *x, const T *bias, int columns, int function) {
    for (int c = threadIdx.x; c < columns; c += LANES) store(y + c, activated(number(x[c]) + number(bias[c]), function));
}

#define ROW int(blockIdx.x * blockDim.y + threadIdx.y)

// A warp has one row or none: none of its lanes leaves the others waiting.
#define KERNELS(T, NAME)                                                                                             \
    extern "C" __global__ void add_norm_##NAME(T *ys, const T *xs, const T *other, const T *constants, int rows,    \
                                               int columns, float eps, int) {                                       \
        const int row = ROW;                                                                                         \
        const size_t at = size_t(row) * columns;                                                                     \
        if (row < rows) add_norm_row(ys + at, xs + at, other + at, constants, columns, eps);                        \
    }                                                                                                                \
    extern "C" __global__ void softmax_##NAME(T *ys, const T *xs, const T *other, const T *, int rows, int columns, \
                                              float, int rows_of_mask) {                                            \
        const int row = ROW;                                                                                         \
        const size_t at = size_t(row) * columns;                                                                     \
        if (row >= rows) return;                                                                                     \
        const T *mask = rows_of_mask ? other + size_t(row / rows_of_mask) * columns : nullptr;                       \
        softmax_row(ys + at, xs + at, mask, columns);                                                                \
    }                                                                                                                \
    extern "C" __global__ void activate_##NAME(T *ys, const T *xs, const T *other, const T *, int rows, int columns, \
                                               float, int function) {                                                \
        const int row = ROW;                                                                                         \
        const size_t at = size_t(row) * columns;                                                                     \
        if (row < rows) activate_row(ys + at, xs + at, other, columns, function);                                    \
    }

KERNELS(float, f32)
KERNELS(__half, f16)
KERNELS(__nv_bfloat16, bf16)
