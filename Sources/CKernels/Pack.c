#include <string.h>

#include "CKernels.h"

// One layout serves one row and many. Outputs are cut into panels of 64; inside a panel inputs
// run in sequence, so a panel is one stream of memory and a sum over K needs no shuffle:
//
//   f32         [panel][k][64]
//   bf16        [panel][k / 2][64][2]          the pair that one vdpbf16ps lane multiplies
//   e4m3, int8  [panel][k / 4][4][4][2][4][2]  vector, lane, pair, output in lane, k in pair
//
// In the byte formats a 64-byte vector holds 16 outputs; each of its four 128-bit lanes holds 4
// outputs, first for the pair (k, k+1), then for (k+2, k+3): interleaving low and high bf16 bytes
// inside the lanes gives two vectors of pairs, in order.
// int8 is stored as sign and magnitude, so that it decodes by the same table look-up as e4m3.
// Outputs are padded with zeros to the panel, inputs to the group of 1, 2 or 4.

static int group_of(int format) { return format == CK_F32 ? 1 : format == CK_BF16 ? 2 : 4; }

static int size_of(int format) { return format == CK_F32 ? 4 : format == CK_BF16 ? 2 : 1; }

static size_t panels_of(int outputs) { return ((size_t)outputs + CK_PANEL - 1) / CK_PANEL; }

static size_t padded_inputs(int format, int inputs) {
    size_t group = (size_t)group_of(format);
    return ((size_t)inputs + group - 1) / group * group;
}

size_t ck_packed_bytes(int format, int outputs, int inputs) {
    return panels_of(outputs) * CK_PANEL * padded_inputs(format, inputs) * (size_t)size_of(format);
}

size_t ck_packed_scales(int format, int outputs, int inputs) {
    if (format == CK_INT8) return panels_of(outputs) * CK_PANEL;
    size_t blocks = ((size_t)inputs + CK_SCALE_BLOCK - 1) / CK_SCALE_BLOCK;
    return format == CK_E4M3 ? panels_of(outputs) * blocks : 0;
}

/// Where element (output o of a panel, input k) lies, counted in elements from the panel.
static size_t place(int format, int o, int k) {
    switch (format) {
    case CK_F32: return (size_t)k * CK_PANEL + (size_t)o;
    case CK_BF16: return (size_t)(k / 2) * (2 * CK_PANEL) + (size_t)(o * 2 + k % 2);
    default: {
        int vector = o / 16, lane = o % 16 / 4, pair = k % 4 / 2;
        size_t within = (size_t)(vector * 64 + lane * 16 + pair * 8 + o % 4 * 2 + k % 2);
        return (size_t)(k / 4) * (4 * CK_PANEL) + within;
    }
    }
}

static uint8_t sign_and_magnitude(int8_t value) {
    return value < 0 ? (uint8_t)(0x80 | -value) : (uint8_t)value;
}

static void pack_panel(
    int format, const uint8_t *source, ptrdiff_t row, ptrdiff_t column, int outputs, int inputs,
    uint8_t *panel) {
    for (int o = 0; o < outputs; o++) {
        const uint8_t *from = source + (ptrdiff_t)o * row * size_of(format);
        for (int k = 0; k < inputs; k++, from += column * size_of(format)) {
            uint8_t *to = panel + place(format, o, k) * (size_t)size_of(format);
            switch (format) {
            case CK_F32: memcpy(to, from, 4); break;
            case CK_BF16: memcpy(to, from, 2); break;
            case CK_E4M3: *to = *from; break;
            default: *to = sign_and_magnitude((int8_t)*from);
            }
        }
    }
}

void ck_pack(
    int format, const void *source, ptrdiff_t row, ptrdiff_t column, int outputs, int inputs,
    void *packed) {
    size_t panel_bytes = CK_PANEL * padded_inputs(format, inputs) * (size_t)size_of(format);
    uint8_t *panel = packed;
    memset(packed, 0, ck_packed_bytes(format, outputs, inputs));
    for (int first = 0; first < outputs; first += CK_PANEL, panel += panel_bytes) {
        int here = outputs - first < CK_PANEL ? outputs - first : CK_PANEL;
        const uint8_t *from = (const uint8_t *)source + (ptrdiff_t)first * row * size_of(format);
        pack_panel(format, from, row, column, here, inputs, panel);
    }
}

void ck_unpack_row(const ck_weight *weight, int output, float *row) {
    int format = weight->format, panel = output / CK_PANEL, o = output % CK_PANEL;
    size_t panel_bytes =
        CK_PANEL * padded_inputs(format, weight->inputs) * (size_t)size_of(format);
    const uint8_t *from = (const uint8_t *)weight->data + (size_t)panel * panel_bytes;
    int blocks = (weight->inputs + CK_SCALE_BLOCK - 1) / CK_SCALE_BLOCK;
    for (int k = 0; k < weight->inputs; k++) {
        const uint8_t *element = from + place(format, o, k) * (size_t)size_of(format);
        switch (format) {
        case CK_F32: memcpy(&row[k], element, 4); break;
        case CK_BF16: ck_bf16_decode((const uint16_t *)(const void *)element, &row[k], 1); break;
        case CK_E4M3:
            row[k] = ck_from_e4m3(*element)
                * weight->scales[(size_t)panel * blocks + k / CK_SCALE_BLOCK];
            break;
        default: {
            float magnitude = (float)(*element & 0x7f);
            row[k] = (*element & 0x80 ? -magnitude : magnitude) * weight->scales[output];
        }
        }
    }
}
