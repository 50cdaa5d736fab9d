// Shared code of the kernel checks: random values rounded to a type, and the comparison with a
// formula.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "numbers.h"

using Numbers = std::vector<double>;

static double random_number() { return 2.0 * std::rand() / RAND_MAX - 1.0; }

static Numbers random_numbers(size_t count, double scale, double shift = 0.0) {
    Numbers numbers(count);
    for (double &x : numbers) x = scale * random_number() + shift;
    return numbers;
}

// Converts the values to a type, and rounds them in place accordingly.
template <typename T> std::vector<T> stored(Numbers &numbers) {
    std::vector<T> kept(numbers.size());
    for (size_t i = 0; i < numbers.size(); i++) {
        store(&kept[i], float(numbers[i]));
        numbers[i] = number(kept[i]);
    }
    return kept;
}

static int failures = 0, checks = 0;

template <typename... Place>
void compare(double expected, double found, double tolerance, const char *format, Place... place) {
    checks++;
    if (std::fabs(found - expected) <= tolerance * std::fmax(1.0, std::fabs(expected))) return;
    if (failures++ >= 10) return;
    std::printf(format, place...);
    std::printf(": expected %g, found %g\n", expected, found);
}

static int report() {
    std::printf("%d of %d numbers wrong\n", failures, checks);
    return failures ? 1 : 0;
}
