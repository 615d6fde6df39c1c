#include <math.h>
#include <string.h>

#include "Levels/Kernels.h"
#include "Products/Panel.h"

// 4-bit matrices on their way from a file: into panels (see Pack.c), or to f32.

/// One scale of a file.
static inline float scale_at(const void *scales, int format, size_t index) {
    const uint8_t *bytes = scales;
    float value;
    uint16_t half;
    switch (format) {
    case CK_BF16: memcpy(&half, bytes + 2 * index, 2); return ck_from_bf16(half);
    case CK_E8M0:
        // Two to the power of -127 is a subnormal number.
        return bytes[index] == 255 ? NAN : ldexpf(1, bytes[index] - 127);
    case CK_F32: memcpy(&value, bytes + 4 * index, 4); return value;
    default: ck_decode(format, bytes + 2 * index, &value, 1); return value;
    }
}

static bool is_wrong(float scale) { return scale == 0 || !isfinite(scale); }

/// Keeps the scales of group number `g` of `outputs` outputs; returns the first wrong one or -1.
static int pack_scales(
    int format, const void *scales, int scale_format, int groups, int g, int outputs, void *to) {
    int wrong = -1;
    for (int o = outputs - 1; o >= 0; o--) {
        float scale = scale_at(scales, scale_format, (size_t)o * (size_t)groups + (size_t)g);
        if (is_wrong(scale)) wrong = o;
        if (format == CK_INT4_F32) {
            ((float *)to)[o] = scale;
        } else {
            ((uint16_t *)to)[o] = ck_to_bf16(scale);
        }
    }
    return wrong;
}

ptrdiff_t ck_pack_fourbit(
    int format, const void *codes, const void *scales, int scale_format, int first, int count,
    int inputs, void *packed) {
    const ck_kernels *kernels = ck_kernels_in_use();
    size_t panel_bytes = ck_panel_bytes_of(format, inputs), step = ck_group_bytes(format);
    size_t scale_size = scale_format == CK_E8M0 ? 1 : scale_format == CK_F32 ? 4 : 2;
    ptrdiff_t row_words = inputs / 8, wrong = -1;
    int groups = inputs / CK_GROUP_BLOCK;
    size_t row_bytes = (size_t)groups * scale_size;
    for (int done = 0; done < count;) {
        int lane = (first + done) % CK_PANEL, left = count - done;
        int here = left < CK_PANEL - lane ? left : CK_PANEL - lane;
        uint8_t *group = (uint8_t *)packed + (size_t)((first + done) / CK_PANEL) * panel_bytes;
        const uint32_t *from = (const uint32_t *)codes + done * row_words;
        const uint8_t *factors = (const uint8_t *)scales + (size_t)done * row_bytes;
        for (int g = 0; g < groups; g++, group += step, from += CK_GROUP_BLOCK / 8) {
            kernels->transpose(
                from, row_words, here, CK_GROUP_BLOCK / 8, (uint32_t *)(void *)group + lane,
                CK_PANEL);
            size_t kept = format == CK_INT4_F32 ? sizeof(float) : sizeof(uint16_t);
            uint8_t *to = group + CK_GROUP_CODES + (size_t)lane * kept;
            int o = pack_scales(format, factors, scale_format, groups, g, here, to);
            ptrdiff_t index = (ptrdiff_t)(done + o) * groups + g;
            if (o >= 0 && (wrong < 0 || index < wrong)) wrong = index;
        }
        done += here;
    }
    return wrong;
}

ptrdiff_t ck_decode_fourbit(
    int format, const void *codes, const void *scales, int scale_format, int rows, int inputs,
    float *target) {
    const uint8_t *from = codes;
    size_t groups = (size_t)rows * (size_t)(inputs / CK_GROUP_BLOCK);
    ptrdiff_t wrong = -1;
    for (size_t g = 0; g < groups; g++) {
        float scale = scale_at(scales, scale_format, g);
        if (is_wrong(scale) && wrong < 0) wrong = (ptrdiff_t)g;
        for (int k = 0; k < CK_GROUP_BLOCK; k += 2, from++, target += 2) {
            target[0] = ck_fourbit_value(format, *from & 0xf) * scale;
            target[1] = ck_fourbit_value(format, *from >> 4) * scale;
        }
    }
    return wrong;
}

/// The code of a value in units of its scale.
static int code_of(int format, float value) {
    if (format != CK_MXFP4) {
        float nearest = nearbyintf(value);
        return (int)(nearest < -8 ? -8 : nearest > 7 ? 7 : nearest) + 8;
    }
    // Halves between neighbours; a tie goes to the even code.
    static const float halves[7] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
    float magnitude = fabsf(value);
    int code = 0;
    for (; code < 7; code++) {
        if (magnitude < halves[code] || (magnitude == halves[code] && code % 2 == 0)) break;
    }
    return signbit(value) ? code + 8 : code;
}

/// The scale of a group whose largest magnitude is given, as f32.
static float scale_for(int format, float largest) {
    if (largest == 0) return 1;
    if (format != CK_MXFP4) {
        float scale = ck_from_bf16(ck_to_bf16(largest / 7.5f));
        return scale == 0 ? 1 : isfinite(scale) ? scale : 0x1.fep127f;
    }
    int exponent = ilogbf(largest) - 2;
    return ldexpf(1, exponent < -127 ? -127 : exponent);
}

ptrdiff_t ck_encode_fourbit(
    int format, const float *source, int rows, int inputs, void *codes, void *scales) {
    size_t groups = (size_t)rows * (size_t)(inputs / CK_GROUP_BLOCK);
    uint8_t *to = codes;
    for (size_t g = 0; g < groups; g++, source += CK_GROUP_BLOCK, to += CK_GROUP_BLOCK / 2) {
        float largest = 0;
        for (int k = 0; k < CK_GROUP_BLOCK; k++) {
            if (!isfinite(source[k])) return (ptrdiff_t)(g * CK_GROUP_BLOCK) + k;
            largest = fmaxf(largest, fabsf(source[k]));
        }
        float scale = scale_for(format, largest);
        if (format == CK_MXFP4) {
            ((uint8_t *)scales)[g] = (uint8_t)(ilogbf(scale) + 127);
        } else {
            ((uint16_t *)scales)[g] = ck_to_bf16(scale);
        }
        for (int k = 0; k < CK_GROUP_BLOCK; k += 2) {
            int even = code_of(format, source[k] / scale);
            to[k / 2] = (uint8_t)(even | code_of(format, source[k + 1] / scale) << 4);
        }
    }
    return -1;
}
