// Products of AVX2 with 4-bit weights. Included by Avx2Panels.h.
//
//   c[r][o] = sum over groups of scale[o] * (sum over 32 inputs k of a[r][k] * value[k][o])
//
// A nibble looks up the upper byte of its value as f16; the lower one is 0 for all values of int4
// and e2m1. A group of 32 inputs is decoded once, for any number of rows, to 4 KiB of f16, which
// stay in the first-level cache. Bytes are brought into order before nibbles are looked up, since
// look-ups, shifts and unpacking share two of Zen 3's four pipes.

/// The upper bytes of the 16 values as f16, in both lanes of 128 bits.
INLINE __m256i values_of(int format) {
    if (format == CK_MXFP4) {
        return BOTH_LANES(
            0, 0x38, 0x3c, 0x3e, 0x40, 0x42, 0x44, 0x46, //
            0, 0xb8, 0xbc, 0xbe, 0xc0, 0xc2, 0xc4, 0xc6);
    }
    return BOTH_LANES(
        0xc8, 0xc7, 0xc6, 0xc5, 0xc4, 0xc2, 0xc0, 0xbc, //
        0, 0x3c, 0x40, 0x42, 0x44, 0x45, 0x46, 0x47);
}

/// Two inputs of 16 outputs, whose codes are the lower nibbles of `codes`, to rows of f16.
INLINE void look_up_two(__m256i values, __m256i codes, uint16_t *first, uint16_t *second) {
    __m256i nibbles = _mm256_and_si256(codes, _mm256_set1_epi8(0x0f));
    __m256i found = _mm256_shuffle_epi8(values, nibbles), zero = _mm256_setzero_si256();
    _mm256_storeu_si256((__m256i *)(void *)first, _mm256_unpacklo_epi8(zero, found));
    _mm256_storeu_si256((__m256i *)(void *)second, _mm256_unpackhi_epi8(zero, found));
}

/// Decodes 8 inputs of 16 outputs to rows of f16.
INLINE void decode_eight(__m256i values, const uint8_t *codes, uint16_t *target) {
    // The first bytes of four outputs, then their second ones, and so on.
    const __m256i order = BOTH_LANES(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m256i low = _mm256_shuffle_epi8(joined(codes, codes + 32), order);
    __m256i high = _mm256_shuffle_epi8(joined(codes + 16, codes + 48), order);
    UNROLL for (int half = 0; half < 2; half++, target += 4 * CK_PANEL) {
        __m256i both =
            half == 0 ? _mm256_unpacklo_epi32(low, high) : _mm256_unpackhi_epi32(low, high);
        look_up_two(values, both, target, target + 2 * CK_PANEL);
        both = _mm256_srli_epi16(both, 4);
        look_up_two(values, both, target + CK_PANEL, target + 3 * CK_PANEL);
    }
}

/// Decodes a group to `[32][64]`; memory brings what lies at `next` meanwhile.
static __attribute__((noinline)) void decode_group(
    const uint8_t *codes, int format, const char *next, uint16_t *target) {
    __m256i values = values_of(format);
    STAYS_LOOP for (int i = 0; i < CK_GROUP_BLOCK; i += 8, target += 8 * CK_PANEL) {
        UNROLL for (int line = 0; line < 5; line++) _mm_prefetch(next + line * 64, _MM_HINT_T0);
        next += 5 * 64;
        UNROLL for (int o = 0; o < CK_PANEL; o += 16, codes += 64) {
            decode_eight(values, codes, target + o);
        }
    }
}

/// The scales of 8 outputs of a group, from output `o` on.
INLINE vector scales_at(const uint8_t *group, const bool is_f32, int o) {
    const uint8_t *scales = group + CK_GROUP_CODES;
    if (is_f32) return *(const vector *)(const void *)(scales + 4 * o);
    __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)(scales + 2 * o));
    return (vector)_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16);
}

/// Tiles of all rows with a group that was decoded.
static __attribute__((noinline)) void tiles_of_group(
    const float *a, ptrdiff_t a_stride, int rows, const uint16_t *group, const float *scales,
    float *c, ptrdiff_t c_stride, ending ending) {
    const ahead nothing = {0};
#define TILE_OF(n, width)                                                                          \
    for (int o = 0; o < CK_PANEL; o += width) {                                                    \
        tile(                                                                                      \
            FROM_F16, a + row * a_stride, a_stride, 1, (const char *)(group + o), CK_GROUP_BLOCK,  \
            c + row * c_stride + o, c_stride, ending, 1, scales + o, nothing, 0, n,                \
            width / VECTOR_LANES);                                                                 \
    }
#define TILE(n) TILE_OF(n, (n == 1 ? 64 : n <= 3 ? 32 : 16))
    FOR_EACH_TILE(rows, TILE)
#undef TILE
#undef TILE_OF
}

static void avx2_panel_fourbit(
    const float *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, int format,
    float *c, ptrdiff_t c_stride, void *scratch) {
    uint16_t *decoded = scratch;
    float *scales = (float *)(void *)(decoded + CK_GROUP_BLOCK * CK_PANEL);
    const ptrdiff_t bytes = (ptrdiff_t)ck_group_bytes(format);
    const ptrdiff_t ahead = rows == 1 ? STREAM_AHEAD : bytes;
    for (int first = 0; first < k; first += CK_GROUP_BLOCK, panel += bytes) {
        decode_group(panel, format, (const char *)panel + ahead, decoded);
        for (int o = 0; o < CK_PANEL; o += VECTOR_LANES) {
            *(vector *)(scales + o) = scales_at(panel, format == CK_INT4_F32, o);
        }
        tiles_of_group(
            a + first, a_stride, rows, decoded, scales, c, c_stride,
            first == 0 ? SCALED : SCALED_ONTO);
    }
}
