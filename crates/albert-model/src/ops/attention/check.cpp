// Runs attention.cu on the CPU and compares it with softmax(Q Kᵀ / √D) V in double precision. Rows
// that tensor cores are fed from must lie in different banks of shared memory:
//
//   g++ -std=c++20 -O1 -DKERNEL_EMULATION check.cpp -o check && ./check
//
// The launches are those of cuda.rs.

#include "../cuda/check.h"
#include "attention.cu"

// Half a unit in the last place of 11 and of 8 bits, of weights and of results up to 1.
template <typename T> double rounding();
template <> double rounding<float>() { return 0.0; }
template <> double rounding<__half>() { return 1e-3; }
template <> double rounding<__nv_bfloat16>() { return 8e-3; }
// f32 sums of up to 130 terms, in exponents as large as the scores.
constexpr double OF_SCORES = 1e-6;

template <typename T> using Kernel = void (*)(T *, const T *, const unsigned *, int, int, int, float);

constexpr int HEADS = 2;
// Around a warp's 16 queries, a block's 64 and a tile's 8 to 64 keys.
constexpr int LENGTHS[] = {7, 64, 1, 130, 16, 65, 17};
// Written to or used by nobody who keeps within the tokens.
constexpr size_t BEYOND = 4096;

template <typename T> void check(const char *type, Kernel<T> kernel, int head_size, double scale_of_scores) {
    std::vector<unsigned> starts{0};
    int longest = 0;
    for (int length : LENGTHS) {
        starts.push_back(starts.back() + length);
        longest = std::max(longest, length);
    }
    const size_t tokens = starts.back(), width = HEADS * head_size, stride = 3 * width;
    Numbers numbers = random_numbers(tokens * stride, 1.0);
    for (size_t i = 0; i < numbers.size(); i++)
        if (i % stride < width) numbers[i] *= scale_of_scores;
    std::vector<T> qkv = stored<T>(numbers), out(tokens * width + BEYOND);
    for (size_t i = 0; i < BEYOND; i++) {
        qkv.emplace_back();
        store(&qkv.back(), NAN);
        store(&out[tokens * width + i], 42.f);
    }
    const double tolerance = rounding<T>() + OF_SCORES * (1.0 + scale_of_scores);
    const int tiles = (longest + QUERIES - 1) / QUERIES;
    const float scale = float(1.0 / std::sqrt(double(head_size)));
    launch({unsigned(HEADS * tiles * std::size(LENGTHS)), 1, 1}, {LANES, WARPS, 1}, kernel, out.data(), qkv.data(), starts.data(),
           HEADS, head_size, tiles, scale);

    for (size_t s = 0; s + 1 < starts.size(); s++)
        for (int head = 0; head < HEADS; head++)
            for (unsigned query = starts[s]; query < starts[s + 1]; query++) {
                auto row = [&](unsigned token, int part) { return &numbers[token * stride + part * width + head * head_size]; };
                Numbers weights;
                double largest = -INFINITY, sum = 0.0;
                for (unsigned key = starts[s]; key < starts[s + 1]; key++) {
                    double score = 0.0;
                    for (int d = 0; d < head_size; d++) score += row(query, 0)[d] * row(key, 1)[d];
                    weights.push_back(score / std::sqrt(double(head_size)));
                    largest = std::fmax(largest, weights.back());
                }
                for (double &weight : weights) sum += weight = std::exp(weight - largest);
                for (int d = 0; d < head_size; d++) {
                    double expected = 0.0;
                    for (size_t key = 0; key < weights.size(); key++) expected += weights[key] / sum * row(starts[s] + key, 2)[d];
                    const double found = number(out[query * width + head * head_size + d]);
                    compare(expected, found, tolerance, "%s, head size %d, scores of %g: sequence %zu of %d, token %u, head %d, %d",
                            type, head_size, scale_of_scores, s, LENGTHS[s], query - starts[s], head, d);
                }
            }
    for (size_t i = 0; i < BEYOND; i++)
        compare(42.0, number(out[tokens * width + i]), 0.0, "%s, head size %d: %zu beyond the end", type, head_size, i);
}

template <typename T> void check_all(const char *type, Kernel<T> up_to_32, Kernel<T> up_to_64, Kernel<T> up_to_128) {
    std::printf("%s\n", type);
    for (int head_size : {8, 40, 64, 128}) {
        const Kernel<T> kernel = head_size <= 32 ? up_to_32 : head_size <= 64 ? up_to_64 : up_to_128;
        check<T>(type, kernel, head_size, 1.0);
    }
    // So sharp that a later tile takes all from an earlier one.
    check<T>(type, up_to_64, 64, 30.0);
}

int main() {
    check_all<float>("f32", attention_32_f32, attention_64_f32, attention_128_f32);
    check_all<__half>("f16", attention_32_f16, attention_64_f16, attention_128_f16);
    check_all<__nv_bfloat16>("bf16", attention_32_bf16, attention_64_bf16, attention_128_bf16);
    compare(0.0, bank_conflicts, 0.0, "%s", "bank conflicts of ldmatrix");
    return report();
}
