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

static inline bool ck_is_fourbit(int format) {
    return format == CK_INT4 || format == CK_INT4_F32 || format == CK_MXFP4;
}

/// Bytes of the codes of 32 inputs in a 4-bit panel, and of 8 of them; the scales follow 32.
enum { CK_GROUP_CODES = CK_PANEL * CK_GROUP_BLOCK / 2, CK_EIGHT_CODES = CK_PANEL * 4 };

static inline size_t ck_group_bytes(int format) {
    return CK_GROUP_CODES + CK_PANEL * (format == CK_INT4_F32 ? sizeof(float) : sizeof(uint16_t));
}

/// The code of an output at an input of a 4-bit panel.
static inline int ck_fourbit_code(const uint8_t *panel, int format, int output, int k) {
    size_t group = (size_t)(k / CK_GROUP_BLOCK) * ck_group_bytes(format);
    size_t eight = (size_t)(k % CK_GROUP_BLOCK / 8) * CK_EIGHT_CODES;
    uint8_t both = panel[group + eight + (size_t)(output * 4 + k % 8 / 2)];
    return k % 2 ? both >> 4 : both & 0xf;
}

/// The scale of an output in group number `group` of 32 inputs.
static inline float ck_fourbit_scale(const uint8_t *panel, int format, int output, int group) {
    const uint8_t *scales = panel + (size_t)group * ck_group_bytes(format) + CK_GROUP_CODES;
    return format == CK_INT4_F32 ? ((const float *)(const void *)scales)[output]
                                 : ck_from_bf16(((const uint16_t *)(const void *)scales)[output]);
}

/// The value of a 4-bit code, before its scale.
static inline float ck_fourbit_value(int format, int code) {
    static const float e2m1[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    if (format != CK_MXFP4) return (float)(code - 8);
    return code < 8 ? e2m1[code] : -e2m1[code - 8];
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
    if (ck_is_fourbit(format)) {
        return (size_t)(inputs / CK_GROUP_BLOCK) * ck_group_bytes(format);
    }
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
