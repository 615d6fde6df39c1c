#include <string.h>

#include "Levels/Kernels.h"
#include "Products/Panel.h"

// One entry of the latent cache: `width` values, in e4m3 followed by one f32 scale per 128.

size_t ck_cache_entry_bytes(int format, int width) {
    switch (format) {
    case CK_F32: return (size_t)width * sizeof(float);
    case CK_BF16: return (size_t)width * sizeof(uint16_t);
    default: return ((size_t)width + 3) / 4 * 4 + ck_blocks(width) * sizeof(float);
    }
}

static const float *scales_of(const uint8_t *entry, int width) {
    return (const float *)(const void *)(entry + ((size_t)width + 3) / 4 * 4);
}

void ck_cache_write(int format, const float *row, int width, uint8_t *entry) {
    switch (format) {
    case CK_F32: memcpy(entry, row, (size_t)width * sizeof(float)); break;
    case CK_BF16: ck_bf16_encode(row, (uint16_t *)(void *)entry, (size_t)width); break;
    default: {
        float *scales = (float *)(uintptr_t)scales_of(entry, width);
        ck_e4m3_encode(row, entry, scales, (size_t)width, false);
    }
    }
}

void ck_cache_read(int format, const uint8_t *entry, int width, float *row) {
    switch (format) {
    case CK_F32: memcpy(row, entry, (size_t)width * sizeof(float)); break;
    case CK_BF16: ck_bf16_decode((const uint16_t *)(const void *)entry, row, (size_t)width); break;
    default: ck_e4m3_decode(entry, scales_of(entry, width), row, (size_t)width);
    }
}
