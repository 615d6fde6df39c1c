// Products of AVX-512 with 4-bit weights. Included by PanelLoops.h.
//
//   c[r][o] = sum over groups of scale[o] * (sum over 32 inputs k of a[r][k] * value[k][o])
//
// A word of the panel has the codes of 8 inputs of one output. vpermps looks up 16 words by their
// lower four bits alone, so a code costs a shift and a look-up, whatever its format, and nothing is
// masked or converted. Look-ups bind, one a cycle: 8 bytes of codes per cycle and core (Zen 5).
//
// Up to 3 rows weights are widened on their way to the sums; more rows find them widened in the
// first-level cache. Both are the same chain of fused multiply-adds.

/// The values of the 16 codes.
INLINE __m512 fourbit_values(int format) {
    if (format == CK_MXFP4) {
        return _mm512_setr_ps(
            0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6);
    }
    return _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
}

/// 16 outputs at input `j` of 8.
INLINE __m512 fourbit_at(__m512 values, __m512i words, const int j) {
    return _mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * j), values);
}

/// The scales of 16 outputs of a group, from output `o` on.
INLINE __m512 fourbit_scales(const uint8_t *group, const bool is_f32, int o) {
    const uint8_t *scales = group + CK_GROUP_CODES;
    if (is_f32) return _mm512_loadu_ps((const float *)(const void *)(scales + 4 * o));
    __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)(scales + 2 * o));
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

/// All groups for few rows. A row's sums are scaled onto its totals, which stay in registers.
INLINE void tile_fourbit(
    const float *a, ptrdiff_t a_stride, const uint8_t *panel, int k, int format, float *c,
    ptrdiff_t c_stride, const int rows) {
    const bool is_f32 = format == CK_INT4_F32;
    const ptrdiff_t bytes = (ptrdiff_t)ck_group_bytes(format);
    const __m512 values = fourbit_values(format);
    __m512 totals[FEW_ROWS][4];
    for (int first = 0; first < k; first += CK_GROUP_BLOCK, panel += bytes) {
        __m512 sums[FEW_ROWS][4];
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < 4; v++) sums[r][v] = _mm512_setzero_ps();
        }
        const uint8_t *codes = panel;
        for (int i = first; i < first + CK_GROUP_BLOCK; i += 8, codes += CK_EIGHT_CODES) {
            __m512i words[4];
            UNROLL for (int v = 0; v < 4; v++) {
                _mm_prefetch((const char *)codes + v * 64 + STREAM_AHEAD, _MM_HINT_NTA);
                words[v] = _mm512_loadu_si512(codes + v * 64);
            }
            UNROLL for (int j = 0; j < 8; j++) {
                __m512 weights[4];
                UNROLL for (int v = 0; v < 4; v++) weights[v] = fourbit_at(values, words[v], j);
                UNROLL for (int r = 0; r < rows; r++) {
                    __m512 x = _mm512_set1_ps(a[r * a_stride + i + j]);
                    UNROLL for (int v = 0; v < 4; v++) {
                        sums[r][v] = _mm512_fmadd_ps(x, weights[v], sums[r][v]);
                    }
                }
            }
        }
        for (const uint8_t *line = codes; line < panel + bytes; line += 64) {
            _mm_prefetch((const char *)line + STREAM_AHEAD, _MM_HINT_NTA);
        }
        UNROLL for (int v = 0; v < 4; v++) {
            __m512 scale = fourbit_scales(panel, is_f32, 16 * v);
            UNROLL for (int r = 0; r < rows; r++) {
                totals[r][v] = first > 0 ? _mm512_fmadd_ps(sums[r][v], scale, totals[r][v])
                                         : _mm512_mul_ps(sums[r][v], scale);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 4; v++) {
            _mm512_storeu_ps(c + r * c_stride + 16 * v, totals[r][v]);
        }
    }
}

/// Widens the codes of 32 inputs to `[32][64]`, scales not applied.
INLINE void widen_group(const uint8_t *codes, int format, float *target) {
    const __m512 values = fourbit_values(format);
    for (int i = 0; i < CK_GROUP_BLOCK; i += 8, target += 8 * CK_PANEL) {
        for (int o = 0; o < CK_PANEL; o += 16, codes += 64) {
            __m512i words = _mm512_loadu_si512(codes);
            UNROLL for (int j = 0; j < 8; j++) {
                _mm512_storeu_ps(target + j * CK_PANEL + o, fourbit_at(values, words, j));
            }
        }
    }
}

/// c (+)= sums times the scales of their outputs.
INLINE void add_scaled(
    const float *sums, const uint8_t *group, int format, float *c, ptrdiff_t c_stride, bool add,
    int rows) {
    for (int o = 0; o < CK_PANEL; o += 16) {
        __m512 scale = fourbit_scales(group, format == CK_INT4_F32, o);
        for (int r = 0; r < rows; r++) {
            __m512 sum = _mm512_loadu_ps(sums + r * CK_PANEL + o);
            float *to = c + r * c_stride + o;
            _mm512_storeu_ps(
                to, add ? _mm512_fmadd_ps(sum, scale, _mm512_loadu_ps(to))
                        : _mm512_mul_ps(sum, scale));
        }
    }
}

static void LEVEL(panel_fourbit)(
    const float *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    float *c, ptrdiff_t c_stride, void *scratch) {
    switch (rows) {
    case 1: tile_fourbit(a, a_stride, panel, k, format, c, c_stride, 1); return;
    case 2: tile_fourbit(a, a_stride, panel, k, format, c, c_stride, 2); return;
    case 3: tile_fourbit(a, a_stride, panel, k, format, c, c_stride, 3); return;
    default: break;
    }
    float *wide = scratch, *sums = wide + CK_GROUP_BLOCK * CK_PANEL;
    for (int first = 0; first < k; first += CK_GROUP_BLOCK, panel += ck_group_bytes(format)) {
        widen_group(panel, format, wide);
#define TILE(n)                                                                                    \
    LEVEL(panel_f32)(                                                                              \
        a + first + row * a_stride, a_stride, n, wide, CK_GROUP_BLOCK, sums, CK_PANEL, false);     \
    add_scaled(sums, panel, format, c + row * c_stride, c_stride, first > 0, n)
        FOR_EACH_TILE(rows, TILE)
#undef TILE
    }
}
