// 16 x 16 words transposed in registers: four rounds of 16 shuffles, of words, of pairs of words,
// and twice of quarters of a vector.

#if defined(__x86_64__)

#include "Levels/Avx512.h"
#include <immintrin.h>
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"), min_vector_width(512))),          \
    apply_to = function)

#define UNROLL _Pragma("clang loop unroll(full)")
#define INLINE static inline __attribute__((always_inline))

/// Of four codes for each of four outputs, the first pairs, then the second.
INLINE __m512i regroup(__m512i codes) {
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    return _mm512_shuffle_epi8(codes, _mm512_broadcast_i32x4(order));
}

INLINE void transpose_16x16(
    const uint32_t *source, ptrdiff_t source_stride, uint32_t *target, ptrdiff_t target_stride,
    const bool regroups) {
    __m512i a[16], b[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(source + i * source_stride);
    UNROLL for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    // a[4g + j] then holds, in each quarter q, column 4q + j of rows 4g ... 4g + 3.
    UNROLL for (int g = 0; g < 16; g += 4) {
        a[g] = _mm512_unpacklo_epi64(b[g], b[g + 2]);
        a[g + 1] = _mm512_unpackhi_epi64(b[g], b[g + 2]);
        a[g + 2] = _mm512_unpacklo_epi64(b[g + 1], b[g + 3]);
        a[g + 3] = _mm512_unpackhi_epi64(b[g + 1], b[g + 3]);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        __m512i even_upper = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88);
        __m512i odd_upper = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
        __m512i even_lower = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
        __m512i odd_lower = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
        uint32_t *to = target + j * target_stride;
        ptrdiff_t quarter = 4 * target_stride;
        __m512i columns[4] = {
            _mm512_shuffle_i32x4(even_upper, even_lower, 0x88),
            _mm512_shuffle_i32x4(odd_upper, odd_lower, 0x88),
            _mm512_shuffle_i32x4(even_upper, even_lower, 0xdd),
            _mm512_shuffle_i32x4(odd_upper, odd_lower, 0xdd),
        };
        UNROLL for (int q = 0; q < 4; q++) {
            __m512i column = regroups ? regroup(columns[q]) : columns[q];
            _mm512_storeu_si512(to + q * quarter, column);
        }
    }
}

void ck_transpose_avx512(
    const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
    ptrdiff_t target_stride) {
    int whole_rows = rows / 16 * 16, whole_columns = columns / 16 * 16;
    for (int r = 0; r < whole_rows; r += 16) {
        for (int c = 0; c < whole_columns; c += 16) {
            transpose_16x16(
                source + r * source_stride + c, source_stride, target + c * target_stride + r,
                target_stride, false);
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int c = r < whole_rows ? whole_columns : 0; c < columns; c++) {
            target[c * target_stride + r] = source[r * source_stride + c];
        }
    }
}

void ck_transpose_codes_avx512(
    const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
    ptrdiff_t target_stride) {
    for (int r = 0; r < rows; r += 16) {
        for (int c = 0; c < columns; c += 16) {
            transpose_16x16(
                source + r * source_stride + c, source_stride, target + c * target_stride + r,
                target_stride, true);
        }
    }
}
#pragma clang attribute pop

#endif
