#include <string.h>

#include "Products/Operands.h"

// y = down(silu(gate(x)) * up(x)), or with biases and a clamped activation, expert by expert, in
// two forks and joins: the hidden values of all experts, made panel by panel with gate and up side
// by side, then all of `down`. The hidden values are written in the form that `down` reads, so they
// never exist in f32 as a whole; but blocks of int8 inputs are wider than a panel, so before an
// int8 `down` they do.

typedef struct {
    const ck_expert_job *job;
    ck_operand x, hidden;
    int panels, rows_per_unit, units;
} expert_plan;

typedef struct {
    expert_plan *plans;
    int count;
    const ck_kernels *kernels;
    ck_pool *pool;
    bool rounds;
    ck_units units;
} expert_run;

/// Writes one row of a panel of hidden values into the operand of `down`.
static void store_hidden(
    const expert_run *run, const ck_operand *hidden, int row, int first, float *values) {
    if (hidden->is_bf16) {
        void *target = (void *)(uintptr_t)ck_operand_at(hidden, row, first);
        hidden->kernels->round(values, target, CK_PANEL);
        return;
    }
    ck_place_row(run->kernels, hidden, run->rounds, row, first, values, CK_PANEL);
}

/// What `down` reads of some rows of a panel, made of gate and up, in place of gate.
static void activate(
    const ck_kernels *kernels, const ck_expert_job *job, int panel, int rows, float *gate,
    float *up) {
    size_t tile = (size_t)rows * CK_PANEL;
    const float *biases[] = {job->gate_bias, job->up_bias};
    float *sums[] = {gate, up};
    for (int m = 0; m < 2; m++) {
        for (int r = 0; biases[m] && r < rows; r++) {
            kernels->add(biases[m] + panel * CK_PANEL, sums[m] + r * CK_PANEL, CK_PANEL);
        }
    }
    if (job->limit > 0) {
        kernels->clamped_swiglu(gate, up, job->alpha, job->limit, gate, tile);
    } else {
        kernels->swiglu(gate, up, gate, tile);
    }
}

/// The gate's panel of a unit, counted from the first of `plan`; NULL beyond the last.
static const void *start_of(const expert_run *run, const expert_plan *plan, int unit) {
    while (unit >= plan->units) {
        unit -= plan->units;
        if (++plan == run->plans + run->count) return NULL;
    }
    return ck_panel_at(plan->job->gate, unit % plan->panels);
}

static void do_unit(const expert_run *run, const expert_plan *plan, int unit, int thread) {
    const ck_expert_job *job = plan->job;
    int panel = unit % plan->panels, row = unit / plan->panels * plan->rows_per_unit;
    int rows = job->rows - row < plan->rows_per_unit ? job->rows - row : plan->rows_per_unit;
    size_t tile = (size_t)rows * CK_PANEL;
    char *scratch =
        ck_pool_scratch(run->pool, thread, CK_BYTES_SCRATCH + 2 * tile * sizeof(float));
    float *gate = (float *)(void *)(scratch + CK_BYTES_SCRATCH), *up = gate + tile;
    const void *after = start_of(run, plan, unit + 1);
    ck_panel_product(
        job->gate, panel, plan->x, row, rows, gate, CK_PANEL, scratch,
        ck_panel_at(job->up, panel));
    ck_panel_product(job->up, panel, plan->x, row, rows, up, CK_PANEL, scratch, after);
    activate(run->kernels, job, panel, rows, gate, up);
    for (int r = 0; r < rows; r++) {
        store_hidden(run, &plan->hidden, row + r, panel * CK_PANEL, gate + r * CK_PANEL);
    }
}

static void expert_task(void *context, int thread, int threads) {
    expert_run *run = context;
    for (int t = 0; t < threads; t++) {
        int owner = (thread + t) % threads, plan = 0, before = 0; // units of earlier plans
        for (int unit; (unit = ck_claim_unit(&run->units, owner)) >= 0;) {
            while (unit >= before + run->plans[plan].units) before += run->plans[plan++].units;
            do_unit(run, &run->plans[plan], unit - before, thread);
        }
    }
}

/// Whether hidden values of some expert are to be rounded to int8.
static bool any_int8(const ck_expert_job *jobs, int count, int compute) {
    bool any = false;
    for (int j = 0; j < count; j++) any |= jobs[j].down->format == CK_INT8;
    return any && compute == CK_COMPUTE_BF16;
}

/// Gives every expert its place in one buffer of hidden values; returns the bytes it takes.
static size_t place_hidden(
    const ck_expert_job *jobs, int count, int compute, bool int8, expert_plan *plans) {
    size_t bytes = 0;
    for (int j = 0; j < count; j++) {
        const ck_expert_job *job = &jobs[j];
        const ck_kernels *kernels = ck_kernels_for(job->down->format, compute);
        bool is_bf16 = compute == CK_COMPUTE_BF16 && kernels->bf16 && !int8
            && ck_takes_bf16(job->down->format);
        bool is_tiled =
            !is_bf16 && !int8 && ck_takes_tiles(kernels, job->down->format, job->rows);
        int panels = (int)ck_panels(job->gate->outputs);
        ptrdiff_t stride = ck_operand_stride(panels * CK_PANEL);
        int chunk = job->rows > 0 ? ck_rows_per_unit(job->rows) : 1;
        plans[j] = (expert_plan){
            .job = job,
            .hidden = {(const void *)bytes, stride, is_bf16, false, is_tiled, kernels},
            .panels = panels,
            .rows_per_unit = chunk,
            .units = panels * ((job->rows + chunk - 1) / chunk),
        };
        bytes += ck_operand_rows(is_tiled, job->rows) * (size_t)stride * (is_bf16 ? 2 : 4);
    }
    return bytes;
}

/// The format whose form of inputs both gate and up read: every format reads rows of f32, as 4 bits
/// do, all but these and int8 read tiles, all but f32 and 4 bits read bf16, and int8 alone reads
/// int8. Both take the loops of that format.
static int format_of_inputs(const ck_expert_job *job) {
    int gate = job->gate->format, up = job->up->format;
    if (gate == up) return gate;
    int formats[] = {gate, up};
    for (int m = 0; m < 2; m++) {
        if (formats[m] == CK_INT8 || ck_is_fourbit(formats[m])) return CK_INT4;
    }
    return gate == CK_F32 ? gate : up;
}

void ck_experts(const ck_expert_job *jobs, int count, int compute, ck_pool *pool) {
    if (count == 0) return;
    double start = ck_pool_time(pool), operations = 0;
    const ck_kernels *kernels = ck_kernels_in_use();
    expert_plan plans[count];
    bool int8 = any_int8(jobs, count, compute);
    size_t bytes = place_hidden(jobs, count, compute, int8, plans);
    char *hidden = ck_pool_scratch(pool, -2, bytes + 1);
    ck_input inputs[count];
    ck_operand operands[count];
    for (int j = 0; j < count; j++) {
        inputs[j] = (ck_input){
            jobs[j].x, jobs[j].x_stride, 1, jobs[j].rows, jobs[j].gate->inputs,
            format_of_inputs(&jobs[j]), jobs[j].inputs, jobs[j].input_format,
        };
        operations += ck_operations(jobs[j].gate, jobs[j].rows)
            + ck_operations(jobs[j].up, jobs[j].rows)
            + ck_operations(jobs[j].down, jobs[j].rows);
    }
    ck_prepare(inputs, count, compute, kernels, pool, operands);
    ck_linear_job downs[count];
    for (int j = 0; j < count; j++) {
        plans[j].x = operands[j];
        plans[j].hidden.data = hidden + (size_t)plans[j].hidden.data;
        operands[j] = plans[j].hidden;
        downs[j] = (ck_linear_job){
            jobs[j].down, plans[j].hidden.data, plans[j].hidden.stride, jobs[j].y,
            jobs[j].y_stride, jobs[j].rows, jobs[j].outputs, jobs[j].output_format,
            jobs[j].down_bias,
        };
    }
    int threads = ck_pool_threads(pool), units = 0;
    for (int j = 0; j < count; j++) units += plans[j].units;
    ck_cursor cursors[threads];
    expert_run run = {
        plans, count, kernels, pool, compute == CK_COMPUTE_BF16 && !int8,
        ck_deal_units(units, cursors, threads),
    };
    ck_pool_run(pool, expert_task, &run);
    if (int8) ck_linear_operands(downs, count, compute, kernels, pool, operands);
    ck_linear_prepared(downs, operands, count, kernels, pool);
    ck_pool_add_products(pool, start, operations);
}
