// Products of AVX2 with e4m3 for few rows: codes are decoded in the registers of the sums. Included
// by Avx2Panels.h.
//
// A step of 4 inputs and 64 outputs with no small code is decoded by 6 operations for 32 weights, a
// third of what any code takes; `small_steps` finds the others first. Multiply-adds have two of
// Zen 3's pipes, shifts and look-ups two, one of them the same.

/// Rows of a tile that decodes e4m3 in registers, and rows up to which every tile does.
enum { FUSED_TILE = 4, FUSED_ROWS = 6 };
/// Steps with small codes that one block may have and still be decoded in registers.
enum { FEW_SMALL = 8 };

/// Adds a step to sums of `rows` x `vectors`, none of its codes small. They are decoded in
/// registers, for one row a vector at a time, else two, which meet each input together.
INLINE void add_codes(
    const decoder *decoder, vector sums[FUSED_TILE][8], const float *a, ptrdiff_t a_stride,
    const uint8_t *codes, const int rows, const int vectors) {
    const int together = rows == 1 ? 1 : 2;
    UNROLL for (int v = 0; v < vectors; v += together) {
        // The compiler must not begin more than there are registers for.
        __asm__ volatile("" : "+x"(sums[0][v])::"memory");
        __m256i pairs[2][2];
        UNROLL for (int t = 0; t < together; t++) {
            decode_large(decoder, load(codes + (v + t) * LANE_BYTES), pairs[t]);
        }
        UNROLL for (int j = 0; j < STEP; j++) {
            vector weights[2];
            UNROLL for (int t = 0; t < together; t++) {
                words pair = (words)pairs[t][j / 2];
                weights[t] = (vector)(j % 2 ? pair & decoder->odd : pair << 16);
            }
            UNROLL for (int r = 0; r < rows; r++) {
                vector x = splat(a[r * a_stride + j]);
                UNROLL for (int t = 0; t < together; t++) {
                    sums[r][v + t] = __builtin_elementwise_fma(x, weights[t], sums[r][v + t]);
                }
            }
        }
    }
}

/// The same of any `count` inputs of a step, with sums in memory.
static __attribute__((noinline)) void add_any_codes(
    vector sums[FUSED_TILE][8], const float *a, ptrdiff_t a_stride, const uint8_t *codes,
    int count, int rows, int vectors) {
    STAYS_LOOP for (int v = 0; v < vectors; v++) {
        __m256i pairs[2];
        decode(load(codes + v * LANE_BYTES), pairs, false);
        STAYS_LOOP for (int j = 0; j < count; j++) {
            words pair = (words)pairs[j / 2];
            vector weights = (vector)(j % 2 ? pair & 0xffff0000u : pair << 16);
            STAYS_LOOP for (int r = 0; r < rows; r++) {
                vector x = splat(a[r * a_stride + j]);
                sums[r][v] = __builtin_elementwise_fma(x, weights, sums[r][v]);
            }
        }
    }
}

/// A block of e4m3 for a tile of `rows` x `vectors`. Codes are padded to a multiple of 4 inputs;
/// bit i of `small` says that step i holds small ones.
INLINE void codes_tile(
    const float *a, ptrdiff_t a_stride, const uint8_t *codes, int k, uint32_t small, float *c,
    ptrdiff_t c_stride, ending ending, float scale, const char *ahead, const int rows,
    const int vectors) {
    vector sums[FUSED_TILE][8];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) sums[r][v] = splat(0);
    }
    // The tallest tile has no registers for what does not change: it reads that each time.
    const decoder *decoder = &decoder_of_large;
    if (rows == FUSED_TILE) __asm__("" : "+r"(decoder));
    STAYS_LOOP for (int i = 0; i < k; i += STEP, a += STEP, codes += STEP * CK_PANEL, small >>= 1) {
        UNROLL for (int line = 0; line < vectors / 2; line++) {
            _mm_prefetch(ahead + line * 64, _MM_HINT_T0);
        }
        ahead += vectors / 2 * 64;
        if (__builtin_expect((small & 1) == 0, 1)) {
            add_codes(decoder, sums, a, a_stride, codes, rows, vectors);
            continue;
        }
        vector stored[FUSED_TILE][8];
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vectors; v++) stored[r][v] = sums[r][v];
        }
        add_any_codes(stored, a, a_stride, codes, k - i < STEP ? k - i : STEP, rows, vectors);
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vectors; v++) sums[r][v] = stored[r][v];
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            vector *to = (vector *)(c + r * c_stride + v * VECTOR_LANES);
            *to = ending == SCALED ? sums[r][v] * splat(scale)
                                   : __builtin_elementwise_fma(sums[r][v], splat(scale), *to);
        }
    }
}

/// A block of e4m3 for a tile of up to 4 rows; memory brings what lies at `ahead`.
static __attribute__((noinline)) void rows_of_e4m3(
    const float *a, ptrdiff_t a_stride, int rows, const uint8_t *codes, int k, uint32_t small,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *ahead) {
#define TILE(n, width)                                                                             \
    for (int o = 0; o < CK_PANEL; o += width, ahead += k / STEP * width * STEP) {                  \
        codes_tile(                                                                                \
            a, a_stride, codes + o * STEP, k, small, c + o, c_stride, ending, scale, ahead, n,     \
            width / VECTOR_LANES);                                                                 \
    }                                                                                              \
    break
    switch (rows) {
    case 1: TILE(1, 64);
    case 2: TILE(2, 32);
    case 3: TILE(3, 16);
    default: TILE(4, 16);
    }
#undef TILE
}
