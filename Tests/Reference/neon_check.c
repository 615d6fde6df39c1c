// Products of every weight format at every level of this CPU, against double precision. Built for
// aarch64 and run under an emulator by neon_check.sh, since the Swift tests run on x86-64.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

enum { OUTPUTS = 100, INPUTS = 288, ROWS = 17 };

static float random_value(void) { return (float)(rand() % 2001 - 1000) / 1000; }

static ck_weight random_fourbit(int format) {
    enum { GROUPS = OUTPUTS * INPUTS / CK_GROUP_BLOCK };
    static unsigned char codes[OUTPUTS * INPUTS / 2], powers[GROUPS];
    static uint16_t halves[GROUPS];
    static float scales[GROUPS];
    for (int i = 0; i < OUTPUTS * INPUTS / 2; i++) codes[i] = (unsigned char)rand();
    for (int i = 0; i < GROUPS; i++) {
        powers[i] = (unsigned char)(118 + i % 5);
        scales[i] = 0.01f * (float)(i % 7 + 1);
        halves[i] = ck_to_bf16(scales[i]);
    }
    void *packed = ck_allocate(ck_packed_bytes(format, OUTPUTS, INPUTS));
    if (format == CK_INT4) {
        ck_pack_fourbit(format, codes, halves, CK_BF16, 0, OUTPUTS, INPUTS, packed);
    } else if (format == CK_INT4_F32) {
        ck_pack_fourbit(format, codes, scales, CK_F32, 0, OUTPUTS, INPUTS, packed);
    } else {
        ck_pack_fourbit(format, codes, powers, CK_E8M0, 0, OUTPUTS, INPUTS, packed);
    }
    return (ck_weight){packed, NULL, format, OUTPUTS, INPUTS};
}

static ck_weight random_weight(int format) {
    if (format >= CK_INT4) return random_fourbit(format);
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

/// What the inputs of a product become before they are multiplied: see CKernels.h.
static void round_row(const float *x, double *rounded, int format, int compute) {
    for (int i = 0; i < INPUTS; i++) {
        rounded[i] = compute == CK_COMPUTE_BF16 ? ck_from_bf16(ck_to_bf16(x[i])) : x[i];
    }
    if (format != CK_INT8 || compute != CK_COMPUTE_BF16) return;
    for (int first = 0; first < INPUTS; first += 128) {
        int end = first + 128 < INPUTS ? first + 128 : INPUTS;
        float largest = 0;
        for (int i = first; i < end; i++) largest = fmaxf(largest, fabsf(x[i]));
        float factor = 127 / largest, scale = largest / 127;
        for (int i = first; i < end; i++) {
            rounded[i] = (double)nearbyintf(x[i] * factor) * (double)scale;
        }
    }
}

/// The largest error, over what summing in f32 may err. `y` is `[rows][OUTPUTS]`.
static double worst_error(
    const ck_weight *weight, int compute, int rows, float *y, ck_pool *pool) {
    static float x[ROWS * INPUTS];
    static double rounded[ROWS][INPUTS];
    float row[INPUTS];
    for (int i = 0; i < ROWS * INPUTS; i++) x[i] = random_value();
    ck_linear_job job = {weight, x, INPUTS, y, OUTPUTS, rows};
    ck_linear(&job, 1, compute, pool);
    for (int r = 0; r < rows; r++) {
        round_row(x + r * INPUTS, rounded[r], weight->format, compute);
    }
    double worst = 0;
    for (int o = 0; o < OUTPUTS; o++) {
        ck_unpack_row(weight, o, row);
        for (int r = 0; r < rows; r++) {
            double sum = 0, magnitude = 0;
            for (int i = 0; i < INPUTS; i++) {
                sum += rounded[r][i] * row[i];
                magnitude += fabs(rounded[r][i] * row[i]);
            }
            double allowed = (2 * INPUTS + 16) * 0x1p-24 * magnitude;
            double error = fabs(sum - y[r * OUTPUTS + o]) / allowed;
            worst = error > worst || isnan(error) ? error : worst;
        }
    }
    return worst;
}

/// One product at every level, the same numbers each time; returns how many are wrong. The sums of
/// int8 products are integers, so there no bit may differ from the plain level's.
static int check(int format, int compute, int rows, ck_pool *pool) {
    static float plain[ROWS * OUTPUTS], y[ROWS * OUTPUTS];
    int failures = 0;
    for (int level = CK_PORTABLE; level <= CK_NEON; level++) {
        if (ck_set_level((ck_level)level) != (ck_level)level) continue;
        srand(1);
        ck_weight weight = random_weight(format);
        float *result = level == CK_PORTABLE ? plain : y;
        double worst = worst_error(&weight, compute, rows, result, pool);
        size_t bytes = (size_t)rows * OUTPUTS * sizeof(float);
        bool exact = format != CK_INT8 || compute != CK_COMPUTE_BF16
            || memcmp(plain, result, bytes) == 0;
        printf("level %d format %d compute %d rows %d: %.4f of the bound%s\n", level, format,
               compute, rows, worst, exact ? "" : ", not the plain level's bits");
        if (!(worst <= 1) || !exact) failures++;
    }
    return failures;
}

int main(void) {
    ck_pool *pool = ck_pool_create(2);
    int failures = 0;
    for (int format = CK_F32; format <= CK_MXFP4; format++) {
        if (format == CK_F16) continue; // no weight is packed in it
        for (int compute = CK_COMPUTE_F32; compute <= CK_COMPUTE_BF16; compute++) {
            // One row, two and many take different paths through the loops.
            failures += check(format, compute, 1, pool) + check(format, compute, 2, pool)
                + check(format, compute, ROWS, pool);
        }
    }
    ck_pool_destroy(pool);
    return failures > 0;
}
