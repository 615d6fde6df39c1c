// Backward loops, the loss and the optimizer: sums in one fixed order, rows or columns over
// threads. Compiled for each level of x86-64 and picked by the loader.

#include "CGradients.h"

#include <math.h>
#include <string.h>

#include "Levels/Kernels.h"
#include "Gradients/GradientVectors.h"

// ---- RMSNorm -------------------------------------------------------------------------------
// With r = 1 / sqrt(mean(x^2) + e) and g = weight * dy:
//   dx = r * g - x * r^3 / n * sum(g * x)        dw = sum over rows of dy * x * r

typedef struct {
    const ck_norm_backward *job;
    float *inverse; // [rows]
} norm_run;

GRADIENT_CLONES
static void norm_rows(const norm_run *run, int first, int last) {
    const ck_norm_backward *job = run->job;
    int n = job->columns;
    for (int row = first; row < last; row++) {
        const float *x = job->x + row * job->x_stride, *dy = job->d_y + row * job->d_y_stride;
        float *dx = job->d_x + row * job->d_x_stride;
        float square = 0, dot = 0;
        TRAINING_SUM
        for (int i = 0; i < n; i++) {
            square += x[i] * x[i];
            dot += job->weight[i] * dy[i] * x[i];
        }
        float r = 1 / sqrtf(square / (float)n + job->epsilon);
        float pull = dot * r * r * r / (float)n;
        for (int i = 0; i < n; i++) dx[i] += r * job->weight[i] * dy[i] - pull * x[i];
        run->inverse[row] = r;
    }
}

GRADIENT_CLONES
static void norm_columns(const norm_run *run, int first, int last) {
    const ck_norm_backward *job = run->job;
    for (int row = 0; row < job->rows; row++) {
        const float *x = job->x + row * job->x_stride, *dy = job->d_y + row * job->d_y_stride;
        float r = run->inverse[row];
        for (int i = first; i < last; i++) job->d_weight[i] += dy[i] * x[i] * r;
    }
}

static void norm_row_task(void *context, int thread, int threads) {
    const norm_run *run = context;
    int rows = run->job->rows;
    norm_rows(run, rows * thread / threads, rows * (thread + 1) / threads);
}

static void norm_column_task(void *context, int thread, int threads) {
    const norm_run *run = context;
    int columns = run->job->columns;
    norm_columns(run, columns * thread / threads, columns * (thread + 1) / threads);
}

void ck_rms_norm_backward(const ck_norm_backward *job, ck_pool *pool) {
    norm_run run = {job, ck_pool_scratch(pool, -1, (size_t)job->rows * sizeof(float) + 64)};
    ck_pool_run(pool, norm_row_task, &run);
    if (job->d_weight != NULL) ck_pool_run(pool, norm_column_task, &run);
}

// ---- SwiGLU --------------------------------------------------------------------------------
// With s = 1 / (1 + exp(-g)): y = g s u,  dg = w dy u s (1 + g (1 - s)),  du = w dy g s

GRADIENT_CLONES
static void swiglu_row(const ck_swiglu_gradient *job, int row) {
    int n = job->columns;
    size_t at = (size_t)row * (size_t)n;
    const float *g = job->gate + at, *u = job->up + at, *dy = job->d_y + at;
    float *dg = job->d_gate + at, *du = job->d_up + at, *wy = job->weighted + at;
    float w = job->weights == NULL ? 1 : job->weights[row];
    float dot = 0;
    // Gradients may lie where the values were: each is written after its own was read.
    TRAINING_IN_PLACE
    for (int i = 0; i < n; i++) {
        float gate = g[i], up = u[i], d = dy[i];
        float s = 1 / (1 + exponential(-gate));
        float silu = gate * s, y = silu * up;
        dot += d * y;
        wy[i] = w * y;
        dg[i] = w * d * up * s * (1 + gate * (1 - s));
        du[i] = w * d * silu;
    }
    if (job->dots != NULL) job->dots[row] = dot;
}

static void swiglu_task(void *context, int thread, int threads) {
    const ck_swiglu_gradient *job = context;
    int last = (int)((long)job->rows * (thread + 1) / threads);
    for (int row = (int)((long)job->rows * thread / threads); row < last; row++)
        swiglu_row(job, row);
}

void ck_swiglu_backward(const ck_swiglu_gradient *job, ck_pool *pool) {
    ck_pool_run(pool, swiglu_task, (void *)job);
}

// ---- Cross-entropy -------------------------------------------------------------------------

typedef struct {
    float *logits;
    int rows, columns;
    const int32_t *targets;
    float scale;
    float *losses;
} entropy_run;

GRADIENT_CLONES
static float entropy_row(float *z, int n, int target, float scale, float top) {
    float sum = 0, at_target = z[target];
    TRAINING_SUM
    for (int i = 0; i < n; i++) {
        z[i] = exponential(z[i] - top);
        sum += z[i];
    }
    float factor = scale / sum;
    for (int i = 0; i < n; i++) z[i] *= factor;
    z[target] -= scale;
    return logf(sum) - (at_target - top);
}

static void entropy_task(void *context, int thread, int threads) {
    const entropy_run *run = context;
    for (int row = thread; row < run->rows; row += threads) {
        float *z = run->logits + (size_t)row * (size_t)run->columns;
        int target = run->targets[row];
        if (target < 0) {
            memset(z, 0, (size_t)run->columns * sizeof(float));
            run->losses[row] = 0;
        } else {
            float top = ck_kernels_in_use()->largest(z, (size_t)run->columns);
            run->losses[row] = entropy_row(z, run->columns, target, run->scale, top);
        }
    }
}

void ck_cross_entropy(
    float *logits, int rows, int columns, const int32_t *targets, float scale, float *losses,
    ck_pool *pool) {
    entropy_run run = {logits, rows, columns, targets, scale, losses};
    ck_pool_run(pool, entropy_task, &run);
}

// ---- AdamW ---------------------------------------------------------------------------------
// Loshchilov and Hutter 2019, Algorithm 2; moments rest in bf16 (DeepSeek-V3 report, 3.3.3).

typedef struct {
    const ck_adam_rule *rule;
    float *values;
    const float *gradients;
    uint16_t *first, *second;
    size_t count;
} adam_run;

static inline __attribute__((always_inline)) float widen(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, 4);
    return value;
}

static inline __attribute__((always_inline)) uint16_t narrow(float value) {
    uint32_t word;
    memcpy(&word, &value, 4);
    return (uint16_t)((word + 0x7fff + ((word >> 16) & 1)) >> 16);
}

GRADIENT_CLONES
static void adam_range(const adam_run *run, size_t from, size_t to) {
    ck_adam_rule rule = *run->rule;
    float *values = run->values;
    const float *gradients = run->gradients;
    uint16_t *first = run->first, *second = run->second;
    float keep = 1 - rule.rate * rule.decay;
    float step = rule.rate / rule.correction1, unbias = 1 / sqrtf(rule.correction2);
    for (size_t i = from; i < to; i++) {
        float g = gradients[i] * rule.gradient_scale;
        float m = rule.beta1 * widen(first[i]) + (1 - rule.beta1) * g;
        float v = rule.beta2 * widen(second[i]) + (1 - rule.beta2) * g * g;
        first[i] = narrow(m);
        second[i] = narrow(v);
        // The builtin sets no errno, so the loop vectorises.
        float root = __builtin_elementwise_sqrt(v) * unbias;
        values[i] = values[i] * keep - step * m / (root + rule.epsilon);
    }
}

static void adam_task(void *context, int thread, int threads) {
    const adam_run *run = context;
    size_t parts = (size_t)threads, part = (size_t)thread;
    adam_range(run, run->count * part / parts, run->count * (part + 1) / parts);
}

void ck_adam(
    const ck_adam_rule *rule, float *values, const float *gradients, uint16_t *first,
    uint16_t *second, size_t count, ck_pool *pool) {
    adam_run run = {rule, values, gradients, first, second, count};
    ck_pool_run(pool, adam_task, &run);
}

// ---- Sum of squares ------------------------------------------------------------------------
// Blocks of fixed size, each summed by one thread, the block sums added in order.

#define SQUARE_BLOCK 16384

typedef struct {
    const float *values;
    size_t count;
    double *sums;
} square_run;

GRADIENT_CLONES
static double square_block(const float *values, size_t count) {
    double sum = 0;
    TRAINING_SUM
    for (size_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

static void square_task(void *context, int thread, int threads) {
    const square_run *run = context;
    size_t blocks = (run->count + SQUARE_BLOCK - 1) / SQUARE_BLOCK;
    for (size_t block = (size_t)thread; block < blocks; block += (size_t)threads) {
        size_t from = block * SQUARE_BLOCK;
        size_t left = run->count - from;
        run->sums[block] =
            square_block(run->values + from, left < SQUARE_BLOCK ? left : SQUARE_BLOCK);
    }
}

double ck_sum_of_squares(const float *values, size_t count, ck_pool *pool) {
    size_t blocks = (count + SQUARE_BLOCK - 1) / SQUARE_BLOCK;
    square_run run = {values, count, ck_pool_scratch(pool, -1, blocks * sizeof(double) + 64)};
    ck_pool_run(pool, square_task, &run);
    double sum = 0;
    for (size_t block = 0; block < blocks; block++) sum += run.sums[block];
    return sum;
}
