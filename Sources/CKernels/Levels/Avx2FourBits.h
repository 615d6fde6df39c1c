// Products of AVX2 with 4-bit weights. Included by Avx2Panels.h.
//
//   c[r][o] = sum over groups of scale[o] * (sum over 32 inputs k of a[r][k] * value[k][o])
//
// A nibble looks up an integer of 8 bits in a table of 16: its value, of e2m1 twice its value.
// Moved to the top of a word and converted, that is the value times a power of two, which the scale
// takes back: no bit differs, as long as no sum reaches 2^128 / 2^25 and f32 holds the scale in
// that unit. Smaller scales give other bits than in other levels: int4's below 2^-102 may be
// rounded, and e2m1's below 2^-124 (bytes 0 to 2 of a file) become 0. Instead of looking up both
// bytes of a bf16, as e4m3 does: look-ups, unpacking and shifts share two of Zen 3's four pipes.
// One row meets its codes in the registers of 64 sums. For more rows a group of 32 inputs is
// widened once to f32, 8 KiB, which stay in the first-level cache.

/// 16 values times `2^24 / unit` as bytes, in both lanes of 128 bits.
typedef struct {
    __m256i bytes;
    float unit;
} code_values;

INLINE code_values values_of(int format) {
    if (format == CK_MXFP4) {
        return (code_values){
            BOTH_LANES(0, 1, 2, 3, 4, 6, 8, 12, 0, 255, 254, 253, 252, 250, 248, 244), 0x1p-25f,
        };
    }
    return (code_values){
        BOTH_LANES(248, 249, 250, 251, 252, 253, 254, 255, 0, 1, 2, 3, 4, 5, 6, 7), 0x1p-24f,
    };
}

/// The bytes of the lower nibbles, inputs 0, 2, 4 and 6 of 8 outputs, then of the upper ones.
INLINE void look_up(__m256i table, __m256i codes, __m256i found[2]) {
    __m256i nibble = _mm256_set1_epi8(0x0f);
    found[0] = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble));
    found[1] = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble));
}

/// Moves a byte of each word to its top and clears the others.
#define BYTE_ON_TOP(n)                                                                             \
    BOTH_LANES(                                                                                    \
        255, 255, 255, n, 255, 255, 255, n + 4, 255, 255, 255, n + 8, 255, 255, 255, n + 12)

/// The values of 8 outputs at input j of 8, in units of the table.
INLINE vector value_at(const __m256i found[2], const int j) {
    __m256i word = found[j % 2];
    if (j / 2 == 0) word = _mm256_slli_epi32(word, 24);
    if (j / 2 == 1) word = _mm256_shuffle_epi8(word, BYTE_ON_TOP(1));
    if (j / 2 == 2) word = _mm256_shuffle_epi8(word, BYTE_ON_TOP(2));
    if (j / 2 == 3) word = _mm256_and_si256(word, _mm256_set1_epi32((int)0xff000000u));
    return (vector)_mm256_cvtepi32_ps(word);
}

/// The scales of 8 outputs of a group, from output `o` on, in the table's unit.
INLINE vector scales_at(const uint8_t *group, const bool is_f32, int o, float unit) {
    const uint8_t *scales = group + CK_GROUP_CODES;
    if (is_f32) return *(const vector *)(const void *)(scales + 4 * o) * splat(unit);
    __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)(scales + 2 * o));
    return (vector)_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16) * splat(unit);
}

/// One group for one row.
INLINE void row_of_group(
    code_values values, const float *a, const uint8_t *group, const bool is_f32, float *c,
    bool add) {
    vector sums[8];
    UNROLL for (int v = 0; v < 8; v++) sums[v] = splat(0);
    const uint8_t *codes = group;
    STAYS_LOOP for (int i = 0; i < CK_GROUP_BLOCK; i += 8, a += 8) {
        UNROLL for (int v = 0; v < 8; v += 2, codes += 2 * CODE_BYTES) {
            _mm_prefetch((const char *)codes + STREAM_AHEAD, _MM_HINT_T0);
            // The compiler must not begin more than there are registers for.
            __asm__ volatile("" : "+x"(sums[v]), "+x"(sums[v + 1])::"memory");
            __m256i first[2], second[2];
            look_up(values.bytes, load(codes), first);
            look_up(values.bytes, load(codes + CODE_BYTES), second);
            UNROLL for (int j = 0; j < 8; j++) {
                vector x = splat(a[j]);
                sums[v] = __builtin_elementwise_fma(x, value_at(first, j), sums[v]);
                sums[v + 1] = __builtin_elementwise_fma(x, value_at(second, j), sums[v + 1]);
            }
        }
    }
    UNROLL for (int v = 0; v < 8; v++) {
        vector scale = scales_at(group, is_f32, v * VECTOR_LANES, values.unit);
        vector *to = (vector *)(c + v * VECTOR_LANES);
        *to = add ? __builtin_elementwise_fma(sums[v], scale, *to) : sums[v] * scale;
    }
}

static __attribute__((noinline)) void row_of_fourbit(
    const float *a, const uint8_t *panel, int k, int format, float *c) {
    code_values values = values_of(format);
    STAYS_LOOP for (int first = 0; first < k; first += CK_GROUP_BLOCK) {
        if (format == CK_INT4_F32) {
            row_of_group(values, a + first, panel, true, c, first > 0);
        } else {
            row_of_group(values, a + first, panel, false, c, first > 0);
        }
        panel += ck_group_bytes(format);
    }
}

/// Widens a group to `[32][64]` in the table's unit; memory brings the next group meanwhile.
static __attribute__((noinline)) void widen_group(
    const uint8_t *codes, int format, float *target) {
    __m256i table = values_of(format).bytes;
    const char *ahead = (const char *)codes + ck_group_bytes(format);
    STAYS_LOOP for (int i = 0; i < CK_GROUP_BLOCK; i += 8, target += 8 * CK_PANEL) {
        UNROLL for (int line = 0; line < 5; line++) _mm_prefetch(ahead + line * 64, _MM_HINT_T0);
        ahead += 5 * 64;
        STAYS_LOOP for (int o = 0; o < CK_PANEL; o += VECTOR_LANES, codes += CODE_BYTES) {
            __m256i found[2];
            look_up(table, load(codes), found);
            UNROLL for (int j = 0; j < 8; j++) {
                *(vector *)(target + j * CK_PANEL + o) = value_at(found, j);
            }
        }
    }
}

/// Tiles of all rows with a group that was widened.
static __attribute__((noinline)) void tiles_of_group(
    const float *a, ptrdiff_t a_stride, int rows, const float *wide, const float *scales, float *c,
    ptrdiff_t c_stride, ending ending) {
    const ahead nothing = {0};
#define TILE_OF(n, width)                                                                          \
    for (int o = 0; o < CK_PANEL; o += width) {                                                    \
        tile(                                                                                      \
            FROM_F32, a + row * a_stride, a_stride, 1, (const char *)(wide + o), CK_GROUP_BLOCK,   \
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
    if (rows == 1) {
        row_of_fourbit(a, panel, k, format, c);
        return;
    }
    float *wide = scratch, *scales = wide + CK_GROUP_BLOCK * CK_PANEL;
    float unit = values_of(format).unit;
    for (int first = 0; first < k; first += CK_GROUP_BLOCK, panel += ck_group_bytes(format)) {
        widen_group(panel, format, wide);
        for (int o = 0; o < CK_PANEL; o += VECTOR_LANES) {
            *(vector *)(scales + o) = scales_at(panel, format == CK_INT4_F32, o, unit);
        }
        tiles_of_group(
            a + first, a_stride, rows, wide, scales, c, c_stride,
            first == 0 ? SCALED : SCALED_ONTO);
    }
}
