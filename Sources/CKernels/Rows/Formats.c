#include <math.h>
#include <string.h>

#include "Levels/Kernels.h"

// bf16: the upper half of an f32. e4m3fn: sign, 4 exponent bits of bias 7, 3 fraction bits, no
// infinity, 0x7f and 0xff are NaN, largest 448. f16: sign, 5 exponent bits of bias 15, 10 fraction
// bits.

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t ck_to_bf16(float value) {
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float ck_from_bf16(uint16_t value) { return float_of((uint32_t)value << 16); }

uint8_t ck_to_e4m3(float value) {
    uint32_t bits = bits_of(value);
    uint8_t sign = (uint8_t)(bits >> 24) & 0x80;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7f;
    float magnitude = float_of(bits);
    if (magnitude >= 448) return sign | 0x7e;
    if (magnitude < 0x1p-6f) {
        // Subnormal: a multiple of 2^-9. Adding 2^14 leaves exactly that many fraction bits, so
        // the f32 addition rounds for us.
        return sign | (uint8_t)(bits_of(magnitude + 0x1p14f) - bits_of(0x1p14f));
    }
    uint32_t rounded = bits + 0x7ffff + ((bits >> 20) & 1);
    return sign | (uint8_t)((rounded >> 20) - ((127 - 7) << 3));
}

float ck_from_e4m3(uint8_t value) {
    uint32_t sign = (uint32_t)(value & 0x80) << 24;
    uint32_t magnitude = value & 0x7f;
    if (magnitude == 0x7f) return float_of(sign | 0x7fc00000);
    if (magnitude < 8) return float_of(sign | bits_of((float)magnitude * 0x1p-9f));
    return float_of(sign | ((magnitude << 20) + ((127u - 7) << 23)));
}

static float from_f16(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000) << 16, magnitude = value & 0x7fff;
    if (magnitude < 0x400) return float_of(sign | bits_of((float)magnitude * 0x1p-24f));
    uint32_t bias = magnitude < 0x7c00 ? 127 - 15 : 255 - 31;
    return float_of(sign | ((magnitude << 13) + (bias << 23)));
}

static void decode_f16(const uint8_t *source, float *target, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t value;
        memcpy(&value, source + i * sizeof value, sizeof value);
        target[i] = from_f16(value);
    }
}

void ck_bf16_encode(const float *source, uint16_t *target, size_t count) {
    ck_kernels_in_use()->bf16_encode(source, target, count);
}

void ck_bf16_decode(const uint16_t *source, float *target, size_t count) {
    ck_kernels_in_use()->bf16_decode(source, target, count);
}

void ck_bf16_accumulate(const uint16_t *source, float weight, float *target, size_t count) {
    ck_kernels_in_use()->bf16_accumulate(source, weight, target, count);
}

void ck_bf16_sum(
    const uint16_t *const *rows, const float *weights, int row_count, float *target,
    size_t count) {
    ck_kernels_in_use()->bf16_sum(rows, weights, row_count, target, count);
}

void ck_bf16_sum_to_bf16(
    const uint16_t *const *rows, const float *weights, int row_count, uint16_t *target,
    size_t count, bool streams) {
    ck_kernels_in_use()->bf16_sum_to_bf16(rows, weights, row_count, target, count, streams);
}

void ck_f32_accumulate(const float *source, float weight, float *target, size_t count) {
    ck_kernels_in_use()->accumulate(source, weight, target, count);
}

float ck_scale_for(float largest, bool pow2) {
    if (!(largest > 0)) return 1;
    float scale = largest / 448;
    if (scale < 0x1p-126f) scale = 0x1p-126f;
    if (!pow2) return scale;
    uint32_t bits = bits_of(scale);
    return float_of((bits + 0x7fffff) & 0x7f800000);
}

static size_t block_length(size_t start, size_t count) {
    return count - start < CK_SCALE_BLOCK ? count - start : CK_SCALE_BLOCK;
}

void ck_e4m3_encode(const float *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    const ck_kernels *kernels = ck_kernels_in_use();
    (kernels->e4m3_encode_row ? kernels->e4m3_encode_row : ck_e4m3_encode_plain)(
        source, target, scales, count, pow2);
}

void ck_e4m3_encode_bf16(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    const ck_kernels *kernels = ck_kernels_in_use();
    (kernels->e4m3_encode_bf16_row ? kernels->e4m3_encode_bf16_row : ck_e4m3_encode_bf16_plain)(
        source, target, scales, count, pow2);
}

void ck_e4m3_encode_plain(
    const float *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    const ck_kernels *kernels = ck_kernels_in_use();
    for (size_t start = 0; start < count; start += CK_SCALE_BLOCK) {
        size_t length = block_length(start, count);
        float scale = ck_scale_for(kernels->largest_magnitude(source + start, length), pow2);
        scales[start / CK_SCALE_BLOCK] = scale;
        kernels->e4m3_encode(source + start, scale, target + start, length);
    }
}

void ck_e4m3_encode_bf16_plain(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2) {
    float values[CK_SCALE_BLOCK];
    for (size_t start = 0; start < count; start += CK_SCALE_BLOCK) {
        size_t length = block_length(start, count);
        ck_bf16_decode(source + start, values, length);
        ck_e4m3_encode_plain(
            values, target + start, scales + start / CK_SCALE_BLOCK, length, pow2);
    }
}

void ck_e4m3_decode(const uint8_t *source, const float *scales, float *target, size_t count) {
    const ck_kernels *kernels = ck_kernels_in_use();
    for (size_t start = 0; start < count; start += CK_SCALE_BLOCK) {
        float scale = scales[start / CK_SCALE_BLOCK];
        kernels->e4m3_decode(source + start, scale, target + start, block_length(start, count));
    }
}

void ck_e4m3_accumulate(
    const uint8_t *source, const float *scales, float weight, float *target, size_t count) {
    const ck_kernels *kernels = ck_kernels_in_use();
    float values[CK_SCALE_BLOCK];
    for (size_t start = 0; start < count; start += CK_SCALE_BLOCK) {
        size_t length = block_length(start, count);
        kernels->e4m3_decode(source + start, scales[start / CK_SCALE_BLOCK], values, length);
        kernels->accumulate(values, weight, target + start, length);
    }
}

void ck_e4m3_encode_blocks(
    const float *source, int rows, int columns, uint8_t *target, float *scales, bool pow2) {
    const ck_kernels *kernels = ck_kernels_in_use();
    for (int top = 0; top < rows; top += CK_SCALE_BLOCK) {
        int bottom = rows - top < CK_SCALE_BLOCK ? rows : top + CK_SCALE_BLOCK;
        for (int left = 0; left < columns; left += CK_SCALE_BLOCK) {
            size_t width = block_length((size_t)left, (size_t)columns);
            float largest = 0;
            for (int r = top; r < bottom; r++) {
                size_t start = (size_t)r * (size_t)columns + (size_t)left;
                float here = kernels->largest_magnitude(source + start, width);
                largest = here > largest ? here : largest;
            }
            float scale = ck_scale_for(largest, pow2);
            *scales++ = scale;
            for (int r = top; r < bottom; r++) {
                size_t start = (size_t)r * (size_t)columns + (size_t)left;
                kernels->e4m3_encode(source + start, scale, target + start, width);
            }
        }
    }
}

void ck_e4m3_decode_blocks(
    const uint8_t *source, const float *scales, int rows, int columns, float *target) {
    int block_columns = (columns + CK_SCALE_BLOCK - 1) / CK_SCALE_BLOCK;
    for (int r = 0; r < rows; r++) {
        ck_e4m3_decode(
            source + (size_t)r * columns, scales + (size_t)(r / CK_SCALE_BLOCK) * block_columns,
            target + (size_t)r * columns, (size_t)columns);
    }
}

void ck_decode(int format, const void *source, float *target, size_t count) {
    switch (format) {
    case CK_F32: memcpy(target, source, count * sizeof(float)); break;
    case CK_BF16: ck_bf16_decode(source, target, count); break;
    case CK_F16: decode_f16(source, target, count); break;
    case CK_E4M3:
        ck_kernels_in_use()->e4m3_decode(source, 1, target, count);
        break;
    default:
        for (size_t i = 0; i < count; i++) target[i] = ((const int8_t *)source)[i];
    }
}
