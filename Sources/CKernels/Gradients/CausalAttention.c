// Causal multi-head attention for training, one (sequence, head) pair per unit of work.
//
// A pair's queries, keys and values are copied side by side once, keys also transposed, so that
// every product below is c[m][n] += a[m][k] * b[k][n] with rows of b and c in whole vectors.
// Scores exist for ROW_BLOCK queries at a time: memory grows with the sequence, not its square.
//
// Forward:  p = softmax(scale q k^T),  o = p v,  lse = log sum exp(scale q k^T)
// Backward: ds = p * (do v^T - sum(do * o)),  dq = scale ds k,  dk = scale ds^T q,  dv = p^T do

#include <math.h>
#include <string.h>

#include "Levels/Kernels.h"
#include "Gradients/GradientVectors.h"

#define LANES 16
#define ROW_BLOCK 48

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

/// c[m][n] = or += sum over k of a(m, k) * b[k][n]; n counts whole vectors of columns.
typedef struct {
    int m, n, k;
    const float *a;
    ptrdiff_t a_row, a_column;
    const float *b;
    ptrdiff_t b_row;
    float *c;
    ptrdiff_t c_row;
    int accumulate;
} product;

/// A tile of up to `height` rows and 2 vectors, its accumulators in registers.
static inline __attribute__((always_inline)) void tile(
    const product *p, int row, int column, const int height, const int width) {
#pragma clang fp contract(fast)
    lanes sum[6][2];
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            float *c = p->c + (row + i) * p->c_row + column + j * LANES;
            sum[i][j] = p->accumulate ? *(lanes *)c : (lanes){0};
        }
    const float *a = p->a + row * p->a_row, *b = p->b + column;
    for (int k = 0; k < p->k; k++) {
        lanes right[2];
        for (int j = 0; j < width; j++) right[j] = *(const lanes *)(b + k * p->b_row + j * LANES);
        for (int i = 0; i < height; i++) {
            float left = a[i * p->a_row + k * p->a_column];
            for (int j = 0; j < width; j++) sum[i][j] = sum[i][j] + left * right[j];
        }
    }
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++)
            *(lanes *)(p->c + (row + i) * p->c_row + column + j * LANES) = sum[i][j];
}

GRADIENT_CLONES
static void multiply(const product *p) {
    for (int column = 0; column < p->n * LANES; column += 2 * LANES) {
        int isWide = column + 2 * LANES <= p->n * LANES, row = 0;
        for (; row + 6 <= p->m; row += 6) {
            if (isWide) tile(p, row, column, 6, 2);
            else tile(p, row, column, 6, 1);
        }
        for (; row < p->m; row++) {
            if (isWide) tile(p, row, column, 1, 2);
            else tile(p, row, column, 1, 1);
        }
    }
}

/// Places in one thread's scratch, all rows padded to whole vectors.
typedef struct {
    int tokens, key, value;     // as they are
    int tokens_v, key_v, value_v; // in vectors
    ptrdiff_t tokens_p, key_p, value_p; // padded
    float *q, *k, *k_t, *v, *v_t, *d_o, *d_k, *d_v, *scores, *d_scores, *block;
} arena;

static size_t place_arena(arena *s, const ck_causal_attention *job, float *memory) {
    s->tokens = job->sequence;
    s->key = job->nope + job->rope;
    s->value = job->value;
    s->tokens_v = (s->tokens + LANES - 1) / LANES;
    s->key_v = (s->key + LANES - 1) / LANES;
    s->value_v = (s->value + LANES - 1) / LANES;
    s->tokens_p = s->tokens_v * LANES;
    s->key_p = s->key_v * LANES;
    s->value_p = s->value_v * LANES;
    ptrdiff_t widest = s->key_p > s->value_p ? s->key_p : s->value_p;
    float **parts[] = {&s->q,   &s->k,   &s->k_t, &s->v,      &s->v_t,     &s->d_o,
                       &s->d_k, &s->d_v, &s->scores, &s->d_scores, &s->block};
    ptrdiff_t sizes[] = {s->tokens_p * s->key_p,   s->tokens_p * s->key_p, s->tokens_p * s->key_p,
                         s->tokens_p * s->value_p, s->tokens_p * s->value_p,
                         s->tokens_p * s->value_p, s->tokens_p * s->key_p,
                         s->tokens_p * s->value_p, ROW_BLOCK * s->tokens_p,
                         ROW_BLOCK * s->tokens_p,  ROW_BLOCK * widest};
    size_t at = 0;
    for (int i = 0; i < 11; i++) {
        *parts[i] = memory == NULL ? NULL : memory + at;
        at += (size_t)sizes[i];
    }
    return at * sizeof(float);
}

/// Copies one pair's inputs into the arena; padding becomes zero.
GRADIENT_CLONES
static void load(const ck_causal_attention *job, const arena *s, int sequence, int head) {
    int heads = job->heads, nope = job->nope;
    memset(s->k_t, 0, (size_t)(s->key * s->tokens_p) * sizeof(float));
    memset(s->v_t, 0, (size_t)(s->value * s->tokens_p) * sizeof(float));
    for (int t = 0; t < s->tokens_p; t++) {
        float *q = s->q + t * s->key_p, *k = s->k + t * s->key_p, *v = s->v + t * s->value_p;
        memset(q, 0, (size_t)s->key_p * sizeof(float));
        memset(k, 0, (size_t)s->key_p * sizeof(float));
        memset(v, 0, (size_t)s->value_p * sizeof(float));
        if (t >= s->tokens) continue;
        ptrdiff_t token = (ptrdiff_t)sequence * s->tokens + t;
        const float *from = job->q + token * heads * s->key + head * s->key;
        for (int i = 0; i < s->key; i++) q[i] = from[i] * job->scale;
        ptrdiff_t width = nope + job->value;
        from = job->kv + token * heads * width + head * width;
        memcpy(k, from, (size_t)nope * sizeof(float));
        memcpy(k + nope, job->k_rope + token * job->k_rope_stride,
               (size_t)job->rope * sizeof(float));
        memcpy(v, from + nope, (size_t)job->value * sizeof(float));
        for (int i = 0; i < s->key; i++) s->k_t[i * s->tokens_p + t] = k[i];
        for (int i = 0; i < s->value; i++) s->v_t[i * s->tokens_p + t] = v[i];
    }
}

/// Scores of the queries first..<last against every key that one of them may see.
static void score(const arena *s, int first, int last) {
    product p = {last - first, (last + LANES - 1) / LANES, s->key, s->q + first * s->key_p,
                 s->key_p,
                 1, s->k_t, s->tokens_p, s->scores, s->tokens_p, 0};
    multiply(&p);
}

GRADIENT_CLONES
static float soften(float *row, int seen, int padded, float top) {
    float sum = 0;
    TRAINING_SUM
    for (int i = 0; i < seen; i++) {
        row[i] = exponential(row[i] - top);
        sum += row[i];
    }
    for (int i = seen; i < padded; i++) row[i] = 0;
    float inverse = 1 / sum;
    for (int i = 0; i < seen; i++) row[i] *= inverse;
    return top + logf(sum);
}

static void forward_pair(const ck_causal_attention *job, const arena *s, int sequence, int head) {
    const ck_kernels *kernels = ck_kernels_in_use();
    load(job, s, sequence, head);
    for (int first = 0; first < s->tokens; first += ROW_BLOCK) {
        int last = first + ROW_BLOCK < s->tokens ? first + ROW_BLOCK : s->tokens;
        int padded = (last + LANES - 1) / LANES * LANES;
        score(s, first, last);
        for (int t = first; t < last; t++) {
            ptrdiff_t token = (ptrdiff_t)sequence * s->tokens + t;
            float *row = s->scores + (t - first) * s->tokens_p;
            job->lse[token * job->heads + head] =
                soften(row, t + 1, padded, kernels->largest(row, (size_t)t + 1));
        }
        product p = {last - first, s->value_v, last, s->scores, s->tokens_p, 1,
                     s->v, s->value_p, s->block, s->value_p, 0};
        multiply(&p);
        for (int t = first; t < last; t++) {
            ptrdiff_t token = (ptrdiff_t)sequence * s->tokens + t;
            memcpy(job->out + (token * job->heads + head) * s->value,
                   s->block + (t - first) * s->value_p, (size_t)s->value * sizeof(float));
        }
    }
}

/// p and ds of one query, in place of its scores and of do v^T.
GRADIENT_CLONES
static void differentiate(float *row, float *d_row, int seen, int padded, float lse, float dot) {
    for (int i = 0; i < seen; i++) {
        float p = exponential(row[i] - lse);
        row[i] = p;
        d_row[i] = p * (d_row[i] - dot);
    }
    for (int i = seen; i < padded; i++) row[i] = d_row[i] = 0;
}

/// The queries first..<last: adds to dk and dv, stores dq.
static void backward_block(
    const ck_causal_attention *job, const arena *s, int sequence, int head, int first, int last) {
    int rows = last - first, padded = (last + LANES - 1) / LANES * LANES;
    score(s, first, last);
    const float *d_o = s->d_o + first * s->value_p;
    product d_p = {rows, padded / LANES, s->value, d_o, s->value_p, 1, s->v_t, s->tokens_p,
                   s->d_scores, s->tokens_p, 0};
    multiply(&d_p);
    for (int t = first; t < last; t++) {
        ptrdiff_t at = ((ptrdiff_t)sequence * s->tokens + t) * job->heads + head;
        const float *out = job->out + at * s->value, *d_out = job->d_out + at * s->value;
        float dot = 0;
        for (int i = 0; i < s->value; i++) dot += out[i] * d_out[i];
        differentiate(s->scores + (t - first) * s->tokens_p,
                      s->d_scores + (t - first) * s->tokens_p,
                      t + 1, padded, job->lse[at], dot);
    }
    product d_q = {rows, s->key_v, last, s->d_scores, s->tokens_p, 1, s->k, s->key_p,
                   s->block, s->key_p, 0};
    multiply(&d_q);
    for (int t = first; t < last; t++) {
        ptrdiff_t at = ((ptrdiff_t)sequence * s->tokens + t) * job->heads + head;
        const float *from = s->block + (t - first) * s->key_p;
        float *to = job->d_q + at * s->key;
        for (int i = 0; i < s->key; i++) to[i] = from[i] * job->scale;
    }
    product d_k = {last, s->key_v, rows, s->d_scores, 1, s->tokens_p, s->q + first * s->key_p,
                   s->key_p, s->d_k, s->key_p, 1};
    multiply(&d_k);
    product d_v = {last, s->value_v, rows, s->scores, 1, s->tokens_p, d_o, s->value_p,
                   s->d_v, s->value_p, 1};
    multiply(&d_v);
}

static void backward_pair(
    const ck_causal_attention *job, const arena *s, int sequence, int head) {
    load(job, s, sequence, head);
    memset(s->d_k, 0, (size_t)(s->tokens_p * s->key_p) * sizeof(float));
    memset(s->d_v, 0, (size_t)(s->tokens_p * s->value_p) * sizeof(float));
    memset(s->d_o, 0, (size_t)(s->tokens_p * s->value_p) * sizeof(float));
    ptrdiff_t begin = (ptrdiff_t)sequence * s->tokens;
    for (int t = 0; t < s->tokens; t++)
        memcpy(s->d_o + t * s->value_p,
               job->d_out + ((begin + t) * job->heads + head) * s->value,
               (size_t)s->value * sizeof(float));
    for (int first = 0; first < s->tokens; first += ROW_BLOCK) {
        int last = first + ROW_BLOCK < s->tokens ? first + ROW_BLOCK : s->tokens;
        backward_block(job, s, sequence, head, first, last);
    }
    int nope = job->nope, rope = job->rope;
    ptrdiff_t width = nope + job->value;
    for (int t = 0; t < s->tokens; t++) {
        const float *d_k = s->d_k + t * s->key_p;
        float *to = job->d_kv + (begin + t) * job->heads * width + head * width;
        memcpy(to, d_k, (size_t)nope * sizeof(float));
        memcpy(to + nope, s->d_v + t * s->value_p, (size_t)job->value * sizeof(float));
        memcpy(job->d_k_rope + ((begin + t) * job->heads + head) * rope, d_k + nope,
               (size_t)rope * sizeof(float));
    }
}

typedef struct {
    const ck_causal_attention *job;
    ck_pool *pool;
    int is_backward;
} attention_run;

static void attention_task(void *context, int thread, int threads) {
    const attention_run *run = context;
    const ck_causal_attention *job = run->job;
    arena s;
    size_t bytes = place_arena(&s, job, NULL);
    place_arena(&s, job, ck_pool_scratch(run->pool, thread, bytes));
    int pairs = job->tokens / job->sequence * job->heads;
    for (int pair = thread; pair < pairs; pair += threads) {
        int sequence = pair / job->heads, head = pair % job->heads;
        if (run->is_backward) backward_pair(job, &s, sequence, head);
        else forward_pair(job, &s, sequence, head);
    }
}

void ck_attention_forward(const ck_causal_attention *job, ck_pool *pool) {
    attention_run run = {job, pool, 0};
    ck_pool_run(pool, attention_task, &run);
}

void ck_attention_backward(const ck_causal_attention *job, ck_pool *pool) {
    attention_run run = {job, pool, 1};
    ck_pool_run(pool, attention_task, &run);
}
