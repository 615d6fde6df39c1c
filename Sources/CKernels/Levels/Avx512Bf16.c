// AVX-512 with bf16 dot products: a lane of vdpbf16ps adds two products of bf16 pairs to an f32.
//
//   c[r][o] = sum over pairs (k, k+1) of a[r][k] * w[k][o] + a[r][k+1] * w[k+1][o]
//
// e4m3 is decoded in registers: two look-ups of 128 bytes (vpermi2b) give the high and the low
// byte of the bf16 that a code stands for, the sign is or-ed in, and interleaving the bytes makes
// the pairs (Pack.c stores the codes in the order that this needs). Its values are exact in bf16.
// With more than 5 rows the decoded block of 128 inputs, 16 KiB, is kept in the first-level cache
// for all tiles: it never goes through memory.
//
// In cache, on a Zen 4, tiles of 3 rows and more reach 99% of the peak rate; one row needs 2
// cycles per 64 bytes of bf16 and 5 per 64 of e4m3, both faster than memory brings them.

#if defined(__x86_64__)

#define LEVEL(name) dot_##name
#define VECTOR_LANES 16
#define SLICE_VECTORS 4

#include "Levels/Kernels.h"
#include "Levels/Avx512.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(                                                                      \
    __attribute__((                                                                                \
        target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni,avx512bf16,fma"),         \
        min_vector_width(512))),                                                                   \
    apply_to = function)
#include "Levels/RowLoops.h"
#include "Levels/PanelLoops.h"

typedef __m512 sums[TILE_ROWS][4];

INLINE __m512bh load_pairs(const void *from) { return (__m512bh)_mm512_loadu_si512(from); }

/// The same pair of inputs in every lane.
INLINE __m512bh splat_pair(const uint16_t *from) {
    int pair;
    memcpy(&pair, from, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

INLINE void begin_sums(
    sums sums, const float *c, ptrdiff_t c_stride, ending ending, const int rows) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 4; v++) {
            sums[r][v] = ending == CONTINUE ? _mm512_loadu_ps(c + r * c_stride + v * 16)
                                                       : _mm512_setzero_ps();
        }
    }
}

INLINE void end_sums(
    sums sums, float *c, ptrdiff_t c_stride, ending ending, float scale, const int rows) {
    __m512 factor = _mm512_set1_ps(scale);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 4; v++) {
            float *to = c + r * c_stride + v * 16;
            __m512 sum = sums[r][v];
            if (ending == SCALED) sum = _mm512_mul_ps(sum, factor);
            if (ending == SCALED_ONTO) sum = _mm512_fmadd_ps(sum, factor, _mm512_loadu_ps(to));
            _mm512_storeu_ps(to, sum);
        }
    }
}

INLINE void stream(const void *from) {
    _mm_prefetch((const char *)from + STREAM_AHEAD, _MM_HINT_NTA);
}

/// `ahead` is what memory should bring meanwhile, `lines` of it per pair of inputs; with none of
/// them the panel itself is a stream.
INLINE void tile_bf16(
    const uint16_t *a, ptrdiff_t a_stride, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const char *ahead, const int lines,
    const int rows) {
    sums sums;
    begin_sums(sums, c, c_stride, ending, rows);
    for (int i = 0; i < k; i += 2, panel += 2 * CK_PANEL, ahead += lines * 64) {
        __m512bh weights[4];
        UNROLL for (int v = 0; v < 4; v++) weights[v] = load_pairs(panel + v * 32);
        UNROLL for (int v = 0; v < lines; v++) _mm_prefetch(ahead + v * 64, _MM_HINT_T1);
        UNROLL for (int v = 0; lines == 0 && v < 4; v++) stream(panel + v * 32);
        UNROLL for (int r = 0; r < rows; r++) {
            __m512bh x = splat_pair(a + r * a_stride + i);
            UNROLL for (int v = 0; v < 4; v++) {
                sums[r][v] = _mm512_dpbf16_ps(sums[r][v], x, weights[v]);
            }
        }
    }
    end_sums(sums, c, c_stride, ending, scale, rows);
}

static void panel_bf16(
    const uint16_t *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add, const void *next) {
    ending ending = add ? CONTINUE : OVERWRITE;
    // As many lines as this block has are asked for, spread over four tiles, or two of few. The
    // rows of one tile walk all of k at once, at the speed of memory.
    const char *ahead = next ? next : panel;
    const ptrdiff_t lines = rows > 3 * TILE_ROWS ? 1 : 2, step = k / 2 * 64 * lines;
    const char *last = ahead + (4 / lines - 1) * step;
    if (lines == 1) {
#define TILE(n)                                                                                    \
    tile_bf16(a + row * a_stride, a_stride, panel, k, c + row * c_stride, c_stride, ending, 1,     \
              ahead, 1, n);                                                                        \
    ahead += ahead < last ? step : 0
        FOR_EACH_TILE(rows, TILE)
#undef TILE
    } else if (rows > TILE_ROWS) {
#define TILE(n)                                                                                    \
    tile_bf16(a + row * a_stride, a_stride, panel, k, c + row * c_stride, c_stride, ending, 1,     \
              ahead, 2, n);                                                                        \
    ahead += ahead < last ? step : 0
        FOR_EACH_TILE(rows, TILE)
#undef TILE
    } else {
#define TILE(n)                                                                                    \
    tile_bf16(a + row * a_stride, a_stride, panel, k, c + row * c_stride, c_stride, ending, 1,     \
              ahead, 0, n)
        FOR_EACH_TILE(rows, TILE)
#undef TILE
    }
}

// ---- e4m3 ----------------------------------------------------------------------------------

/// bf16 of each magnitude 0...127 of a code, its bytes apart.
typedef struct {
    uint8_t high[128], low[128];
} code_table;

static code_table table_of_e4m3;

__attribute__((constructor)) static void fill_table(void) {
    for (int code = 0; code < 128; code++) {
        uint16_t value = ck_to_bf16(ck_from_e4m3((uint8_t)code));
        table_of_e4m3.high[code] = (uint8_t)(value >> 8);
        table_of_e4m3.low[code] = (uint8_t)value;
    }
}

typedef struct {
    __m512i high[2], low[2], sign;
} decoder;

INLINE decoder make_decoder(void) {
    const code_table *table = &table_of_e4m3;
    return (decoder){
        {_mm512_loadu_si512(table->high), _mm512_loadu_si512(table->high + 64)},
        {_mm512_loadu_si512(table->low), _mm512_loadu_si512(table->low + 64)},
        _mm512_set1_epi8((char)0x80),
    };
}

/// 64 codes become 16 outputs at inputs (k, k+1) and the same outputs at (k+2, k+3).
INLINE void decode(const decoder *decoder, const uint8_t *from, __m512bh pairs[2]) {
    __m512i codes = _mm512_loadu_si512(from);
    // vpermi2b reads 7 bits of each code: the sign bit stays out by itself.
    __m512i high = _mm512_permutex2var_epi8(decoder->high[0], codes, decoder->high[1]);
    __m512i low = _mm512_permutex2var_epi8(decoder->low[0], codes, decoder->low[1]);
    high = _mm512_ternarylogic_epi64(high, codes, decoder->sign, 0xf8); // high | (codes & sign)
    pairs[0] = (__m512bh)_mm512_unpacklo_epi8(low, high);
    pairs[1] = (__m512bh)_mm512_unpackhi_epi8(low, high);
}

INLINE void tile_bytes(
    const uint16_t *a, ptrdiff_t a_stride, const uint8_t *panel, int k, const decoder *decoder,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const int rows) {
    sums sums;
    begin_sums(sums, c, c_stride, ending, rows);
    for (int i = 0; i < k; i += 4, panel += 4 * CK_PANEL) {
        UNROLL for (int v = 0; v < 4; v++) {
            __m512bh weights[2];
            stream(panel + v * 64);
            decode(decoder, panel + v * 64, weights);
            UNROLL for (int r = 0; r < rows; r++) {
                UNROLL for (int pair = 0; pair < 2; pair++) {
                    __m512bh x = splat_pair(a + r * a_stride + i + 2 * pair);
                    sums[r][v] = _mm512_dpbf16_ps(sums[r][v], x, weights[pair]);
                }
            }
        }
    }
    end_sums(sums, c, c_stride, ending, scale, rows);
}

/// Decodes a block of a panel to bf16 pairs, `[k / 2][64][2]`.
static void decode_block(
    const uint8_t *panel, int k, const decoder *decoder_in_memory, uint16_t *block) {
    decoder decoder = *decoder_in_memory;
    for (int i = 0; i < k; i += 4, panel += 4 * CK_PANEL, block += 4 * CK_PANEL) {
        UNROLL for (int v = 0; v < 4; v++) {
            __m512bh pairs[2];
            decode(&decoder, panel + v * 64, pairs);
            _mm512_storeu_si512(block + v * 32, (__m512i)pairs[0]);
            _mm512_storeu_si512(block + 2 * CK_PANEL + v * 32, (__m512i)pairs[1]);
        }
    }
}

/// Rows up to which weights are decoded in registers for every tile: more leave no registers for
/// the tables, and decoding once into the cache is cheaper.
enum { DIRECT_ROWS = 5 };

static void panel_bytes(
    const void *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, void *scratch, const void *next) {
    decoder decoder = make_decoder();
    for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        const uint8_t *codes = panel + (size_t)first * CK_PANEL;
        const uint16_t *x = (const uint16_t *)a + first;
        float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
        ending ending = first == 0 ? SCALED : SCALED_ONTO;
        if (rows <= DIRECT_ROWS) {
#define TILE(n)                                                                                    \
    tile_bytes(x + row * a_stride, a_stride, codes, count, &decoder, c + row * c_stride, c_stride, \
               ending, scale, n)
            FOR_EACH_TILE(rows, TILE)
#undef TILE
        } else {
            const char *ahead = (const char *)(codes + count * CK_PANEL);
            if (first + count == k) ahead = next ? next : (const char *)panel;
            const char *last = ahead + count / 2 * 64;
            decode_block(codes, count, &decoder, scratch);
#define TILE(n)                                                                                    \
    tile_bf16(x + row * a_stride, a_stride, scratch, count, c + row * c_stride, c_stride, ending,  \
              scale, ahead, 1, n);                                                                 \
    ahead = last
            FOR_EACH_TILE(rows, TILE)
#undef TILE
        }
    }
}

static void round_inputs(const float *source, uint16_t *target, size_t count) {
    size_t whole = count / 16 * 16;
    for (size_t i = 0; i < whole; i += 16) {
        __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(source + i));
        _mm256_storeu_si256((__m256i *)(target + i), (__m256i)rounded);
    }
    for (size_t i = whole; i < count; i++) target[i] = dot_to_bf16(source[i]);
}

// ---- Operands that change every step -------------------------------------------------------
// Values are rounded first, two vectors of f32 to one of bf16, and turned as words of two.

INLINE __mmask16 lanes_below(int count) {
    return count >= 16 ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

/// Two rows of 16 values become 16 pairs.
INLINE __m512i pair_rows(const float *even, const float *odd, __mmask16 lanes) {
    static const uint16_t order[32] __attribute__((aligned(64))) = {
        0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31,
    };
    __m512 low = _mm512_maskz_loadu_ps(lanes, even);
    __m512 high = odd == NULL ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(lanes, odd);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    return _mm512_permutexvar_epi16(_mm512_load_si512(order), both);
}

/// 32 values of one row become 16 pairs; those from `count` on are zeros.
INLINE __m512i round_run(const float *from, int count) {
    __m512 low = _mm512_maskz_loadu_ps(lanes_below(count), from);
    __m512 high = _mm512_maskz_loadu_ps(lanes_below(count - 16), from + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static void pack_pairs(
    const float *source, ptrdiff_t row, ptrdiff_t column, int outputs, int k, uint16_t *panel) {
    if (row == 1) {
        for (int i = 0; i < k; i += 2, source += 2 * column, panel += 2 * CK_PANEL) {
            const float *odd = i + 1 < k ? source + column : NULL;
            UNROLL for (int v = 0; v < 4; v++) {
                __mmask16 lanes = lanes_below(outputs - v * 16);
                __m512i pairs = pair_rows(source + v * 16, odd ? odd + v * 16 : NULL, lanes);
                _mm512_storeu_si512(panel + v * 32, pairs);
            }
        }
        return;
    }
    uint32_t block[16][16] __attribute__((aligned(64)));
    for (int i = 0; i < k; i += 32) {
        int pairs = k - i < 32 ? (k - i + 1) / 2 : 16;
        for (int v = 0; v < 4; v++) {
            for (int o = 0; o < 16; o++) {
                int output = v * 16 + o;
                __m512i run = output < outputs ? round_run(source + output * row + i, k - i)
                                               : _mm512_setzero_si512();
                _mm512_store_si512(block[o], run);
            }
            uint16_t *target = panel + (size_t)i * CK_PANEL + v * 32;
            ck_transpose_avx512(
                block[0], 16, 16, pairs, (uint32_t *)(void *)target, CK_PANEL);
        }
    }
}

static void turn_pairs(
    const float *source, ptrdiff_t column, int rows, int k, uint16_t *target,
    ptrdiff_t target_stride) {
    uint32_t block[4][16][16] __attribute__((aligned(64)));
    int groups = (rows + 15) / 16;
    for (int i = 0; i < k; i += 32) {
        int pairs = k - i < 32 ? (k - i + 1) / 2 : 16;
        for (int j = 0; j < pairs; j++) {
            const float *even = source + (i + 2 * j) * column;
            const float *odd = i + 2 * j + 1 < k ? even + column : NULL;
            for (int g = 0; g < groups; g++) {
                __m512i turned = pair_rows(
                    even + g * 16, odd ? odd + g * 16 : NULL, lanes_below(rows - g * 16));
                _mm512_store_si512(block[g][j], turned);
            }
        }
        for (int g = 0; g < groups; g++) {
            int count = rows - g * 16 < 16 ? rows - g * 16 : 16;
            uint16_t *to = target + g * 16 * target_stride + i;
            ck_transpose_avx512(
                block[g][0], 16, pairs, count, (uint32_t *)(void *)to, target_stride / 2);
        }
    }
}

#define INT8_BIAS 128
#define INT8(name) dot_int8_##name
INLINE dots dot_int8_dot(dots sum, dots codes, int32_t inputs) {
    return (dots)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, _mm512_set1_epi32(inputs));
}
#include "Levels/Int8Loops.h"

static double multiply_add_pairs(long rounds) {
    __m512 sums[PEAK_CHAINS];
    __m512bh half = (__m512bh)_mm512_set1_epi32(0x3f003f00);
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) sums[i] = _mm512_set1_ps((float)i);
    for (long round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) {
            sums[i] = _mm512_dpbf16_ps(sums[i], half, half);
        }
    }
    float all = 0;
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) all += _mm512_reduce_add_ps(sums[i]);
    volatile float keep = all;
    (void)keep;
    return 4.0 * 16 * PEAK_CHAINS * (double)rounds;
}

const ck_kernels ck_kernels_avx512bf16 = {
    ROW_LOOPS, PANEL_LOOPS,
    .int8 = dot_int8_panel, .bf16 = panel_bf16, .bf16_bytes = panel_bytes,
    .round = round_inputs, .pack_pairs = pack_pairs, .turn_pairs = turn_pairs,
    .transpose = ck_transpose_avx512,
    .transpose_codes = ck_transpose_codes_avx512,
    .multiply_add_bf16 = multiply_add_pairs,
    .e4m3_encode_row = ck_e4m3_encode_f32_avx512,
    .e4m3_encode_bf16_row = ck_e4m3_encode_bf16_avx512,
};
#pragma clang attribute pop

#endif
