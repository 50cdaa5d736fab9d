// The instructions of compute capability 8.0 that attention uses, each with an equivalent in plain
// C++ for the CPU.
//
// A warp shares out a matrix among its lanes: lane l has group = l / 4 and pair = l % 4. Of 8 × 8
// numbers in half precision it holds (row group, columns 2 pair and 2 pair + 1), two in a register.
//
// Source: PTX ISA 8.0, "Matrix Fragments for mma.m16n8k16 with floating point type", ldmatrix,
// cp.async.
#pragma once

#include "../cuda/numbers.h"

#ifndef KERNEL_EMULATION

__device__ unsigned shared_address(const void *place) { return unsigned(__cvta_generic_to_shared(place)); }

// Starts to copy 16 bytes from global to shared memory, or to fill them with zeros.
__device__ void copy_16_bytes(void *to, const void *from, bool is_zero) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(is_zero ? 0 : 16)
                 : "memory");
}

// Waits until the copies that this thread has started are complete.
__device__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Four 8 × 8 matrices. Lane l says where row l % 8 of matrix l / 8 begins: 16 bytes, which no two
// rows have in the same banks.
template <typename T> __device__ void load_matrices(unsigned (&to)[4], const T *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, each matrix transposed.
template <typename T> __device__ void load_transposed(unsigned (&to)[4], const T *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a b: (16 × 16) (16 × 8). Of a: rows 0-7 and 8-15 of columns 0-7, then of 8-15; of b,
// transposed: rows 0-7 and 8-15; of c: (row group, columns 2 pair and 2 pair + 1), then the same of
// row group + 8.
__device__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __half) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __nv_bfloat16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two values in one register.
__device__ unsigned packed(float low, float high, __half) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
__device__ unsigned packed(float low, float high, __nv_bfloat16) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// 2ˣ within 2⁻²² of itself, 0 where it would be subnormal.
__device__ float power_of_two(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

#else

// Copied data only becomes visible after the wait.
static void copy_16_bytes(void *to, const void *from, bool is_zero) { current->copies.push_back({to, from, is_zero}); }

static void wait_for_copies() {
    for (const Copy &copy : current->copies) {
        if (copy.is_zero)
            std::memset(copy.to, 0, 16);
        else
            std::memcpy(copy.to, copy.from, 16);
    }
    current->copies.clear();
}

template <typename T> struct Pair {
    T low, high;
};

// Rows that are read at once and lie in the same four banks of shared memory, of which there are
// 32.
static unsigned bank_conflicts = 0;

template <typename T> static Brought<const T *> rows_of_matrices(const T *row) {
    const Brought<const T *> rows = exchange(row);
    unsigned banks = 0;
    for (unsigned lane = threadIdx.x / 8 * 8; lane <= threadIdx.x; lane++) {
        const unsigned bank = 1u << (reinterpret_cast<uintptr_t>(rows[lane]) / 16 % 8);
        bank_conflicts += lane == threadIdx.x && banks & bank;
        banks |= bank;
    }
    return rows;
}

template <typename T> static void load_matrices(unsigned (&to)[4], const T *row) {
    const Brought<const T *> rows = rows_of_matrices(row);
    const unsigned group = threadIdx.x / 4, pair = threadIdx.x % 4;
    for (unsigned matrix = 0; matrix < 4; matrix++) std::memcpy(&to[matrix], rows[8 * matrix + group] + 2 * pair, 4);
}

template <typename T> static void load_transposed(unsigned (&to)[4], const T *row) {
    const Brought<const T *> rows = rows_of_matrices(row);
    const unsigned group = threadIdx.x / 4, pair = threadIdx.x % 4;
    for (unsigned matrix = 0; matrix < 4; matrix++) {
        const T *first = rows[8 * matrix + 2 * pair], *second = rows[8 * matrix + 2 * pair + 1];
        to[matrix] = std::bit_cast<unsigned>(Pair<T>{first[group], second[group]});
    }
}

// A lane's parts of a and b.
struct Factors {
    float a[4][2], b[2][2];
};

template <typename T> static void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, T) {
    Factors mine;
    auto unpack = [](float (&to)[2], unsigned both) {
        const Pair<T> pair = std::bit_cast<Pair<T>>(both);
        to[0] = number(pair.low), to[1] = number(pair.high);
    };
    for (int i = 0; i < 4; i++) unpack(mine.a[i], a[i]);
    unpack(mine.b[0], b0), unpack(mine.b[1], b1);
    const Brought<Factors> factors = exchange(mine);
    const unsigned group = threadIdx.x / 4, pair = threadIdx.x % 4;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned column = 2 * pair + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            const unsigned owner = k % 8 / 2;
            c[i] += factors[4 * group + owner].a[i / 2 + 2 * (k / 8)][k % 2] * factors[4 * column + owner].b[k / 8][k % 2];
        }
    }
}

template <typename T> static unsigned packed(float low, float high, T) {
    Pair<T> pair;
    store(&pair.low, low), store(&pair.high, high);
    return std::bit_cast<unsigned>(pair);
}

static inline float power_of_two(float x) { return std::exp2(x); }

#endif
