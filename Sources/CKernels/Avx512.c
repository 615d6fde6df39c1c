// AVX-512: 16 lanes. 6 rows x 64 outputs are 24 of the 32 registers.

#if defined(__x86_64__)

#define LEVEL(name) avx512_##name
#define VECTOR_LANES 16
#define SLICE_VECTORS 4

#include "Kernels.h"
#include "Avx512.h"
#include <math.h>
#include <string.h>
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"), min_vector_width(512))),      \
    apply_to = function)
#include "RowLoops.h"
#include "PanelLoops.h"

const ck_kernels ck_kernels_avx512 = {
    ROW_LOOPS, PANEL_LOOPS, .round = avx512_bf16_encode, .transpose = ck_transpose_avx512,
    .transpose_codes = ck_transpose_codes_avx512,
    .multiply_add_bf16 = avx512_multiply_add,
    .e4m3_encode_row = ck_e4m3_encode_f32_avx512,
    .e4m3_encode_bf16_row = ck_e4m3_encode_bf16_avx512,
};
#pragma clang attribute pop

#endif
