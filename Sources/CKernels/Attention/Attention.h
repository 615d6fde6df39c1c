#pragma once

// Between Attention.c, which cuts the work, and AttentionRows.c, which does a piece of it.

#include "Levels/Kernels.h"

/// Positions whose softmax is taken together: their entries, scores and packed panels fit a 1 MiB
/// cache. A multiple of the panel's 64.
#define CK_CHUNK 256
/// What a partial result holds beside the sums: the largest score and the sum of exponentials.
#define CK_PARTIAL_EXTRA 2

/// Whether a token sees chosen entries, and not all of those before it.
static inline bool ck_is_sparse(const ck_attention_job *job, int token) {
    return job->chosen && job->contexts[token] > job->chosen_count;
}

/// Where the entries that a token sees end.
static inline int ck_seen(const ck_attention_job *job, int token) {
    return ck_is_sparse(job, token) ? job->chosen_count : job->contexts[token];
}

/// Where they begin: 0 without a window.
static inline int ck_first_seen(const ck_attention_job *job, int token) {
    bool is_cut = job->window > 0 && job->contexts[token] > job->window;
    return is_cut ? job->contexts[token] - job->window : 0;
}

/// Some tokens of one sequence by some heads, over some chunks of its entries.
typedef struct {
    int token, tokens, head, heads;
    int first_chunk, end_chunk;
    int partial; // row of the partial results, or -1 when the unit has all chunks
    int parts;   // units that share these rows, this one and the next; 0 in the next
} ck_rows;

void ck_attend(
    const ck_attention_job *job, const ck_kernels *kernels, int compute, const ck_rows *rows,
    ck_pool *pool, int thread);
void ck_merge_partials(
    const ck_attention_job *job, const ck_kernels *kernels, const ck_rows *rows, ck_pool *pool);
