// AVX2, FMA and F16C: 8 lanes, 16 registers.

#if defined(__x86_64__)

#define LEVEL(name) avx2_##name
#define VECTOR_LANES 8
#define SLICE_VECTORS 2

#include "Levels/Kernels.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "Levels/RowLoops.h"
#include "Levels/Avx2Panels.h"

/// Even and odd bytes as words of 16 bits, whose products vpmaddwd adds by two without saturation.
#define INT8_BIAS 128
#define INT8(name) avx2_int8_##name
INLINE dots avx2_int8_dot(dots sum, dots codes, int32_t inputs) {
    __m256i x = _mm256_set1_epi32(inputs);
    __m256i even = _mm256_and_si256((__m256i)codes, _mm256_set1_epi16(0xff));
    __m256i odd = _mm256_srli_epi16((__m256i)codes, 8);
    __m256i evens = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), odds = _mm256_srai_epi16(x, 8);
    return sum + (dots)_mm256_madd_epi16(even, evens) + (dots)_mm256_madd_epi16(odd, odds);
}
#include "Levels/Int8Loops.h"
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#undef INT8
#define INT8(name) avx2_vnni_##name
INLINE dots avx2_vnni_dot(dots sum, dots codes, int32_t inputs) {
    __m256i x = _mm256_set1_epi32(inputs);
    return (dots)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)codes, x);
}
#include "Levels/Int8Loops.h"
#pragma clang attribute pop

#define TABLE                                                                                      \
    ROW_LOOPS, PANEL_LOOPS, .round = avx2_bf16_encode, .transpose = ck_transpose_plain,            \
    .multiply_add_bf16 = avx2_multiply_add, .e4m3_encode_row = ck_e4m3_encode_f32_avx2,            \
    .e4m3_encode_bf16_row = ck_e4m3_encode_bf16_avx2

const ck_kernels ck_kernels_avx2 = {TABLE, .int8 = avx2_int8_panel};
const ck_kernels ck_kernels_avxvnni = {TABLE, .int8 = avx2_vnni_panel};

#endif
