// Attention over ragged sequences of any length: softmax(Q Kᵀ / √D) V for each head.
//
// A block of four warps takes 64 queries of one head, 16 per warp, and processes the sequence's
// keys and values tile by tile. While one tile is used, the next is copied to shared memory. The
// softmax is computed online in f32: partial sums are rescaled when a larger score appears.
// Products run on tensor cores in f16 and bf16, and as plain FMAs in f32. Queries, keys and values
// are read from the output of their joint product, `(tokens, 3, heads, head size)`.
//
// Source: Dao 2023, "FlashAttention-2", algorithm 1. `check.cpp` runs all of it on the CPU.

#include "../cuda/numbers.h"
#include "instructions.h"

constexpr int WARPS = 4;
constexpr int THREADS = WARPS * LANES;
constexpr int ROWS_OF_WARP = 16;
constexpr int QUERIES = WARPS * ROWS_OF_WARP;

// The shared memory that a block may use on any GPU without opting in.
constexpr int SHARED_BYTES = 48 * 1024;
constexpr float LOG2_E = 1.44269504f;

// Rows of a head in shared memory, `WIDTH` numbers each. Reading goes by 16 bytes from eight rows
// at a time: their order within a row changes from row to row, so that the eight lie in different
// banks.
template <typename T, int WIDTH> struct Rows {
    static constexpr int CHUNK = 16 / sizeof(T);
    static constexpr int CHUNKS = WIDTH / CHUNK;
    T *start;

    __device__ T *at(int row, int column) const {
        const int shuffle = CHUNKS % 8 == 0 ? row & 7 : row >> 1 & 3;
        return start + row * WIDTH + ((column / CHUNK) ^ shuffle) * CHUNK + column % CHUNK;
    }

    // Starts to copy `COUNT` rows, with zeros for missing rows and beyond the head's size.
    template <int COUNT> __device__ void load(const T *from, int stride, int rows, int head_size) const {
        UNROLL for (int i = threadIdx.y * LANES + threadIdx.x; i < COUNT * CHUNKS; i += THREADS) {
            const int row = i / CHUNKS, column = i % CHUNKS * CHUNK;
            const bool is_there = row < rows && column < head_size;
            copy_16_bytes(at(row, column), is_there ? from + size_t(row) * stride + column : from, !is_there);
        }
    }
};

// Keys, and values, of a tile: two tiles of both and the queries fit into shared memory.
template <typename T, int WIDTH> struct Tile {
    static constexpr int FITTING = (SHARED_BYTES / (WIDTH * int(sizeof(T))) - QUERIES) / 4;
    static constexpr int KEYS = FITTING < 64 ? FITTING : 64;
};

// The products of a warp's 16 queries, on tensor cores. A lane has of each eight columns of a
// product: columns 2 pair and 2 pair + 1 of row group, then of row group + 8.
template <typename T, int WIDTH> struct Products {
    static constexpr int KEYS = Tile<T, WIDTH>::KEYS;
    unsigned queries[WIDTH / 16][4];

    __device__ void take(Rows<T, WIDTH> rows) {
        const int lane = threadIdx.x;
        UNROLL for (int k = 0; k < WIDTH / 16; k++)
            load_matrices(queries[k], rows.at(threadIdx.y * ROWS_OF_WARP + lane % 16, 16 * k + lane / 16 * 8));
    }

    // Q Kᵀ
    __device__ void scores(float (&scores)[KEYS / 8][4], Rows<T, WIDTH> keys) const {
        const int lane = threadIdx.x;
        UNROLL for (int n = 0; n < KEYS / 16; n++) UNROLL for (int k = 0; k < WIDTH / 16; k++) {
            unsigned b[4];
            load_matrices(b, keys.at(16 * n + lane / 16 * 8 + lane % 8, 16 * k + lane / 8 % 2 * 8));
            multiply_add(scores[2 * n], queries[k], b[0], b[1], T());
            multiply_add(scores[2 * n + 1], queries[k], b[2], b[3], T());
        }
    }

    // context += P V
    __device__ void add(float (&context)[WIDTH / 8][4], const float (&weights)[KEYS / 8][4], Rows<T, WIDTH> values) const {
        const int lane = threadIdx.x;
        UNROLL for (int k = 0; k < KEYS / 16; k++) {
            const float(&left)[4] = weights[2 * k], (&right)[4] = weights[2 * k + 1];
            const unsigned a[4] = {packed(left[0], left[1], T()), packed(left[2], left[3], T()),
                                   packed(right[0], right[1], T()), packed(right[2], right[3], T())};
            UNROLL for (int d = 0; d < WIDTH / 16; d++) {
                unsigned b[4];
                load_transposed(b, values.at(16 * k + lane % 16, 16 * d + lane / 16 * 8));
                multiply_add(context[2 * d], a, b[0], b[1], T());
                multiply_add(context[2 * d + 1], a, b[2], b[3], T());
            }
        }
    }
};

// The same in f32, shared out in the same way.
template <int WIDTH> struct Products<float, WIDTH> {
    static constexpr int KEYS = Tile<float, WIDTH>::KEYS;
    Rows<float, WIDTH> queries;

    __device__ void take(Rows<float, WIDTH> rows) { queries = rows; }

    __device__ void scores(float (&scores)[KEYS / 8][4], Rows<float, WIDTH> keys) const {
        const int row = threadIdx.y * ROWS_OF_WARP + threadIdx.x / 4, pair = threadIdx.x % 4;
        for (int k = 0; k < WIDTH; k += 4) {
            const float4 top = *(const float4 *)queries.at(row, k), bottom = *(const float4 *)queries.at(row + 8, k);
            UNROLL for (int n = 0; n < KEYS / 8; n++) UNROLL for (int i = 0; i < 2; i++) {
                const float4 key = *(const float4 *)keys.at(8 * n + 2 * pair + i, k);
                scores[n][i] += top.x * key.x + top.y * key.y + top.z * key.z + top.w * key.w;
                scores[n][2 + i] += bottom.x * key.x + bottom.y * key.y + bottom.z * key.z + bottom.w * key.w;
            }
        }
    }

    __device__ void add(float (&context)[WIDTH / 8][4], const float (&weights)[KEYS / 8][4], Rows<float, WIDTH> values) const {
        const int first_of_row = threadIdx.x / 4 * 4, pair = threadIdx.x % 4;
        UNROLL for (int n = 0; n < KEYS / 8; n++) UNROLL for (int i = 0; i < 2; i++) for (int owner = 0; owner < 4; owner++) {
            const float top = __shfl_sync(ALL_LANES, weights[n][i], first_of_row + owner);
            const float bottom = __shfl_sync(ALL_LANES, weights[n][2 + i], first_of_row + owner);
            UNROLL for (int d = 0; d < WIDTH / 8; d++) {
                const float2 value = *(const float2 *)values.at(8 * n + 2 * owner + i, 8 * d + 2 * pair);
                context[d][0] += top * value.x;
                context[d][1] += top * value.y;
                context[d][2] += bottom * value.x;
                context[d][3] += bottom * value.y;
            }
        }
    }
};

__device__ float largest_of_row(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

__device__ float sum_of_row(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

// Rows group and group + 8 of the softmax so far: the largest score, and the sum of weights that
// this lane has seen.
struct Softmax {
    float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};

    // From scores to weights, 0 for the keys from `there` on; what the context so far is to be
    // multiplied with.
    template <int TILES> __device__ void weigh(float (&scores)[TILES][4], int there, float scale, float (&correction)[2]) {
        const int pair = threadIdx.x % 4;
        if (there < 8 * TILES) {
            UNROLL for (int n = 0; n < TILES; n++) UNROLL for (int i = 0; i < 4; i++)
                if (8 * n + 2 * pair + i % 2 >= there) scores[n][i] = -INFINITY;
        }
        UNROLL for (int row = 0; row < 2; row++) {
            float now = largest[row];
            UNROLL for (int n = 0; n < TILES; n++) now = fmaxf(now, fmaxf(scores[n][2 * row], scores[n][2 * row + 1]));
            now = largest_of_row(now);
            correction[row] = power_of_two((largest[row] - now) * scale);
            largest[row] = now;
            sum[row] *= correction[row];
            const float shift = now * scale;
            UNROLL for (int n = 0; n < TILES; n++) UNROLL for (int i = 2 * row; i < 2 * row + 2; i++) {
                scores[n][i] = power_of_two(scores[n][i] * scale - shift);
                sum[row] += scores[n][i];
            }
        }
    }
};

__device__ void store_pair(float *place, float x, float y) { *(float2 *)place = {x, y}; }
template <typename T> __device__ void store_pair(T *place, float x, float y) { *(unsigned *)place = packed(x, y, T()); }

// Sequence s has the tokens from `starts[s]` to before `starts[s + 1]`; blocks of its heads are
// neighbors.
template <typename T, int WIDTH>
__device__ void attend(T *out, const T *qkv, const unsigned *starts, int heads, int head_size, int tiles, float scale) {
    constexpr int KEYS = Tile<T, WIDTH>::KEYS;
    __shared__ __align__(128) T memory[(QUERIES + 4 * KEYS) * WIDTH];
    const Rows<T, WIDTH> queries{memory};
    auto keys = [&](int number) -> Rows<T, WIDTH> { return {memory + (QUERIES + number % 2 * 2 * KEYS) * WIDTH}; };
    auto values = [&](int number) -> Rows<T, WIDTH> { return {keys(number).start + KEYS * WIDTH}; };

    const int head = blockIdx.x % heads, tile = blockIdx.x / heads % tiles, sequence = blockIdx.x / heads / tiles;
    const unsigned start = starts[sequence];
    const int length = starts[sequence + 1] - start, first = tile * QUERIES;
    if (first >= length) return;
    const int width = heads * head_size, stride = 3 * width;
    const T *from = qkv + size_t(start) * stride + head * head_size;

    auto load_tile = [&](int number) {
        const T *row = from + size_t(number) * KEYS * stride;
        const int there = length - number * KEYS;
        keys(number).template load<KEYS>(row + width, stride, there, head_size);
        values(number).template load<KEYS>(row + 2 * width, stride, there, head_size);
    };
    queries.template load<QUERIES>(from + size_t(first) * stride, stride, length - first, head_size);
    load_tile(0);

    Products<T, WIDTH> products;
    Softmax softmax;
    float context[WIDTH / 8][4] = {};
    const int count = (length + KEYS - 1) / KEYS, first_of_warp = first + threadIdx.y * ROWS_OF_WARP;
    for (int number = 0; number < count; number++) {
        // The tile has arrived, and no thread reads the previous one any more.
        wait_for_copies();
        __syncthreads();
        if (number + 1 < count) load_tile(number + 1);
        if (first_of_warp >= length) continue;
        if (number == 0) products.take(queries);
        float scores[KEYS / 8][4] = {}, correction[2];
        products.scores(scores, keys(number));
        softmax.weigh(scores, length - number * KEYS, scale * LOG2_E, correction);
        UNROLL for (int d = 0; d < WIDTH / 8; d++) UNROLL for (int i = 0; i < 4; i++) context[d][i] *= correction[i / 2];
        products.add(context, scores, values(number));
    }

    const int pair = threadIdx.x % 4;
    UNROLL for (int row = 0; row < 2; row++) {
        const int token = first_of_warp + threadIdx.x / 4 + 8 * row;
        const float inverse = 1.f / sum_of_row(softmax.sum[row]);
        T *to = out + size_t(start + token) * width + head * head_size;
        UNROLL for (int d = 0; d < WIDTH / 8; d++)
            if (token < length && 8 * d < head_size)
                store_pair(to + 8 * d + 2 * pair, context[d][2 * row] * inverse, context[d][2 * row + 1] * inverse);
    }
}

#define KERNEL(T, NAME, WIDTH)                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                   \
        attention_##WIDTH##_##NAME(T *out, const T *qkv, const unsigned *starts, int heads, int head_size, int tiles,       \
                                   float scale) {                                                                           \
        attend<T, WIDTH>(out, qkv, starts, heads, head_size, tiles, scale);                                                 \
    }
#define KERNELS(T, NAME) KERNEL(T, NAME, 32) KERNEL(T, NAME, 64) KERNEL(T, NAME, 128)

KERNELS(float, f32)
KERNELS(__half, f16)
KERNELS(__nv_bfloat16, bf16)
