// The plain path: what every faster one must equal within rounding, written to be read.
//
//   c[r][o] = sum over k of a[r][k] * panel[k][o]        64 outputs o at a time, k in sequence

#define LEVEL(name) portable_##name
#include "Levels/RowLoops.h"
#include "Products/Panel.h"

static void panel_f32(
    const float *a, ptrdiff_t a_stride, int rows, const float *panel, int k, float *c,
    ptrdiff_t c_stride, bool add) {
    for (int r = 0; r < rows; r++, a += a_stride, c += c_stride) {
        if (!add) memset(c, 0, CK_PANEL * sizeof(float));
        for (int i = 0; i < k; i++) {
            for (int o = 0; o < CK_PANEL; o++) c[o] += a[i] * panel[i * CK_PANEL + o];
        }
    }
}

static void panel_wide(
    const float *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add) {
    for (int r = 0; r < rows; r++, a += a_stride, c += c_stride) {
        if (!add) memset(c, 0, CK_PANEL * sizeof(float));
        for (int i = 0; i < k; i++) {
            for (int o = 0; o < CK_PANEL; o++) {
                c[o] += a[i] * portable_from_bf16(panel[ck_place_bf16(o, i)]);
            }
        }
    }
}

static float byte_value(const uint8_t *panel, int format, int output, int k) {
    return format == CK_E4M3 ? portable_from_e4m3(panel[ck_place_e4m3(output, k)])
                             : (float)(panel[ck_place_int8(output, k)] - 128);
}

static void panel_bytes(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch, const void *next) {
    const float *x = a;
    for (int r = 0; r < rows; r++, x += a_stride, c += c_stride) {
        memset(c, 0, CK_PANEL * sizeof(float));
        for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
            int end = first + CK_SCALE_BLOCK < k ? first + CK_SCALE_BLOCK : k;
            float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
            for (int o = 0; o < CK_PANEL; o++) {
                float sum = 0;
                for (int i = first; i < end; i++) {
                    sum += x[i] * byte_value(panel, format, o, i);
                }
                c[o] += sum * scale;
            }
        }
    }
}

void ck_panel_int8_plain(
    const int8_t *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, float *c,
    ptrdiff_t c_stride, const void *next) {
    for (int r = 0; r < rows; r++, a += a_stride, c += c_stride) {
        memset(c, 0, CK_PANEL * sizeof(float));
        const ck_int8_block *block = ck_int8_blocks(a, k);
        for (int first = 0; first < k; first += CK_SCALE_BLOCK, block++) {
            int end = first + CK_SCALE_BLOCK < k ? first + CK_SCALE_BLOCK : k;
            for (int o = 0; o < CK_PANEL; o++) {
                int32_t sum = 0;
                for (int i = first; i < end; i++) {
                    sum += a[i] * (panel[ck_place_int8(o, i)] - 128);
                }
                c[o] = fmaf((float)sum, block->scale, c[o]);
            }
        }
    }
}

static void panel_fourbit(
    const float *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    float *c, ptrdiff_t c_stride, void *scratch) {
    for (int r = 0; r < rows; r++, a += a_stride, c += c_stride) {
        for (int o = 0; o < CK_PANEL; o++) {
            float total = 0;
            for (int group = 0; group < k / CK_GROUP_BLOCK; group++) {
                float sum = 0;
                for (int j = 0; j < CK_GROUP_BLOCK; j++) {
                    int i = group * CK_GROUP_BLOCK + j;
                    sum += a[i] * ck_fourbit_value(format, ck_fourbit_code(panel, format, o, i));
                }
                total += sum * ck_fourbit_scale(panel, format, o, group);
            }
            c[o] = total;
        }
    }
}

void ck_transpose_plain(
    const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
    ptrdiff_t target_stride) {
    for (int c = 0; c < columns; c++) {
        for (int r = 0; r < rows; r++) {
            target[c * target_stride + r] = source[r * source_stride + c];
        }
    }
}

static double read_words(const void *memory, size_t bytes) {
    const uint64_t *words = memory;
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++) sum += words[i];
    return (double)sum;
}

static double multiply_add(long rounds) {
    float lanes[CK_PANEL];
    for (int i = 0; i < CK_PANEL; i++) lanes[i] = (float)i;
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < CK_PANEL; i++) lanes[i] = lanes[i] * 0.5f + 1;
    }
    volatile float keep = portable_fold(lanes);
    (void)keep;
    return 2.0 * CK_PANEL * (double)rounds;
}

const ck_kernels ck_kernels_portable = {
    .f32 = panel_f32, .wide = panel_wide, .f32_bytes = panel_bytes, .int8 = ck_panel_int8_plain,
    .fourbit = panel_fourbit,
    .round = portable_bf16_encode, .transpose = ck_transpose_plain, ROW_LOOPS,
    .read = read_words, .multiply_add_f32 = multiply_add, .multiply_add_bf16 = multiply_add,
};
