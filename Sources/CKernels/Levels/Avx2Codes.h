// One-byte weights on their way to the products of AVX2: e4m3 becomes bf16, int8 becomes f32, a
// block of a panel at a time. Included by Avx2Panels.h.

/// The same 16 bytes in both lanes of 128 bits.
#define BOTH_LANES(...)                                                                            \
    _mm256_broadcastsi128_si256((__m128i)(__v16qu){__VA_ARGS__})

INLINE __m256i load(const uint8_t *codes) {
    return _mm256_loadu_si256((const __m256i *)(const void *)codes);
}

/// One more than each magnitude: above 8 unless a code is small or no number.
INLINE __m256i next_magnitudes(__m256i codes) {
    __m256i next = _mm256_sub_epi8(codes, _mm256_set1_epi8(-1));
    return _mm256_and_si256(next, _mm256_set1_epi8(0x7f));
}

/// What `decode_large` and the sums after it need beside the codes.
typedef struct {
    __m256i high_of_upper, nibble;
    words odd; // the bits of a pair that are its second value
} decoder;

static const decoder decoder_of_large = {
    // In both lanes 0x3c...0x43, then 0xbc...0xc3.
    {0x434241403f3e3d3c, (long long)0xc3c2c1c0bfbebdbc, 0x434241403f3e3d3c,
     (long long)0xc3c2c1c0bfbebdbc},
    {0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f},
    {0xfff00000u, 0xfff00000u, 0xfff00000u, 0xfff00000u, 0xfff00000u, 0xfff00000u, 0xfff00000u,
     0xfff00000u},
};

/// The high bytes of normal numbers as bf16 and the low ones, whose odd last four bits are not to
/// be read.
///
/// The upper nibble (sign and exponent) looks up bf16's high byte, the lower one becomes bits of
/// the low byte.
INLINE void look_up_large(
    const decoder *decoder, __m256i codes, __m256i *restrict high, __m256i *restrict low) {
    __m256i upper = _mm256_and_si256(_mm256_srli_epi16(codes, 4), decoder->nibble);
    *high = _mm256_shuffle_epi8(decoder->high_of_upper, upper);
    *low = _mm256_slli_epi16(codes, 4);
}

/// 32 codes of normal numbers as bf16: the pairs (k, k+1) of 8 outputs, then their pairs (k+2,
/// k+3). The last four bits of each second value are not to be read.
INLINE void decode_large(const decoder *decoder, __m256i codes, __m256i pairs[2]) {
    __m256i high, low;
    look_up_large(decoder, codes, &high, &low);
    pairs[0] = _mm256_unpacklo_epi8(low, high);
    pairs[1] = _mm256_unpackhi_epi8(low, high);
}

/// The same of any codes, unless `large`, with all bits to be read.
///
/// Look-ups by one more than the magnitude say what differs for those below 8, which are that many
/// times 2^-9, and for the last, which is no number: an index with bit 7 set gives zero, so they
/// change nothing elsewhere. No f32 is subnormal on the way: with 6% of such codes Zen 3 took 1.6
/// times as long.
INLINE void decode(__m256i codes, __m256i pairs[2], const bool large) {
    // From number 7 on: not a number, then bytes of 0, 2^-9, 2^-8, 1.5 * 2^-8, 2^-7 and so on, and
    // what the nibbles alone would give.
    const __m256i high_of_small = BOTH_LANES(
        0, 0, 0, 0, 0, 0, 0, 0x7f ^ 0x43, //
        0x00 ^ 0x3c, 0x3b ^ 0x3c, 0x3b ^ 0x3c, 0x3b ^ 0x3c, 0, 0, 0, 0);
    const __m256i low_of_small = BOTH_LANES(
        0, 0, 0, 0, 0, 0, 0, 0, //
        0x00, 0x00 ^ 0x10, 0x80 ^ 0x20, 0xc0 ^ 0x30, //
        0x00 ^ 0x40, 0x20 ^ 0x50, 0x40 ^ 0x60, 0x60 ^ 0x70);
    __m256i high, low;
    look_up_large(&decoder_of_large, codes, &high, &low);
    low = _mm256_andnot_si256(decoder_of_large.nibble, low);
    if (!large) {
        __m256i small = _mm256_adds_epu8(next_magnitudes(codes), _mm256_set1_epi8(0x77));
        high = _mm256_xor_si256(high, _mm256_shuffle_epi8(high_of_small, small));
        low = _mm256_xor_si256(low, _mm256_shuffle_epi8(low_of_small, small));
    }
    pairs[0] = _mm256_unpacklo_epi8(low, high);
    pairs[1] = _mm256_unpackhi_epi8(low, high);
}

/// Bit i says that step i of a block holds codes that are small or no number, or is not whole. One
/// step in 30 does in weights whose largest is 448: the others need a third fewer operations.
static uint32_t small_steps(const uint8_t *codes, int k) {
    uint32_t steps = 0;
    STAYS_LOOP for (int i = 0; i < k; i += STEP, codes += STEP * CK_PANEL) {
        __m256i least = next_magnitudes(load(codes));
        UNROLL for (int v = 1; v < CK_PANEL / VECTOR_LANES; v++) {
            least = _mm256_min_epu8(least, next_magnitudes(load(codes + v * LANE_BYTES)));
        }
        __m256i large = _mm256_cmpgt_epi8(least, _mm256_set1_epi8(8));
        bool all = _mm256_movemask_epi8(large) == -1 && i + STEP <= k;
        steps |= (uint32_t)!all << (i / STEP);
    }
    return steps;
}

/// Decodes a step to the layout of a bf16 panel.
INLINE void decode_step(const uint8_t *codes, char *target, const bool large) {
    STAYS_LOOP for (int v = 0; v < CK_PANEL / VECTOR_LANES; v++, codes += LANE_BYTES) {
        __m256i pairs[2];
        decode(load(codes), pairs, large);
        __m256i *to = (__m256i *)(void *)(target + v * LANE_BYTES);
        _mm256_storeu_si256(to, pairs[0]);
        _mm256_storeu_si256(to + CK_PANEL * 4 / sizeof(__m256i), pairs[1]);
    }
}

/// Decodes a block whose steps `small` have small codes. k is padded to a multiple of 4.
static void decode_block(
    const uint8_t *codes, int k, uint32_t small, const char *next, char *target) {
    for (int i = 0; i < k; i += STEP, target += STEP * 2 * CK_PANEL, small >>= 1) {
        if (small & 1) {
            decode_step(codes, target, false);
        } else {
            decode_step(codes, target, true);
        }
        codes += STEP * CK_PANEL;
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
