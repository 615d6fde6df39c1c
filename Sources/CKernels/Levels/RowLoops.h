// The loops over single rows, compiled once per level: a file defines LEVEL(name), opens the
// target, and includes this. Sums are kept in 16 lanes and folded in one fixed order, and nothing
// is contracted, so every level gives the same bits.

#include <math.h>
#include <string.h>

#include "Levels/Kernels.h"

enum { LANES = 16 };

/// Before a loop whose result may be one of its inputs, element for element: without it the
/// compiler keeps a scalar copy for that case, which took a sixth of an expert layer.
#define IN_PLACE _Pragma("clang loop vectorize(assume_safety)")

/// Adds the lanes pairwise: 16, 8, 4, 2, 1.
static inline float LEVEL(fold)(float *lanes) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

/// e^x within 2 units in the last place, 0 below -87.3, e^88.3 above 88.3.
///
/// e^x = 2^n e^r with |r| <= ln(2)/2; the polynomial is Cephes' expf. Small enough to vectorise.
static inline float LEVEL(exp)(float x) {
    float bounded = x < -87.3f ? -87.3f : x;
    bounded = bounded > 88.3f ? 88.3f : bounded;
    // Adding 1.5 * 2^23 rounds to an integer.
    float shifted = bounded * 1.44269504088896341f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits - 0x4b400000u + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    float value = p * power;
    return x != x ? x : x < -87.3f ? 0 : value;
}

static void LEVEL(rms_norm)(
    const float *x, const float *weight, float epsilon, float *y, int columns) {
    float lanes[LANES] = {0};
    int whole = columns / LANES * LANES;
    for (int i = 0; i < whole; i += LANES) {
        for (int j = 0; j < LANES; j++) lanes[j] += x[i + j] * x[i + j];
    }
    for (int i = whole; i < columns; i++) lanes[i - whole] += x[i] * x[i];
    float scale = 1 / sqrtf(LEVEL(fold)(lanes) / (float)columns + epsilon);
    IN_PLACE for (int i = 0; i < columns; i++) y[i] = x[i] * scale * weight[i];
}

static void LEVEL(rope)(
    float *x, const float *cosines, const float *sines, int pairs, float sign) {
    for (int i = 0; i < pairs; i++) {
        float even = x[2 * i], odd = x[2 * i + 1], sine = sign * sines[i];
        x[2 * i] = even * cosines[i] - odd * sine;
        x[2 * i + 1] = odd * cosines[i] + even * sine;
    }
}

static void LEVEL(swiglu)(const float *gate, const float *up, float *y, size_t count) {
    IN_PLACE for (size_t i = 0; i < count; i++) {
        y[i] = gate[i] / (1 + LEVEL(exp)(-gate[i])) * up[i];
    }
}

static void LEVEL(clamped_swiglu)(
    const float *gate, const float *up, float alpha, float limit, float *y, size_t count) {
    IN_PLACE for (size_t i = 0; i < count; i++) {
        float g = gate[i] > limit ? limit : gate[i];
        float u = up[i] > limit ? limit : up[i];
        u = u < -limit ? -limit : u;
        y[i] = g / (1 + LEVEL(exp)(-alpha * g)) * (u + 1);
    }
}

static void LEVEL(sigmoid)(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = 1 / (1 + LEVEL(exp)(-x[i]));
}

static float LEVEL(largest)(const float *x, size_t count) {
    float lanes[LANES];
    for (int j = 0; j < LANES; j++) lanes[j] = -INFINITY;
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (int j = 0; j < LANES; j++) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    }
    float largest = -INFINITY;
    for (size_t i = whole; i < count; i++) largest = x[i] > largest ? x[i] : largest;
    for (int j = 0; j < LANES; j++) largest = lanes[j] > largest ? lanes[j] : largest;
    return largest;
}

static float LEVEL(largest_magnitude)(const float *x, size_t count) {
    float lanes[LANES] = {0};
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float magnitude = fabsf(x[i + j]);
            lanes[j] = magnitude > lanes[j] ? magnitude : lanes[j];
        }
    }
    float largest = 0;
    for (size_t i = whole; i < count; i++) largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    for (int j = 0; j < LANES; j++) largest = lanes[j] > largest ? lanes[j] : largest;
    return largest;
}

static float LEVEL(exponentials)(float *x, float shift, size_t count) {
    float lanes[LANES] = {0};
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float value = LEVEL(exp)(x[i + j] - shift);
            x[i + j] = value;
            lanes[j] += value;
        }
    }
    for (size_t i = whole; i < count; i++) {
        x[i] = LEVEL(exp)(x[i] - shift);
        lanes[i - whole] += x[i];
    }
    return LEVEL(fold)(lanes);
}

static void LEVEL(scale)(float *x, float factor, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] *= factor;
}

static void LEVEL(add)(const float *x, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] += x[i];
}

static void LEVEL(accumulate)(const float *x, float weight, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] += weight * x[i];
}

static void LEVEL(accumulate_positive)(
    const float *x, float weight, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] += weight * (x[i] > 0 ? x[i] : 0);
}

// ---- Formats -------------------------------------------------------------------------------

static inline uint32_t LEVEL(bits)(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float LEVEL(value)(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t LEVEL(to_bf16)(float value) {
    uint32_t bits = LEVEL(bits)(value);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

static inline float LEVEL(from_bf16)(uint16_t value) {
    return LEVEL(value)((uint32_t)value << 16);
}

/// Both roundings are computed and one is chosen, so that the loop has no branch.
static inline uint8_t LEVEL(to_e4m3)(float value) {
    uint32_t bits = LEVEL(bits)(value), sign = (bits >> 24) & 0x80, size = bits & 0x7fffffff;
    // Normal: keep three fraction bits, ties to even, and move the exponent's bias from 127 to 7.
    uint32_t normal = ((size + 0x7ffff + ((size >> 20) & 1)) >> 20) - ((127 - 7) << 3);
    // Subnormal: a multiple of 2^-9. Next to 2^14 an f32 holds exactly those, so adding rounds.
    uint32_t small = LEVEL(bits)(LEVEL(value)(size) + 0x1p14f) - LEVEL(bits)(0x1p14f);
    uint32_t code = size < 0x3c800000 ? small : normal;
    code = size >= 0x43e00000 ? 0x7e : code;
    code = size > 0x7f800000 ? 0x7f : code;
    return (uint8_t)(sign | code);
}

static inline float LEVEL(from_e4m3)(uint8_t code) {
    uint32_t sign = (uint32_t)(code & 0x80) << 24, size = code & 0x7f;
    // Read as f32, the code is 2^-120 times its value, subnormals included.
    float value = LEVEL(value)(size << 20) * 0x1p120f;
    uint32_t bits = size == 0x7f ? 0x7fc00000 : LEVEL(bits)(value);
    return LEVEL(value)(sign | bits);
}

static void LEVEL(bf16_encode)(const float *source, uint16_t *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] = LEVEL(to_bf16)(source[i]);
}

static void LEVEL(bf16_decode)(const uint16_t *source, float *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] = LEVEL(from_bf16)(source[i]);
}

static void LEVEL(bf16_accumulate)(
    const uint16_t *source, float weight, float *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] += weight * LEVEL(from_bf16)(source[i]);
}

/// Takes 64 columns of all rows at a time, so that a sum stays in registers and every row is a
/// stream of its own. Adds in the order of the rows, as one `bf16_accumulate` after the other.
static void LEVEL(bf16_sum)(
    const uint16_t *const *rows, const float *weights, int row_count, float *target,
    size_t count) {
    enum { COLUMNS = 4 * LANES };
    size_t whole = count / COLUMNS * COLUMNS;
    for (size_t i = 0; i < whole; i += COLUMNS) {
        float sums[COLUMNS];
        for (int j = 0; j < COLUMNS; j++) sums[j] = target[i + j];
        for (int r = 0; r < row_count; r++) {
            const uint16_t *row = rows[r] + i;
            float weight = weights[r];
            for (int j = 0; j < COLUMNS; j++) sums[j] += weight * LEVEL(from_bf16)(row[j]);
        }
        for (int j = 0; j < COLUMNS; j++) target[i + j] = sums[j];
    }
    for (int r = 0; r < row_count; r++)
        LEVEL(bf16_accumulate)(rows[r] + whole, weights[r], target + whole, count - whole);
}

/// A cache line of bf16, which a non-temporal store writes whole.
typedef uint16_t LEVEL(line) __attribute__((vector_size(64), may_alias));

/// The same sum from zero on, rounded once. Half the bytes of the f32 sum, and none is read.
///
/// A store past the cache spares memory the read of the line that it replaces, a fifth of all bytes
/// when four rows of 14 KB become one.
static void LEVEL(bf16_sum_to_bf16)(
    const uint16_t *const *rows, const float *weights, int row_count, uint16_t *target,
    size_t count, bool streams) {
    enum { COLUMNS = 4 * LANES, AHEAD = 1024, LINE = 32 };
    streams = streams && (uintptr_t)target % sizeof(LEVEL(line)) == 0;
    for (size_t i = 0; i < count; i += COLUMNS) {
        size_t width = count - i < COLUMNS ? count - i : COLUMNS;
        float sums[COLUMNS] = {0};
        if (width == COLUMNS) {
            for (int r = 0; r < row_count; r++) {
                const uint16_t *row = rows[r] + i;
                float weight = weights[r];
                __builtin_prefetch(row + AHEAD);
                __builtin_prefetch(row + AHEAD + COLUMNS / 2);
                for (int j = 0; j < COLUMNS; j++) sums[j] += weight * LEVEL(from_bf16)(row[j]);
            }
            LEVEL(line) lines[COLUMNS / LINE];
            uint16_t *rounded = (uint16_t *)lines;
            for (int j = 0; j < COLUMNS; j++) rounded[j] = LEVEL(to_bf16)(sums[j]);
            for (int l = 0; l < COLUMNS / LINE; l++) {
                if (streams) {
                    __builtin_nontemporal_store(lines[l], (LEVEL(line) *)(target + i + l * LINE));
                } else {
                    memcpy(target + i + l * LINE, &lines[l], sizeof lines[l]);
                }
            }
        } else {
            for (int r = 0; r < row_count; r++) {
                for (size_t j = 0; j < width; j++)
                    sums[j] += weights[r] * LEVEL(from_bf16)(rows[r][i + j]);
            }
            for (size_t j = 0; j < width; j++) target[i + j] = LEVEL(to_bf16)(sums[j]);
        }
    }
    // Such stores are not ordered before a later signal by themselves.
    if (streams) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void LEVEL(e4m3_encode)(const float *source, float scale, uint8_t *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] = LEVEL(to_e4m3)(source[i] / scale);
}

static void LEVEL(e4m3_decode)(const uint8_t *source, float scale, float *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] = LEVEL(from_e4m3)(source[i]) * scale;
}

/// The largest magnitude of a block is found among bit patterns, where an infinity is larger than
/// any number and a NaN larger still.
static void LEVEL(round_int8)(
    const float *source, int8_t *target, ck_int8_block *blocks, size_t count) {
    for (size_t first = 0; first < count; first += CK_SCALE_BLOCK, blocks++) {
        const float *x = source + first;
        int length = (int)(count - first < CK_SCALE_BLOCK ? count - first : CK_SCALE_BLOCK);
        uint32_t largest = 0;
        for (int i = 0; i < length; i++) {
            uint32_t size = LEVEL(bits)(x[i]) & 0x7fffffff;
            largest = size > largest ? size : largest;
        }
        bool is_finite = largest < 0x7f800000, is_zero = largest < LEVEL(bits)(0x1p-100f);
        float factor = is_finite && !is_zero ? 127 / LEVEL(value)(largest) : 0;
        int32_t sum = 0;
        for (int i = 0; i < length; i++) {
            // Adding 1.5 * 2^23 rounds to an integer, which lies in the lowest bits then.
            float shifted = (is_finite ? x[i] : 0) * factor + 12582912.0f;
            int32_t value = (int32_t)(LEVEL(bits)(shifted) - 0x4b400000);
            target[first + (size_t)i] = (int8_t)value;
            sum += value;
        }
        float scale = is_zero ? 0 : LEVEL(value)(largest) / 127;
        *blocks = (ck_int8_block){is_finite ? scale : NAN, sum};
    }
}

static void LEVEL(interleave)(
    const uint16_t *first, const uint16_t *second, uint16_t *target, size_t count) {
    for (size_t i = 0; i < count; i++) {
        target[2 * i] = first[i];
        target[2 * i + 1] = second[i];
    }
}

static void LEVEL(group_pairs)(uint8_t *bytes, size_t count) {
    for (size_t start = 0; start + 16 <= count; start += 16) {
        uint16_t pairs[8], grouped[8];
        memcpy(pairs, bytes + start, sizeof pairs);
        for (int i = 0; i < 4; i++) {
            grouped[i] = pairs[2 * i];
            grouped[4 + i] = pairs[2 * i + 1];
        }
        memcpy(bytes + start, grouped, sizeof grouped);
    }
}

#define ROW_LOOPS                                                                                  \
    .rms_norm = LEVEL(rms_norm), .rope = LEVEL(rope), .swiglu = LEVEL(swiglu),                     \
    .clamped_swiglu = LEVEL(clamped_swiglu),                                                       \
    .largest = LEVEL(largest), .exponentials = LEVEL(exponentials), .sigmoid = LEVEL(sigmoid),     \
    .scale = LEVEL(scale), .add = LEVEL(add), .accumulate = LEVEL(accumulate),                     \
    .accumulate_positive = LEVEL(accumulate_positive),                                             \
    .bf16_encode = LEVEL(bf16_encode), .bf16_decode = LEVEL(bf16_decode),                          \
    .bf16_accumulate = LEVEL(bf16_accumulate), .bf16_sum = LEVEL(bf16_sum),                        \
    .bf16_sum_to_bf16 = LEVEL(bf16_sum_to_bf16),                                                   \
    .e4m3_encode = LEVEL(e4m3_encode), .e4m3_decode = LEVEL(e4m3_decode),                          \
    .largest_magnitude = LEVEL(largest_magnitude), .interleave = LEVEL(interleave),                \
    .group_pairs = LEVEL(group_pairs), .round_int8 = LEVEL(round_int8)
