// One-byte weights on their way to the products of AVX2: e4m3 becomes bf16, int8 becomes f32, a
// block of a panel at a time. Included by Avx2Panels.h.

/// The same 16 bytes in both lanes of 128 bits.
#define BOTH_LANES(...)                                                                            \
    _mm256_broadcastsi128_si256((__m128i)(__v16qu){__VA_ARGS__})

/// 32 codes as bf16: the pairs (k, k+1) of 8 outputs, then their pairs (k+2, k+3).
///
/// The upper nibble (sign and exponent) looks up bf16's high byte, the lower one becomes bits of
/// the low byte. A magnitude below 8 is that many times 2^-9: twice the magnitude looks up what
/// differs. A look-up whose index has bit 7 set gives zero, so these two change nothing elsewhere.
/// No f32 is subnormal on the way: with 6% of such codes Zen 3 took 1.6 times as long. Asking first
/// whether any of 256 codes is that small cost what it saved.
INLINE void decode(__m256i codes, __m256i pairs[2]) {
    const __m256i high_of_upper = BOTH_LANES(
        0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, //
        0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3);
    // Bytes of 0, 2^-9, 2^-8, 1.5 * 2^-8, 2^-7 and so on, and what the nibbles alone would give.
    const __m256i high_of_small = BOTH_LANES(
        0x00 ^ 0x3c, 0, 0x3b ^ 0x3c, 0, 0x3b ^ 0x3c, 0, 0x3b ^ 0x3c, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i low_of_small = BOTH_LANES(
        0x00, 0, 0x00 ^ 0x10, 0, 0x80 ^ 0x20, 0, 0xc0 ^ 0x30, 0, //
        0x00 ^ 0x40, 0, 0x20 ^ 0x50, 0, 0x40 ^ 0x60, 0, 0x60 ^ 0x70, 0);
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    __m256i upper = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
    __m256i twice = _mm256_add_epi8(codes, codes);
    __m256i small = _mm256_adds_epu8(twice, _mm256_set1_epi8(0x70));
    __m256i is_nan = _mm256_cmpeq_epi8(twice, _mm256_set1_epi8((char)0xfe));
    __m256i high = _mm256_xor_si256(
        _mm256_shuffle_epi8(high_of_upper, upper), _mm256_shuffle_epi8(high_of_small, small));
    high = _mm256_or_si256(high, is_nan);
    __m256i low = _mm256_andnot_si256(nibble, _mm256_slli_epi16(codes, 4));
    low = _mm256_xor_si256(low, _mm256_shuffle_epi8(low_of_small, small));
    pairs[0] = _mm256_unpacklo_epi8(low, high);
    pairs[1] = _mm256_unpackhi_epi8(low, high);
}

/// Decodes a block of e4m3 to the layout of a bf16 panel. k is padded to a multiple of 4.
static void decode_block(const uint8_t *codes, int k, const char *next, char *target) {
    for (int i = 0; i < k; i += STEP, target += STEP * 2 * CK_PANEL) {
        STAYS_LOOP for (int v = 0; v < CK_PANEL / VECTOR_LANES; v++, codes += LANE_BYTES) {
            __m256i pairs[2];
            decode(_mm256_loadu_si256((const __m256i *)(const void *)codes), pairs);
            __m256i *to = (__m256i *)(void *)(target + v * LANE_BYTES);
            _mm256_storeu_si256(to, pairs[0]);
            _mm256_storeu_si256(to + CK_PANEL * 4 / sizeof(__m256i), pairs[1]);
        }
        _mm_prefetch(next, _MM_HINT_T0);
        _mm_prefetch(next + 64, _MM_HINT_T0);
        next += 128;
    }
}

/// Widens a block of int8 codes to f32, `[k][64]`; k is padded to a multiple of 4.
static void widen_int8(const uint8_t *codes, int k, float *target) {
    for (int i = 0; i < k; i += STEP, target += STEP * CK_PANEL) {
        for (int o = 0; o < CK_PANEL; o += VECTOR_LANES, codes += LANE_BYTES) {
            words all = *(const words *)(const void *)codes;
            UNROLL for (int j = 0; j < STEP; j++) {
                dots code = (dots)(all >> (8 * j) & 0xff) - 128;
                *(vector *)(target + j * CK_PANEL + o) = __builtin_convertvector(code, vector);
            }
        }
    }
}
