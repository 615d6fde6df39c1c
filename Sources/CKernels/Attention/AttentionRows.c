#include <math.h>
#include <string.h>

#include "Attention/Attention.h"
#include "Products/Operands.h"

// One unit of attention, chunk by chunk:
//
//   scores [rows][256]    = queries [rows][width] . keys [256][width]       panels of 64 positions
//   sums   [rows][values] = exp(scores - largest) . values [256][values]    panels of 64 values
//
// Both are panel products, so entries are repacked as weights are: words of a bf16 pair (or one
// f32) are transposed for the scores, rows of two positions interleaved for the sums. A row's
// positions beyond its context weigh zero, which changes no bit of its sums.

typedef struct {
    const ck_attention_job *job;
    const ck_kernels *kernels;
    const ck_rows *rows;
    // width: of a key, even; part: of what is staged; values: a multiple of 64, the stride of sums
    int count, width, part, values;
    bool bf16, staged;
    size_t element;
    ptrdiff_t query_stride, score_stride, stage_stride;
    char *queries, *stage, *panel, *weights, *zeros;
    float *row, *scores, *sums, *merged, *largest, *total;
    const char *entries[CK_CHUNK];
} workspace;

/// Positions that are transposed together.
enum { GROUP = 16 };

static size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

/// Hands out a piece of the scratch, aligned to a line; with no scratch only counts.
static char *take(char *scratch, size_t *used, size_t bytes) {
    char *piece = scratch ? scratch + *used : NULL;
    *used += round_up(bytes, 64);
    return piece;
}

static size_t lay_out(workspace *w, char *scratch) {
    size_t used = 0, rows = (size_t)w->count, values = (size_t)w->values;
    size_t tall = (size_t)(w->width > CK_CHUNK ? w->width : CK_CHUNK);
    w->queries = take(scratch, &used, rows * (size_t)w->query_stride * w->element);
    w->stage =
        take(scratch, &used, w->staged ? CK_CHUNK * (size_t)w->stage_stride * w->element : 0);
    w->panel = take(scratch, &used, tall * CK_PANEL * w->element);
    w->weights = take(scratch, &used, rows * (size_t)w->score_stride * w->element);
    w->zeros = take(scratch, &used, (values + (size_t)w->width) * w->element);
    w->row = (float *)(void *)take(scratch, &used, (size_t)w->part * sizeof(float));
    w->scores = (float *)(void *)take(scratch, &used, rows * CK_CHUNK * sizeof(float));
    w->sums = (float *)(void *)take(scratch, &used, rows * values * sizeof(float));
    w->merged = (float *)(void *)take(scratch, &used, rows * values * sizeof(float));
    w->largest = (float *)(void *)take(scratch, &used, 2 * rows * sizeof(float));
    w->total = (float *)(void *)take(scratch, &used, 2 * rows * sizeof(float));
    return used;
}

static void prepare_queries(workspace *w, bool rounds) {
    const ck_attention_job *job = w->job;
    int width = job->key_width;
    for (int r = 0; r < w->count; r++) {
        int token = w->rows->token + r / w->rows->heads;
        int head = w->rows->head + r % w->rows->heads;
        const float *from = job->queries + token * job->query_stride + (ptrdiff_t)head * width;
        char *to = w->queries + (size_t)(r * w->query_stride) * w->element;
        if (w->bf16) {
            memset(to, 0, (size_t)w->query_stride * w->element);
            w->kernels->round(from, (uint16_t *)(void *)to, (size_t)width);
            continue;
        }
        float *floats = (float *)(void *)to;
        memset(floats, 0, (size_t)w->query_stride * w->element);
        if (rounds) {
            ck_round_to_bf16(w->kernels, from, floats, (size_t)width);
        } else {
            memcpy(floats, from, (size_t)width * sizeof(float));
        }
    }
}

static const uint8_t *entry_at(const ck_attention_job *job, int sequence, int position) {
    int32_t block = job->blocks[job->first_block[sequence] + position / job->block_tokens];
    size_t index = (size_t)block * (size_t)job->block_tokens;
    return job->cache + (index + (size_t)(position % job->block_tokens)) * job->entry_bytes;
}

/// Decodes one entry into the stage.
static void stage_entry(workspace *w, const uint8_t *entry, char *target) {
    int width = w->job->part_width;
    if (!w->bf16) {
        ck_cache_read(w->job->format, entry, width, (float *)(void *)target);
        return;
    }
    memset(w->row, 0, (size_t)w->part * sizeof(float));
    ck_cache_read(w->job->format, entry, width, w->row);
    w->kernels->round(w->row, (uint16_t *)(void *)target, (size_t)w->part);
}

/// Finds the `count` entries from position `first` on, decoded when the cache's format is not the
/// one that the products read, and enough after them to fill a group of 16: their scores are
/// computed and never looked at.
static void find_entries(workspace *w, int first, int count) {
    const ck_attention_job *job = w->job;
    int sequence = job->sequences[w->rows->token];
    for (int i = 0; i < (int)round_up((size_t)count, GROUP); i++) {
        bool exists = i < count || (first + i) % job->block_tokens != 0;
        if (w->staged) {
            char *target = w->stage + (size_t)(i * w->stage_stride) * w->element;
            if (i < count) stage_entry(w, entry_at(job, sequence, first + i), target);
            w->entries[i] = target;
        } else if (exists && (i < count || w->entries[i - 1] != w->zeros)) {
            int last = i < count ? i : count - 1;
            const uint8_t *entry = entry_at(job, sequence, first + last);
            w->entries[i] = (const char *)entry + (size_t)(i - last) * job->entry_bytes;
        } else {
            w->entries[i] = w->zeros;
        }
    }
}

/// Packs the entries of up to 64 positions as a panel of outputs: `[width / 2][64][2]` in bf16,
/// `[width][64]` in f32.
static void pack_positions(workspace *w, int first, int count) {
    int columns = (int)((size_t)w->width * w->element / sizeof(uint32_t));
    uint32_t *panel = (uint32_t *)(void *)w->panel;
    for (int p = first; p < first + count; p += GROUP) {
        ptrdiff_t stride = w->entries[p + 1] - w->entries[p];
        bool even = stride % (ptrdiff_t)sizeof(uint32_t) == 0;
        for (int i = 1; even && i < GROUP; i++) {
            even = w->entries[p + i] - w->entries[p] == i * stride;
        }
        for (int i = 0; i < GROUP; i += even ? GROUP : 1) {
            const void *from = w->entries[p + i];
            w->kernels->transpose(
                from, stride / (ptrdiff_t)sizeof(uint32_t), even ? GROUP : 1, columns,
                panel + (p - first) + i, CK_PANEL);
        }
    }
}

/// Packs 64 of the summed values as a panel of outputs, positions being what is summed over:
/// `[count / 2][64][2]` in bf16, `[count][64]` in f32.
static void pack_values(workspace *w, int value, int count) {
    int left = w->job->value_width - value, width = left < CK_PANEL ? left : CK_PANEL;
    if (width < CK_PANEL) memset(w->panel, 0, (size_t)CK_CHUNK * CK_PANEL * w->element);
    size_t offset = (size_t)(w->job->value_first + value) * w->element;
    if (!w->bf16) {
        float *panel = (float *)(void *)w->panel;
        for (int p = 0; p < count; p++) {
            memcpy(panel + p * CK_PANEL, w->entries[p] + offset, (size_t)width * sizeof(float));
        }
        return;
    }
    uint16_t *panel = (uint16_t *)(void *)w->panel;
    for (int p = 0; p < count; p += 2) {
        const char *next = p + 1 < count ? w->entries[p + 1] + offset : w->zeros;
        w->kernels->interleave(
            (const uint16_t *)(const void *)(w->entries[p] + offset),
            (const uint16_t *)(const void *)next, panel + p * CK_PANEL, (size_t)width);
    }
}

static void multiply(
    workspace *w, const char *a, ptrdiff_t stride, int k, float *c, ptrdiff_t c_stride) {
    if (w->bf16) {
        w->kernels->bf16(
            (const uint16_t *)(const void *)a, stride, w->count,
            (const uint16_t *)(const void *)w->panel, k, c, c_stride, false, NULL);
    } else {
        w->kernels->f32(
            (const float *)(const void *)a, stride, w->count,
            (const float *)(const void *)w->panel, k, c, c_stride, false);
    }
}

static int visible(const workspace *w, int row, int first) {
    int count = w->job->contexts[w->rows->token + row / w->rows->heads] - first;
    return count < 0 ? 0 : count < CK_CHUNK ? count : CK_CHUNK;
}

/// Turns scores into weights: exponentials under the row's largest score, zero out of sight.
static void weigh(workspace *w, int first, int count, float *largest, float *total) {
    for (int r = 0; r < w->count; r++) {
        float *scores = w->scores + (size_t)r * CK_CHUNK;
        size_t seen = (size_t)visible(w, r, first);
        char *weights = w->weights + (size_t)(r * w->score_stride) * w->element;
        memset(weights, 0, (size_t)w->score_stride * w->element);
        total[r] = 0;
        largest[r] = -INFINITY;
        if (seen == 0) continue;
        w->kernels->scale(scores, w->job->scale, seen);
        largest[r] = w->kernels->largest(scores, seen);
        total[r] = w->kernels->exponentials(scores, largest[r], seen);
        if (w->bf16) {
            w->kernels->round(scores, (uint16_t *)(void *)weights, seen);
        } else {
            memcpy(weights, scores, seen * sizeof(float));
        }
    }
}

/// sums, largest, total: the softmax of one chunk before it is divided by the total.
static void attend_chunk(
    workspace *w, int first, int count, float *sums, float *largest, float *total) {
    find_entries(w, first, count);
    for (int p = 0; p < count; p += CK_PANEL) {
        pack_positions(w, p, count - p < CK_PANEL ? count - p : CK_PANEL);
        multiply(w, w->queries, w->query_stride, w->width, w->scores + p, CK_CHUNK);
    }
    weigh(w, first, count, largest, total);
    for (int value = 0; value < w->job->value_width; value += CK_PANEL) {
        pack_values(w, value, count);
        multiply(w, w->weights, w->score_stride, count, sums + value, w->values);
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

static void store(
    const ck_attention_job *job, const ck_kernels *kernels, const ck_rows *rows, int row,
    const float *sums, float total) {
    int token = rows->token + row / rows->heads, head = rows->head + row % rows->heads;
    float *out = job->out + token * job->out_stride + (ptrdiff_t)head * job->value_width;
    memcpy(out, sums, (size_t)job->value_width * sizeof(float));
    kernels->scale(out, total > 0 ? 1 / total : 0, (size_t)job->value_width);
}

static float *partial_row(
    const ck_attention_job *job, const ck_rows *rows, ck_pool *pool, int row) {
    float *partials = ck_pool_scratch(pool, -2, 0);
    return partials + (size_t)(rows->partial + row) * (size_t)(job->value_width + CK_PARTIAL_EXTRA);
}

static workspace workspace_of(
    const ck_attention_job *job, const ck_kernels *kernels, int compute, const ck_rows *rows) {
    bool bf16 = compute == CK_COMPUTE_BF16 && kernels->bf16;
    int width = job->key_width, even = width + width % 2;
    int part = job->part_width + job->part_width % 2;
    workspace w = {.job = job, .kernels = kernels, .rows = rows, .bf16 = bf16};
    w.count = rows->tokens * rows->heads;
    w.width = bf16 ? even : width;
    w.part = bf16 ? part : job->part_width;
    w.values = (int)round_up((size_t)job->value_width, CK_PANEL);
    w.element = bf16 ? sizeof(uint16_t) : sizeof(float);
    w.staged = job->format != (bf16 ? CK_BF16 : CK_F32) || width != w.width;
    w.query_stride = ck_operand_stride(w.width);
    w.stage_stride = ck_operand_stride(w.part);
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
    memset(w.zeros, 0, (size_t)(w.values + w.width) * w.element);
    prepare_queries(&w, compute == CK_COMPUTE_BF16);
    int context = 0;
    for (int t = rows->token; t < rows->token + rows->tokens; t++) {
        context = job->contexts[t] > context ? job->contexts[t] : context;
    }
    for (int chunk = rows->first_chunk; chunk < rows->end_chunk; chunk++) {
        bool begins = chunk == rows->first_chunk;
        int first = chunk * CK_CHUNK;
        int count = context - first < CK_CHUNK ? context - first : CK_CHUNK;
        float *sums = begins ? w.merged : w.sums;
        float *largest = begins ? w.largest : w.largest + w.count;
        float *total = begins ? w.total : w.total + w.count;
        attend_chunk(&w, first, count, sums, largest, total);
        for (int r = 0; !begins && r < w.count; r++) {
            merge(
                kernels, job->value_width, w.merged + (size_t)r * (size_t)w.values, &w.largest[r],
                &w.total[r], sums + (size_t)r * (size_t)w.values, largest[r], total[r]);
        }
    }
    for (int r = 0; r < w.count; r++) {
        const float *sums = w.merged + (size_t)r * (size_t)w.values;
        if (rows->partial < 0) {
            store(job, kernels, rows, r, sums, rows->end_chunk > 0 ? w.total[r] : 0);
            continue;
        }
        float *partial = partial_row(job, rows, pool, r);
        memcpy(partial, sums, (size_t)job->value_width * sizeof(float));
        partial[job->value_width] = w.largest[r];
        partial[job->value_width + 1] = w.total[r];
    }
}

void ck_merge_partials(
    const ck_attention_job *job, const ck_kernels *kernels, const ck_rows *rows, int chunks,
    ck_pool *pool) {
    int count = rows->tokens * rows->heads, values = job->value_width;
    for (int r = 0; r < count; r++) {
        float *sums = partial_row(job, rows, pool, r);
        for (int chunk = 1; chunk < chunks; chunk++) {
            const float *more = partial_row(job, rows, pool, chunk * count + r);
            merge(
                kernels, values, sums, &sums[values], &sums[values + 1], more, more[values],
                more[values + 1]);
        }
        store(job, kernels, rows, r, sums, sums[values + 1]);
    }
}
