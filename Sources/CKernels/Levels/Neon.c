// NEON: 4 lanes. 6 rows x 16 outputs are 24 of the 32 registers.

#if defined(__aarch64__)

#define LEVEL(name) neon_##name
#define VECTOR_LANES 4
#define SLICE_VECTORS 4

#include "Levels/Kernels.h"
#include "Levels/RowLoops.h"
#include "Levels/PanelLoops.h"
#include <arm_neon.h>

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#define INT8_BIAS 0
#define INT8(name) neon_dot_##name
INLINE dots neon_dot_dot(dots sum, dots codes, int32_t inputs) {
    int8x16_t weights = veorq_s8((int8x16_t)codes, vdupq_n_s8(-128));
    return (dots)vdotq_s32((int32x4_t)sum, weights, (int8x16_t)vdupq_n_s32(inputs));
}
#include "Levels/Int8Loops.h"
#pragma clang attribute pop

#define TABLE                                                                                      \
    ROW_LOOPS, PANEL_LOOPS, .round = neon_bf16_encode, .transpose = ck_transpose_plain,            \
    .multiply_add_bf16 = neon_multiply_add

const ck_kernels ck_kernels_neon = {TABLE, .int8 = ck_panel_int8_plain};
const ck_kernels ck_kernels_neon_dot = {TABLE, .int8 = neon_dot_panel};

#endif
