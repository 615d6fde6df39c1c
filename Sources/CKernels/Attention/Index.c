#include <stdatomic.h>
#include <string.h>

#include "Attention/EntryReader.h"
#include "Products/Operands.h"

// scores[t][p] = sum over h of weights[t][h] * max(0, queries[t][h] . keys[p])
//
// The rows of a unit are the heads of some tokens of one sequence, its outputs the keys of one
// chunk of positions, packed as attention packs entries. The sum over heads runs in sequence, one
// accumulator per position. So a score depends on its token and its key alone.

/// Rows of a unit: enough to pay for packing the keys. Queries and products stay in a cache of
/// 512 KiB.
enum { UNIT_ROWS = 128 };
/// Scores that are kept at once, in floats (16 MiB), unless one token has more.
enum { SCORE_LIMIT = 4 << 20 };

typedef struct {
    int token, tokens, chunk;
} index_unit;

typedef struct {
    const ck_index_job *job;
    const ck_kernels *kernels;
    ck_pool *pool;
    index_unit *units;
    int count, compute;
    int first, end; // tokens
    float *scores;
    ptrdiff_t score_stride;
    int32_t *chosen;
    atomic_int next;
} index_run;

static bool is_scored(const ck_index_job *job, int token) {
    return job->contexts[token] > job->wanted;
}

/// Cuts tokens into units; writes them to `units` unless it is NULL; returns how many.
static int cut(const ck_index_job *job, int first, int end, index_unit *units) {
    int count = 0, limit = UNIT_ROWS / job->heads > 0 ? UNIT_ROWS / job->heads : 1;
    for (int token = first; token < end;) {
        int tokens = 1, context = job->contexts[token];
        while (tokens < limit && token + tokens < end && is_scored(job, token)
               && is_scored(job, token + tokens)
               && job->sequences[token + tokens] == job->sequences[token]) {
            int other = job->contexts[token + tokens++];
            context = other > context ? other : context;
        }
        int chunks = is_scored(job, token) ? (context + CK_CHUNK - 1) / CK_CHUNK : 0;
        for (int chunk = 0; chunk < chunks; chunk++, count++) {
            if (units) units[count] = (index_unit){token, tokens, chunk};
        }
        token += tokens;
    }
    return count;
}

/// Sums the products of up to 64 keys over the heads of each token.
static void add_heads(
    const index_run *run, const index_unit *unit, int position, int count, const float *products) {
    const ck_index_job *job = run->job;
    for (int t = unit->token; t < unit->token + unit->tokens; t++) {
        int seen = job->contexts[t] - position < count ? job->contexts[t] - position : count;
        const float *weights = job->weights + t * job->weight_stride;
        float sums[CK_PANEL] = {0};
        for (int h = 0; h < job->heads; h++, products += CK_PANEL) {
            run->kernels->accumulate_positive(products, weights[h], sums, CK_PANEL);
        }
        if (seen <= 0) continue;
        float *scores = run->scores + (t - run->first) * run->score_stride + position;
        memcpy(scores, sums, (size_t)seen * sizeof(float));
    }
}

static void score_unit(const index_run *run, const index_unit *unit, int thread) {
    const ck_index_job *job = run->job;
    ck_entry_reader reader = {
        .kernels = run->kernels, .cache = job->cache, .entry_bytes = job->entry_bytes,
        .format = job->format, .block_tokens = job->block_tokens,
        .blocks = job->blocks + job->first_block[job->sequences[unit->token]],
        .key = job->width, .values = job->width};
    ck_reader_prepare(&reader, run->compute);
    size_t rows = (size_t)(unit->tokens * job->heads), used = 0;
    ptrdiff_t stride = ck_operand_stride(reader.width);
    char *scratch = NULL, *queries = NULL;
    float *products = NULL;
    for (int round = 0; round < 2; round++) {
        if (round > 0) scratch = ck_pool_scratch(run->pool, thread, used);
        used = 0;
        ck_reader_lay_out(&reader, 0, scratch, &used);
        queries = ck_take_piece(scratch, &used, rows * (size_t)stride * reader.element);
        products = (float *)(void *)ck_take_piece(scratch, &used, rows * CK_PANEL * sizeof(float));
    }
    memset(reader.zeros, 0, (size_t)reader.width * reader.element);
    int context = 0;
    for (int r = 0; r < (int)rows; r++) {
        int token = unit->token + r / job->heads;
        const float *query = job->queries + token * job->query_stride;
        ck_prepare_query(
            &reader, query + (ptrdiff_t)(r % job->heads) * job->width,
            run->compute == CK_COMPUTE_BF16, stride,
            queries + (size_t)(r * stride) * reader.element);
        context = job->contexts[token] > context ? job->contexts[token] : context;
    }
    int first = unit->chunk * CK_CHUNK;
    int count = context - first < CK_CHUNK ? context - first : CK_CHUNK;
    ck_find_entries(&reader, first, count);
    for (int p = 0; p < count; p += CK_PANEL) {
        int keys = count - p < CK_PANEL ? count - p : CK_PANEL;
        ck_pack_positions(&reader, p, keys);
        ck_multiply_panel(
            &reader, queries, stride, (int)rows, reader.width, products, CK_PANEL);
        add_heads(run, unit, first + p, keys, products);
    }
}

static void score_task(void *context, int thread, int threads) {
    index_run *run = context;
    for (;;) {
        // As in attention: the longest contexts come last and go first.
        int unit = run->count - 1 - atomic_fetch_add(&run->next, 1);
        if (unit < 0) return;
        score_unit(run, &run->units[unit], thread);
    }
}

static void score(index_run *run) {
    run->count = cut(run->job, run->first, run->end, NULL);
    run->units = ck_pool_scratch(run->pool, -1, (size_t)run->count * sizeof(index_unit));
    cut(run->job, run->first, run->end, run->units);
    run->next = 0;
    ck_pool_run(run->pool, score_task, run);
}

void ck_index_scores(
    const ck_index_job *job, int compute, float *scores, ptrdiff_t score_stride, ck_pool *pool) {
    index_run run = {
        .job = job, .kernels = ck_kernels_for_attention(compute), .pool = pool,
        .compute = compute, .end = job->tokens, .scores = scores, .score_stride = score_stride};
    score(&run);
}

static void choose_task(void *context, int thread, int threads) {
    index_run *run = context;
    for (;;) {
        int token = run->first + atomic_fetch_add(&run->next, 1);
        if (token >= run->end) return;
        if (!is_scored(run->job, token)) continue;
        ck_top_positions(
            run->scores + (token - run->first) * run->score_stride, run->job->contexts[token],
            run->job->wanted, run->chosen + (ptrdiff_t)token * run->job->wanted);
    }
}

void ck_choose_positions(
    const ck_index_job *job, int compute, int32_t *chosen, ck_pool *pool) {
    double start = ck_pool_time(pool);
    int longest = 0;
    for (int t = 0; t < job->tokens; t++) {
        longest = job->contexts[t] > longest ? job->contexts[t] : longest;
    }
    if (longest <= job->wanted) return;
    int tile = SCORE_LIMIT / longest > 0 ? SCORE_LIMIT / longest : 1;
    if (tile > job->tokens) tile = job->tokens;
    float *scores =
        ck_pool_scratch(pool, -2, (size_t)tile * (size_t)longest * sizeof(float));
    index_run run = {
        .job = job, .kernels = ck_kernels_for_attention(compute), .pool = pool,
        .compute = compute, .scores = scores, .score_stride = longest, .chosen = chosen};
    for (run.first = 0; run.first < job->tokens; run.first = run.end) {
        run.end = job->tokens - run.first < tile ? job->tokens : run.first + tile;
        score(&run);
        run.next = 0;
        ck_pool_run(pool, choose_task, &run);
    }
    ck_pool_add_attention(pool, start);
}
