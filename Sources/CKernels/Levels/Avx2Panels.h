// Panel products of AVX2 with f32 inputs.
//
//   c[r][o] = sum over k of a[r][k] * panel[k][o]
//
// Each sum is one chain of fused multiply-adds over k, as in PanelLoops.h, so how rows, outputs and
// k are cut changes no bit. Two multiply-adds of 8 lanes begin per cycle and take four, so 8 chains
// must be in flight, and 16 registers hold at most 12 beside what they are multiplied by:
//
//   rows       tile          weights
//   1          1 x 64        walked in address order
//   2, 3       2, 3 x 32     blocks of k in address order, of each block one half after the other
//   3 to 6     3 to 6 x 16   likewise, in quarters
//   more       4 to 6 x 16   likewise, for one tile after the other
//
// Three rows of bf16 take 16 outputs, as the compiler finds no registers for more. From 60 rows on
// inputs lie as tiles (Avx2Tiles.h). Weights are widened for every tile anew: that takes pipes that
// multiply-adds leave free, and keeping them took 10% longer (Zen 3, 8 to 59 rows).
//
// e4m3 is decoded block by block to f16, which stays in the first-level cache (Avx2Codes.h).

#include "Levels/Tiles.h"
#include "Levels/LimitLoops.h"

/// Where a tile's weights come from: a panel of either format, or decoded codes.
typedef enum { FROM_F32, FROM_BF16, FROM_F16 } origin;

/// Inputs that one step takes.
enum { STEP = 4 };
/// Inputs of one block: 16 outputs of them and 6 rows of inputs share the first-level cache.
enum { K_BLOCK = CK_SCALE_BLOCK };
/// Bytes of a step of codes that memory brings while one is decoded; the products bring the others.
enum { DECODING_BRINGS = 128 };

/// A loop that is long enough as it is.
#define STAYS_LOOP _Pragma("clang loop unroll(disable)")

/// Bytes of one input's weights for all outputs of a panel.
#define ROW_BYTES(origin) ((origin) == FROM_F32 ? 4 * CK_PANEL : 2 * CK_PANEL)

/// Bytes from the weights of 8 outputs to those of the next 8: bf16 lies in pairs of inputs.
#define LANE_BYTES(origin) ((origin) == FROM_F16 ? 2 * VECTOR_LANES : 4 * VECTOR_LANES)

/// Bytes of 8 outputs' codes of a step.
enum { CODE_BYTES = 4 * VECTOR_LANES };

#include "Levels/Avx2Codes.h"

/// A place in memory that is asked for while a tile computes, `bytes` of it per step.
typedef struct {
    const char *at;
    ptrdiff_t bytes;
} ahead;

/// The weights of 8 outputs at input `j`; `from` points to the outputs' first byte.
INLINE vector weights_at(
    const origin origin, const char *from, const int j, const words *upper) {
    if (origin == FROM_F16) {
        const void *halves = from + j * ROW_BYTES(origin);
        return (vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
    }
    if (origin != FROM_BF16) return *(const vector *)(const void *)(from + j * ROW_BYTES(origin));
    words pairs = *(const words *)(const void *)(from + j / 2 * 2 * ROW_BYTES(origin));
    return (vector)(j % 2 ? pairs & *upper : pairs << 16);
}

/// Which bits of a pair are its second value. Read from memory each time, behind a pointer that the
/// compiler does not follow: the tallest tile has no register for it.
static const words upper_halves = {
    0xffff0000u, 0xffff0000u, 0xffff0000u, 0xffff0000u,
    0xffff0000u, 0xffff0000u, 0xffff0000u, 0xffff0000u,
};

INLINE const words *in_memory(const words *constant) {
    __asm__("" : "+r"(constant));
    return constant;
}

/// Holds the sums in registers here, so that the compiler begins no more inputs at once than there
/// are registers for. Where all at once is not asked for, it finds the better order.
INLINE void hold(
    const origin origin, vector sums[TILE_ROWS][8], const int rows, const int vectors) {
#define SUM(i) "+x"(sums[(i) / vectors][(i) % vectors])
#define EIGHT SUM(0), SUM(1), SUM(2), SUM(3), SUM(4), SUM(5), SUM(6), SUM(7)
    if (rows * vectors == 12) {
        __asm__ volatile("" : EIGHT, SUM(8), SUM(9), SUM(10), SUM(11)::"memory");
    } else if (origin == FROM_F16 && rows * vectors == 8) {
        __asm__ volatile("" : EIGHT::"memory");
    } else {
        UNROLL for (int i = 0; i < rows * vectors; i++) __asm__ volatile("" : SUM(i)::"memory");
    }
#undef EIGHT
#undef SUM
}

/// Adds one input to the sums of `rows` x `vectors`; `a` points to it. Two vectors of weights meet
/// each input together; for one row all do.
INLINE void add_input(
    const origin origin, vector sums[TILE_ROWS][8], const float *a, ptrdiff_t a_stride,
    const char *from, const int j, const words *upper, const int rows, const int vectors) {
    const int together = rows == 1 ? vectors : 2;
    hold(origin, sums, rows, vectors);
    UNROLL for (int first = 0; first < vectors; first += together) {
        if (first > 0 && rows * vectors == 12) __asm__ volatile("" ::: "memory");
        vector weights[8];
        UNROLL for (int v = 0; v < together; v++) {
            const char *at = from + (first + v) * LANE_BYTES(origin);
            weights[v] = weights_at(origin, at, j, upper);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            vector x = splat(a[r * a_stride]);
            UNROLL for (int v = 0; v < together; v++) {
                vector *sum = &sums[r][first + v];
                *sum = __builtin_elementwise_fma(x, weights[v], *sum);
            }
        }
    }
}

/// One block of k for a tile of `rows` x `vectors`. Sums are scaled by `scale`, or each output's by
/// its own unless `scales` is NULL. From one input of a row to the next are `a_step` floats.
INLINE void tile(
    const origin origin, const float *a, ptrdiff_t a_stride, const int a_step, const char *from,
    int k, float *c, ptrdiff_t c_stride, ending ending, float scale, const float *scales,
    ahead ahead, const int lines, const int rows, const int vectors) {
    vector sums[TILE_ROWS][8];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *old = c + r * c_stride + v * VECTOR_LANES;
            sums[r][v] = ending == CONTINUE ? *(const vector *)old : splat(0);
        }
    }
    int whole = k / STEP * STEP;
    const words *upper = in_memory(&upper_halves);
    STAYS_LOOP for (int i = 0; i < whole; i += STEP) {
        UNROLL for (int line = 0; line < lines; line++) {
            _mm_prefetch(ahead.at + line * 64, _MM_HINT_T0);
        }
        ahead.at += ahead.bytes;
        UNROLL for (int j = 0; j < STEP; j++) {
            add_input(origin, sums, a + j * a_step, a_stride, from, j, upper, rows, vectors);
        }
        a += STEP * a_step;
        from += STEP * ROW_BYTES(origin);
    }
    STAYS_LOOP for (int i = whole; i < k; i++, a += a_step) {
        if (origin == FROM_BF16 && i % 2 == 1) {
            add_input(origin, sums, a, a_stride, from, 1, upper, rows, vectors);
            from += 2 * ROW_BYTES(origin);
        } else {
            add_input(origin, sums, a, a_stride, from, 0, upper, rows, vectors);
            if (origin != FROM_BF16) from += ROW_BYTES(origin);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            vector *to = (vector *)(c + r * c_stride + v * VECTOR_LANES);
            vector factor =
                scales ? *(const vector *)(scales + v * VECTOR_LANES) : splat(scale);
            if (ending == SCALED) sums[r][v] *= factor;
            if (ending == SCALED_ONTO) {
                sums[r][v] = __builtin_elementwise_fma(sums[r][v], factor, *to);
            }
            *to = sums[r][v];
        }
    }
}

/// One block of k for any number of rows. Meanwhile memory brings what lies at `next`, `bytes` of
/// it per step of the whole panel.
INLINE void block(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *next, const int bytes) {
    ahead ahead = {next, 0};
#define TILE(n, width)                                                                             \
    for (int o = 0; o < CK_PANEL; o += width) {                                                    \
        const int share = bytes * width / CK_PANEL;                                                \
        ahead.bytes = share / tiles;                                                               \
        tile(                                                                                      \
            origin, a + row * a_stride, a_stride, 1,                                               \
            panel + o / VECTOR_LANES * LANE_BYTES(origin), k, c + row * c_stride + o, c_stride,    \
            ending, scale, NULL, ahead, (share + 63) / 64, n, width / VECTOR_LANES);               \
        ahead.at += k / STEP * ahead.bytes;                                                        \
    }                                                                                              \
    break
    const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int row = 0, left = tiles, height; left > 0; row += height, left--) {
        height = (rows - row + left - 1) / left;
        switch (height) {
        case 1: TILE(1, 64);
        case 2: TILE(2, 32);
        case 3: TILE(3, (origin == FROM_BF16 ? 16 : 32));
        case 4: TILE(4, 16);
        case 5: TILE(5, 16);
        default: TILE(6, 16);
        }
    }
#undef TILE
}

/// One copy of each, so that the compiler finds registers once.
static __attribute__((noinline)) void block_f32(
    const float *a, ptrdiff_t a_stride, int rows, const void *panel, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const char *next) {
    const int bytes = STEP * ROW_BYTES(FROM_F32);
    block(FROM_F32, a, a_stride, rows, panel, k, c, c_stride, ending, scale, next, bytes);
}

static __attribute__((noinline)) void block_bf16(
    const float *a, ptrdiff_t a_stride, int rows, const void *panel, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const char *next) {
    const int bytes = STEP * ROW_BYTES(FROM_BF16);
    block(FROM_BF16, a, a_stride, rows, panel, k, c, c_stride, ending, scale, next, bytes);
}

static __attribute__((noinline)) void block_f16(
    const float *a, ptrdiff_t a_stride, int rows, const void *panel, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const char *next) {
    const int bytes = STEP * CK_PANEL - DECODING_BRINGS;
    block(FROM_F16, a, a_stride, rows, panel, k, c, c_stride, ending, scale, next, bytes);
}

/// Products with weights that need no scale, block by block.
INLINE void blocks(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, bool add) {
    for (int first = 0; first < k; first += K_BLOCK) {
        int count = k - first < K_BLOCK ? k - first : K_BLOCK;
        const char *from = panel + (ptrdiff_t)first * ROW_BYTES(origin);
        const char *next = rows == 1 ? from + STREAM_AHEAD : from + K_BLOCK * ROW_BYTES(origin);
        (origin == FROM_F32 ? block_f32 : block_bf16)(
            a + first, a_stride, rows, from, count, c, c_stride,
            add || first > 0 ? CONTINUE : OVERWRITE, 1, next);
    }
}

static void avx2_panel_f32(
    const float *a, ptrdiff_t a_stride, int rows, const float *panel, int k, float *c,
    ptrdiff_t c_stride, bool add) {
    blocks(FROM_F32, a, a_stride, rows, (const char *)panel, k, c, c_stride, add);
}

static void avx2_panel_wide(
    const float *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add) {
    blocks(FROM_BF16, a, a_stride, rows, (const char *)panel, k, c, c_stride, add);
}

static void avx2_panel_bytes(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch, const void *next) {
    for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        const uint8_t *codes = panel + (ptrdiff_t)first * CK_PANEL;
        const float *x = (const float *)a + first;
        float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
        ending ending = first == 0 ? SCALED : SCALED_ONTO;
        const char *ahead = (const char *)codes + CK_SCALE_BLOCK * CK_PANEL;
        if (format == CK_E4M3) {
            decode_block(codes, count, ahead, scratch);
            ahead += CK_SCALE_BLOCK / STEP * DECODING_BRINGS;
            block_f16(
                x, a_stride, rows, scratch, count, c, c_stride, ending, scale * F16_UNIT, ahead);
        } else {
            widen_int8(codes, count, scratch);
            block_f32(x, a_stride, rows, scratch, count, c, c_stride, ending, scale, ahead);
        }
    }
}

#include "Levels/Avx2Tiles.h"
#include "Levels/Avx2FourBits.h"

#define PANEL_LOOPS                                                                                \
    .f32 = avx2_panel_f32, .wide = avx2_panel_wide, .f32_bytes = avx2_panel_bytes,                 \
    .fourbit = avx2_panel_fourbit, .tiles = avx2_panel_tiles, LIMIT_LOOPS
