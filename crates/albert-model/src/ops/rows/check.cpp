// Runs rows.cu on the CPU and compares it with the formulas in double precision:
//
//   g++ -std=c++20 -O1 -DKERNEL_EMULATION check.cpp -o check && ./check
//
// The launches are those of mod.rs: one warp per row, four rows per block.

#include "../cuda/check.h"
#include "rows.cu"

// f32 sums of up to 1000 terms; half a unit in the last place of 11 and of 8 bits, of numbers up to
// 8.
template <typename T> double tolerance();
template <> double tolerance<float>() { return 1e-5; }
template <> double tolerance<__half>() { return 4e-3; }
template <> double tolerance<__nv_bfloat16>() { return 3.2e-2; }

template <typename T>
using Kernel = void (*)(T *, const T *, const T *, const T *, int, int, float, int);

template <typename T>
void check(const char *name, Kernel<T> kernel, int rows, int columns, Numbers xs, Numbers other, Numbers constants, float first,
           int second, std::function<double(const Numbers &, const Numbers &, const Numbers &, int, int)> formula) {
    std::vector<T> x = stored<T>(xs), o = stored<T>(other), c = stored<T>(constants);
    std::vector<T> y(size_t(rows) * columns);
    launch({unsigned(rows + 3) / 4, 1, 1}, {32, 4, 1}, kernel, y.data(), x.data(), o.data(), c.data(), rows, columns, first, second);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++) {
            const double found = number(y[size_t(row) * columns + column]);
            compare(formula(xs, other, constants, row, column), found, tolerance<T>(), "%s %dx%d at (%d, %d)", name, rows, columns,
                    row, column);
        }
}

template <typename T>
void check_all(const char *type, Kernel<T> add_norm, Kernel<T> softmax, Kernel<T> activate) {
    std::printf("%s\n", type);
    for (auto [rows, columns] : {std::pair{1, 1}, {3, 31}, {5, 32}, {4, 100}, {6, 768}}) {
        const size_t count = size_t(rows) * columns;
        const float eps = 1e-6f;
        for (double shift : {0.0, 30.0}) {
            check<T>("add_norm", add_norm, rows, columns, random_numbers(count, 1.0, shift), random_numbers(count, 1.0),
                     random_numbers(2 * columns, 1.0), eps, 0, [=](const Numbers &x, const Numbers &r, const Numbers &c, int row, int column) {
                         double mean = 0.0, variance = 0.0;
                         auto sum = [&](int at) { return x[size_t(row) * columns + at] + r[size_t(row) * columns + at]; };
                         for (int at = 0; at < columns; at++) mean += sum(at) / columns;
                         for (int at = 0; at < columns; at++) variance += (sum(at) - mean) * (sum(at) - mean) / columns;
                         return c[column] * (sum(column) - mean) / std::sqrt(variance + eps) + c[columns + column];
                     });
        }
        for (int rows_of_mask : {0, 1, 2, rows}) {
            Numbers mask(count, 0.0);
            for (double &m : mask) m = random_number() < 0.0 ? -32752.0 : 0.0;
            if (rows_of_mask == 1) mask.assign(count, -32752.0);  // nothing to attend to
            check<T>("softmax", softmax, rows, columns, random_numbers(count, 5.0), mask, {0.0}, 0.f, rows_of_mask,
                     [=](const Numbers &x, const Numbers &m, const Numbers &, int row, int column) {
                         // In f32 as the kernel has it: a large mask leaves few digits to the
                         // score.
                         auto score = [&](int at) -> float {
                             const double masked = rows_of_mask ? m[size_t(row / rows_of_mask) * columns + at] : 0.0;
                             return x[size_t(row) * columns + at] + masked;
                         };
                         double largest = -INFINITY, sum = 0.0;
                         for (int at = 0; at < columns; at++) largest = std::fmax(largest, score(at));
                         for (int at = 0; at < columns; at++) sum += std::exp(score(at) - largest);
                         return std::exp(score(column) - largest) / sum;
                     });
        }
        for (int function : {GELU, GELU_TANH, RELU})
            check<T>("activate", activate, rows, columns, random_numbers(count, 6.0), random_numbers(columns, 2.0), {0.0}, 0.f, function,
                     [=](const Numbers &x, const Numbers &bias, const Numbers &, int row, int column) {
                         const double a = x[size_t(row) * columns + column] + bias[column];
                         if (function == GELU) return 0.5 * a * (1.0 + std::erf(a / std::sqrt(2.0)));
                         if (function == RELU) return std::fmax(a, 0.0);
                         return 0.5 * a * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (a + 0.044715 * a * a * a)));
                     });
    }
}

int main() {
    check_all<float>("f32", add_norm_f32, softmax_f32, activate_f32);
    check_all<__half>("f16", add_norm_f16, softmax_f16, activate_f16);
    check_all<__nv_bfloat16>("bf16", add_norm_bf16, softmax_bf16, activate_bf16);
    return report();
}
