// CUDA on the CPU, as far as row_kernels.cu goes: blocks run one after another, the threads of a block as threads.

#include <barrier>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#define __device__ static inline
#define __global__

struct Index {
    unsigned x, y, z;
};
static thread_local Index threadIdx;
static Index blockIdx, blockDim;

// Lanes meet here with what they exchange; a warp is the 32 threads of one threadIdx.y.
struct Warp {
    std::barrier<> meeting{32};
    float values[32];
};
static std::vector<Warp> *warps;

static float __shfl_xor_sync(unsigned, float value, int distance) {
    Warp &warp = (*warps)[threadIdx.y];
    warp.values[threadIdx.x] = value;
    warp.meeting.arrive_and_wait();
    const float other = warp.values[threadIdx.x ^ distance];
    warp.meeting.arrive_and_wait();
    return other;
}

template <typename... Parameters, typename... Arguments>
void launch(Index grid, Index block, void (*kernel)(Parameters...), Arguments... arguments) {
    blockDim = block;
    for (blockIdx = {0, 0, 0}; blockIdx.x < grid.x; blockIdx.x++) {
        std::vector<Warp> meetings(block.y);
        warps = &meetings;
        std::vector<std::thread> threads;
        for (unsigned y = 0; y < block.y; y++)
            for (unsigned x = 0; x < block.x; x++)
                threads.emplace_back([=] {
                    threadIdx = {x, y, 0};
                    kernel(arguments...);
                });
        for (std::thread &thread : threads) thread.join();
    }
}

typedef _Float16 __half;
static float __half2float(__half x) { return x; }
static __half __float2half(float x) { return __half(x); }

// The upper half of an f32.
struct __nv_bfloat16 {
    uint16_t bits;
};
static float __bfloat162float(__nv_bfloat16 x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }
static __nv_bfloat16 __float2bfloat16(float x) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};  // to the nearest, ties to even
}
