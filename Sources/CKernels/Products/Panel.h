#pragma once

// Where an element lies inside a packed panel of 64 outputs: see Pack.c.

#include <stddef.h>

#include "CKernels.h"

static inline size_t ck_place_f32(int output, int k) {
    return (size_t)k * CK_PANEL + (size_t)output;
}

static inline size_t ck_place_bf16(int output, int k) {
    return (size_t)(k / 2) * (2 * CK_PANEL) + (size_t)(output * 2 + k % 2);
}

static inline size_t ck_place_int8(int output, int k) {
    return (size_t)(k / 4) * (4 * CK_PANEL) + (size_t)(output * 4 + k % 4);
}

static inline size_t ck_place_e4m3(int output, int k) {
    int vector = output / 16, lane = output % 16 / 4, pair = k % 4 / 2;
    int within = vector * 64 + lane * 16 + pair * 8 + output % 4 * 2 + k % 2;
    return (size_t)(k / 4) * (4 * CK_PANEL) + (size_t)within;
}

/// Inputs that are packed together: the padding of k.
static inline int ck_group(int format) {
    return format == CK_F32 ? 1 : format == CK_BF16 ? 2 : 4;
}

static inline int ck_element_size(int format) {
    return format == CK_F32 ? 4 : format == CK_BF16 ? 2 : 1;
}

static inline size_t ck_panels(int outputs) {
    return ((size_t)outputs + CK_PANEL - 1) / CK_PANEL;
}

/// Bytes of one panel.
static inline size_t ck_panel_bytes_of(int format, int inputs) {
    size_t group = (size_t)ck_group(format);
    size_t padded = ((size_t)inputs + group - 1) / group * group;
    return CK_PANEL * padded * (size_t)ck_element_size(format);
}

static inline size_t ck_blocks(int inputs) {
    return ((size_t)inputs + CK_SCALE_BLOCK - 1) / CK_SCALE_BLOCK;
}

/// What the products of a block of int8 inputs need beside their bytes.
typedef struct {
    float scale;
    int32_t sum; // of the block's inputs
} ck_int8_block;

/// Bytes of a row of int8 inputs, the zeros after them included; its blocks follow.
static inline size_t ck_int8_bytes(int inputs) { return ((size_t)inputs + 63) / 64 * 64; }

static inline const ck_int8_block *ck_int8_blocks(const int8_t *row, int inputs) {
    return (const ck_int8_block *)(const void *)(row + ck_int8_bytes(inputs));
}
