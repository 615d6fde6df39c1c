// A row to e4m3 with one scale per 128 values, 16 lanes at a time; same bits as RowLoops.h.
//
//   code[i] = e4m3(source[i] / scale),  scale = max|source| / 448
//
// Sixteen blocks together: first their scales, in one vector, then their codes. Block by block the
// chain from a block's maximum through two divisions to its codes is what takes the time.
//
// A division of 16 lanes takes ten cycles and more, so quotients are products with the reciprocal.
//  - f32 sources: corrected twice by the remainder. After the first correction the quotient is one
//    of the two floats around the true one, and from there the second rounds correctly (Markstein,
//    "Computation of elementary functions on the IBM RISC System/6000 processor", 1990, theorem 5).
//  - bf16 sources: with a reciprocal in two parts the error is 2^-23 of the last place. 128
//    mantissas meet 128 maxima, and a test tries them all.
// Both hold while nothing underflows, so scales beyond 2^±80 take the plain loop, as NaN and
// infinity do.

#if defined(__x86_64__)

#include "Levels/Kernels.h"
#include "Levels/Avx512.h"
#include <immintrin.h>
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"), min_vector_width(512))),      \
    apply_to = function)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/// Blocks whose scales share a vector.
enum { GROUP = 16 };
/// While codes of one group are found, memory brings the next.
enum { AHEAD = GROUP * CK_SCALE_BLOCK };

typedef struct {
    __m512 scale, reciprocal, rest;
} divisor;

/// Divisors of a group, one lane per block; `rest` is what the reciprocal lacks of 1 / scale.
typedef struct {
    float scale[GROUP], reciprocal[GROUP], rest[GROUP];
} divisors;

INLINE divisor divisor_of(const divisors *all, int block) {
    return (divisor){
        _mm512_set1_ps(all->scale[block]), _mm512_set1_ps(all->reciprocal[block]),
        _mm512_set1_ps(all->rest[block])};
}

/// Whether the fast division serves all blocks; `largest` holds the bits of their magnitudes.
INLINE bool find_divisors(const uint32_t *largest, bool pow2, divisors *all) {
    __m512i bits = _mm512_loadu_si512(largest);
    __m512 magnitude = _mm512_castsi512_ps(bits), one = _mm512_set1_ps(1);
    __m512 scale = _mm512_div_ps(magnitude, _mm512_set1_ps(448));
    if (pow2) {
        __m512i next = _mm512_add_epi32(_mm512_castps_si512(scale), _mm512_set1_epi32(0x7fffff));
        scale = _mm512_castsi512_ps(_mm512_and_si512(next, _mm512_set1_epi32(0x7f800000)));
    }
    scale = _mm512_mask_mov_ps(scale, _mm512_testn_epi32_mask(bits, bits), one);
    __m512 reciprocal = _mm512_div_ps(one, scale);
    __m512 rest = _mm512_mul_ps(_mm512_fnmadd_ps(reciprocal, scale, one), reciprocal);
    _mm512_storeu_ps(all->scale, scale);
    _mm512_storeu_ps(all->reciprocal, reciprocal);
    _mm512_storeu_ps(all->rest, rest);
    // A NaN is neither above nor below: both comparisons fail on it.
    __mmask16 above = _mm512_cmp_ps_mask(scale, _mm512_set1_ps(0x1p-80f), _CMP_GE_OQ);
    __mmask16 below = _mm512_cmp_ps_mask(scale, _mm512_set1_ps(0x1p80f), _CMP_LE_OQ);
    return (above & below) == 0xffff;
}

INLINE __m512 divide_f32(__m512 x, divisor by) {
    __m512 q = _mm512_mul_ps(x, by.reciprocal);
    q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, by.scale, x), by.reciprocal, q);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, by.scale, x), by.reciprocal, q);
}

INLINE __m512 divide_bf16(__m512 x, divisor by) {
    return _mm512_fmadd_ps(x, by.reciprocal, _mm512_mul_ps(x, by.rest));
}

/// The e4m3 code of each quotient, in the low byte of its lane; the sign is that of `x`.
INLINE __m512i codes_of(__m512 q, __m512 x) {
    __m512i size = _mm512_and_si512(_mm512_castps_si512(q), _mm512_set1_epi32(0x7fffffff));
    // Normal: keep three fraction bits, ties to even, and move the exponent's bias from 127 to 7.
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(size, 20), _mm512_set1_epi32(1));
    __m512i rounding = _mm512_set1_epi32(0x7ffff - (120 << 23));
    __m512i code = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(size, rounding), odd), 20);
    // Subnormal: next to 2^14 an f32 holds exactly the multiples of 2^-9, so adding rounds.
    __m512 shift = _mm512_set1_ps(0x1p14f);
    __m512i small = _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(size), shift));
    __mmask16 is_small = _mm512_cmplt_epi32_mask(size, _mm512_set1_epi32(0x3c800000));
    code = _mm512_mask_sub_epi32(code, is_small, small, _mm512_castps_si512(shift));
    // code | (sign of x, at bit 7)
    __m512i sign = _mm512_srli_epi32(_mm512_castps_si512(x), 24);
    return _mm512_ternarylogic_epi32(code, sign, _mm512_set1_epi32(0x80), 0xf8);
}

/// The bits of the largest magnitude; above those of infinity if there is a NaN.
INLINE uint32_t largest_of_f32(const float *source) {
    __m512i sign = _mm512_set1_epi32((int)0x80000000), largest = _mm512_setzero_si512();
    UNROLL for (int i = 0; i < CK_SCALE_BLOCK; i += 16) {
        __m512i bits = _mm512_andnot_si512(sign, _mm512_loadu_si512(source + i));
        largest = _mm512_max_epu32(largest, bits);
    }
    return _mm512_reduce_max_epu32(largest);
}

INLINE uint32_t largest_of_bf16(const uint16_t *source) {
    __m512i sign = _mm512_set1_epi16((short)0x8000), largest = _mm512_setzero_si512();
    UNROLL for (int i = 0; i < CK_SCALE_BLOCK; i += 32) {
        __m512i bits = _mm512_andnot_si512(sign, _mm512_loadu_si512(source + i));
        largest = _mm512_max_epu16(largest, bits);
    }
    __m256i half = _mm256_max_epu16(
        _mm512_castsi512_si256(largest), _mm512_extracti64x4_epi64(largest, 1));
    __m128i quarter = _mm_max_epu16(
        _mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    __m128i least = _mm_minpos_epu16(_mm_xor_si128(quarter, _mm_set1_epi16(-1)));
    return (~(uint32_t)_mm_cvtsi128_si32(least) & 0xffff) << 16;
}

INLINE void encode_block_f32(const float *from, uint8_t *target, divisor by) {
    UNROLL for (int i = 0; i < CK_SCALE_BLOCK; i += 16) {
        __m512 x = _mm512_loadu_ps(from + i);
        _mm_prefetch((const char *)(from + AHEAD + i), _MM_HINT_T0);
        __m512i codes = codes_of(divide_f32(x, by), x);
        _mm_storeu_si128((__m128i *)(target + i), _mm512_cvtepi32_epi8(codes));
    }
}

INLINE void encode_block_bf16(const uint16_t *from, uint8_t *target, divisor by) {
    __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    UNROLL for (int i = 0; i < CK_SCALE_BLOCK; i += 32) {
        __m512i pairs = _mm512_loadu_si512(from + i);
        _mm_prefetch((const char *)(from + AHEAD + i), _MM_HINT_T0);
        __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        __m512 odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, upper));
        __m512i codes = _mm512_or_si512(
            codes_of(divide_bf16(even, by), even),
            _mm512_slli_epi32(codes_of(divide_bf16(odd, by), odd), 8));
        _mm256_storeu_si256((__m256i *)(target + i), _mm512_cvtepi32_epi16(codes));
    }
}

#include "Levels/EncodeRow.h"

void ck_e4m3_encode_f32_avx512(
    const float *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    ENCODE_ROW(largest_of_f32, encode_block_f32, ck_e4m3_encode_plain);
}

void ck_e4m3_encode_bf16_avx512(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    ENCODE_ROW(largest_of_bf16, encode_block_bf16, ck_e4m3_encode_bf16_plain);
}
#pragma clang attribute pop

#endif
