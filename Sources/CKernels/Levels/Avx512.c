// AVX-512: 16 lanes. 6 rows x 64 outputs are 24 of the 32 registers.

#if defined(__x86_64__)

#define LEVEL(name) avx512_##name
#define VECTOR_LANES 16
#define SLICE_VECTORS 4

#include "Levels/Kernels.h"
#include "Levels/Avx512.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"), min_vector_width(512))),      \
    apply_to = function)
#include "Levels/RowLoops.h"
#include "Levels/PanelLoops.h"

/// Even and odd bytes as words of 16 bits, whose products vpmaddwd adds by two without saturation.
#define INT8_BIAS 128
#define INT8(name) avx512_int8_##name
INLINE dots avx512_int8_dot(dots sum, dots codes, int32_t inputs) {
    __m512i x = _mm512_set1_epi32(inputs);
    __m512i even = _mm512_and_si512((__m512i)codes, _mm512_set1_epi16(0xff));
    __m512i odd = _mm512_srli_epi16((__m512i)codes, 8);
    __m512i evens = _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8), odds = _mm512_srai_epi16(x, 8);
    return sum + (dots)_mm512_madd_epi16(even, evens) + (dots)_mm512_madd_epi16(odd, odds);
}
#include "Levels/Int8Loops.h"
#pragma clang attribute pop

#pragma clang attribute push(                                                                      \
    __attribute__((                                                                                \
        target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma"), min_vector_width(512))),      \
    apply_to = function)
#undef INT8
#define INT8(name) avx512_vnni_##name
INLINE dots avx512_vnni_dot(dots sum, dots codes, int32_t inputs) {
    return (dots)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, _mm512_set1_epi32(inputs));
}
#include "Levels/Int8Loops.h"
#pragma clang attribute pop

#define TABLE                                                                                      \
    ROW_LOOPS, PANEL_LOOPS, .round = avx512_bf16_encode, .transpose = ck_transpose_avx512,         \
    .transpose_codes = ck_transpose_codes_avx512, .multiply_add_bf16 = avx512_multiply_add,        \
    .e4m3_encode_row = ck_e4m3_encode_f32_avx512,                                                  \
    .e4m3_encode_bf16_row = ck_e4m3_encode_bf16_avx512

const ck_kernels ck_kernels_avx512 = {TABLE, .int8 = avx512_int8_panel};
const ck_kernels ck_kernels_avx512vnni = {TABLE, .int8 = avx512_vnni_panel};

#endif
