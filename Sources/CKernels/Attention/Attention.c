#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "Attention/Attention.h"

// out[t][h] = sum over p of softmax_p(scale * q[t][h] . key[p]) * value[p]
//
// The rows of a unit are some tokens of one sequence by some heads; they share the cache's entries
// as the rows of a matrix product share weights. A sequence is cut at multiples of CK_CHUNK
// positions. Within a chunk the softmax is taken whole; chunks are merged in order. Both depend on
// positions alone, so a token's result is the same in prefill and in decode, and whether one
// thread walks the chunks or several share them.
//
// A window drops the chunks before it. What it hides in its first chunk weighs zero, as what comes
// after a token in its last chunk does: zeros at either end of a sum change no bit of it.
//
// A sink is one more score of a head, without a value: it joins the sum of exponentials at the end.
//
// A token that sees chosen entries walks the list of them in the same way: its chunks are 256
// entries of the list, in the order of positions.

/// Rows of one unit: enough to pay for repacking the cache's entries, and their scores and sums
/// stay in a 1 MiB cache.
enum { UNIT_ROWS = 96 };
/// Units per thread, below which chunks and heads are shared out too.
enum { UNITS_PER_THREAD = 3 };
/// Partial results that sharing out chunks may take, in floats (32 MiB).
enum { PARTIAL_LIMIT = 8 << 20 };

typedef struct {
    const ck_attention_job *job;
    const ck_kernels *kernels;
    ck_pool *pool;
    ck_rows *units;
    int count, compute;
    atomic_int next;
} attention_run;

static int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// Tokens from `first` on that follow each other in one sequence, at most `limit`; one that sees
/// chosen entries is alone, because no other sees the same.
static int run_length(const ck_attention_job *job, int first, int limit) {
    int count = 1;
    if (ck_is_sparse(job, first)) return count;
    while (count < limit && first + count < job->tokens && !ck_is_sparse(job, first + count)
           && job->sequences[first + count] == job->sequences[first]) {
        count++;
    }
    return count;
}

/// The chunks that some tokens see entries of; none where they see none.
static void find_chunks(
    const ck_attention_job *job, int token, int tokens, int *first_chunk, int *end_chunk) {
    int end = 0, first = ck_first_seen(job, token);
    for (int t = token; t < token + tokens; t++) {
        end = ck_seen(job, t) > end ? ck_seen(job, t) : end;
        first = ck_first_seen(job, t) < first ? ck_first_seen(job, t) : first;
    }
    *first_chunk = first / CK_CHUNK;
    *end_chunk = ceil_div(end, CK_CHUNK);
}

/// Cuts the batch into units; writes them to `units` unless it is NULL; returns how many.
///
/// With `share` every chunk is a unit of its own, and its result goes to partials; `partials` is
/// how many rows of them there are.
static int cut(
    const ck_attention_job *job, int heads, bool share, ck_rows *units, long *partials) {
    int count = 0;
    long partial = 0;
    int limit = UNIT_ROWS / heads > 0 ? UNIT_ROWS / heads : 1;
    for (int token = 0; token < job->tokens;) {
        int tokens = run_length(job, token, limit);
        int first_chunk, end_chunk;
        find_chunks(job, token, tokens, &first_chunk, &end_chunk);
        int chunks = end_chunk - first_chunk;
        for (int head = 0, width; head < job->heads; head += width) {
            int left = job->group_heads - head % job->group_heads;
            width = left < heads ? left : heads;
            ck_rows rows = {token, tokens, head, width, first_chunk, end_chunk, -1, 1};
            bool alone = !share || chunks <= 1;
            for (int chunk = 0; chunk < (alone ? 1 : chunks); chunk++) {
                if (!alone) {
                    rows.first_chunk = first_chunk + chunk;
                    rows.end_chunk = rows.first_chunk + 1;
                    rows.parts = chunk == 0 ? chunks : 0;
                    rows.partial = (int)partial;
                    partial += tokens * width;
                }
                if (units) units[count] = rows;
                count++;
            }
        }
        token += tokens;
    }
    *partials = partial;
    return count;
}

static void attention_task(void *context, int thread, int threads) {
    attention_run *run = context;
    for (;;) {
        // The last units see the longest contexts: they go first, and short ones fill the end.
        int unit = run->count - 1 - atomic_fetch_add(&run->next, 1);
        if (unit < 0) return;
        ck_attend(run->job, run->kernels, run->compute, &run->units[unit], run->pool, thread);
    }
}

/// Merges the partials of a unit's rows, chunk after chunk, the first unit of each group of
/// chunks standing for all.
static void merge_task(void *context, int thread, int threads) {
    attention_run *run = context;
    for (;;) {
        int unit = atomic_fetch_add(&run->next, 1);
        if (unit >= run->count) return;
        const ck_rows *rows = &run->units[unit];
        if (rows->partial < 0 || rows->parts == 0) continue;
        ck_merge_partials(run->job, run->kernels, rows, run->pool);
    }
}

/// The number of heads in a unit, and whether chunks are units of their own.
static bool choose_cut(const ck_attention_job *job, int threads, int *heads) {
    *heads = job->group_heads < UNIT_ROWS ? job->group_heads : UNIT_ROWS;
    int wanted = threads == 1 ? 1 : threads * UNITS_PER_THREAD;
    long partials;
    int count = cut(job, *heads, false, NULL, &partials);
    if (count >= wanted) return false;
    int shared = cut(job, *heads, true, NULL, &partials);
    long floats = partials * (job->value_width + CK_PARTIAL_EXTRA);
    bool share = shared > count && floats <= PARTIAL_LIMIT;
    if (share) count = shared;
    // Heads are the last resort: each group of heads packs the same entries again.
    while (count < threads && *heads > CK_TILE_ROWS) {
        *heads = ceil_div(*heads, 2);
        count *= 2;
    }
    return share;
}

void ck_attention(const ck_attention_job *job, int compute, ck_pool *pool) {
    if (job->tokens == 0) return;
    double start = ck_pool_time(pool);
    int heads;
    bool share = choose_cut(job, ck_pool_threads(pool), &heads);
    long partials;
    int count = cut(job, heads, share, NULL, &partials);
    size_t unit_bytes = (size_t)count * sizeof(ck_rows);
    ck_rows *units = ck_pool_scratch(pool, -1, unit_bytes);
    cut(job, heads, share, units, &partials);
    if (partials > 0) {
        ck_pool_scratch(
            pool, -2,
            (size_t)partials * (size_t)(job->value_width + CK_PARTIAL_EXTRA) * sizeof(float));
    }
    attention_run run = {
        job, ck_kernels_for_attention(compute), pool, units, count, compute, 0,
    };
    ck_pool_run(pool, attention_task, &run);
    if (partials > 0) {
        run.next = 0;
        ck_pool_run(pool, merge_task, &run);
    }
    ck_pool_add_attention(pool, start);
}
