// What a core can do at this level: read memory, and multiply-add in registers. A file defines
// LEVEL(name) and VECTOR_LANES, opens the target, and includes Tiles.h, then this.

static double LEVEL(read)(const void *memory, size_t bytes) {
    const float *from = memory;
    words sums[4] = {{0}};
    size_t step = 4 * VECTOR_LANES;
    for (size_t i = 0; i + step <= bytes / 4; i += step) {
        UNROLL for (int v = 0; v < 4; v++) {
            sums[v] ^= *(const words *)(from + i + v * VECTOR_LANES);
        }
    }
    words all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
    return (double)all[0];
}

enum { PEAK_CHAINS = 12 }; // enough independent sums to hide the latency of a multiply-add

static double LEVEL(multiply_add)(long rounds) {
    vector sums[PEAK_CHAINS];
    vector half = splat(0.5f);
    // From 2 on: 1 / 2 + 1 / 2 is 1, and the compiler leaves out a chain that begins with 1.
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) sums[i] = splat((float)(i + 2));
    for (long round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) {
            sums[i] = __builtin_elementwise_fma(sums[i], half, half);
        }
    }
    vector all = splat(0);
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) all += sums[i];
    volatile float keep = all[0];
    (void)keep;
    return 2.0 * VECTOR_LANES * PEAK_CHAINS * (double)rounds;
}

#define LIMIT_LOOPS .read = LEVEL(read), .multiply_add_f32 = LEVEL(multiply_add)
