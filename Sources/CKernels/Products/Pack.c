#include <string.h>

#include "Levels/Kernels.h"
#include "Products/Panel.h"

// One layout serves one row and many. Outputs are cut into panels of 64; inside a panel inputs
// run in sequence, so a panel is one stream of memory and a sum over K needs no shuffle:
//
//   f32         [panel][k][64]
//   bf16        [panel][k / 2][64][2]          the pair that one vdpbf16ps lane multiplies
//   int8        [panel][k / 4][64][4]          the four that one vpdpbusd lane multiplies
//   e4m3        [panel][k / 4][4][4][2][4][2]  vector, lane, pair, output in lane, k in pair
//
//   4 bits      [panel][k / 32]: [4][64][8] codes, then [64] scales
//
// In e4m3 a 64-byte vector holds 16 outputs; each of its four 128-bit lanes holds 4 outputs, first
// for the pair (k, k+1), then for (k+2, k+3): interleaving low and high bf16 bytes inside the lanes
// gives two vectors of pairs, in order.
// In 4 bits a word of 32 bits holds 8 inputs of one output, the first in the lowest bits, as in the
// files. A group of 32 inputs and its scales are neighbours: one stream of memory.
// int8 is stored as value + 128: vpdpbusd wants one factor unsigned.
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
           : format == CK_INT8 ? ck_place_int8(output, k)
                               : ck_place_e4m3(output, k);
}

/// Any panel, element by element.
static void pack_elements(
    int format, const uint8_t *source, ptrdiff_t row, ptrdiff_t column, int lane, int outputs,
    int inputs, uint8_t *panel) {
    ptrdiff_t size = ck_element_size(format);
    for (int o = 0; o < outputs; o++) {
        const uint8_t *from = source + o * row * size;
        for (int k = 0; k < inputs; k++, from += column * size) {
            memcpy(panel + place(format, lane + o, k) * (size_t)size, from, (size_t)size);
        }
    }
}

/// Regroups the codes of `outputs` outputs from `lane` on, in all of a panel's vectors.
static void group_codes(uint8_t *panel, int lane, int outputs, int inputs) {
    const ck_kernels *kernels = ck_kernels_in_use();
    if (outputs == CK_PANEL) {
        kernels->group_pairs(panel, (size_t)inputs * CK_PANEL);
        return;
    }
    size_t count = ((size_t)outputs + 3) / 4 * 16;
    for (int k = 0; k < inputs; k += 4) {
        kernels->group_pairs(panel + (size_t)k * CK_PANEL + (size_t)lane * 4, count);
    }
}

/// Inputs in sequence, whole groups of 4 bytes: a panel is its words transposed.
static void pack_words(
    int format, const uint8_t *source, ptrdiff_t row, int lane, int outputs, int inputs,
    uint8_t *panel) {
    const ck_kernels *kernels = ck_kernels_in_use();
    int per_word = 4 / ck_element_size(format), words = inputs / per_word;
    const uint32_t *from = (const uint32_t *)(const void *)source;
    uint32_t *to = (uint32_t *)(void *)panel + lane;
    if (format != CK_E4M3) {
        kernels->transpose(from, row / per_word, outputs, words, to, CK_PANEL);
    } else if (kernels->transpose_codes && outputs % 16 == 0 && words % 16 == 0) {
        kernels->transpose_codes(from, row / per_word, outputs, words, to, CK_PANEL);
    } else {
        kernels->transpose(from, row / per_word, outputs, words, to, CK_PANEL);
        group_codes(panel, lane, outputs, inputs);
    }
}

/// Outputs in sequence (a transposed matrix) in bf16: two inputs' rows interleaved.
static void pack_transposed_pairs(
    const uint16_t *source, ptrdiff_t column, int outputs, int inputs, uint16_t *panel) {
    const ck_kernels *kernels = ck_kernels_in_use();
    const uint16_t zeros[CK_PANEL] = {0};
    for (int k = 0; k < inputs; k += 2) {
        const uint16_t *next = k + 1 < inputs ? source + (k + 1) * column : zeros;
        kernels->interleave(
            source + k * column, next, panel + (size_t)k * CK_PANEL, (size_t)outputs);
    }
}

/// Packs outputs `lane ..< lane + outputs` of a panel.
static void pack_panel(
    int format, const uint8_t *source, ptrdiff_t row, ptrdiff_t column, int lane, int outputs,
    int inputs, uint8_t *panel) {
    ptrdiff_t per_word = 4 / ck_element_size(format);
    if (column == 1 && row % per_word == 0 && inputs % per_word == 0) {
        pack_words(format, source, row, lane, outputs, inputs, panel);
    } else if (row == 1 && format == CK_BF16) {
        uint16_t *first = (uint16_t *)(void *)panel + 2 * lane;
        pack_transposed_pairs(
            (const uint16_t *)(const void *)source, column, outputs, inputs, first);
    } else {
        pack_elements(format, source, row, column, lane, outputs, inputs, panel);
    }
    if (format != CK_INT8) return;
    for (int k = 0; k < inputs; k += 4) {
        uint8_t *codes = panel + (size_t)k * CK_PANEL + (size_t)lane * 4;
        for (int i = 0; i < outputs * 4; i++) codes[i] ^= 0x80;
    }
}

void ck_take_every(void *units, size_t unit, size_t count, size_t step, size_t index) {
    uint16_t *pairs = units;
    uint32_t *words = units;
    char *bytes = units;
    for (size_t i = 0; i < count; i++) {
        size_t from = i * step + index;
        if (unit == sizeof(uint16_t)) {
            pairs[i] = pairs[from];
        } else if (unit == sizeof(uint32_t)) {
            words[i] = words[from];
        } else {
            memmove(bytes + i * unit, bytes + from * unit, unit);
        }
    }
}

void ck_pack_rows(
    int format, const void *source, ptrdiff_t row, ptrdiff_t column, int first, int count,
    int inputs, void *packed) {
    size_t panel_bytes = ck_panel_bytes_of(format, inputs);
    const uint8_t *from = source;
    for (int output = first; output < first + count;) {
        int lane = output % CK_PANEL, left = first + count - output;
        int here = left < CK_PANEL - lane ? left : CK_PANEL - lane;
        uint8_t *panel = (uint8_t *)packed + (size_t)(output / CK_PANEL) * panel_bytes;
        pack_panel(format, from, row, column, lane, here, inputs, panel);
        from += (ptrdiff_t)here * row * ck_element_size(format);
        output += here;
    }
}

void ck_pack(
    int format, const void *source, ptrdiff_t row, ptrdiff_t column, int outputs, int inputs,
    void *packed) {
    ck_pack_rows(format, source, row, column, 0, outputs, inputs, packed);
}

void ck_unpack_row(const ck_weight *weight, int output, float *row) {
    int format = weight->format, panel = output / CK_PANEL, o = output % CK_PANEL;
    size_t panel_bytes = ck_panel_bytes_of(format, weight->inputs);
    const uint8_t *from = (const uint8_t *)weight->data + (size_t)panel * panel_bytes;
    for (int k = 0; ck_is_fourbit(format) && k < weight->inputs; k++) {
        row[k] = ck_fourbit_value(format, ck_fourbit_code(from, format, o, k))
            * ck_fourbit_scale(from, format, o, k / CK_GROUP_BLOCK);
    }
    if (ck_is_fourbit(format)) return;
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
        default: row[k] = (float)(*element - 128) * weight->scales[output];
        }
    }
}
