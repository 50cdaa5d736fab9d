// The three types that kernels read and write, converted to and from f32; and CUDA itself, or its
// emulation on the CPU.
#pragma once

#ifdef KERNEL_EMULATION
#include "emulation.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define UNROLL _Pragma("unroll")
#endif

constexpr int LANES = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ float number(float x) { return x; }
__device__ float number(__half x) { return __half2float(x); }
__device__ float number(__nv_bfloat16 x) { return __bfloat162float(x); }

__device__ void store(float *place, float x) { *place = x; }
__device__ void store(__half *place, float x) { *place = __float2half(x); }
__device__ void store(__nv_bfloat16 *place, float x) { *place = __float2bfloat16(x); }
