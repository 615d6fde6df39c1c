#include "Levels/Kernels.h"

// What the machine can do: reading memory, and multiply-adds on registers.

typedef struct {
    const char *memory;
    size_t bytes;
    const ck_kernels *kernels;
} read_run;

static void read_task(void *context, int thread, int threads) {
    const read_run *run = context;
    size_t share = run->bytes / (size_t)threads / 4096 * 4096;
    volatile double keep = run->kernels->read(run->memory + share * (size_t)thread, share);
    (void)keep;
}

double ck_read_bandwidth(ck_pool *pool, const void *memory, size_t bytes) {
    read_run run = {memory, bytes, ck_kernels_in_use()};
    double start = ck_seconds();
    ck_pool_run(pool, read_task, &run);
    return (double)bytes / (ck_seconds() - start);
}

typedef struct {
    double (*multiply_add)(long rounds);
    double operations[256];
} peak_run;

/// Rounds of one measurement: some milliseconds, long beside a fork and join.
enum { PEAK_ROUNDS = 1 << 20 };

static void peak_task(void *context, int thread, int threads) {
    peak_run *run = context;
    run->operations[thread] = run->multiply_add(PEAK_ROUNDS);
}

double ck_peak_rate(ck_pool *pool, int compute) {
    const ck_kernels *kernels = ck_kernels_in_use();
    peak_run run = {
        compute == CK_COMPUTE_BF16 ? kernels->multiply_add_bf16 : kernels->multiply_add_f32, {0}};
    double start = ck_seconds();
    ck_pool_run(pool, peak_task, &run);
    double seconds = ck_seconds() - start, operations = 0;
    for (int t = 0; t < ck_pool_threads(pool); t++) operations += run.operations[t];
    return operations / seconds;
}
