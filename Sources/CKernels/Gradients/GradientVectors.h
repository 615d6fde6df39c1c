#pragma once

// What the gradient kernels share: per-level clones, reassociated sums, a vectorisable exponential.

#include <stdint.h>
#include <string.h>

/// One copy of a function per level of x86-64; the loader picks at start.
#if defined(__x86_64__) && defined(__ELF__)
#define GRADIENT_CLONES \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GRADIENT_CLONES
#endif

/// Before a loop: its sums may be split over vector lanes. The split depends on the CPU's level
/// alone, so a run repeats its bits.
#define TRAINING_SUM _Pragma("clang loop vectorize(enable) interleave_count(4)")

/// The same for a loop whose results may replace its inputs, element by element.
#define TRAINING_IN_PLACE \
    _Pragma("clang loop vectorize(assume_safety) interleave_count(4)")

/// exp(x) within 2 units in the last place, as arithmetic that vectorises.
///
/// x = n ln 2 + r, exp(r) by its series to r^7 over |r| <= ln 2 / 2, 2^n by the exponent bits.
static inline __attribute__((always_inline)) float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return p * power;
}
