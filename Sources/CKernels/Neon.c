// NEON: 4 lanes. 6 rows x 16 outputs are 24 of the 32 registers.

#if defined(__aarch64__)

#define LEVEL(name) neon_##name
#define VECTOR_LANES 4
#define SLICE_VECTORS 4

#include "Kernels.h"
#include "RowLoops.h"
#include "PanelLoops.h"

const ck_kernels ck_kernels_neon = {
    ROW_LOOPS, PANEL_LOOPS, .round = neon_bf16_encode, .transpose = ck_transpose_plain,
    .multiply_add_bf16 = neon_multiply_add,
};

#endif
