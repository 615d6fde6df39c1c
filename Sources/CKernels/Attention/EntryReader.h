#pragma once

// Entries of a cache as operands of products: for attention, and for the index that chooses what
// attention sees.

#include "Attention/Attention.h"

/// Reads the entries of one sequence. The first eight fields are the caller's.
typedef struct {
    const ck_kernels *kernels;
    const uint8_t *cache;
    size_t entry_bytes;
    int format, block_tokens;
    const int32_t *blocks; // of the sequence
    int key, values;       // of an entry, which begins with its key
    const int32_t *chosen; // positions of the entries to read; NULL for all
    int width, part;       // key and values, padded to even numbers for bf16
    bool bf16;             // operands are bf16, else f32
    bool staged;           // entries are copied, because they are no operands where they lie
    size_t element;
    ptrdiff_t stage_stride;
    char *stage, *panel, *zeros;
    float *row;
    const char *entries[CK_CHUNK];
} ck_entry_reader;

size_t ck_round_up(size_t value, size_t to);
/// Hands out a piece of a scratch, aligned to a line; with no scratch only counts.
char *ck_take_piece(char *scratch, size_t *used, size_t bytes);

/// Computes what follows from the caller's fields.
void ck_reader_prepare(ck_entry_reader *reader, int compute);
/// Places the reader's memory in a scratch; `zeros` holds `wide` values more than an entry.
void ck_reader_lay_out(ck_entry_reader *reader, size_t wide, char *scratch, size_t *used);
/// One query as an operand of `stride` values; `rounds` says that inputs are rounded to bf16.
void ck_prepare_query(
    const ck_entry_reader *reader, const float *query, bool rounds, ptrdiff_t stride, char *target);
/// Finds `count` entries from the `first` on, at most CK_CHUNK.
void ck_find_entries(ck_entry_reader *reader, int first, int count);
/// Packs up to 64 of the found entries as a panel of outputs.
void ck_pack_positions(ck_entry_reader *reader, int first, int count);
/// c = a . panel, for `rows` rows of operands.
void ck_multiply_panel(
    const ck_entry_reader *reader, const char *a, ptrdiff_t stride, int rows, int k, float *c,
    ptrdiff_t c_stride);
