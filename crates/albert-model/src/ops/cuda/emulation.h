// The part of CUDA that these kernels need, emulated on the CPU: blocks run one after another, and
// the threads of a block take turns.
//
// A thread runs until it waits for others. Between waits CUDA does not define the order of threads,
// so a check runs every launch twice, in ascending and in descending order: a missing barrier shows
// in at least one of them.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __device__ inline
#define __global__
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define UNROLL

struct Index {
    unsigned x, y, z;
};
struct float2 {
    float x, y;
};
struct float4 {
    float x, y, z, w;
};

struct Copy {
    void *to;
    const void *from;
    bool is_zero;
};

struct Thread {
    Index index;
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[1 << 16]};
    bool is_done = false;
    unsigned exchanges = 0;
    std::vector<Copy> copies;  // that have been asked for and not waited for
};

static ucontext_t scheduler;
static Thread *current;
static Index blockIdx, blockDim;
static unsigned long steps;  // of any thread: where they stop, threads wait for each other
#define threadIdx (current->index)

// A barrier: threads continue once all of them have arrived.
struct Meeting {
    unsigned size = 0, arrived = 0, held = 0;
    void wait() {
        steps++;
        const unsigned mine = held;
        if (++arrived == size) {
            arrived = 0;
            held++;
        }
        while (held == mine) swapcontext(&current->context, &scheduler);
    }
};

constexpr unsigned WARP = 32;
constexpr size_t SLOT_BYTES = 64;

// The 32 threads of one threadIdx.y. Two sets of slots: who is a meeting ahead does not overwrite
// what others read.
struct Warp {
    Meeting meeting{WARP};
    alignas(16) char slots[2][WARP][SLOT_BYTES];
};
static std::vector<Warp> warps;
static Meeting block;

static inline void __syncthreads() { block.wait(); }

// The values that the lanes of a warp exchange.
template <typename T> struct Brought {
    const char (*slots)[SLOT_BYTES];
    T operator[](unsigned lane) const {
        T value;
        std::memcpy(&value, slots[lane], sizeof(T));
        return value;
    }
};

template <typename T> static Brought<T> exchange(const T &mine) {
    static_assert(sizeof(T) <= SLOT_BYTES);
    Warp &warp = warps[threadIdx.y];
    char(*slots)[SLOT_BYTES] = warp.slots[current->exchanges++ % 2];
    std::memcpy(slots[threadIdx.x], &mine, sizeof(T));
    warp.meeting.wait();
    return {slots};
}

static inline float __shfl_sync(unsigned, float value, int lane) { return exchange(value)[lane]; }
static inline float __shfl_xor_sync(unsigned, float value, int distance) {
    return exchange(value)[threadIdx.x ^ distance];
}

static std::function<void()> run;
static void run_thread() {
    run();
    steps++;
    current->is_done = true;
}

template <typename... Parameters, typename... Arguments>
void launch(Index grid, Index threads, void (*kernel)(Parameters...), Arguments... arguments) {
    run = [=] { kernel(arguments...); };
    blockDim = threads;
    const unsigned count = threads.x * threads.y;
    for (const bool is_backward : {false, true})
        for (blockIdx = {0, 0, 0}; blockIdx.x < grid.x; blockIdx.x++) {
            warps = std::vector<Warp>(threads.y);
            block = {count, 0, 0};
            std::vector<Thread> all(count);
            for (unsigned thread = 0; thread < count; thread++) {
                Thread &own = all[thread];
                own.index = {thread % threads.x, thread / threads.x, 0};
                getcontext(&own.context);
                own.context.uc_stack.ss_sp = own.stack.get();
                own.context.uc_stack.ss_size = 1 << 16;
                own.context.uc_link = &scheduler;
                makecontext(&own.context, run_thread, 0);
            }
            for (unsigned left = count; left > 0;) {
                const unsigned long before = steps;
                left = 0;
                for (unsigned turn = 0; turn < count; turn++) {
                    current = &all[is_backward ? count - 1 - turn : turn];
                    if (!current->is_done) swapcontext(&scheduler, &current->context);
                    left += !current->is_done;
                }
                if (left > 0 && steps == before) {
                    std::printf("%u of %u threads wait for others that do not come\n", left, count);
                    std::exit(1);
                }
            }
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
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};  // rounds to nearest, ties to even
}
