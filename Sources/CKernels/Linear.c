#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static size_t panel_count(const ck_weight *weight) {
    return ((size_t)weight->outputs + CK_PANEL - 1) / CK_PANEL;
}

typedef struct {
    const ck_linear_job *jobs;
    int count, compute;
    atomic_int next;
    ck_pool *pool;
} linear_run;

static void plain_row(const ck_weight *w, int output, const float *x, int compute, float *scratch, float *y) {
    ck_unpack_row(w, output, scratch);
    float sum = 0;
    for (int k = 0; k < w->inputs; k++) {
        float v = compute == CK_COMPUTE_BF16 ? ck_from_bf16(ck_to_bf16(x[k])) : x[k];
        sum += v * scratch[k];
    }
    *y = sum;
}

static void linear_task(void *context, int thread, int threads) {
    linear_run *run = context;
    int total = 0;
    for (int j = 0; j < run->count; j++) total += run->jobs[j].rows > 0 ? (int)panel_count(run->jobs[j].weight) : 0;
    for (;;) {
        int claim = atomic_fetch_add(&run->next, 1);
        if (claim >= total) return;
        int j = 0;
        for (;; j++) {
            int panels = run->jobs[j].rows > 0 ? (int)panel_count(run->jobs[j].weight) : 0;
            if (claim < panels) break;
            claim -= panels;
        }
        const ck_linear_job *job = &run->jobs[j];
        float *scratch = ck_pool_scratch(run->pool, thread, (size_t)job->weight->inputs * 4);
        for (int o = claim * CK_PANEL; o < (claim + 1) * CK_PANEL && o < job->weight->outputs; o++)
            for (int r = 0; r < job->rows; r++)
                plain_row(job->weight, o, job->x + r * job->x_stride, run->compute, scratch, job->y + r * job->y_stride + o);
    }
}

void ck_linear(const ck_linear_job *jobs, int count, int compute, ck_pool *pool) {
    linear_run run = {jobs, count, compute, 0, pool};
    ck_pool_run(pool, linear_task, &run);
}

void ck_experts(const ck_expert_job *jobs, int count, int compute, ck_pool *pool) {
    for (int j = 0; j < count; j++) {
        int inter = jobs[j].gate->outputs;
        if (jobs[j].rows == 0) continue;
        float *g = calloc((size_t)jobs[j].rows * (size_t)inter * 2, 4), *u = g + (size_t)jobs[j].rows * inter;
        ck_linear_job first[2] = {{jobs[j].gate, jobs[j].x, jobs[j].x_stride, g, inter, jobs[j].rows},
                                  {jobs[j].up, jobs[j].x, jobs[j].x_stride, u, inter, jobs[j].rows}};
        ck_linear(first, 2, compute, pool);
        ck_swiglu(g, u, g, (size_t)jobs[j].rows * inter);
        ck_linear_job second = {jobs[j].down, g, inter, jobs[j].y, jobs[j].y_stride, jobs[j].rows};
        ck_linear(&second, 1, compute, pool);
        free(g);
    }
}

static void matmul_task(void *context, int thread, int threads) {
    const ck_matmul_job *job = context;
    for (int m = thread; m < job->m; m += threads)
        for (int n = 0; n < job->n; n++) {
            float sum = job->accumulate ? job->c[m * job->c_row + n] : 0;
            for (int k = 0; k < job->k; k++)
                sum += job->a[m * job->a_row + k * job->a_column] * job->b[n * job->b_row + k * job->b_column];
            job->c[m * job->c_row + n] = sum;
        }
}

void ck_matmul(const ck_matmul_job *job, int compute, ck_pool *pool) {
    ck_pool_run(pool, matmul_task, (void *)job);
}
