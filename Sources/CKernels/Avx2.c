// AVX2 and FMA: 8 lanes. 6 rows x 16 outputs are 12 of the 16 registers.

#if defined(__x86_64__)

#define LEVEL(name) avx2_##name
#define VECTOR_LANES 8
#define SLICE_VECTORS 2

#include "Kernels.h"
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "RowLoops.h"
#include "PanelLoops.h"

const ck_kernels ck_kernels_avx2 = {
    ROW_LOOPS, PANEL_LOOPS, .round = avx2_bf16_encode, .transpose = ck_transpose_plain,
    .multiply_add_bf16 = avx2_multiply_add,
};
#pragma clang attribute pop

#endif
