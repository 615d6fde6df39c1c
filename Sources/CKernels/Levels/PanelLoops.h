// Panel products with f32 inputs, compiled once per vector width: a file defines LEVEL(name),
// VECTOR_LANES and SLICE_VECTORS, opens the target, and includes RowLoops.h, then this.
//
//   c[r][o] = sum over k of a[r][k] * panel[k][o]
//
// A tile keeps up to 6 rows by SLICE_VECTORS vectors of outputs in registers and walks k once.
// Each sum is one chain of fused multiply-adds over k, so the number of rows in a tile, and where
// a caller cuts k, change no bit.

#include "Levels/Tiles.h"
#include "Levels/LimitLoops.h"

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

// One-byte weights: the 16 outputs of 64 codes, four inputs each, are taken to f32 as vectors of 16
// whatever the level's width; the compiler cuts them into registers.

typedef uint16_t code_words __attribute__((vector_size(64), aligned(1)));
typedef uint32_t sixteen_words __attribute__((vector_size(64), aligned(1)));
typedef int32_t sixteen_integers __attribute__((vector_size(64)));
typedef float sixteen __attribute__((vector_size(64), aligned(4)));

/// The upper halves of 16 words: in each 16 bytes of `from`, four words from `first` on.
#define UPPER_HALVES(from, first)                                                                  \
    (sixteen_words)__builtin_shufflevector(                                                        \
        (code_words){0}, from, 0, 32 + first, 0, 33 + first, 0, 34 + first, 0, 35 + first,         \
        0, 40 + first, 0, 41 + first, 0, 42 + first, 0, 43 + first, 0, 48 + first, 0, 49 + first,  \
        0, 50 + first, 0, 51 + first, 0, 56 + first, 0, 57 + first, 0, 58 + first, 0, 59 + first)

/// The 16 outputs of 64 codes at four inputs in sequence: see Pack.c.
///
/// e4m3: sign and magnitude go where bf16 has sign, exponent and fraction; that is the value times
/// 2^-120, a subnormal where e4m3 has one. Multiplying as f32 brings both back exactly.
///
/// int8: a word holds four inputs of one output.
INLINE void widen(const uint8_t *codes, const int format, sixteen values[4]) {
    if (format == CK_INT8) {
        sixteen_words all = *(const sixteen_words *)(const void *)codes;
        UNROLL for (int j = 0; j < 4; j++) {
            sixteen_integers code = (sixteen_integers)(all >> (8 * j) & 0xff);
            values[j] = __builtin_convertvector(code - 128, sixteen);
        }
        return;
    }
    code_words both = *(const code_words *)(const void *)codes;
    UNROLL for (int odd = 0; odd < 2; odd++) {
        code_words magnitude = (odd ? both >> 8 : both) & 0x7f;
        code_words sign = odd ? both & 0x8000 : (both & 0x80) << 8;
        code_words not_a_number = (code_words)(magnitude == 0x7f) & 0x7fc0;
        code_words bits = (magnitude << 4) | not_a_number | sign;
        values[odd] = (sixteen)UPPER_HALVES(bits, 0) * 0x1p120f;
        values[2 + odd] = (sixteen)UPPER_HALVES(bits, 4) * 0x1p120f;
    }
}

/// Widens a block of a panel to `[k][64]`; k is padded to a multiple of 4.
INLINE void widen_block(const uint8_t *codes, int k, const int format, float *target) {
    for (int i = 0; i < k; i += 4, target += 4 * CK_PANEL) {
        for (int o = 0; o < CK_PANEL; o += 16, codes += 64) {
            sixteen values[4];
            widen(codes, format, values);
            UNROLL for (int j = 0; j < 4; j++) *(sixteen *)(target + j * CK_PANEL + o) = values[j];
        }
    }
}

/// Vectors of 16 outputs that one tile of codes holds, and rows up to which widening each code for
/// every tile is cheaper than widening once into the cache: as many as leave registers to widen in,
/// and enough for independent sums to hide the latency of a multiply-add.
enum { CODE_VECTORS = VECTOR_LANES == 16 ? 4 : 2, FEW_ROWS = VECTOR_LANES == 16 ? 4 : 2 };

typedef sixteen code_sums[FEW_ROWS][CODE_VECTORS];

/// Adds `count` of four inputs in sequence.
INLINE void add_codes(
    code_sums sums, const float *a, ptrdiff_t a_stride, const uint8_t *codes, const int format,
    const int rows, const int count) {
    UNROLL for (int v = 0; v < CODE_VECTORS; v++) {
        sixteen values[4];
        widen(codes + v * 64, format, values);
        UNROLL for (int j = 0; j < count; j++) {
            UNROLL for (int r = 0; r < rows; r++) {
                sixteen x = a[r * a_stride + j] - (sixteen){0};
                sums[r][v] = __builtin_elementwise_fma(x, values[j], sums[r][v]);
            }
        }
    }
}

/// A block for few rows: each code is widened on its way to the sums. The same chain of
/// multiply-adds as `tile_f32` over the widened block.
INLINE void tile_codes(
    const float *a, ptrdiff_t a_stride, const uint8_t *codes, int k, const int format, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const int rows) {
    code_sums sums;
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < CODE_VECTORS; v++) sums[r][v] = (sixteen){0};
    }
    int i = 0;
    for (; i + 4 <= k; i += 4, codes += 4 * CK_PANEL) {
        add_codes(sums, a + i, a_stride, codes, format, rows, 4);
    }
    switch (k - i) {
    case 1: add_codes(sums, a + i, a_stride, codes, format, rows, 1); break;
    case 2: add_codes(sums, a + i, a_stride, codes, format, rows, 2); break;
    case 3: add_codes(sums, a + i, a_stride, codes, format, rows, 3); break;
    default: break;
    }
    sixteen factor = scale - (sixteen){0};
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < CODE_VECTORS; v++) {
            sixteen *to = (sixteen *)(c + r * c_stride + v * 16);
            *to = ending == SCALED ? sums[r][v] * factor
                                   : __builtin_elementwise_fma(sums[r][v], factor, *to);
        }
    }
}

/// `tile_codes` with the number of rows as a constant.
INLINE void tile_few(
    const float *a, ptrdiff_t a_stride, int rows, const uint8_t *codes, int k, const int format,
    float *c, ptrdiff_t c_stride, ending ending, float scale) {
    for (int o = 0; o < CK_PANEL; o += 16 * CODE_VECTORS, codes += 64 * CODE_VECTORS) {
#define TILE(n)                                                                                    \
    case n: tile_codes(a, a_stride, codes, k, format, c + o, c_stride, ending, scale, n); break
        switch (rows) {
            TILE(1);
            TILE(2);
#if VECTOR_LANES == 16
            TILE(3);
            TILE(4);
#endif
        default: break;
        }
#undef TILE
    }
}

static void LEVEL(panel_bytes)(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch, const void *next) {
    float *wide = scratch;
    for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        const uint8_t *codes = panel + (size_t)first * CK_PANEL;
        const float *x = (const float *)a + first;
        float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
        ending ending = first == 0 ? SCALED : SCALED_ONTO;
        if (rows <= FEW_ROWS && format == CK_E4M3) {
            tile_few(x, a_stride, rows, codes, count, CK_E4M3, c, c_stride, ending, scale);
            continue;
        }
        if (rows <= FEW_ROWS) {
            tile_few(x, a_stride, rows, codes, count, CK_INT8, c, c_stride, ending, scale);
            continue;
        }
        if (format == CK_E4M3) {
            widen_block(codes, count, CK_E4M3, wide);
        } else {
            widen_block(codes, count, CK_INT8, wide);
        }
        for (int o = 0; o < CK_PANEL; o += SLICE) {
#define TILE(n)                                                                                    \
    tile_f32(x + row * a_stride, a_stride, wide + o, count, c + row * c_stride + o, c_stride,      \
             ending, scale, n)
            FOR_EACH_TILE(rows, TILE)
#undef TILE
        }
    }
}

#if VECTOR_LANES == 16
#include "Levels/Avx512FourBits.h"
#else
/// Widens the codes of 32 inputs of a 4-bit panel to `[32][64]`, scales not applied.
///
/// e2m1: sign and magnitude go where f32 has its sign, the exponent's last two bits and the first
/// of the fraction; that is the value times 2^-126.
INLINE void widen_group(const uint8_t *codes, const bool is_mxfp4, float *target) {
    for (int i = 0; i < CK_GROUP_BLOCK; i += 8) {
        for (int o = 0; o < CK_PANEL; o += 16, codes += 64) {
            sixteen_words all = *(const sixteen_words *)(const void *)codes;
            UNROLL for (int j = 0; j < 8; j++) {
                sixteen *to = (sixteen *)(target + (i + j) * CK_PANEL + o);
                sixteen_words code = all >> (4 * j) & 0xf;
                if (is_mxfp4) {
                    *to = (sixteen)((code & 7) << 22 | (code & 8) << 28) * 0x1p126f;
                } else {
                    *to = __builtin_convertvector((sixteen_integers)code - 8, sixteen);
                }
            }
        }
    }
}

/// c (+)= sums times the scales of their outputs.
INLINE void add_scaled(
    const float *sums, const float *scales, float *c, ptrdiff_t c_stride, bool add, int rows) {
    for (int r = 0; r < rows; r++, sums += CK_PANEL, c += c_stride) {
        for (int o = 0; o < CK_PANEL; o += VECTOR_LANES) {
            vector sum = *(const vector *)(sums + o), scale = *(const vector *)(scales + o);
            vector *to = (vector *)(c + o);
            *to = add ? __builtin_elementwise_fma(sum, scale, *to) : sum * scale;
        }
    }
}

static void LEVEL(panel_fourbit)(
    const float *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    float *c, ptrdiff_t c_stride, void *scratch) {
    float *wide = scratch, *sums = wide + CK_GROUP_BLOCK * CK_PANEL;
    float *scales = sums + TILE_ROWS * CK_PANEL;
    for (int first = 0; first < k; first += CK_GROUP_BLOCK, panel += ck_group_bytes(format)) {
        if (format == CK_MXFP4) {
            widen_group(panel, true, wide);
        } else {
            widen_group(panel, false, wide);
        }
        for (int o = 0; o < CK_PANEL; o++) scales[o] = ck_fourbit_scale(panel, format, o, 0);
#define TILE(n)                                                                                    \
    LEVEL(panel_f32)(                                                                              \
        a + first + row * a_stride, a_stride, n, wide, CK_GROUP_BLOCK, sums, CK_PANEL, false);     \
    add_scaled(sums, scales, c + row * c_stride, c_stride, first > 0, n)
        FOR_EACH_TILE(rows, TILE)
#undef TILE
    }
}
#endif

#define PANEL_LOOPS                                                                                \
    .f32 = LEVEL(panel_f32), .wide = LEVEL(panel_wide), .f32_bytes = LEVEL(panel_bytes),           \
    .fourbit = LEVEL(panel_fourbit), LIMIT_LOOPS
