// A row to e4m3 with one scale per 128 values, 8 lanes at a time: Avx512Encode.c says how, and why
// the quotients are right.

#if defined(__x86_64__)

#include "Levels/Kernels.h"
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/// Blocks whose scales share a vector.
enum { GROUP = 8 };
/// While codes of one group are found, memory brings the next.
enum { AHEAD = GROUP * CK_SCALE_BLOCK };

typedef struct {
    __m256 scale, reciprocal, rest;
} divisor;

/// Divisors of a group, one lane per block; `rest` is what the reciprocal lacks of 1 / scale.
typedef struct {
    float scale[GROUP], reciprocal[GROUP], rest[GROUP];
} divisors;

INLINE divisor divisor_of(const divisors *all, int block) {
    return (divisor){
        _mm256_set1_ps(all->scale[block]), _mm256_set1_ps(all->reciprocal[block]),
        _mm256_set1_ps(all->rest[block])};
}

INLINE __m256i load(const void *from) { return _mm256_loadu_si256(from); }

/// Whether the fast division serves all blocks; `largest` holds the bits of their magnitudes.
INLINE bool find_divisors(const uint32_t *largest, bool pow2, divisors *all) {
    __m256i bits = load(largest);
    __m256 one = _mm256_set1_ps(1);
    __m256 scale = _mm256_div_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(448));
    if (pow2) {
        __m256i next = _mm256_add_epi32(_mm256_castps_si256(scale), _mm256_set1_epi32(0x7fffff));
        scale = _mm256_castsi256_ps(_mm256_and_si256(next, _mm256_set1_epi32(0x7f800000)));
    }
    __m256i is_zero = _mm256_cmpeq_epi32(bits, _mm256_setzero_si256());
    scale = _mm256_blendv_ps(scale, one, _mm256_castsi256_ps(is_zero));
    __m256 reciprocal = _mm256_div_ps(one, scale);
    __m256 rest = _mm256_mul_ps(_mm256_fnmadd_ps(reciprocal, scale, one), reciprocal);
    _mm256_storeu_ps(all->scale, scale);
    _mm256_storeu_ps(all->reciprocal, reciprocal);
    _mm256_storeu_ps(all->rest, rest);
    // A NaN is neither above nor below: both comparisons fail on it.
    __m256 above = _mm256_cmp_ps(scale, _mm256_set1_ps(0x1p-80f), _CMP_GE_OQ);
    __m256 below = _mm256_cmp_ps(scale, _mm256_set1_ps(0x1p80f), _CMP_LE_OQ);
    return _mm256_movemask_ps(_mm256_and_ps(above, below)) == 0xff;
}

INLINE __m256 divide_f32(__m256 x, divisor by) {
    __m256 q = _mm256_mul_ps(x, by.reciprocal);
    q = _mm256_fmadd_ps(_mm256_fnmadd_ps(q, by.scale, x), by.reciprocal, q);
    return _mm256_fmadd_ps(_mm256_fnmadd_ps(q, by.scale, x), by.reciprocal, q);
}

INLINE __m256 divide_bf16(__m256 x, divisor by) {
    return _mm256_fmadd_ps(x, by.reciprocal, _mm256_mul_ps(x, by.rest));
}

/// The e4m3 code of each quotient, in the low byte of its lane; the sign is that of `x`.
INLINE __m256i codes_of(__m256 q, __m256 x) {
    __m256i size = _mm256_and_si256(_mm256_castps_si256(q), _mm256_set1_epi32(0x7fffffff));
    // Normal: keep three fraction bits, ties to even, and move the exponent's bias from 127 to 7.
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(size, 20), _mm256_set1_epi32(1));
    __m256i rounding = _mm256_set1_epi32(0x7ffff - (120 << 23));
    __m256i code = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(size, rounding), odd), 20);
    // Subnormal: next to 2^14 an f32 holds exactly the multiples of 2^-9, so adding rounds.
    __m256 shift = _mm256_set1_ps(0x1p14f);
    __m256i small = _mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(size), shift));
    small = _mm256_sub_epi32(small, _mm256_castps_si256(shift));
    __m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x3c800000), size);
    code = _mm256_blendv_epi8(code, small, is_small);
    __m256i sign = _mm256_srli_epi32(_mm256_castps_si256(x), 24);
    return _mm256_or_si256(code, _mm256_and_si256(sign, _mm256_set1_epi32(0x80)));
}

INLINE uint32_t largest_lane(__m256i words) {
    __m128i half = _mm_max_epu32(
        _mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(half, _mm_shuffle_epi32(half, 0xb1)));
}

/// The bits of the largest magnitude; above those of infinity if there is a NaN.
INLINE uint32_t largest_of_f32(const float *source) {
    __m256i size = _mm256_set1_epi32(0x7fffffff), largest = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < CK_SCALE_BLOCK; i += 8) {
        largest = _mm256_max_epu32(largest, _mm256_and_si256(size, load(source + i)));
    }
    return largest_lane(largest);
}

INLINE uint32_t largest_of_bf16(const uint16_t *source) {
    __m256i size = _mm256_set1_epi16(0x7fff), largest = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < CK_SCALE_BLOCK; i += 16) {
        largest = _mm256_max_epu16(largest, _mm256_and_si256(size, load(source + i)));
    }
    __m256i upper = _mm256_and_si256(largest, _mm256_set1_epi32((int)0xffff0000));
    return largest_lane(_mm256_max_epu32(upper, _mm256_slli_epi32(largest, 16)));
}

INLINE void encode_block_f32(const float *from, uint8_t *target, divisor by) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int i = 0; i < CK_SCALE_BLOCK; i += 32) {
        __m256i codes[4];
        UNROLL for (int v = 0; v < 4; v++) {
            __m256 x = _mm256_loadu_ps(from + i + v * 8);
            codes[v] = codes_of(divide_f32(x, by), x);
        }
        _mm_prefetch((const char *)(from + AHEAD + i), _MM_HINT_T0);
        _mm_prefetch((const char *)(from + AHEAD + i + 16), _MM_HINT_T0);
        __m256i bytes = _mm256_packus_epi16(
            _mm256_packus_epi32(codes[0], codes[1]), _mm256_packus_epi32(codes[2], codes[3]));
        bytes = _mm256_permutevar8x32_epi32(bytes, order);
        _mm256_storeu_si256((__m256i *)(void *)(target + i), bytes);
    }
}

/// 16 values become 8 words of two codes each.
INLINE __m256i pairs_of(const uint16_t *from, divisor by) {
    __m256i pairs = load(from);
    __m256 even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    __m256 odd = _mm256_castsi256_ps(
        _mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000)));
    return _mm256_or_si256(
        codes_of(divide_bf16(even, by), even),
        _mm256_slli_epi32(codes_of(divide_bf16(odd, by), odd), 8));
}

INLINE void encode_block_bf16(const uint16_t *from, uint8_t *target, divisor by) {
    for (int i = 0; i < CK_SCALE_BLOCK; i += 32) {
        _mm_prefetch((const char *)(from + AHEAD + i), _MM_HINT_T0);
        __m256i words = _mm256_packus_epi32(pairs_of(from + i, by), pairs_of(from + i + 16, by));
        words = _mm256_permute4x64_epi64(words, 0xd8);
        _mm256_storeu_si256((__m256i *)(void *)(target + i), words);
    }
}

#include "Levels/EncodeRow.h"

void ck_e4m3_encode_f32_avx2(
    const float *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    ENCODE_ROW(largest_of_f32, encode_block_f32, ck_e4m3_encode_plain);
}

void ck_e4m3_encode_bf16_avx2(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    ENCODE_ROW(largest_of_bf16, encode_block_bf16, ck_e4m3_encode_bf16_plain);
}
#pragma clang attribute pop

#endif
