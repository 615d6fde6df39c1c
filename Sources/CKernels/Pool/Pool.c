#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "Levels/Kernels.h"

// A fork and join that costs half a microsecond: workers watch a generation counter for a short
// while, then sleep on it. Ranks may share cores, so nobody watches for long.
//
// Work is cut into one share per thread, and the thread that comes first claims the next share: a
// worker that the system gave no core in time finds its share done by the caller, who waits only
// for shares that were begun. Beside a busy neighbour that is the difference between one thread's
// speed and a third of it.

/// Turns of the watching loop before sleeping: some 20 us, longer than the gap between the
/// kernels of one layer and shorter than a time slice.
enum { WATCH_TURNS = 1500 };
enum { CACHE_LINE = 64, CALLER_SCRATCHES = 2 };

typedef struct {
    void *memory;
    size_t bytes;
} scratch;

struct ck_pool {
    _Alignas(CACHE_LINE) atomic_uint generation;
    atomic_ullong claims; // the run's number in the high half, its next share in the low
    _Alignas(CACHE_LINE) atomic_int unfinished;
    _Alignas(CACHE_LINE) atomic_int sleepers;
    atomic_bool stopping;
    int threads;
    ck_task task;
    void *context;
    pthread_t *workers;
    scratch *scratches; // of each thread, then those of the caller
    bool keeps_times;
    ck_pool_times times;
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void sleep_while(atomic_uint *word, unsigned value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(atomic_uint *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static unsigned next_generation(ck_pool *pool, unsigned seen) {
    for (int turn = 0;; turn++) {
        unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen) return now;
        if (turn < WATCH_TURNS) {
            relax();
        } else {
            atomic_fetch_add(&pool->sleepers, 1);
            sleep_while(&pool->generation, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
        }
    }
}

/// Takes the next share of the present run and performs it; false when all are taken. The task
/// is read after the claim: until this share is finished, no other run can begin.
static bool take_share(ck_pool *pool) {
    unsigned long long claim = atomic_load_explicit(&pool->claims, memory_order_acquire);
    do {
        if ((claim & UINT_MAX) >= (unsigned)pool->threads) return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &pool->claims, &claim, claim + 1, memory_order_acq_rel, memory_order_acquire));
    pool->task(pool->context, (int)(claim & UINT_MAX), pool->threads);
    atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_release);
    return true;
}

static void *work(void *argument) {
    ck_pool *pool = argument;
    unsigned generation = 0;
    for (;;) {
        generation = next_generation(pool, generation);
        if (atomic_load(&pool->stopping)) return NULL;
        take_share(pool);
    }
}

ck_pool *ck_pool_create(int threads) {
    size_t bytes = (sizeof(ck_pool) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    ck_pool *pool = aligned_alloc(CACHE_LINE, bytes);
    memset(pool, 0, bytes);
    pool->threads = threads;
    pool->workers = calloc((size_t)threads, sizeof(pthread_t));
    pool->scratches = calloc((size_t)threads + CALLER_SCRATCHES, sizeof(scratch));
    atomic_store(&pool->claims, UINT_MAX);
    for (int thread = 1; thread < threads; thread++) {
        if (pthread_create(&pool->workers[thread], NULL, work, pool) != 0) {
            pool->threads = thread;
            ck_pool_destroy(pool);
            return NULL;
        }
    }
    return pool;
}

void ck_pool_destroy(ck_pool *pool) {
    atomic_store(&pool->stopping, true);
    atomic_fetch_add(&pool->generation, 1);
    wake(&pool->generation);
    for (int thread = 1; thread < pool->threads; thread++) {
        pthread_join(pool->workers[thread], NULL);
    }
    for (int i = 0; i < pool->threads + CALLER_SCRATCHES; i++) {
        ck_free(pool->scratches[i].memory, pool->scratches[i].bytes);
    }
    free(pool->scratches);
    free(pool->workers);
    free(pool);
}

int ck_pool_threads(const ck_pool *pool) { return pool->threads; }

void ck_pool_run(ck_pool *pool, ck_task task, void *context) {
    if (pool->threads == 1) {
        task(context, 0, 1);
        return;
    }
    pool->task = task;
    pool->context = context;
    atomic_store_explicit(&pool->unfinished, pool->threads - 1, memory_order_relaxed);
    unsigned long long run = atomic_load(&pool->claims) >> 32;
    // Share 0 is the caller's own.
    atomic_store_explicit(&pool->claims, (run + 1) << 32 | 1, memory_order_release);
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) > 0) wake(&pool->generation);
    task(context, 0, pool->threads);
    while (take_share(pool)) {
    }
    for (int turn = 0; atomic_load_explicit(&pool->unfinished, memory_order_acquire) > 0; turn++) {
        if (turn < WATCH_TURNS) {
            relax();
        } else {
            sched_yield();
        }
    }
}

void *ck_pool_scratch(ck_pool *pool, int thread, size_t bytes) {
    scratch *own = &pool->scratches[thread < 0 ? pool->threads - 1 - thread : thread];
    if (own->bytes < bytes) {
        ck_free(own->memory, own->bytes);
        own->bytes = bytes + bytes / 2;
        own->memory = ck_allocate(own->bytes);
    }
    return own->memory;
}

void ck_pool_keep_times(ck_pool *pool, bool on) {
    pool->keeps_times = on;
    if (on) pool->times = (ck_pool_times){0};
}

ck_pool_times ck_pool_times_kept(const ck_pool *pool) { return pool->times; }

double ck_pool_time(const ck_pool *pool) { return pool->keeps_times ? ck_seconds() : 0; }

void ck_pool_add_products(ck_pool *pool, double start, double operations) {
    if (!pool->keeps_times) return;
    pool->times.product_seconds += ck_seconds() - start;
    pool->times.product_operations += operations;
}

void ck_pool_add_attention(ck_pool *pool, double start) {
    if (pool->keeps_times) pool->times.attention_seconds += ck_seconds() - start;
}

double ck_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
