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
//   3 to 20    3 to 5 x 16     likewise, in quarters, tile after tile
//   more       5 or 6 x 16     a quarter of a block is widened once, for all tiles
//
// Six rows leave three registers beside the sums, too few to widen in: such tiles took 1.4 times as
// long per multiply-add as five rows. They read what was widened, which pays from 21 rows on.
//
// What is widened is contiguous: weights of one quarter of a panel lie 4 vectors apart and share a
// quarter of the first-level cache's sets, too few beside many rows of inputs.
//
// e4m3 meets one row in registers. For more it is decoded block by block to bf16, which stays in
// the first-level cache: a tile of two rows or more is short of registers to decode in.

#include "Levels/Tiles.h"
#include "Levels/LimitLoops.h"

/// Where a tile's weights come from: a panel of some format, or what was kept of one.
typedef enum { FROM_F32, FROM_BF16, FROM_E4M3, FROM_KEPT } origin;

/// Inputs that one step takes, and outputs of a kept block.
enum { STEP = 4, KEPT = 16 };
/// Inputs of one block for few rows, and for many: 16 outputs of them, widened, and 6 rows of
/// inputs share the first-level cache. Twice the inputs are half as many beginnings of tiles.
enum { K_BLOCK = CK_SCALE_BLOCK, LONG_K_BLOCK = 256 };
/// Rows up to which widening for each tile is cheaper than once into the cache, and the rows of
/// such a tile.
enum { FEW_ROWS = 20, FEW_HEIGHT = 5 };

/// A loop that is long enough as it is.
#define STAYS_LOOP _Pragma("clang loop unroll(disable)")

/// Bytes of one input's weights: of all outputs of a panel, or of what is kept.
#define ROW_BYTES(origin)                                                                          \
    ((origin) == FROM_E4M3        ? CK_PANEL                                                       \
         : (origin) == FROM_BF16 ? 2 * CK_PANEL                                                    \
         : (origin) == FROM_F32  ? 4 * CK_PANEL                                                    \
                                 : 4 * KEPT)

/// Bytes from the weights of 8 outputs to those of the next 8, in every origin.
enum { LANE_BYTES = VECTOR_LANES * 4 };

#include "Levels/Avx2Codes.h"

/// A place in memory that is asked for while a tile computes, `bytes` of it per step.
typedef struct {
    const char *at;
    ptrdiff_t bytes;
} ahead;

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

/// The weights of 8 outputs at input `j`; `from` points to the outputs' first byte.
INLINE vector weights_at(
    const origin origin, const char *from, const __m256i decoded[2], const int j,
    const words *upper) {
    if (origin == FROM_F32 || origin == FROM_KEPT) {
        return *(const vector *)(const void *)(from + j * ROW_BYTES(origin));
    }
    words pairs = origin == FROM_E4M3
        ? (words)decoded[j / 2]
        : *(const words *)(const void *)(from + j / 2 * 2 * ROW_BYTES(FROM_BF16));
    return (vector)(j % 2 ? pairs & *upper : pairs << 16);
}

/// Adds `count` inputs of a step to the sums of one row. Pairs are read once, so both their inputs
/// meet a vector before the next vector does; f32 is read in address order.
INLINE void add_to_row(
    const origin origin, vector sums[8], const float *a, const char *from, const words *upper,
    const int count) {
    const int together = origin == FROM_F32 ? 1 : count;
    UNROLL for (int first = 0; first < count; first += together) {
        UNROLL for (int v = 0; v < CK_PANEL / VECTOR_LANES; v++) {
            __m256i pairs[2] = {};
            const char *own = from + v * LANE_BYTES;
            if (origin == FROM_E4M3) decode(*(const __m256i_u *)(const void *)own, pairs);
            UNROLL for (int j = first; j < first + together; j++) {
                vector weights = weights_at(origin, own, pairs, j, upper);
                sums[v] = __builtin_elementwise_fma(splat(a[j]), weights, sums[v]);
            }
        }
    }
}

/// Adds `count` inputs of a step to the sums of `rows` x `vectors`.
INLINE void add_step(
    const origin origin, vector sums[TILE_ROWS][8], const float *a, ptrdiff_t a_stride,
    const char *from, const words *upper, const int count, const int rows, const int vectors) {
    if (rows == 1) {
        add_to_row(origin, sums[0], a, from, upper, count);
        return;
    }
    UNROLL for (int j = 0; j < count; j++) {
        // The compiler must not load weights earlier than there are registers for.
        __asm__ volatile("" ::: "memory");
        vector weights[4];
        UNROLL for (int v = 0; v < vectors; v++) {
            weights[v] = weights_at(origin, from + v * LANE_BYTES, NULL, j, upper);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            vector x = splat(a[r * a_stride + j]);
            UNROLL for (int v = 0; v < vectors; v++) {
                sums[r][v] = __builtin_elementwise_fma(x, weights[v], sums[r][v]);
            }
        }
    }
}

INLINE void begin_tile(
    vector sums[TILE_ROWS][8], const float *c, ptrdiff_t c_stride, ending ending, const int rows,
    const int vectors) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *old = c + r * c_stride + v * VECTOR_LANES;
            sums[r][v] = ending == CONTINUE ? *(const vector *)old : splat(0);
        }
    }
}

INLINE void end_tile(
    vector sums[TILE_ROWS][8], float *c, ptrdiff_t c_stride, ending ending, float scale,
    const int rows, const int vectors) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            vector *to = (vector *)(c + r * c_stride + v * VECTOR_LANES);
            if (ending == SCALED) sums[r][v] *= splat(scale);
            if (ending == SCALED_ONTO) {
                sums[r][v] = __builtin_elementwise_fma(sums[r][v], splat(scale), *to);
            }
            *to = sums[r][v];
        }
    }
}

/// One block of k for a tile of `rows` x `vectors`.
INLINE void tile(
    const origin origin, const float *a, ptrdiff_t a_stride, const char *from, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, ahead ahead, const int lines,
    const int rows, const int vectors) {
    vector sums[TILE_ROWS][8];
    begin_tile(sums, c, c_stride, ending, rows, vectors);
    const words *upper = in_memory(&upper_halves);
    int i = 0;
    STAYS_LOOP for (; i + STEP <= k; i += STEP) {
        UNROLL for (int line = 0; line < lines; line++) {
            _mm_prefetch(ahead.at + line * 64, _MM_HINT_T0);
        }
        ahead.at += ahead.bytes;
        add_step(origin, sums, a, a_stride, from, upper, STEP, rows, vectors);
        a += STEP;
        from += STEP * ROW_BYTES(origin);
    }
    switch (k - i) {
    case 1: add_step(origin, sums, a, a_stride, from, upper, 1, rows, vectors); break;
    case 2: add_step(origin, sums, a, a_stride, from, upper, 2, rows, vectors); break;
    case 3: add_step(origin, sums, a, a_stride, from, upper, 3, rows, vectors); break;
    default: break;
    }
    end_tile(sums, c, c_stride, ending, scale, rows, vectors);
}

/// Keeps input `j` of the two vectors at `from`.
INLINE void keep_input(const origin origin, const char *from, int j, float *kept) {
    const words *upper = &upper_halves;
    *(vector *)kept = weights_at(origin, from, NULL, j, upper);
    *(vector *)(kept + VECTOR_LANES) = weights_at(origin, from + LANE_BYTES, NULL, j, upper);
}

/// Keeps one block of 16 outputs, widened: `[k][16]`.
INLINE void keep_block(const origin origin, const char *from, int k, float *kept) {
    STAYS_LOOP for (int i = 0; i < k / 2 * 2; i += 2, from += 2 * ROW_BYTES(origin)) {
        UNROLL for (int j = 0; j < 2; j++, kept += KEPT) keep_input(origin, from, j, kept);
    }
    if (k % 2 != 0) keep_input(origin, from, 0, kept);
}

/// One tile of `rows` x 16 with weights that were kept. The loop is the compiler's to order: here
/// it has registers for that.
INLINE void kept_tile(
    const float *a, ptrdiff_t a_stride, const float *kept, int k, float *c, ptrdiff_t c_stride,
    ending ending, float scale, const int rows) {
    vector sums[TILE_ROWS][8];
    begin_tile(sums, c, c_stride, ending, rows, KEPT / VECTOR_LANES);
    const float *fourth = a + (rows > 3 ? 3 * a_stride : 0);
    __asm__("" : "+r"(fourth));
    _Pragma("clang loop unroll_count(4)") for (int i = 0; i < k; i++, kept += KEPT) {
        UNROLL for (int r = 0; r < rows; r++) {
            vector x = splat((r < 3 ? a : fourth)[r % 3 * a_stride + i]);
            UNROLL for (int v = 0; v < KEPT / VECTOR_LANES; v++) {
                vector weights = *(const vector *)(kept + v * VECTOR_LANES);
                sums[r][v] = __builtin_elementwise_fma(x, weights, sums[r][v]);
            }
        }
    }
    end_tile(sums, c, c_stride, ending, scale, rows, KEPT / VECTOR_LANES);
}

static __attribute__((noinline)) void kept_tile_5(
    const float *a, ptrdiff_t a_stride, const float *kept, int k, float *c, ptrdiff_t c_stride,
    ending ending, float scale) {
    kept_tile(a, a_stride, kept, k, c, c_stride, ending, scale, 5);
}

static __attribute__((noinline)) void kept_tile_6(
    const float *a, ptrdiff_t a_stride, const float *kept, int k, float *c, ptrdiff_t c_stride,
    ending ending, float scale) {
    kept_tile(a, a_stride, kept, k, c, c_stride, ending, scale, 6);
}

/// One block of k for many rows, which are cut into tiles of 5 or 6. Meanwhile memory brings what
/// lies at `next`, `bytes` of it per step of the whole panel.
INLINE void block_of_many(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *next, int bytes) {
    float kept[LONG_K_BLOCK * KEPT] __attribute__((aligned(64)));
    int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS, taller = rows - tiles * (TILE_ROWS - 1);
    int units = tiles * (CK_PANEL / KEPT), share = (bytes * (k / STEP) + units - 1) / units;
    for (int o = 0; o < CK_PANEL; o += KEPT) {
        keep_block(origin, panel + o * 4, k, kept);
        const float *from = a;
        float *to = c + o;
        for (int t = 0; t < tiles; t++) {
            STAYS_LOOP for (int line = 0; line < share; line += 64) {
                _mm_prefetch(next + line, _MM_HINT_T0);
            }
            next += share;
            int height = t < taller ? TILE_ROWS : TILE_ROWS - 1;
            (height == TILE_ROWS ? kept_tile_6 : kept_tile_5)(
                from, a_stride, kept, k, to, c_stride, ending, scale);
            from += height * a_stride;
            to += height * c_stride;
        }
    }
}

/// One block of k for few rows, in tiles of at most 5. Meanwhile memory brings what lies at `next`,
/// `bytes` of it per step of the whole panel.
INLINE void block_of_few(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *next, int bytes) {
    ahead ahead = {next, 0};
#define TILE(n, width)                                                                             \
    for (int o = 0; o < CK_PANEL; o += width) {                                                    \
        const int lines = STEP * ROW_BYTES(origin) * width / CK_PANEL / 64;                        \
        ahead.bytes = bytes * width / CK_PANEL / tiles;                                            \
        tile(                                                                                      \
            origin, a + row * a_stride, a_stride, panel + o * 4, k, c + row * c_stride + o,        \
            c_stride, ending, scale, ahead, lines, n, width / VECTOR_LANES);                       \
        ahead.at += k / STEP * ahead.bytes;                                                        \
    }                                                                                              \
    break
    int tiles = (rows + FEW_HEIGHT - 1) / FEW_HEIGHT;
    for (int row = 0, t = tiles, height; t > 0; row += height, t--) {
        height = (rows - row + t - 1) / t;
        switch (height) {
        case 1: TILE(1, 64);
        case 2: TILE(2, 32);
        case 3: TILE(3, 16);
        case 4: TILE(4, 16);
        default: TILE(FEW_HEIGHT, 16);
        }
    }
#undef TILE
}

/// One block of k for any number of rows, the weights in memory or decoded.
INLINE void block(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *next, int bytes) {
    if (rows > FEW_ROWS) {
        block_of_many(
            origin, a, a_stride, rows, panel, k, c, c_stride, ending, scale, next, bytes);
    } else {
        block_of_few(
            origin, a, a_stride, rows, panel, k, c, c_stride, ending, scale, next, bytes);
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

/// A block of e4m3 for one row.
static __attribute__((noinline)) void row_of_e4m3(
    const float *a, const uint8_t *codes, int k, float *c, ending ending, float scale) {
    const char *from = (const char *)codes;
    ahead ahead = {from + STREAM_AHEAD, STEP * CK_PANEL};
    tile(FROM_E4M3, a, 0, from, k, c, 0, ending, scale, ahead, STEP, 1, CK_PANEL / VECTOR_LANES);
}

/// Products with weights that need no scale, block by block.
INLINE void blocks(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, bool add) {
    int step = rows > FEW_ROWS ? LONG_K_BLOCK : K_BLOCK;
    for (int first = 0; first < k; first += step) {
        int count = k - first < step ? k - first : step;
        const char *from = panel + (ptrdiff_t)first * ROW_BYTES(origin);
        const char *next = from + (rows == 1 ? (int)STREAM_AHEAD : step * ROW_BYTES(origin));
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

static void avx2_panel_bytes(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch, const void *next) {
    for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        const uint8_t *codes = panel + (ptrdiff_t)first * CK_PANEL;
        const float *x = (const float *)a + first;
        float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
        ending ending = first == 0 ? SCALED : SCALED_ONTO;
        if (format == CK_E4M3 && rows == 1) {
            row_of_e4m3(x, codes, count, c, ending, scale);
        } else if (format == CK_E4M3) {
            // One half of what comes next is asked for while codes are decoded, one by the tiles.
            const int half = CK_SCALE_BLOCK * CK_PANEL / 2;
            const char *ahead = (const char *)codes + 2 * half;
            decode_block(codes, count, ahead, scratch);
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

#define PANEL_LOOPS                                                                                \
    .f32 = avx2_panel_f32, .wide = avx2_panel_wide, .f32_bytes = avx2_panel_bytes, LIMIT_LOOPS
