// Products of every weight format at every level of this CPU, against double precision. Built for
// aarch64 and run under an emulator by neon_check.sh, since the Swift tests run on x86-64.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "CKernels.h"

enum { OUTPUTS = 100, INPUTS = 300, ROWS = 17 };

static float random_value(void) { return (float)(rand() % 2001 - 1000) / 1000; }

static ck_weight random_weight(int format) {
    static const size_t sizes[] = {4, 2, 1, 1};
    unsigned char *source = malloc((size_t)OUTPUTS * INPUTS * sizes[format]);
    for (int i = 0; i < OUTPUTS * INPUTS; i++) {
        float value = random_value();
        switch (format) {
        case CK_F32: ((float *)source)[i] = value; break;
        case CK_BF16: ((uint16_t *)source)[i] = ck_to_bf16(value); break;
        case CK_E4M3: source[i] = ck_to_e4m3(value * 448); break;
        default: source[i] = (unsigned char)(signed char)lrintf(value * 127);
        }
    }
    size_t scale_count = ck_packed_scales(format, OUTPUTS, INPUTS);
    float *scales = malloc((scale_count + 1) * sizeof(float));
    for (size_t i = 0; i < scale_count; i++) scales[i] = 0.01f * (float)(i % 5 + 1);
    void *packed = ck_allocate(ck_packed_bytes(format, OUTPUTS, INPUTS));
    ck_pack(format, source, INPUTS, 1, OUTPUTS, INPUTS, packed);
    free(source);
    return (ck_weight){packed, scales, format, OUTPUTS, INPUTS};
}

/// The largest error, over what summing in f32 may err.
static double worst_error(const ck_weight *weight, int compute, int rows, ck_pool *pool) {
    float x[ROWS * INPUTS], y[ROWS * OUTPUTS], row[INPUTS];
    for (int i = 0; i < ROWS * INPUTS; i++) x[i] = random_value();
    ck_linear_job job = {weight, x, INPUTS, y, OUTPUTS, rows};
    ck_linear(&job, 1, compute, pool);
    double worst = 0;
    for (int o = 0; o < OUTPUTS; o++) {
        ck_unpack_row(weight, o, row);
        for (int r = 0; r < rows; r++) {
            double sum = 0, magnitude = 0;
            for (int i = 0; i < INPUTS; i++) {
                float input = x[r * INPUTS + i];
                if (compute == CK_COMPUTE_BF16) input = ck_from_bf16(ck_to_bf16(input));
                sum += (double)input * row[i];
                magnitude += fabs((double)input * row[i]);
            }
            double allowed = (2 * INPUTS + 16) * 0x1p-24 * magnitude;
            double error = fabs(sum - y[r * OUTPUTS + o]) / allowed;
            worst = error > worst || isnan(error) ? error : worst;
        }
    }
    return worst;
}

int main(void) {
    ck_pool *pool = ck_pool_create(2);
    int failures = 0;
    for (int level = CK_PORTABLE; level <= CK_NEON; level++) {
        if (ck_set_level((ck_level)level) != (ck_level)level) continue;
        for (int format = CK_F32; format <= CK_INT8; format++) {
            for (int compute = CK_COMPUTE_F32; compute <= CK_COMPUTE_BF16; compute++) {
                ck_weight weight = random_weight(format);
                // One row, two and many take different paths through the loops.
                for (int rows = 1; rows <= ROWS; rows += rows < 2 ? 1 : ROWS - 2) {
                    double worst = worst_error(&weight, compute, rows, pool);
                    printf("level %d format %d compute %d rows %d: %.4f of the bound\n", level,
                           format, compute, rows, worst);
                    if (!(worst <= 1)) failures++;
                }
            }
        }
    }
    ck_pool_destroy(pool);
    return failures > 0;
}
