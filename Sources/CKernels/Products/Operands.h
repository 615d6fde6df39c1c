#pragma once

// The inputs of a product in the form that its inner loop reads.

#include <stdatomic.h>

#include "Levels/Kernels.h"
#include "Products/Panel.h"

/// Rows of f32, bf16 or int8; the latter two are padded with zeros to a multiple of 4 inputs.
///
/// Tiles are `[rows / 6][inputs][6]` of f32, `6 * stride` from one to the next: what a product of
/// many rows reads as one stream.
typedef struct {
    const void *data;
    ptrdiff_t stride; // elements
    bool is_bf16, is_int8, is_tiled;
    const ck_kernels *kernels; // whose loops read this form
} ck_operand;

/// Rows from which tiles are worth making: below, each input meets few weights of a panel.
enum { CK_TILED_ROWS = 10 * CK_TILE_ROWS };

/// Whether `rows` of f32 that are copied on their way to a weight of this format become tiles.
static inline bool ck_takes_tiles(const ck_kernels *kernels, int format, int rows) {
    bool has_tiles = format == CK_F32 || format == CK_BF16 || format == CK_E4M3;
    return kernels->tiles && rows >= CK_TILED_ROWS && has_tiles;
}

/// Whether inputs that are rounded to bf16 meet a weight of this format as bf16, not as f32.
static inline bool ck_takes_bf16(int format) {
    return format != CK_F32 && !ck_is_fourbit(format);
}

/// Rows of operands in memory: tiles are whole.
static inline size_t ck_operand_rows(bool is_tiled, int rows) {
    return is_tiled ? ((size_t)rows + CK_TILE_ROWS - 1) / CK_TILE_ROWS * CK_TILE_ROWS
                    : (size_t)rows;
}

static inline const void *ck_operand_at(const ck_operand *x, int row, int k) {
    size_t lane = x->is_tiled ? (size_t)(row % CK_TILE_ROWS) : 0;
    size_t step = x->is_tiled ? CK_TILE_ROWS : 1;
    size_t index = ((size_t)row - lane) * (size_t)x->stride + lane + (size_t)k * step;
    return (const char *)x->data + index * (x->is_int8 ? 1 : x->is_bf16 ? 2 : sizeof(float));
}

/// f32 values `[rows][columns]` anywhere in memory, on their way to meet a weight of `format`.
/// Rows that lie apart are named one by one, as `codec` wrote them: f32, bf16, or e4m3 with one
/// scale per block of 128 after the values.
typedef struct {
    const float *values;
    ptrdiff_t row, column; // floats from one row, one column, to the next; one of them is 1
    int rows, columns, format;
    void *const *apart; // in place of values; NULL for none
    int codec;
} ck_input;

/// Makes operands of all inputs, in the pool's shared scratch, which lasts until the next call.
/// f32 operands that need no change are used where they lie. `kernels` converts rows.
void ck_prepare(
    const ck_input *inputs, int count, int compute, const ck_kernels *kernels, ck_pool *pool,
    ck_operand *operands);

/// target[i] = source[i] rounded to bf16, as f32; both may be the same.
void ck_round_to_bf16(
    const ck_kernels *kernels, const float *source, float *target, size_t count);

/// Values of one row of an f32 operand from input `first` on, rounded to bf16 if asked.
void ck_place_row(
    const ck_kernels *kernels, const ck_operand *operand, bool rounds, int row, int first,
    const float *values, int count);

/// Floats or bf16 values from one row of an operand to the next. The extra line keeps rows of
/// 4 KiB from falling into the same set of the cache.
static inline ptrdiff_t ck_operand_stride(int columns) { return (columns + 31) / 32 * 32 + 32; }

/// Bytes from one row of an int8 operand to the next.
static inline ptrdiff_t ck_int8_stride(int columns) {
    size_t used = ck_int8_bytes(columns) + ck_blocks(columns) * sizeof(ck_int8_block);
    return (ptrdiff_t)((used + 63) / 64 * 64 + 64);
}

/// The panel's place in the packed weight.
static inline const uint8_t *ck_panel_at(const ck_weight *weight, int panel) {
    size_t stride = ck_panel_bytes_of(weight->format, weight->inputs);
    return (const uint8_t *)weight->data + (size_t)panel * stride;
}

/// c[0..<rows][0..<64] = x[row..<row + rows] * panel number `panel` of `weight`, for all of k.
/// `next` is the panel that this thread will probably need then, or NULL.
void ck_panel_product(
    const ck_weight *weight, int panel, ck_operand x, int row, int rows, float *c,
    ptrdiff_t c_stride, void *scratch, const void *next);

/// Operations of a product; a multiply-add counts two.
static inline double ck_operations(const ck_weight *weight, int rows) {
    return 2.0 * weight->outputs * weight->inputs * rows;
}

/// Makes the operands of these products; see `ck_prepare`.
void ck_linear_operands(
    const ck_linear_job *jobs, int count, int compute, const ck_kernels *kernels, ck_pool *pool,
    ck_operand *operands);

/// The products alone, their inputs already prepared.
void ck_linear_prepared(
    const ck_linear_job *jobs, const ck_operand *operands, int count, const ck_kernels *kernels,
    ck_pool *pool);

/// The height of nearly equal chunks of `rows` rows, whole tiles each.
int ck_rows_per_unit(int rows);

/// The next unit of one thread's run of units, on a cache line of its own.
typedef struct {
    _Alignas(64) atomic_int next;
} ck_cursor;

/// Units of work `0 ..< count`, dealt to the threads in runs of neighbours. A thread claims from
/// its own run first, then helps the others.
typedef struct {
    int count, threads;
    ck_cursor *cursors; // one per thread
} ck_units;

/// Where the run of thread `owner` begins; for `owner` = threads, where the last one ends.
static inline int ck_run_start(const ck_units *units, int owner) {
    return (int)((long)units->count * owner / units->threads);
}

static inline ck_units ck_deal_units(int count, ck_cursor *cursors, int threads) {
    ck_units units = {count, threads, cursors};
    for (int t = 0; t < threads; t++) atomic_init(&cursors[t].next, ck_run_start(&units, t));
    return units;
}

/// Claims a unit of the run of `owner`; -1 when all of them are taken.
static inline int ck_claim_unit(const ck_units *units, int owner) {
    atomic_int *next = &units->cursors[owner].next;
    int unit = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
    return unit < ck_run_start(units, owner + 1) ? unit : -1;
}
