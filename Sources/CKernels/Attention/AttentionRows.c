#include <math.h>
#include <string.h>

#include "Attention/EntryReader.h"
#include "Products/Operands.h"

// One unit of attention, chunk by chunk:
//
//   scores [rows][256]    = queries [rows][width] . keys [256][width]       panels of 64 positions
//   sums   [rows][values] = exp(scores - largest) . values [256][values]    panels of 64 values
//
// Both are panel products, so entries are repacked as weights are: words of a bf16 pair (or one
// f32) are transposed for the scores, rows of two positions interleaved for the sums. A row's
// positions beyond its context, and those before its window, weigh zero, which changes no bit of
// its sums. Of the first chunk of a window the panels of 64 before it are left out.

typedef struct {
    const ck_attention_job *job;
    const ck_kernels *kernels;
    const ck_rows *rows;
    int count, values; // values: a multiple of 64, the stride of sums
    ck_entry_reader reader;
    ptrdiff_t query_stride, score_stride;
    char *queries, *panel, *weights;
    float *scores, *sums, *merged, *largest, *total;
} workspace;

static size_t lay_out(workspace *w, char *scratch) {
    size_t used = 0, rows = (size_t)w->count, values = (size_t)w->values;
    size_t element = w->reader.element;
    ck_reader_lay_out(&w->reader, values, scratch, &used);
    w->panel = w->reader.panel;
    w->queries = ck_take_piece(scratch, &used, rows * (size_t)w->query_stride * element);
    w->weights = ck_take_piece(scratch, &used, rows * (size_t)w->score_stride * element);
    w->scores = (float *)(void *)ck_take_piece(scratch, &used, rows * CK_CHUNK * sizeof(float));
    w->sums = (float *)(void *)ck_take_piece(scratch, &used, rows * values * sizeof(float));
    w->merged = (float *)(void *)ck_take_piece(scratch, &used, rows * values * sizeof(float));
    w->largest = (float *)(void *)ck_take_piece(scratch, &used, 2 * rows * sizeof(float));
    w->total = (float *)(void *)ck_take_piece(scratch, &used, 2 * rows * sizeof(float));
    return used;
}

static void prepare_queries(workspace *w, bool rounds) {
    const ck_attention_job *job = w->job;
    int width = job->key_width;
    for (int r = 0; r < w->count; r++) {
        int token = w->rows->token + r / w->rows->heads;
        int head = w->rows->head + r % w->rows->heads;
        const float *from = job->queries + token * job->query_stride + (ptrdiff_t)head * width;
        ck_prepare_query(
            &w->reader, from, rounds, w->query_stride,
            w->queries + (size_t)(r * w->query_stride) * w->reader.element);
    }
}

/// Packs 64 of the summed values as a panel of outputs, positions being what is summed over:
/// `[count / 2][64][2]` in bf16, `[count][64]` in f32.
static void pack_values(workspace *w, int value, int count) {
    int left = w->job->value_width - value, width = left < CK_PANEL ? left : CK_PANEL;
    const ck_entry_reader *reader = &w->reader;
    if (width < CK_PANEL) memset(w->panel, 0, (size_t)CK_CHUNK * CK_PANEL * reader->element);
    size_t offset = (size_t)(w->job->value_first + value) * reader->element;
    if (!reader->bf16) {
        float *panel = (float *)(void *)w->panel;
        for (int p = 0; p < count; p++) {
            memcpy(
                panel + p * CK_PANEL, reader->entries[p] + offset, (size_t)width * sizeof(float));
        }
        return;
    }
    uint16_t *panel = (uint16_t *)(void *)w->panel;
    for (int p = 0; p < count; p += 2) {
        const char *next = p + 1 < count ? reader->entries[p + 1] + offset : reader->zeros;
        w->kernels->interleave(
            (const uint16_t *)(const void *)(reader->entries[p] + offset),
            (const uint16_t *)(const void *)next, panel + p * CK_PANEL, (size_t)width);
    }
}

static int bounded(int position) {
    return position < 0 ? 0 : position < CK_CHUNK ? position : CK_CHUNK;
}

/// Turns scores into weights: exponentials under the row's largest score, zero out of sight.
static void weigh(workspace *w, int first, float *largest, float *total) {
    for (int r = 0; r < w->count; r++) {
        int token = w->rows->token + r / w->rows->heads;
        int begin = bounded(ck_first_seen(w->job, token) - first);
        int end = bounded(ck_seen(w->job, token) - first);
        size_t seen = end > begin ? (size_t)(end - begin) : 0;
        float *scores = w->scores + (size_t)r * CK_CHUNK + begin;
        char *weights = w->weights + (size_t)(r * w->score_stride) * w->reader.element;
        memset(weights, 0, (size_t)w->score_stride * w->reader.element);
        total[r] = 0;
        largest[r] = -INFINITY;
        if (seen == 0) continue;
        w->kernels->scale(scores, w->job->scale, seen);
        largest[r] = w->kernels->largest(scores, seen);
        total[r] = w->kernels->exponentials(scores, largest[r], seen);
        weights += (size_t)begin * w->reader.element;
        if (w->reader.bf16) {
            w->kernels->round(scores, (uint16_t *)(void *)weights, seen);
        } else {
            memcpy(weights, scores, seen * sizeof(float));
        }
    }
}

/// sums, largest, total: the softmax of one chunk, from panel `begin` on, before it is divided by
/// the total.
static void attend_chunk(
    workspace *w, int first, int begin, int count, float *sums, float *largest, float *total) {
    count -= begin;
    ck_find_entries(&w->reader, first + begin, count);
    for (int p = 0; p < count; p += CK_PANEL) {
        ck_pack_positions(&w->reader, p, count - p < CK_PANEL ? count - p : CK_PANEL);
        ck_multiply_panel(
            &w->reader, w->queries, w->query_stride, w->count, w->reader.width,
            w->scores + begin + p, CK_CHUNK);
    }
    weigh(w, first, largest, total);
    const char *weights = w->weights + (size_t)begin * w->reader.element;
    for (int value = 0; value < w->job->value_width; value += CK_PANEL) {
        pack_values(w, value, count);
        ck_multiply_panel(
            &w->reader, weights, w->score_stride, w->count, count, sums + value, w->values);
    }
}

/// Adds the softmax of a later chunk to that of the earlier ones.
static void merge(
    const ck_kernels *kernels, int values, float *sums, float *largest, float *total,
    const float *more, float more_largest, float more_total) {
    if (more_total == 0) return;
    float top = more_largest > *largest ? more_largest : *largest;
    float keep = *largest, add = more_largest;
    kernels->exponentials(&keep, top, 1);
    kernels->exponentials(&add, top, 1);
    kernels->scale(sums, keep, (size_t)values);
    kernels->accumulate(more, add, sums, (size_t)values);
    *total = *total * keep + more_total * add;
    *largest = top;
}

/// Divides the sums by the total, to which a sink adds its exponential.
static void store(
    const ck_attention_job *job, const ck_kernels *kernels, const ck_rows *rows, int row,
    const float *sums, float largest, float total) {
    int token = rows->token + row / rows->heads, head = rows->head + row % rows->heads;
    float share = total > 0 ? 1 / total : 0;
    if (job->sinks) {
        float sink = job->sinks[head], top = sink > largest ? sink : largest, kept = largest;
        kernels->exponentials(&kept, top, 1);
        kernels->exponentials(&sink, top, 1);
        share = kept / (total * kept + sink);
    }
    float *out = job->out + token * job->out_stride + (ptrdiff_t)head * job->value_width;
    memcpy(out, sums, (size_t)job->value_width * sizeof(float));
    kernels->scale(out, share, (size_t)job->value_width);
}

static float *partial_row(
    const ck_attention_job *job, const ck_rows *rows, ck_pool *pool, int row) {
    float *partials = ck_pool_scratch(pool, -2, 0);
    return partials + (size_t)(rows->partial + row) * (size_t)(job->value_width + CK_PARTIAL_EXTRA);
}

static workspace workspace_of(
    const ck_attention_job *job, const ck_kernels *kernels, int compute, const ck_rows *rows) {
    workspace w = {.job = job, .kernels = kernels, .rows = rows};
    int sequence = job->sequences[rows->token];
    w.reader = (ck_entry_reader){
        .kernels = kernels, .cache = job->cache, .entry_bytes = job->entry_bytes,
        .format = job->format, .block_tokens = job->block_tokens,
        .blocks = job->blocks + job->first_block[sequence], .key = job->key_width,
        .values = job->part_width};
    if (ck_is_sparse(job, rows->token)) {
        w.reader.chosen = job->chosen + (ptrdiff_t)rows->token * job->chosen_count;
    }
    ck_reader_prepare(&w.reader, compute);
    w.count = rows->tokens * rows->heads;
    w.values = (int)ck_round_up((size_t)job->value_width, CK_PANEL);
    w.query_stride = ck_operand_stride(w.reader.width);
    w.score_stride = ck_operand_stride(CK_CHUNK);
    return w;
}

void ck_attend(
    const ck_attention_job *whole, const ck_kernels *kernels, int compute, const ck_rows *rows,
    ck_pool *pool, int thread) {
    ck_attention_job part = *whole, *job = &part;
    job->cache += (size_t)(rows->head / job->group_heads) * job->group_bytes;
    workspace w = workspace_of(job, kernels, compute, rows);
    size_t bytes = lay_out(&w, NULL);
    lay_out(&w, ck_pool_scratch(pool, thread, bytes));
    memset(w.reader.zeros, 0, (size_t)(w.values + w.reader.width) * w.reader.element);
    prepare_queries(&w, compute == CK_COMPUTE_BF16);
    int context = 0, window = ck_first_seen(job, rows->token);
    for (int t = rows->token; t < rows->token + rows->tokens; t++) {
        context = ck_seen(job, t) > context ? ck_seen(job, t) : context;
        window = ck_first_seen(job, t) < window ? ck_first_seen(job, t) : window;
    }
    for (int chunk = rows->first_chunk; chunk < rows->end_chunk; chunk++) {
        bool begins = chunk == rows->first_chunk;
        int first = chunk * CK_CHUNK;
        int count = context - first < CK_CHUNK ? context - first : CK_CHUNK;
        int begin = bounded(window - first) / CK_PANEL * CK_PANEL;
        float *sums = begins ? w.merged : w.sums;
        float *largest = begins ? w.largest : w.largest + w.count;
        float *total = begins ? w.total : w.total + w.count;
        attend_chunk(&w, first, begin, count, sums, largest, total);
        for (int r = 0; !begins && r < w.count; r++) {
            merge(
                kernels, job->value_width, w.merged + (size_t)r * (size_t)w.values, &w.largest[r],
                &w.total[r], sums + (size_t)r * (size_t)w.values, largest[r], total[r]);
        }
    }
    for (int r = 0; r < w.count; r++) {
        const float *sums = w.merged + (size_t)r * (size_t)w.values;
        if (rows->partial < 0) {
            bool sees = rows->end_chunk > 0;
            float largest = sees ? w.largest[r] : -INFINITY, total = sees ? w.total[r] : 0;
            store(job, kernels, rows, r, sums, largest, total);
            continue;
        }
        float *partial = partial_row(job, rows, pool, r);
        memcpy(partial, sums, (size_t)job->value_width * sizeof(float));
        partial[job->value_width] = w.largest[r];
        partial[job->value_width + 1] = w.total[r];
    }
}

void ck_merge_partials(
    const ck_attention_job *job, const ck_kernels *kernels, const ck_rows *rows, ck_pool *pool) {
    int count = rows->tokens * rows->heads, values = job->value_width;
    for (int r = 0; r < count; r++) {
        float *sums = partial_row(job, rows, pool, r);
        for (int part = 1; part < rows->parts; part++) {
            const float *more = partial_row(job, rows, pool, part * count + r);
            merge(
                kernels, values, sums, &sums[values], &sums[values + 1], more, more[values],
                more[values + 1]);
        }
        store(job, kernels, rows, r, sums, sums[values], sums[values + 1]);
    }
}
