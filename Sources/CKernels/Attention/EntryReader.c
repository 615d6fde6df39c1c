#include "Attention/EntryReader.h"

#include <string.h>

#include "Products/Operands.h"

/// Positions that are transposed together.
enum { GROUP = 16 };

size_t ck_round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

char *ck_take_piece(char *scratch, size_t *used, size_t bytes) {
    char *piece = scratch ? scratch + *used : NULL;
    *used += ck_round_up(bytes, 64);
    return piece;
}

void ck_reader_prepare(ck_entry_reader *reader, int compute) {
    reader->bf16 = compute == CK_COMPUTE_BF16 && reader->kernels->bf16;
    reader->width = reader->key + (reader->bf16 ? reader->key % 2 : 0);
    reader->part = reader->values + (reader->bf16 ? reader->values % 2 : 0);
    reader->element = reader->bf16 ? sizeof(uint16_t) : sizeof(float);
    // Chosen entries lie apart; in the stage they are transposed together.
    reader->staged = reader->format != (reader->bf16 ? CK_BF16 : CK_F32)
                     || reader->width != reader->key || reader->chosen;
    reader->stage_stride = ck_operand_stride(reader->part);
}

void ck_reader_lay_out(ck_entry_reader *reader, size_t wide, char *scratch, size_t *used) {
    size_t width = (size_t)reader->width, part = (size_t)reader->part;
    size_t element = reader->element;
    size_t tall = width > CK_CHUNK ? width : CK_CHUNK;
    size_t staged = reader->staged ? CK_CHUNK * (size_t)reader->stage_stride : 0;
    reader->stage = ck_take_piece(scratch, used, staged * element);
    reader->panel = ck_take_piece(scratch, used, tall * CK_PANEL * element);
    reader->zeros = ck_take_piece(scratch, used, (wide + width) * element);
    reader->row = (float *)(void *)ck_take_piece(scratch, used, part * sizeof(float));
}

void ck_prepare_query(
    const ck_entry_reader *reader, const float *query, bool rounds, ptrdiff_t stride,
    char *target) {
    size_t values = (size_t)reader->key;
    memset(target, 0, (size_t)stride * reader->element);
    if (reader->bf16) {
        reader->kernels->round(query, (uint16_t *)(void *)target, values);
    } else if (rounds) {
        ck_round_to_bf16(reader->kernels, query, (float *)(void *)target, values);
    } else {
        memcpy(target, query, values * sizeof(float));
    }
}

static const uint8_t *entry_at(const ck_entry_reader *reader, int index) {
    int position = reader->chosen ? reader->chosen[index] : index;
    size_t block = (size_t)reader->blocks[position / reader->block_tokens];
    size_t entry = block * (size_t)reader->block_tokens;
    return reader->cache
           + (entry + (size_t)(position % reader->block_tokens)) * reader->entry_bytes;
}

/// Decodes one entry into the stage.
static void stage_entry(ck_entry_reader *reader, const uint8_t *entry, char *target) {
    if (!reader->bf16) {
        ck_cache_read(reader->format, entry, reader->values, (float *)(void *)target);
        return;
    }
    if (reader->format == CK_BF16 && reader->part == reader->values) {
        memcpy(target, entry, (size_t)reader->values * sizeof(uint16_t));
        return;
    }
    memset(reader->row, 0, (size_t)reader->part * sizeof(float));
    ck_cache_read(reader->format, entry, reader->values, reader->row);
    reader->kernels->round(reader->row, (uint16_t *)(void *)target, (size_t)reader->part);
}

/// Entries are decoded where the cache's format is not the one that the products read. Enough
/// follow them to fill a group of 16: their scores are computed and never read.
void ck_find_entries(ck_entry_reader *reader, int first, int count) {
    for (int i = 0; i < (int)ck_round_up((size_t)count, GROUP); i++) {
        bool exists = i < count || (first + i) % reader->block_tokens != 0;
        if (reader->staged) {
            char *target = reader->stage + (size_t)(i * reader->stage_stride) * reader->element;
            if (i < count) stage_entry(reader, entry_at(reader, first + i), target);
            reader->entries[i] = target;
        } else if (exists && (i < count || reader->entries[i - 1] != reader->zeros)) {
            int last = i < count ? i : count - 1;
            const uint8_t *entry = entry_at(reader, first + last);
            reader->entries[i] = (const char *)entry + (size_t)(i - last) * reader->entry_bytes;
        } else {
            reader->entries[i] = reader->zeros;
        }
    }
}

/// `[width / 2][64][2]` in bf16, `[width][64]` in f32.
void ck_pack_positions(ck_entry_reader *reader, int first, int count) {
    int columns = (int)((size_t)reader->width * reader->element / sizeof(uint32_t));
    uint32_t *panel = (uint32_t *)(void *)reader->panel;
    const char *const *entries = reader->entries;
    for (int p = first; p < first + count; p += GROUP) {
        ptrdiff_t stride = entries[p + 1] - entries[p];
        bool even = stride % (ptrdiff_t)sizeof(uint32_t) == 0;
        for (int i = 1; even && i < GROUP; i++) {
            even = entries[p + i] - entries[p] == i * stride;
        }
        for (int i = 0; i < GROUP; i += even ? GROUP : 1) {
            const void *from = entries[p + i];
            reader->kernels->transpose(
                from, stride / (ptrdiff_t)sizeof(uint32_t), even ? GROUP : 1, columns,
                panel + (p - first) + i, CK_PANEL);
        }
    }
}

void ck_multiply_panel(
    const ck_entry_reader *reader, const char *a, ptrdiff_t stride, int rows, int k, float *c,
    ptrdiff_t c_stride) {
    if (reader->bf16) {
        reader->kernels->bf16(
            (const uint16_t *)(const void *)a, stride, rows,
            (const uint16_t *)(const void *)reader->panel, k, c, c_stride, false, NULL);
    } else {
        reader->kernels->f32(
            (const float *)(const void *)a, stride, rows,
            (const float *)(const void *)reader->panel, k, c, c_stride, false);
    }
}
