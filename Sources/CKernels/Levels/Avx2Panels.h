// Panel products of AVX2 with f32 inputs.
//
//   c[r][o] = sum over k of a[r][k] * panel[k][o]
//
// Each sum is one chain of fused multiply-adds over k, as in PanelLoops.h, so how rows, outputs and
// k are cut changes no bit. Two multiply-adds of 8 lanes begin per cycle and take four, so 8 chains
// must be in flight, and 16 registers hold at most 12 beside what they are multiplied by:
//
//   rows       tile            weights
//   1          1 x 64          walked in address order
//   2          2 x 32          blocks of k in address order, of each block one half after the other
//   3 to 6     3 to 6 x 16     likewise, in quarters
//   7 to 12    two tiles       likewise; f32 up to 24 rows
//   more       3 to 6 x 16     a quarter of a block is widened once, for all tiles; from 60 rows
//                              on their inputs lie as tiles (Avx2Tiles.h)
//
// What is widened is contiguous: weights of one quarter of a panel lie 4 vectors apart and share a
// quarter of the first-level cache's sets, too few beside many rows of inputs.
//
// e4m3 meets up to 6 rows in registers (Avx2CodeTiles.h). For more it is decoded block by block to
// bf16, which stays in the first-level cache.

#include "Levels/Tiles.h"
#include "Levels/LimitLoops.h"

/// Where a tile's weights come from: a panel of either format, or what was kept of one.
typedef enum { FROM_F32, FROM_BF16, FROM_KEPT } origin;

/// Inputs that one step takes, and outputs of a kept block.
enum { STEP = 4, KEPT = 16 };
/// Inputs of one block: 16 outputs of them, widened, and 6 rows of inputs share the first-level
/// cache.
enum { K_BLOCK = CK_SCALE_BLOCK };
/// The same where inputs lie as tiles.
enum { TILED_BLOCK = 256 };
/// Tiles up to which widening for each is cheaper than once into the cache.
#define FEW_TILES(origin) ((origin) == FROM_F32 ? 4 : 2)

/// A loop that is long enough as it is.
#define STAYS_LOOP _Pragma("clang loop unroll(disable)")

/// Bytes of one input's weights: of all outputs of a panel, or of what is kept.
#define ROW_BYTES(origin)                                                                          \
    ((origin) == FROM_BF16 ? 2 * CK_PANEL : (origin) == FROM_F32 ? 4 * CK_PANEL : 4 * KEPT)

/// Bytes from the weights of 8 outputs to those of the next 8, in every origin.
enum { LANE_BYTES = VECTOR_LANES * 4 };

#include "Levels/Avx2Codes.h"

/// A place in memory that is asked for while a tile computes, `bytes` of it per step.
typedef struct {
    const char *at;
    ptrdiff_t bytes;
} ahead;

/// The weights of 8 outputs at input `j`; `from` points to the outputs' first byte.
INLINE vector weights_at(
    const origin origin, const char *from, const int j, const words *upper) {
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

/// Adds one input to the sums of `rows` x `vectors`; `a` points to it.
INLINE void add_input(
    const origin origin, vector sums[TILE_ROWS][8], const float *a, ptrdiff_t a_stride,
    const char *from, const int j, const words *upper, const int rows, const int vectors) {
    if (rows == 1) {
        vector x = splat(*a);
        UNROLL for (int v = 0; v < vectors; v++) {
            vector weights = weights_at(origin, from + v * LANE_BYTES, j, upper);
            sums[0][v] = __builtin_elementwise_fma(x, weights, sums[0][v]);
        }
        return;
    }
    // The compiler must not load weights earlier than there are registers for.
    __asm__ volatile("" ::: "memory");
    vector weights[4];
    UNROLL for (int v = 0; v < vectors; v++) {
        weights[v] = weights_at(origin, from + v * LANE_BYTES, j, upper);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        vector x = splat(a[r * a_stride]);
        UNROLL for (int v = 0; v < vectors; v++) {
            sums[r][v] = __builtin_elementwise_fma(x, weights[v], sums[r][v]);
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
    if (k > whole) add_input(origin, sums, a, a_stride, from, 0, upper, rows, vectors);
    // Each from its own pointer: a sum of the loop's is spilled otherwise.
    const float *second = a + a_step, *third = second + a_step;
    if (k > whole + 1) add_input(origin, sums, second, a_stride, from, 1, upper, rows, vectors);
    if (k > whole + 2) add_input(origin, sums, third, a_stride, from, 2, upper, rows, vectors);
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

/// Keeps one block of 16 outputs, widened: `[k][16]`.
INLINE void keep_block(const origin origin, const char *from, int k, float *kept) {
    const words *upper = &upper_halves;
    STAYS_LOOP for (int i = 0; i < k / 2 * 2; i += 2, from += 2 * ROW_BYTES(origin)) {
        UNROLL for (int j = 0; j < 2; j++, kept += KEPT) {
            *(vector *)kept = weights_at(origin, from, j, upper);
            *(vector *)(kept + VECTOR_LANES) = weights_at(origin, from + LANE_BYTES, j, upper);
        }
    }
    if (k % 2 == 0) return;
    *(vector *)kept = weights_at(origin, from, 0, upper);
    *(vector *)(kept + VECTOR_LANES) = weights_at(origin, from + LANE_BYTES, 0, upper);
}

/// Tiles of all rows with weights that were kept.
static __attribute__((noinline)) void kept_tiles(
    const float *a, ptrdiff_t a_stride, int rows, const float *kept, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, ahead ahead) {
#define TILE(n)                                                                                    \
    tile(                                                                                          \
        FROM_KEPT, a + row * a_stride, a_stride, 1, (const char *)kept, k, c + row * c_stride,     \
        c_stride, ending, scale, NULL, ahead, 1, n, KEPT / VECTOR_LANES);                          \
    ahead.at += k / STEP * ahead.bytes
    FOR_EACH_TILE(rows, TILE)
#undef TILE
}

/// One block of k for any number of rows. Meanwhile memory brings what lies at `next`, `bytes` of
/// it per step of the whole panel.
INLINE void block(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *next, int bytes) {
    int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    ahead ahead = {next, 0};
#define TILE(n, width)                                                                             \
    for (int o = 0; o < CK_PANEL; o += width) {                                                    \
        const int lines = STEP * ROW_BYTES(origin) * width / CK_PANEL / 64;                        \
        ahead.bytes = bytes * width / CK_PANEL / tiles;                                            \
        tile(                                                                                      \
            origin, a + row * a_stride, a_stride, 1, panel + o * 4, k, c + row * c_stride + o,     \
            c_stride, ending, scale, NULL, ahead, lines, n, width / VECTOR_LANES);                 \
        ahead.at += k / STEP * ahead.bytes;                                                        \
    }                                                                                              \
    break
    if (tiles <= FEW_TILES(origin)) {
        for (int row = 0, t = tiles, height; t > 0; row += height, t--) {
            height = (rows - row + t - 1) / t;
            switch (height) {
            case 1: TILE(1, 64);
            case 2: TILE(2, 32);
            case 3: TILE(3, 16);
            case 4: TILE(4, 16);
            case 5: TILE(5, 16);
            default: TILE(6, 16);
            }
        }
        return;
    }
#undef TILE
    float kept[K_BLOCK * KEPT] __attribute__((aligned(64)));
    ahead.bytes = (bytes * KEPT / CK_PANEL + tiles - 1) / tiles;
    for (int o = 0; o < CK_PANEL; o += KEPT) {
        keep_block(origin, panel + o * 4, k, kept);
        kept_tiles(a, a_stride, rows, kept, k, c + o, c_stride, ending, scale, ahead);
        ahead.at += k / STEP * ahead.bytes * tiles;
    }
}

/// One copy of each, so that the compiler finds registers once.
static __attribute__((noinline)) void block_f32(
    const float *a, ptrdiff_t a_stride, int rows, const void *panel, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const char *next, int bytes) {
    block(FROM_F32, a, a_stride, rows, panel, k, c, c_stride, ending, scale, next, bytes);
}

static __attribute__((noinline)) void block_bf16(
    const float *a, ptrdiff_t a_stride, int rows, const void *panel, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const char *next, int bytes) {
    block(FROM_BF16, a, a_stride, rows, panel, k, c, c_stride, ending, scale, next, bytes);
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
            add || first > 0 ? CONTINUE : OVERWRITE, 1, next, STEP * ROW_BYTES(origin));
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

#include "Levels/Avx2CodeTiles.h"

static void avx2_panel_bytes(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch, const void *next) {
    for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        const uint8_t *codes = panel + (ptrdiff_t)first * CK_PANEL;
        const float *x = (const float *)a + first;
        float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
        ending ending = first == 0 ? SCALED : SCALED_ONTO;
        uint32_t small = format == CK_E4M3 ? small_steps(codes, count) : 0;
        if (format == CK_E4M3 && rows <= FUSED_ROWS && __builtin_popcount(small) <= FEW_SMALL) {
            const char *ahead = (const char *)codes;
            ahead += CK_SCALE_BLOCK * CK_PANEL + (rows == 1 ? STREAM_AHEAD : 0);
            int tiles = (rows + FUSED_TILE - 1) / FUSED_TILE;
            for (int row = 0, t = tiles, height; t > 0; row += height, t--) {
                height = (rows - row + t - 1) / t;
                rows_of_e4m3(
                    x + row * a_stride, a_stride, height, codes, count, small, c + row * c_stride,
                    c_stride, ending, scale, ahead);
            }
        } else if (format == CK_E4M3) {
            // One half of what comes next is asked for while codes are decoded, one by the tiles.
            const int half = CK_SCALE_BLOCK * CK_PANEL / 2;
            const char *ahead = (const char *)codes + 2 * half;
            decode_block(codes, count, small, ahead, scratch);
            block_bf16(
                x, a_stride, rows, scratch, count, c, c_stride, ending, scale, ahead + half,
                STEP * CK_PANEL / 2);
        } else {
            widen_int8(codes, count, scratch);
            block_f32(
                x, a_stride, rows, scratch, count, c, c_stride, ending, scale,
                (const char *)codes + CK_SCALE_BLOCK * CK_PANEL, STEP * CK_PANEL);
        }
    }
}

#include "Levels/Avx2Tiles.h"
#include "Levels/Avx2FourBits.h"

#define PANEL_LOOPS                                                                                \
    .f32 = avx2_panel_f32, .wide = avx2_panel_wide, .f32_bytes = avx2_panel_bytes,                 \
    .fourbit = avx2_panel_fourbit, .tiles = avx2_panel_tiles, LIMIT_LOOPS
