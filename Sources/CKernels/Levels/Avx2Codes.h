// One-byte weights on their way to the products of AVX2: e4m3 becomes f16, int8 becomes f32, a
// block of a panel at a time. Included by Avx2Panels.h.
//
// A code of e4m3 moved to the top of a word of 16 bits, shifted right by one with its sign and
// without bit 14, is an f16 of 2^-8 times its value: exact, and subnormal where the code is. The
// conversion from f16 takes a pipe of Zen 3 that no multiply-add needs, and subnormals take no
// longer there.

/// What the sums of weights that came from e4m3 are to be multiplied by.
#define F16_UNIT 256.0f

/// The same 16 bytes in both lanes of 128 bits.
#define BOTH_LANES(...)                                                                            \
    _mm256_broadcastsi128_si256((__m128i)(__v16qu){__VA_ARGS__})

INLINE __m256i load(const uint8_t *codes) {
    return _mm256_loadu_si256((const __m256i *)(const void *)codes);
}

/// 16 bytes, then 16 others. Written out, because the compiler would make it an insertion, which
/// costs a whole cycle of Zen 3's shuffles.
INLINE __m256i joined(const uint8_t *low, const uint8_t *high) {
    __m256i both;
    __asm__("vbroadcasti128 %1, %0" : "=x"(both) : "m"(*(const __m128i *)(const void *)high));
    __m128i first = _mm_loadu_si128((const __m128i *)(const void *)low);
    return _mm256_blend_epi32(both, _mm256_castsi128_si256(first), 0x0f);
}

/// Decodes 2 inputs of 16 outputs: the codes of both, side by side, to two rows of a panel of f16.
INLINE void decode_pairs(__m256i codes, uint16_t *target) {
    const __m256i bits = _mm256_set1_epi16((short)0xbf80);
    __m256i first = _mm256_maddubs_epi16(_mm256_set1_epi16(0x0080), codes);
    __m256i second = _mm256_srai_epi16(codes, 1);
    _mm256_storeu_si256((__m256i *)(void *)target, _mm256_and_si256(first, bits));
    target += CK_PANEL;
    _mm256_storeu_si256((__m256i *)(void *)target, _mm256_and_si256(second, bits));
}

/// Makes f16 that is no number of what a code that is no number became.
static void restore_no_numbers(uint16_t *values, int count) {
    for (int i = 0; i < count; i++) {
        if ((values[i] & 0x7fff) == 0x3f80) values[i] |= 0x4000;
    }
}

/// Decodes a block to f16, `[k][64]`, in units of F16_UNIT; k is padded to a multiple of 4. Memory
/// brings what lies at `next` meanwhile, `DECODING_BRINGS` bytes per step.
static __attribute__((noinline)) void decode_block(
    const uint8_t *codes, int k, const char *next, uint16_t *target) {
    __m256i largest = _mm256_setzero_si256(); // of magnitudes times 2: 0xfe is no number
    uint16_t *to = target;
    STAYS_LOOP for (int i = 0; i < k; i += STEP, to += STEP * CK_PANEL) {
        UNROLL for (int o = 0; o < CK_PANEL; o += 16, codes += 64) {
            __m256i low = joined(codes, codes + 32), high = joined(codes + 16, codes + 48);
            largest = _mm256_max_epu8(largest, _mm256_add_epi8(low, low));
            largest = _mm256_max_epu8(largest, _mm256_add_epi8(high, high));
            decode_pairs(_mm256_unpacklo_epi64(low, high), to + o);
            decode_pairs(_mm256_unpackhi_epi64(low, high), to + o + 2 * CK_PANEL);
        }
        UNROLL for (int line = 0; line < DECODING_BRINGS; line += 64) {
            _mm_prefetch(next + line, _MM_HINT_T0);
        }
        next += DECODING_BRINGS;
    }
    __m256i wrong = _mm256_cmpeq_epi8(largest, _mm256_set1_epi8((char)0xfe));
    if (_mm256_movemask_epi8(wrong)) restore_no_numbers(target, (int)(to - target));
}

/// Widens a block of int8 codes to f32, `[k][64]`; k is padded to a multiple of 4.
static void widen_int8(const uint8_t *codes, int k, float *target) {
    for (int i = 0; i < k; i += STEP, target += STEP * CK_PANEL) {
        for (int o = 0; o < CK_PANEL; o += VECTOR_LANES, codes += CODE_BYTES) {
            words all = *(const words *)(const void *)codes;
            UNROLL for (int j = 0; j < STEP; j++) {
                dots code = (dots)(all >> (8 * j) & 0xff) - 128;
                *(vector *)(target + j * CK_PANEL + o) = __builtin_convertvector(code, vector);
            }
        }
    }
}
