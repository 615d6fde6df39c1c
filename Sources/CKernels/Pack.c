#include <string.h>

#include "Kernels.h"
#include "Panel.h"

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

size_t ck_packed_bytes(int format, int outputs, int inputs) {
    return ck_panels(outputs) * ck_panel_bytes_of(format, inputs);
}

size_t ck_packed_scales(int format, int outputs, int inputs) {
    if (format == CK_INT8) return ck_panels(outputs) * CK_PANEL;
    return format == CK_E4M3 ? ck_panels(outputs) * ck_blocks(inputs) : 0;
}

static size_t place(int format, int output, int k) {
    return format == CK_F32    ? ck_place_f32(output, k)
           : format == CK_BF16 ? ck_place_bf16(output, k)
                               : ck_place_byte(output, k);
}

static uint8_t sign_and_magnitude(int8_t value) {
    return value < 0 ? (uint8_t)(0x80 | -value) : (uint8_t)value;
}

static void pack_panel(
    int format, const uint8_t *source, ptrdiff_t row, ptrdiff_t column, int outputs, int inputs,
    uint8_t *panel) {
    for (int o = 0; o < outputs; o++) {
        const uint8_t *from = source + (ptrdiff_t)o * row * ck_element_size(format);
        for (int k = 0; k < inputs; k++, from += column * ck_element_size(format)) {
            uint8_t *to = panel + place(format, o, k) * (size_t)ck_element_size(format);
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
    size_t panel_bytes = ck_panel_bytes_of(format, inputs);
    uint8_t *panel = packed;
    memset(packed, 0, ck_packed_bytes(format, outputs, inputs));
    for (int first = 0; first < outputs; first += CK_PANEL, panel += panel_bytes) {
        int here = outputs - first < CK_PANEL ? outputs - first : CK_PANEL;
        ptrdiff_t start = (ptrdiff_t)first * row * ck_element_size(format);
        const uint8_t *from = (const uint8_t *)source + start;
        pack_panel(format, from, row, column, here, inputs, panel);
    }
}

void ck_unpack_row(const ck_weight *weight, int output, float *row) {
    int format = weight->format, panel = output / CK_PANEL, o = output % CK_PANEL;
    size_t panel_bytes = ck_panel_bytes_of(format, weight->inputs);
    const uint8_t *from = (const uint8_t *)weight->data + (size_t)panel * panel_bytes;
    size_t blocks = ck_blocks(weight->inputs);
    for (int k = 0; k < weight->inputs; k++) {
        const uint8_t *element = from + place(format, o, k) * (size_t)ck_element_size(format);
        switch (format) {
        case CK_F32: memcpy(&row[k], element, 4); break;
        case CK_BF16: ck_bf16_decode((const uint16_t *)(const void *)element, &row[k], 1); break;
        case CK_E4M3:
            row[k] = ck_from_e4m3(*element)
                * weight->scales[(size_t)panel * blocks + (size_t)(k / CK_SCALE_BLOCK)];
            break;
        default: {
            float magnitude = (float)(*element & 0x7f);
            row[k] = (*element & 0x80 ? -magnitude : magnitude) * weight->scales[output];
        }
        }
    }
}
