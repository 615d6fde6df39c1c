#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

ck_level ck_level_of_cpu(void) { return CK_PORTABLE; }
ck_level ck_level_in_use(void) { return CK_PORTABLE; }
ck_level ck_set_level(ck_level level) { return CK_PORTABLE; }

typedef struct {
    const uint64_t *memory;
    size_t words;
    uint64_t sums[64];
} read_run;

static void read_task(void *context, int thread, int threads) {
    read_run *run = context;
    size_t share = run->words / (size_t)threads;
    const uint64_t *from = run->memory + share * (size_t)thread;
    uint64_t sum = 0;
    for (size_t i = 0; i < share; i++) sum += from[i];
    run->sums[thread % 64] = sum;
}

double ck_read_bandwidth(ck_pool *pool, const void *memory, size_t bytes) {
    read_run run = {memory, bytes / 8, {0}};
    double start = ck_seconds();
    ck_pool_run(pool, read_task, &run);
    return (double)bytes / (ck_seconds() - start);
}

typedef struct {
    float sums[64];
} peak_run;

enum { PEAK_ROUNDS = 20000, PEAK_LANES = 64 };

static void peak_task(void *context, int thread, int threads) {
    peak_run *run = context;
    float sums[PEAK_LANES] = {0};
    for (int round = 0; round < PEAK_ROUNDS; round++)
        for (int i = 0; i < PEAK_LANES; i++) sums[i] = sums[i] * 0.5f + 1;
    for (int i = 0; i < PEAK_LANES; i++) run->sums[thread % 64] += sums[i];
}

double ck_peak_rate(ck_pool *pool, int compute) {
    peak_run run = {{0}};
    double start = ck_seconds();
    ck_pool_run(pool, peak_task, &run);
    return 2.0 * PEAK_ROUNDS * PEAK_LANES * ck_pool_threads(pool) / (ck_seconds() - start);
}
