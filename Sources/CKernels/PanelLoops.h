// Panel products with f32 inputs, compiled once per vector width: a file defines LEVEL(name),
// VECTOR_LANES and SLICE_VECTORS, opens the target, and includes RowLoops.h, then this.
//
//   c[r][o] = sum over k of a[r][k] * panel[k][o]
//
// A tile keeps up to 6 rows by SLICE_VECTORS vectors of outputs in registers and walks k once.
// Each sum is one chain of fused multiply-adds over k, so the number of rows in a tile, and where
// a caller cuts k, change no bit.

#include "Panel.h"

typedef float vector __attribute__((vector_size(VECTOR_LANES * 4), aligned(4)));
typedef uint32_t words __attribute__((vector_size(VECTOR_LANES * 4), aligned(4)));

enum {
    SLICE = VECTOR_LANES * SLICE_VECTORS, // outputs of one tile
    TILE_ROWS = CK_TILE_ROWS,
};

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

typedef enum { OVERWRITE, CONTINUE, SCALED, SCALED_ONTO } ending;

INLINE vector splat(float x) { return (vector){0} + x; }

INLINE void begin_tile(
    vector sums[TILE_ROWS][SLICE_VECTORS], const float *c, ptrdiff_t c_stride, ending ending,
    const int rows) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
            const float *from = c + r * c_stride + v * VECTOR_LANES;
            sums[r][v] = ending == CONTINUE ? *(const vector *)from : splat(0);
        }
    }
}

INLINE void end_tile(
    vector sums[TILE_ROWS][SLICE_VECTORS], float *c, ptrdiff_t c_stride, ending ending,
    float scale, const int rows) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
            vector *to = (vector *)(c + r * c_stride + v * VECTOR_LANES);
            if (ending == SCALED) sums[r][v] *= splat(scale);
            if (ending == SCALED_ONTO) {
                sums[r][v] = __builtin_elementwise_fma(sums[r][v], splat(scale), *to);
            }
            *to = sums[r][v];
        }
    }
}

INLINE void tile_f32(
    const float *a, ptrdiff_t a_stride, const float *panel, int k, float *c, ptrdiff_t c_stride,
    ending ending, float scale, const int rows) {
    vector sums[TILE_ROWS][SLICE_VECTORS];
    begin_tile(sums, c, c_stride, ending, rows);
    for (int i = 0; i < k; i++, panel += CK_PANEL) {
        vector weights[SLICE_VECTORS];
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
            weights[v] = *(const vector *)(panel + v * VECTOR_LANES);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            vector x = splat(a[r * a_stride + i]);
            UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
                sums[r][v] = __builtin_elementwise_fma(x, weights[v], sums[r][v]);
            }
        }
    }
    end_tile(sums, c, c_stride, ending, scale, rows);
}

/// Multiplies one half of every bf16 pair: the even input is the low half of a word.
INLINE void half_step(
    vector sums[TILE_ROWS][SLICE_VECTORS], const float *a, ptrdiff_t a_stride,
    const words pairs[SLICE_VECTORS], const int odd, const int rows) {
    vector weights[SLICE_VECTORS];
    UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
        words bits = odd ? pairs[v] & 0xffff0000u : pairs[v] << 16;
        weights[v] = (vector)bits;
    }
    UNROLL for (int r = 0; r < rows; r++) {
        vector x = splat(a[r * a_stride]);
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
            sums[r][v] = __builtin_elementwise_fma(x, weights[v], sums[r][v]);
        }
    }
}

INLINE void tile_wide(
    const float *a, ptrdiff_t a_stride, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, ending ending, const int rows) {
    vector sums[TILE_ROWS][SLICE_VECTORS];
    begin_tile(sums, c, c_stride, ending, rows);
    for (int i = 0; i < k; i += 2, panel += 2 * CK_PANEL) {
        words pairs[SLICE_VECTORS];
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
            pairs[v] = *(const words *)(panel + v * 2 * VECTOR_LANES);
        }
        half_step(sums, a + i, a_stride, pairs, 0, rows);
        if (i + 1 < k) half_step(sums, a + i + 1, a_stride, pairs, 1, rows);
    }
    end_tile(sums, c, c_stride, ending, 1, rows);
}

/// Calls `tile` with the number of rows as a constant, for tiles of nearly equal height: 8 rows are
/// 4 + 4, which keeps both tiles busy, not 6 + 2.
#define FOR_EACH_TILE(rows, tile)                                                                  \
    for (int row = 0, left = (rows), height; left > 0; row += height, left -= height) {            \
        int tiles = (left + TILE_ROWS - 1) / TILE_ROWS;                                            \
        height = (left + tiles - 1) / tiles;                                                       \
        switch (height) {                                                                          \
        case 1: tile(1); break;                                                                    \
        case 2: tile(2); break;                                                                    \
        case 3: tile(3); break;                                                                    \
        case 4: tile(4); break;                                                                    \
        case 5: tile(5); break;                                                                    \
        default: tile(TILE_ROWS); break;                                                           \
        }                                                                                          \
    }

static void LEVEL(panel_f32)(
    const float *a, ptrdiff_t a_stride, int rows, const float *panel, int k, float *c,
    ptrdiff_t c_stride, bool add) {
    for (int o = 0; o < CK_PANEL; o += SLICE) {
#define TILE(n)                                                                                    \
    tile_f32(a + row * a_stride, a_stride, panel + o, k, c + row * c_stride + o, c_stride,         \
             add ? CONTINUE : OVERWRITE, 1, n)
        FOR_EACH_TILE(rows, TILE)
#undef TILE
    }
}

static void LEVEL(panel_wide)(
    const float *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add) {
    for (int o = 0; o < CK_PANEL; o += SLICE) {
#define TILE(n)                                                                                    \
    tile_wide(a + row * a_stride, a_stride, panel + 2 * o, k, c + row * c_stride + o, c_stride,    \
              add ? CONTINUE : OVERWRITE, n)
        FOR_EACH_TILE(rows, TILE)
#undef TILE
    }
}

/// Widens 4 inputs of a panel: 256 codes to `[4][64]`.
static void LEVEL(widen_group)(const uint8_t *codes, int format, float *target) {
    float values[4 * CK_PANEL];
    if (format == CK_E4M3) {
        for (int i = 0; i < 4 * CK_PANEL; i++) values[i] = LEVEL(from_e4m3)(codes[i]);
    } else {
        for (int i = 0; i < 4 * CK_PANEL; i++) {
            float magnitude = (float)(codes[i] & 0x7f);
            values[i] = codes[i] & 0x80 ? -magnitude : magnitude;
        }
    }
    for (int i = 0; i < 4; i++) {
        for (int o = 0; o < CK_PANEL; o++) {
            target[i * CK_PANEL + o] = values[ck_place_byte(o, i)];
        }
    }
}

static void LEVEL(panel_bytes)(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch) {
    float *wide = scratch;
    for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        for (int i = 0; i < count; i += 4) {
            LEVEL(widen_group)(
                panel + (size_t)(first + i) * CK_PANEL, format, wide + i * CK_PANEL);
        }
        float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
        for (int o = 0; o < CK_PANEL; o += SLICE) {
#define TILE(n)                                                                                    \
    tile_f32((const float *)a + row * a_stride + first, a_stride, wide + o, count,                 \
             c + row * c_stride + o, c_stride, first == 0 ? SCALED : SCALED_ONTO, scale, n)
            FOR_EACH_TILE(rows, TILE)
#undef TILE
        }
    }
}

static double LEVEL(read)(const void *memory, size_t bytes) {
    const float *from = memory;
    words sums[4] = {{0}};
    size_t step = 4 * VECTOR_LANES;
    for (size_t i = 0; i + step <= bytes / 4; i += step) {
        UNROLL for (int v = 0; v < 4; v++) {
            sums[v] ^= *(const words *)(from + i + v * VECTOR_LANES);
        }
    }
    words all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
    return (double)all[0];
}

enum { PEAK_CHAINS = 12 }; // enough independent sums to hide the latency of a multiply-add

static double LEVEL(multiply_add)(long rounds) {
    vector sums[PEAK_CHAINS];
    vector half = splat(0.5f);
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) sums[i] = splat((float)i);
    for (long round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) {
            sums[i] = __builtin_elementwise_fma(sums[i], half, half);
        }
    }
    vector all = splat(0);
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) all += sums[i];
    volatile float keep = all[0];
    (void)keep;
    return 2.0 * VECTOR_LANES * PEAK_CHAINS * (double)rounds;
}

#define PANEL_LOOPS                                                                                \
    .f32 = LEVEL(panel_f32), .wide = LEVEL(panel_wide), .f32_bytes = LEVEL(panel_bytes),           \
    .read = LEVEL(read), .multiply_add_f32 = LEVEL(multiply_add)
