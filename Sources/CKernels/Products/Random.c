#include <string.h>

#include "Products/Panel.h"

// Random numbers of a weight's format: SplitMix64's outputs with some bits held, so that a word
// costs three multiplications whatever the format.
//
//   e4m3   the upper bit of the exponent is 0: up to 1.875, and never NaN (s.1111.111)
//   bf16   the exponent is that of 2^-7 or 2^-6
//   f32    the same
//   4 bits every code is a number

static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void ck_fill_random(int format, uint64_t seed, uint64_t first, void *target, size_t bytes) {
    uint64_t kept = ~0ull, held = 0;
    if (format == CK_E4M3) {
        kept = 0xBFBFBFBFBFBFBFBFull;
    } else if (format == CK_BF16) {
        kept = 0x80FF80FF80FF80FFull;
        held = 0x3C003C003C003C00ull;
    } else if (format == CK_F32) {
        kept = 0x80FFFFFF80FFFFFFull;
        held = 0x3C0000003C000000ull;
    }
    uint8_t *to = target;
    size_t words = bytes / 8;
    uint64_t state = seed + (first + 1) * 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < words; i++) {
        uint64_t word = (mixed(state) & kept) | held;
        memcpy(to + 8 * i, &word, 8);
        state += 0x9E3779B97F4A7C15u;
    }
    if (bytes % 8 == 0) return;
    uint64_t word = (mixed(state) & kept) | held;
    memcpy(to + 8 * words, &word, bytes % 8);
}
