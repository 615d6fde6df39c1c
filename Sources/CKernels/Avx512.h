#pragma once

#include <stddef.h>
#include <stdint.h>

/// target[c][r] = source[r][c], 16 x 16 words at a time.
void ck_transpose_avx512(
    const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
    ptrdiff_t target_stride);
