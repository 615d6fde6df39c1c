#pragma once

// The kernels of the Tensors room. Every function that computes is a plain loop over caller-owned
// memory; nothing here allocates per call except scratch, which a pool keeps and reuses.
//
// Invariants
//  1. A row of a result depends on that row of the input, on the weight and on the level alone:
//     never on how many rows come with it, nor on how many threads share the work.
//  2. Sums over K run in sequence, one accumulator per output. Blocked loops store and reload
//     that accumulator in f32, which changes no bit.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- Level: which instructions may be used -------------------------------------------------

typedef enum {
    CK_PORTABLE = 0,
    CK_AVX2 = 1,
    CK_AVXVNNI = 2, // AVX2 with vpdpbusd for int8
    CK_AVX512 = 3,
    CK_AVX512VNNI = 4, // likewise
    CK_AVX512BF16 = 5, // and vdpbf16ps, vpermi2b
    CK_NEON = 6,
    CK_AMX = 7, // and tdpbf16ps
} ck_level;

/// Kinds of product, each of which may take the loops of another level. With f32 compute weights
/// of f32, bf16, e4m3 and int8 are CK_KIND_F32, attention too; with bf16 compute matrices that
/// change every step are CK_KIND_BF16.
typedef enum {
    CK_KIND_F32 = 0, CK_KIND_BF16 = 1, CK_KIND_E4M3 = 2, CK_KIND_INT8 = 3, CK_KIND_INT4 = 4,
    CK_KIND_MXFP4 = 5, CK_KIND_ATTENTION = 6, CK_KINDS = 7,
} ck_kind;

/// The best level of this CPU by its name. AMX is never that: it is measured, or asked for.
ck_level ck_level_of_cpu(void);
/// The level in use: the CPU's, or the one that APUS_CPU names if the CPU has it.
ck_level ck_level_in_use(void);
/// Sets the level of all kinds for the process, clamped to the CPU's. Not while kernels run.
ck_level ck_set_level(ck_level level);
/// Whether this CPU has the level. Asking for AMX asks the system for its state, once.
bool ck_has_level(ck_level level);
/// The level whose loops a kind of product takes: the one in use, unless it was set apart.
ck_level ck_level_of_kind(ck_kind kind);
/// Sets it, clamped to the CPU's, until the level is set for all. Not while kernels run.
ck_level ck_set_level_of_kind(ck_kind kind, ck_level level);

// ---- Memory --------------------------------------------------------------------------------

/// Zeroed memory, aligned to 64 bytes; in huge pages when it is large enough to fill one.
void *ck_allocate(size_t bytes);
void ck_free(void *memory, size_t bytes);
/// The same for weights: small ones share huge pages, and give them back together.
void *ck_allocate_packed(size_t bytes);
void ck_free_packed(void *memory, size_t bytes);
/// Memory for a tensor, aligned to 64 bytes: zeroed, or with whatever it held. Thread-safe.
void *ck_take(size_t bytes, bool zeroed);
void ck_give(void *memory, size_t bytes);
/// Whether memory that is given back is kept for the next taker: at most half of the most that
/// was in use at once is kept beyond that. Off at first; turning it off returns what is kept.
void ck_recycle(bool on);
/// Bytes that are kept now.
size_t ck_recycled_bytes(void);

// ---- Pool: fork and join -------------------------------------------------------------------

typedef struct ck_pool ck_pool;
typedef void (*ck_task)(void *context, int thread, int threads);

ck_pool *ck_pool_create(int threads);
void ck_pool_destroy(ck_pool *pool);
int ck_pool_threads(const ck_pool *pool);
/// Runs `task` once for each of as many shares as threads, share 0 on the caller and the others on
/// whichever thread is free first, and returns when all are done. No share may wait for another.
void ck_pool_run(ck_pool *pool, ck_task task, void *context);
/// Where a pool's time went: seconds of the caller, forks and joins included.
typedef struct {
    double product_seconds;    // in ck_linear and ck_experts
    double product_operations; // of their products; a multiply-add counts two
    double attention_seconds;  // in ck_attention
} ck_pool_times;

/// Begins to keep times, from zero, or ends it. Off at first: a call then costs one branch.
void ck_pool_keep_times(ck_pool *pool, bool on);
ck_pool_times ck_pool_times_kept(const ck_pool *pool);
/// Memory of one thread (or, for `thread` -1 and -2, two of the caller) that lasts until the next
/// request for it.
void *ck_pool_scratch(ck_pool *pool, int thread, size_t bytes);

// ---- Weights: packed in panels of 64 outputs -----------------------------------------------

/// CK_F16 is a format of files: `ck_decode` widens it, no weight is packed in it. CK_E8M0 is one of
/// scales: two to the power of a byte less 127; 255 is no number.
typedef enum {
    CK_F32 = 0, CK_BF16 = 1, CK_E4M3 = 2, CK_INT8 = 3, CK_F16 = 4,
    CK_INT4 = 5,     // -8...7, a bf16 scale per output and 32 inputs
    CK_INT4_F32 = 6, // the same with f32 scales
    CK_MXFP4 = 7,    // e2m1, a power of two per output and 32 inputs, kept as bf16
    CK_E8M0 = 8,
} ck_format;

/// Outputs side by side in one panel: four 512-bit accumulators per row of the input.
#define CK_PANEL 64
/// Outputs that one piece of packing has at least: a vector of words.
#define CK_PACK_ROWS 16
/// Inputs that share one scale in an e4m3 weight.
#define CK_SCALE_BLOCK 128
/// Inputs of one output that share a scale in a 4-bit weight.
#define CK_GROUP_BLOCK 32

/// A matrix `[outputs, inputs]`, packed. See Pack.c for the order of its bytes.
typedef struct {
    const void *data;
    // e4m3: [panels][input blocks]. int8: [outputs padded]. Else NULL: 4-bit panels hold theirs.
    const float *scales;
    int format;
    int outputs;
    int inputs;
} ck_weight;

size_t ck_packed_bytes(int format, int outputs, int inputs);
size_t ck_packed_scales(int format, int outputs, int inputs);
/// Packs a matrix whose element (o, i) lies at `source + (o * row + i * column) * size`; one of
/// `row` and `column` is 1, and the source need not be aligned. `packed` is all zeros.
void ck_pack(
    int format, const void *source, ptrdiff_t row, ptrdiff_t column, int outputs, int inputs,
    void *packed);
/// The same for outputs `first ..< first + count` alone, whose first element `source` points to;
/// `first` is a multiple of CK_PACK_ROWS. Threads may pack different outputs of one weight at once.
void ck_pack_rows(
    int format, const void *source, ptrdiff_t row, ptrdiff_t column, int first, int count,
    int inputs, void *packed);
/// Keeps of `count * step` units of `unit` bytes every `step`th from number `index` on, in place.
void ck_take_every(void *units, size_t unit, size_t count, size_t step, size_t index);
/// Packs outputs `first ..< first + count` of a 4-bit matrix, whose inputs are a multiple of 32.
///
/// `codes` and `scales` point to output `first`: `[count][inputs / 2]` bytes, the even input in the
/// lower nibble, and `[count][inputs / 32]` factors of `scale_format`: CK_BF16 for CK_INT4, CK_F32
/// or CK_F16 for CK_INT4_F32, CK_E8M0 for CK_MXFP4. Codes of int4 are the value + 8.
///
/// Returns -1, or the index in `scales` of one that is zero, infinite or NaN.
ptrdiff_t ck_pack_fourbit(
    int format, const void *codes, const void *scales, int scale_format, int first, int count,
    int inputs, void *packed);
/// Widens codes as `ck_pack_fourbit` takes them, `[rows][inputs]`, scales applied: each value is
/// one f32 product. Returns the same.
ptrdiff_t ck_decode_fourbit(
    int format, const void *codes, const void *scales, int scale_format, int rows, int inputs,
    float *target);
/// Rounds a matrix to codes and scales as `ck_pack_fourbit` takes them: CK_INT4 with bf16 scales
/// max|group| / 7.5, as compressed-tensors makes them, or CK_MXFP4 with CK_E8M0 scales, the power
/// of two that brings max|group| to 4...8 (OCP Microscaling Formats 1.0, 6.3). Numbers go to the
/// nearest code, ties to the even one, and beyond the last to the last. A group of zeros scales
/// by 1.
///
/// Returns -1, or the index of a value that is infinite or NaN.
ptrdiff_t ck_encode_fourbit(
    int format, const float *source, int rows, int inputs, void *codes, void *scales);
/// Fills `bytes` with random numbers of a format, none of them infinite or NaN, as a file would
/// hold them. Word `first + i` of 8 bytes depends on itself and on `seed` alone.
///
/// Their standard deviation is 0.6 (CK_E4M3), 0.0189 (CK_BF16, CK_F32), 4.6 (CK_INT4) and 2.9
/// (CK_MXFP4).
void ck_fill_random(int format, uint64_t seed, uint64_t first, void *target, size_t bytes);
/// Widens output `o` of a packed weight to f32, scales applied.
void ck_unpack_row(const ck_weight *weight, int output, float *row);

// ---- Linear --------------------------------------------------------------------------------

typedef enum {
    CK_COMPUTE_F32 = 0,  // inputs stay f32
    CK_COMPUTE_BF16 = 1, // inputs are rounded to bf16, or as below; sums stay f32
} ck_compute;

// With CK_COMPUTE_BF16 and an int8 weight, inputs are rounded to int8, each block of 128 by a scale
// of its own:
//
//   largest = max |x[i]| of the block;  scale = largest / 127
//   q[i] = x[i] * (127 / largest), to the nearest integer, ties to even: -127...127
//   y[o] = weight_scale[o] * sum over blocks, in sequence, of scale * (sum of q[i] * w[o][i])
//
// The inner sum is exact, in integers; the outer one is a chain of fused multiply-adds in f32. So
// every level gives the same bits. A block whose largest is below 2^-100 counts as zeros; one that
// holds an infinity or a NaN makes its row NaN.

// With a 4-bit weight the codes are not scaled one by one, and no scaled weight is rounded:
//
//   y[o] = sum over groups of 32 inputs, in sequence, of scale * (sum of x[i] * code value)
//
// Both sums are chains in f32, the outer one of fused multiply-adds. With CK_COMPUTE_BF16 only x is
// rounded.

/// y[r][o] = sum over i of x[r][i] * w[o][i], for `rows` rows.
typedef struct {
    const ck_weight *weight;
    const float *x;
    ptrdiff_t x_stride; // floats between rows
    float *y;
    ptrdiff_t y_stride;
    int rows;
    // Where each row of y lies, f32 or bf16, in place of y; NULL for rows one after the other.
    void *const *outputs;
    int output_format;
    const float *bias; // [outputs], added to every row; NULL for none
} ck_linear_job;

/// All jobs in one fork and join.
void ck_linear(const ck_linear_job *jobs, int count, int compute, ck_pool *pool);

/// One expert: y = down(silu(gate(x)) * up(x)), for `rows` rows; or, with a `limit`,
/// y = down(g / (1 + e^(-alpha g)) * (u + 1)), where g is gate(x), at most the limit, and u is
/// up(x), between the limit and its negative.
typedef struct {
    const ck_weight *gate, *up, *down;
    // What is added to their outputs, of gate and up with zeros to the end of the last panel; NULL
    // for nothing.
    const float *gate_bias, *up_bias, *down_bias;
    float alpha, limit; // of the clamped activation; a limit of 0 is silu
    const float *x;
    ptrdiff_t x_stride;
    float *y;
    ptrdiff_t y_stride;
    int rows;
    // Where each row lies, in place of x and y; NULL for rows one after the other. Inputs are f32,
    // bf16 or e4m3 with its scales after it, outputs f32 or bf16.
    void *const *inputs;
    void *const *outputs;
    int input_format, output_format;
} ck_expert_job;

void ck_experts(const ck_expert_job *jobs, int count, int compute, ck_pool *pool);

/// c[m][n] (+)= sum over k of a(m, k) * b(n, k); both addressed by strides, none packed.
typedef struct {
    const float *a;
    ptrdiff_t a_row, a_column;
    const float *b;
    ptrdiff_t b_row, b_column;
    float *c;
    ptrdiff_t c_row;
    int m, n, k;
    int accumulate;
} ck_matmul_job;

/// All jobs in one fork and join; no two of them write the same c.
void ck_matmuls(const ck_matmul_job *jobs, int count, int compute, ck_pool *pool);

// ---- Number formats ------------------------------------------------------------------------

uint16_t ck_to_bf16(float value);
float ck_from_bf16(uint16_t value);
/// Nearest e4m3fn, ties to even, saturating at 448; NaN stays NaN.
uint8_t ck_to_e4m3(float value);
float ck_from_e4m3(uint8_t value);

void ck_bf16_encode(const float *source, uint16_t *target, size_t count);
void ck_bf16_decode(const uint16_t *source, float *target, size_t count);
/// target[i] += weight * source[i]
void ck_bf16_accumulate(const uint16_t *source, float weight, float *target, size_t count);
/// target[i] += weights[0] * rows[0][i], then the next row; the same bits as one after the other.
void ck_bf16_sum(
    const uint16_t *const *rows, const float *weights, int row_count, float *target,
    size_t count);
/// target[i] = bf16 of that sum, beginning from zero. `streams` writes past the cache where
/// `target` begins on a cache line.
void ck_bf16_sum_to_bf16(
    const uint16_t *const *rows, const float *weights, int row_count, uint16_t *target,
    size_t count, bool streams);
void ck_f32_accumulate(const float *source, float weight, float *target, size_t count);

/// One f32 scale per 128 values: scale = max|x| / 448, or the next power of two when `pow2`.
void ck_e4m3_encode(const float *source, uint8_t *target, float *scales, size_t count, bool pow2);
/// The same from bf16.
void ck_e4m3_encode_bf16(
    const uint16_t *source, uint8_t *target, float *scales, size_t count, bool pow2);
void ck_e4m3_decode(const uint8_t *source, const float *scales, float *target, size_t count);
void ck_e4m3_accumulate(
    const uint8_t *source, const float *scales, float weight, float *target, size_t count);
/// One scale per 128x128 block of a row-major matrix.
void ck_e4m3_encode_blocks(
    const float *source, int rows, int columns, uint8_t *target, float *scales, bool pow2);
void ck_e4m3_decode_blocks(
    const uint8_t *source, const float *scales, int rows, int columns, float *target);
/// Fills `out` with f32 from `count` values of `format` that carry no scale.
void ck_decode(int format, const void *source, float *target, size_t count);

// ---- Rows ----------------------------------------------------------------------------------

void ck_rms_norm(const float *x, const float *weight, float epsilon, float *y, int columns);
/// y = (x - mean) / sqrt(variance + epsilon) * weight + bias; sums in double, in sequence.
void ck_layer_norm(
    const float *x, const float *weight, const float *bias, float epsilon, float *y, int columns);
/// Rotates pairs (2i, 2i+1) by the angle whose cosine and sine are given; `sign` -1 rotates back.
void ck_rope(float *x, const float *cosines, const float *sines, int pairs, float sign);
/// The same for pairs (i, pairs + i).
void ck_rope_halves(float *x, const float *cosines, const float *sines, int pairs, float sign);
void ck_swiglu(const float *gate, const float *up, float *y, size_t count);
void ck_softmax(float *x, int columns);
void ck_log_softmax(float *x, int columns);
void ck_add(const float *x, float *y, size_t count);

typedef struct {
    int experts, top_k, groups, top_groups;
    int softmax;        // else sigmoid
    int weighs_chosen;  // scores are logits plus bias, weights the softmax of the chosen scores
    int group_max;      // group score: its best expert (V2), else the sum of its best two (V3)
    int normalise;      // divide weights by their sum
    float scaling;      // routed_scaling_factor
} ck_gate_rule;

/// Chooses `top_k` experts, best first, equal scores by lower index. `bias` may be NULL.
/// `scratch` holds 2 * experts + groups floats. Scores after the call: the unbiased ones, or with
/// `weighs_chosen` the biased ones.
void ck_gate(
    const ck_gate_rule *rule, const float *logits, const float *bias, int32_t *chosen,
    float *weights, float *scratch);

// ---- Attention over a cache ----------------------------------------------------------------

/// Queries against a blocked cache. Token t of `tokens` sees the first `contexts[t]` entries of
/// sequence `sequences[t]`, whose entry p lies in block
/// `blocks[first_block[sequence] + p / block_tokens]`.
///
/// An entry has one part for every `group_heads` heads, `group_bytes` apart. The first `key_width`
/// values of a part are the key; `value_width` of them from `value_first` on are summed. Latent
/// attention has one part for all heads, and its value is the first values of its key.
typedef struct {
    const float *queries; // [tokens][heads][key_width]
    ptrdiff_t query_stride;
    float *out; // [tokens][heads][value_width]
    ptrdiff_t out_stride;
    const uint8_t *cache;
    size_t entry_bytes, group_bytes;
    int format; // CK_F32, CK_BF16 or CK_E4M3
    int block_tokens, heads, group_heads, tokens;
    int part_width, key_width, value_first, value_width;
    const int32_t *sequences, *contexts, *blocks;
    const int32_t *first_block;
    float scale;
    // [tokens][chosen_count], ascending: the entries that a token sees which would see more than
    // that; NULL where every token sees all.
    const int32_t *chosen;
    int chosen_count;
    int window;         // the last entries of a context that a token sees, if no entries are
                        // chosen; 0 for all
    const float *sinks; // [heads], a score that takes weight and has no value; NULL for none
} ck_attention_job;

void ck_attention(const ck_attention_job *job, int compute, ck_pool *pool);
size_t ck_cache_entry_bytes(int format, int width);
void ck_cache_write(int format, const float *row, int width, uint8_t *entry);
void ck_cache_read(int format, const uint8_t *entry, int width, float *row);

// ---- Sparse attention: which entries a token sees ------------------------------------------

/// Queries against a blocked cache of keys, laid out as that of latent attention:
///
///   score(t, p) = sum over h, in sequence, of weights[t][h] * max(0, queries[t][h] . keys[p])
///
/// Tokens that see no more than `wanted` entries have no scores.
typedef struct {
    const float *queries; // [tokens][heads][width]
    ptrdiff_t query_stride;
    const float *weights; // [tokens][heads]
    ptrdiff_t weight_stride;
    const uint8_t *cache;
    size_t entry_bytes;
    int format; // CK_F32, CK_BF16 or CK_E4M3
    int block_tokens, width, heads, tokens, wanted;
    const int32_t *sequences, *contexts, *blocks;
    const int32_t *first_block;
} ck_index_job;

/// Writes the scores of every token's entries to `scores + t * score_stride`.
void ck_index_scores(
    const ck_index_job *job, int compute, float *scores, ptrdiff_t score_stride, ck_pool *pool);
/// The positions of the `wanted` largest of `count` scores, ascending; of equal scores the lower
/// positions. `wanted` is at most `count`.
void ck_top_positions(const float *scores, int count, int wanted, int32_t *chosen);
/// Both: writes to `chosen`, `[tokens][wanted]`, the rows of tokens that have scores.
void ck_choose_positions(const ck_index_job *job, int compute, int32_t *chosen, ck_pool *pool);

// ---- Limits --------------------------------------------------------------------------------

double ck_seconds(void);
/// Reads `bytes` with every thread; bytes per second.
double ck_read_bandwidth(ck_pool *pool, const void *memory, size_t bytes);
/// Multiply-adds as fast as the level can; floating-point operations per second.
double ck_peak_rate(ck_pool *pool, int compute);

#include "CGradients.h"
