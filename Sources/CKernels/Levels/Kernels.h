#pragma once

// Between the files of this room: one table of inner loops per level of instructions.

#include "CKernels.h"
#include "Products/Panel.h"

/// Rows of the input that one tile holds in registers: 6 x 64 outputs are 24 of the 32 registers
/// of AVX-512, which leaves room for four vectors of weights and one of the input.
#define CK_TILE_ROWS 6

/// c[r][0..<64] (+)= a[r][0..<k] * panel, for any number of rows; strides count elements.
/// With `add` the sums continue from what c holds.
typedef void (*ck_panel_f32)(
    const float *a, ptrdiff_t a_stride, int rows, const float *panel, int k, float *c,
    ptrdiff_t c_stride, bool add);
/// The same with bf16 weights and f32 inputs.
typedef void (*ck_panel_wide)(
    const float *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add);
/// The same with bf16 weights and bf16 inputs, padded with zeros to an even k. `next` is what the
/// caller will multiply by after this, for memory to bring it meanwhile; NULL if nothing is known.
typedef void (*ck_panel_bf16)(
    const uint16_t *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add, const void *next);
/// The same with one-byte weights, for all of k: a sum per block of 128 inputs, times that block's
/// scale (1 when `scales` is NULL), added up block by block. `a` is f32 or bf16, padded with zeros
/// to a multiple of 4. `scratch` holds CK_BYTES_SCRATCH bytes.
typedef void (*ck_panel_bytes)(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch, const void *next);

/// The same with int8 weights and int8 inputs, for all of k: the sum over each block of 128 inputs
/// in integers, times that block's scale, added up by one fused multiply-add per block: the same
/// bits at every level. Rows of `a` are laid out as `ck_int8_blocks` says, their inputs padded with
/// zeros to a multiple of 4.
typedef void (*ck_panel_int8)(
    const int8_t *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, float *c,
    ptrdiff_t c_stride, const void *next);

/// The same with 4-bit weights and f32 inputs, for all of k, a multiple of 32: the sum over each
/// group of 32 inputs, times the output's scale there, added up group by group.
typedef void (*ck_panel_fourbit)(
    const float *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    float *c, ptrdiff_t c_stride, void *scratch);

/// The same with f32, bf16 or e4m3 weights and f32 inputs that lie as tiles: see `ck_operand`.
typedef void (*ck_panel_tiles)(
    const float *a, ptrdiff_t a_stride, int rows, const void *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, bool add, void *scratch);

/// One decoded block of a panel, in f32.
#define CK_BYTES_SCRATCH (CK_SCALE_BLOCK * CK_PANEL * sizeof(float))

typedef struct {
    ck_panel_f32 f32;
    ck_panel_wide wide;
    ck_panel_bytes f32_bytes;
    ck_panel_int8 int8;
    ck_panel_fourbit fourbit;
    ck_panel_bf16 bf16;        // NULL where the CPU has no bf16 dot product
    ck_panel_bytes bf16_bytes; // likewise; e4m3 alone
    ck_panel_tiles tiles;      // NULL where rows serve as they lie

    /// target[i] = bf16 of source[i], as inputs of a product.
    void (*round)(const float *source, uint16_t *target, size_t count);
    /// target[i] = int8 of source[i], and a block per 128 of them: see CKernels.h.
    void (*round_int8)(
        const float *source, int8_t *target, ck_int8_block *blocks, size_t count);
    /// target[c][r] = source[r][c] for words of 32 bits; strides count words.
    void (*transpose)(
        const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
        ptrdiff_t target_stride);
    /// The same for words of four codes, each 16 bytes of the target regrouped as by `group_pairs`;
    /// rows and columns are multiples of 16. NULL where the two together serve.
    void (*transpose_codes)(
        const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
        ptrdiff_t target_stride);
    /// Rounds `outputs` (at most 64) by `k` values, whose element (o, i) is
    /// `source[o * row + i * column]`, into a bf16 panel `[k / 2][64][2]`, zeros where there are no
    /// values; one of `row` and `column` is 1. NULL where `bf16` is.
    void (*pack_pairs)(
        const float *source, ptrdiff_t row, ptrdiff_t column, int outputs, int k,
        uint16_t *panel);
    /// Rounds `rows` (at most 64) by `k` values, whose element (r, i) is `source[r + i * column]`,
    /// into rows of bf16, a zero after an odd k. NULL where `bf16` is.
    void (*turn_pairs)(
        const float *source, ptrdiff_t column, int rows, int k, uint16_t *target,
        ptrdiff_t target_stride);
    /// target[i] = (first[i], second[i]).
    void (*interleave)(
        const uint16_t *first, const uint16_t *second, uint16_t *target, size_t count);

    /// In each 16 bytes, 4 groups of (k, k+1, k+2, k+3): their first pairs, then their second.
    void (*group_pairs)(uint8_t *bytes, size_t count);

    void (*rms_norm)(const float *x, const float *weight, float epsilon, float *y, int columns);
    void (*rope)(float *x, const float *cosines, const float *sines, int pairs, float sign);
    void (*swiglu)(const float *gate, const float *up, float *y, size_t count);
    void (*clamped_swiglu)(
        const float *gate, const float *up, float alpha, float limit, float *y, size_t count);
    float (*largest)(const float *x, size_t count);
    /// x[i] = exp(x[i] - shift); returns the sum.
    float (*exponentials)(float *x, float shift, size_t count);
    void (*sigmoid)(float *x, size_t count);
    void (*scale)(float *x, float factor, size_t count);
    void (*add)(const float *x, float *y, size_t count);
    /// y += weight * x
    void (*accumulate)(const float *x, float weight, float *y, size_t count);
    /// y += weight * max(0, x)
    void (*accumulate_positive)(const float *x, float weight, float *y, size_t count);

    void (*bf16_encode)(const float *source, uint16_t *target, size_t count);
    void (*bf16_decode)(const uint16_t *source, float *target, size_t count);
    void (*bf16_accumulate)(const uint16_t *source, float weight, float *target, size_t count);
    /// target += weights[0] * rows[0] + weights[1] * rows[1] + ..., added in that order
    void (*bf16_sum)(
        const uint16_t *const *rows, const float *weights, int row_count, float *target,
        size_t count);
    /// target = bf16 of that sum, beginning from zero; past the cache if `streams`
    void (*bf16_sum_to_bf16)(
        const uint16_t *const *rows, const float *weights, int row_count, uint16_t *target,
        size_t count, bool streams);
    /// target[i] = e4m3 of source[i] / scale
    void (*e4m3_encode)(const float *source, float scale, uint8_t *target, size_t count);
    void (*e4m3_decode)(const uint8_t *source, float scale, float *target, size_t count);
    float (*largest_magnitude)(const float *x, size_t count);
    /// Whole rows, a scale per 128 values; NULL where the loops above serve.
    void (*e4m3_encode_row)(
        const float *source, uint8_t *target, float *scales, size_t count, bool pow2);
    void (*e4m3_encode_bf16_row)(
        const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2);

    double (*read)(const void *memory, size_t bytes);
    /// Runs `rounds` rounds of multiply-adds; returns how many operations that was.
    double (*multiply_add_f32)(long rounds);
    double (*multiply_add_bf16)(long rounds);
} ck_kernels;

/// Now, where the pool keeps times; else 0, which the others take for nothing.
double ck_pool_time(const ck_pool *pool);
void ck_pool_add_products(ck_pool *pool, double start, double operations);
void ck_pool_add_attention(ck_pool *pool, double start);

/// The table of the level in use: of what is done row by row, with the same bits at every level.
const ck_kernels *ck_kernels_in_use(void);
/// The table whose loops multiply by weights of a format.
const ck_kernels *ck_kernels_for(int format, int compute);
/// The table whose loops attention and its index take.
const ck_kernels *ck_kernels_for_attention(int compute);

extern const ck_kernels ck_kernels_portable;
void ck_panel_int8_plain(
    const int8_t *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, float *c,
    ptrdiff_t c_stride, const void *next);

/// The scale that brings `largest` to 448: all zeros scale by 1.
float ck_scale_for(float largest, bool pow2);
/// Rows to e4m3 by the loops of the level in use: what `e4m3_encode_row` must equal.
void ck_e4m3_encode_plain(
    const float *source, uint8_t *target, float *scales, size_t count, bool pow2);
void ck_e4m3_encode_bf16_plain(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2);
void ck_transpose_plain(
    const uint32_t *source, ptrdiff_t source_stride, int rows, int columns, uint32_t *target,
    ptrdiff_t target_stride);
#if defined(__x86_64__)
/// Rows to e4m3 without a division per value; see Avx2Encode.c.
void ck_e4m3_encode_f32_avx2(
    const float *source, uint8_t *target, float *scales, size_t count, bool pow2);
void ck_e4m3_encode_bf16_avx2(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2);

extern const ck_kernels ck_kernels_avx2;
extern const ck_kernels ck_kernels_avxvnni;
extern const ck_kernels ck_kernels_avx512;
extern const ck_kernels ck_kernels_avx512vnni;
extern const ck_kernels ck_kernels_avx512bf16;
/// NULL where the CPU or the system has no tiles.
const ck_kernels *ck_kernels_amx(void);
#elif defined(__aarch64__)
extern const ck_kernels ck_kernels_neon;
extern const ck_kernels ck_kernels_neon_dot;
#endif
