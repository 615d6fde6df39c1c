#include <string.h>

#include "Products/Operands.h"

// y[r][o] = sum over i of x[r][i] * w[o][i], for many independent products in one fork and join.
//
// Work is cut into units of some rows by some panels, which are dealt to the threads in runs of
// neighbours: what a core asks of memory ahead of its panel's end is then the start of its own next
// panel, not of another core's. A thread that is done takes what is left of the others' runs.
// A unit computes its outputs alone and completely, so who takes it changes no bit.

/// Panel bytes of one unit when there are few rows: enough for a stream of memory to run at full
/// speed, little enough that no thread waits long for another's last unit.
enum { UNIT_BYTES = 96 << 10 };
/// Rows of one unit: inputs of 192 rows by 512 values, in bf16, take a fifth of a 1 MiB cache.
enum { UNIT_ROWS = 192 };
/// Inputs walked at a time when a panel serves several tiles of rows. With many rows 64 KiB of
/// bf16 weights stay in the second-level cache between tiles. With few, weights still come from
/// memory most of the time: 16 KiB fit the first level, and memory is never idle for long.
enum { LONG_BLOCK = 512, SHORT_BLOCK = 128, MANY_ROWS = 24 };

typedef struct {
    const ck_linear_job *job;
    ck_operand x;
    int panels, panels_per_unit, rows_per_unit, units;
} linear_plan;

typedef struct {
    linear_plan *plans;
    int count;
    const ck_kernels *kernels;
    ck_pool *pool;
    ck_units units;
} linear_run;

static int ceil_div(int a, int b) { return (a + b - 1) / b; }

int ck_rows_per_unit(int rows) {
    int chunk = ceil_div(rows, ceil_div(rows, UNIT_ROWS));
    return ceil_div(chunk, CK_TILE_ROWS) * CK_TILE_ROWS;
}

static linear_plan plan_of(const ck_linear_job *job, ck_operand x) {
    const ck_weight *weight = job->weight;
    linear_plan plan = {job, x, (int)ck_panels(weight->outputs), 1, 1, 0};
    if (job->rows == 0) return plan;
    plan.rows_per_unit = ck_rows_per_unit(job->rows);
    int bytes = (int)ck_panel_bytes_of(weight->format, weight->inputs);
    if (bytes < UNIT_BYTES) plan.panels_per_unit = UNIT_BYTES / bytes;
    if (job->rows > UNIT_ROWS / 2) plan.panels_per_unit = 1;
    plan.units =
        ceil_div(plan.panels, plan.panels_per_unit) * ceil_div(job->rows, plan.rows_per_unit);
    return plan;
}

void ck_panel_product(
    const ck_weight *weight, int panel, ck_operand x, int row, int rows, float *c,
    ptrdiff_t c_stride, void *scratch, const void *next) {
    const ck_kernels *kernels = x.kernels;
    const uint8_t *data = ck_panel_at(weight, panel);
    const void *a = ck_operand_at(&x, row, 0);
    int k = weight->inputs;
    if (x.is_tiled) {
        const float *scales =
            weight->format == CK_E4M3 ? weight->scales + (size_t)panel * ck_blocks(k) : NULL;
        kernels->tiles(
            a, x.stride, rows, data, k, weight->format, scales, c, c_stride, false, scratch);
        return;
    }
    if (ck_is_fourbit(weight->format)) {
        kernels->fourbit(a, x.stride, rows, data, k, weight->format, c, c_stride, scratch);
        return;
    }
    if (weight->format == CK_E4M3) {
        ck_panel_bytes product = x.is_bf16 ? kernels->bf16_bytes : kernels->f32_bytes;
        const float *scales = weight->scales + (size_t)panel * ck_blocks(k);
        product(a, x.stride, rows, data, k, CK_E4M3, scales, c, c_stride, scratch, next);
        return;
    }
    if (weight->format == CK_INT8) {
        if (x.is_int8) {
            kernels->int8(a, x.stride, rows, data, k, c, c_stride, next);
        } else {
            kernels->f32_bytes(
                a, x.stride, rows, data, k, CK_INT8, NULL, c, c_stride, scratch, next);
        }
        const float *factors = weight->scales + (size_t)panel * CK_PANEL;
        for (int r = 0; r < rows; r++) {
            for (int o = 0; o < CK_PANEL; o++) c[r * c_stride + o] *= factors[o];
        }
        return;
    }
    int step = rows > MANY_ROWS ? LONG_BLOCK : rows > CK_TILE_ROWS ? SHORT_BLOCK : k;
    for (int first = 0; first < k; first += step) {
        int count = k - first < step ? k - first : step;
        const uint8_t *block =
            data + (size_t)first * CK_PANEL * (size_t)ck_element_size(weight->format);
        size_t block_bytes = (size_t)count * CK_PANEL * (size_t)ck_element_size(weight->format);
        const void *from = ck_operand_at(&x, row, first), *ahead = block + block_bytes;
        bool add = first > 0;
        if (weight->format == CK_F32) {
            kernels->f32(
                from, x.stride, rows, (const float *)(const void *)block, count, c, c_stride, add);
        } else if (x.is_bf16) {
            kernels->bf16(
                from, x.stride, rows, (const uint16_t *)(const void *)block, count, c, c_stride,
                add, first + count < k ? ahead : next);
        } else {
            kernels->wide(
                from, x.stride, rows, (const uint16_t *)(const void *)block, count, c, c_stride,
                add);
        }
    }
}

/// The bytes a unit needs: a decoded block, and a compact tile of results. Sums that go to memory
/// between blocks of k go there and not to y, whose rows, often a power of two apart, fall into
/// the same sets of the cache.
static size_t unit_scratch(int rows) {
    return CK_BYTES_SCRATCH + (size_t)rows * CK_PANEL * sizeof(float);
}

/// The first panel of a unit, counted from the first of `plan`; NULL beyond the last.
static const void *start_of(const linear_run *run, const linear_plan *plan, int unit) {
    while (unit >= plan->units) {
        unit -= plan->units;
        if (++plan == run->plans + run->count) return NULL;
    }
    int groups = ceil_div(plan->panels, plan->panels_per_unit);
    return ck_panel_at(plan->job->weight, unit % groups * plan->panels_per_unit);
}

/// Adds the bias of a panel to the whole sums of its outputs.
static void add_bias(
    const ck_linear_job *job, int panel, int rows, int width, float *c, ptrdiff_t stride) {
    const float *bias = job->bias + panel * CK_PANEL;
    for (int r = 0; r < rows; r++) {
        for (int o = 0; o < width; o++) c[r * stride + o] += bias[o];
    }
}

/// Writes some outputs of a row where the job says that the row lies.
static void store_apart(
    const linear_run *run, const ck_linear_job *job, int row, int first, const float *values,
    size_t count) {
    if (job->output_format == CK_BF16) {
        run->kernels->bf16_encode(values, (uint16_t *)job->outputs[row] + first, count);
    } else {
        memcpy((float *)job->outputs[row] + first, values, count * sizeof(float));
    }
}

static void do_unit(const linear_run *run, const linear_plan *plan, int unit, int thread) {
    const ck_linear_job *job = plan->job;
    int groups = ceil_div(plan->panels, plan->panels_per_unit);
    int row = unit / groups * plan->rows_per_unit;
    int rows = job->rows - row < plan->rows_per_unit ? job->rows - row : plan->rows_per_unit;
    int first = unit % groups * plan->panels_per_unit;
    int end = first + plan->panels_per_unit;
    char *scratch = ck_pool_scratch(run->pool, thread, unit_scratch(rows));
    float *tile = (float *)(void *)(scratch + CK_BYTES_SCRATCH);
    const void *after = start_of(run, plan, unit + 1);
    end = end < plan->panels ? end : plan->panels;
    for (int panel = first; panel < end; panel++) {
        const void *next = panel + 1 < end ? ck_panel_at(job->weight, panel + 1) : after;
        int outputs = job->weight->outputs - panel * CK_PANEL;
        int width = outputs < CK_PANEL ? outputs : CK_PANEL;
        bool is_apart = job->outputs != NULL;
        float *y = is_apart ? tile : job->y + row * job->y_stride + panel * CK_PANEL;
        if (!is_apart && outputs >= CK_PANEL && rows <= CK_TILE_ROWS) {
            ck_panel_product(
                job->weight, panel, plan->x, row, rows, y, job->y_stride, scratch, next);
            if (job->bias) add_bias(job, panel, rows, width, y, job->y_stride);
            continue;
        }
        ck_panel_product(
            job->weight, panel, plan->x, row, rows, tile, CK_PANEL, scratch, next);
        if (job->bias) add_bias(job, panel, rows, width, tile, CK_PANEL);
        for (int r = 0; r < rows; r++) {
            const float *from = tile + r * CK_PANEL;
            if (is_apart) {
                store_apart(run, job, row + r, panel * CK_PANEL, from, (size_t)width);
            } else {
                memcpy(y + r * job->y_stride, from, (size_t)width * sizeof(float));
            }
        }
    }
}

static void linear_task(void *context, int thread, int threads) {
    linear_run *run = context;
    for (int t = 0; t < threads; t++) {
        int owner = (thread + t) % threads, plan = 0, before = 0; // units of earlier plans
        for (int unit; (unit = ck_claim_unit(&run->units, owner)) >= 0;) {
            while (unit >= before + run->plans[plan].units) before += run->plans[plan++].units;
            do_unit(run, &run->plans[plan], unit - before, thread);
        }
    }
}

void ck_linear_prepared(
    const ck_linear_job *jobs, const ck_operand *operands, int count, const ck_kernels *kernels,
    ck_pool *pool) {
    linear_plan plans[count];
    for (int j = 0; j < count; j++) plans[j] = plan_of(&jobs[j], operands[j]);
    int threads = ck_pool_threads(pool), units = 0;
    for (int j = 0; j < count; j++) units += plans[j].units;
    ck_cursor cursors[threads];
    linear_run run = {
        plans, count, kernels, pool, ck_deal_units(units, cursors, threads),
    };
    ck_pool_run(pool, linear_task, &run);
}

void ck_linear_operands(
    const ck_linear_job *jobs, int count, int compute, const ck_kernels *kernels, ck_pool *pool,
    ck_operand *operands) {
    ck_input inputs[count];
    for (int j = 0; j < count; j++) {
        inputs[j] = (ck_input){
            jobs[j].x, jobs[j].x_stride, 1, jobs[j].rows, jobs[j].weight->inputs,
            jobs[j].weight->format,
        };
    }
    ck_prepare(inputs, count, compute, kernels, pool, operands);
}

void ck_linear(const ck_linear_job *jobs, int count, int compute, ck_pool *pool) {
    if (count == 0) return;
    double start = ck_pool_time(pool), operations = 0;
    const ck_kernels *kernels = ck_kernels_in_use();
    ck_operand operands[count];
    ck_linear_operands(jobs, count, compute, kernels, pool, operands);
    for (int j = 0; j < count; j++) operations += ck_operations(jobs[j].weight, jobs[j].rows);
    ck_linear_prepared(jobs, operands, count, kernels, pool);
    ck_pool_add_products(pool, start, operations);
}
