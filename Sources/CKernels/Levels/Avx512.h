#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// target[c][r] = source[r][c], 16 x 16 words at a time.
void ck_transpose_avx512(
    const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
    ptrdiff_t target_stride);

/// The same for words of four codes, whose pairs are regrouped: see Pack.c. Whole blocks only.
void ck_transpose_codes_avx512(
    const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
    ptrdiff_t target_stride);

/// Rows to e4m3 without a division per value; see Avx512Encode.c.
void ck_e4m3_encode_f32_avx512(
    const float *source, uint8_t *target, float *scales, size_t count, bool pow2);
void ck_e4m3_encode_bf16_avx512(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2);
