#include <stdatomic.h>
#include <string.h>

#include "Products/Operands.h"

// c[m][n] (+)= sum over k of a(m, k) * b(n, k), for matrices that change every step: a is made
// contiguous once, b is packed panel by panel into scratch by the thread that needs it. Each sum
// runs over k in sequence, as in Linear.c; with `accumulate` it starts from c.

/// Rows of a that one unit serves: packing a panel of b costs about as much as one row of
/// products per row of b, so it is spread over many.
enum { UNIT_ROWS = 384 };
enum { K_BLOCK = 512 };

typedef struct product {
    const ck_matmul_job *job;
    ck_operand a;
    int rows_per_unit, panels, first_unit;
} product;

typedef struct {
    const product *products;
    const ck_kernels *kernels;
    ck_pool *pool;
    int count, units, tallest; // tallest: the most rows per unit
    atomic_int next;
} matmul_run;

/// Packs outputs `first ..< first + 64` of b and inputs `start ..< start + count` as f32,
/// `[k][64]`, zeros beyond n.
static void pack_block(
    const ck_kernels *kernels, const ck_matmul_job *job, int first, int start, int count,
    float *panel) {
    int outputs = job->n - first < CK_PANEL ? job->n - first : CK_PANEL;
    const float *from = job->b + first * job->b_row + start * job->b_column;
    if (outputs < CK_PANEL) memset(panel, 0, (size_t)count * CK_PANEL * sizeof(float));
    if (job->b_row == 1) {
        for (int k = 0; k < count; k++) {
            memcpy(
                panel + k * CK_PANEL, from + k * job->b_column, (size_t)outputs * sizeof(float));
        }
    } else {
        kernels->transpose(
            (const uint32_t *)(const void *)from, job->b_row, outputs, count,
            (uint32_t *)(void *)panel, CK_PANEL);
    }
}

typedef struct {
    float *wide;      // [K_BLOCK][64]
    uint16_t *panel;  // [K_BLOCK / 2][64][2]
    float *edge;      // [rows][64]
} matmul_scratch;

static matmul_scratch scratch_of(const matmul_run *run, int thread) {
    size_t wide = (size_t)K_BLOCK * CK_PANEL * sizeof(float);
    size_t panel = (size_t)K_BLOCK * CK_PANEL * sizeof(uint16_t);
    size_t edge = (size_t)run->tallest * CK_PANEL * sizeof(float);
    char *memory = ck_pool_scratch(run->pool, thread, wide + panel + edge);
    return (matmul_scratch){
        (float *)(void *)memory,
        (uint16_t *)(void *)(memory + wide),
        (float *)(void *)(memory + wide + panel),
    };
}

static void multiply_panel(
    const matmul_run *run, const product *product, int panel, int row, int rows, float *c,
    ptrdiff_t c_stride, const matmul_scratch *scratch) {
    const ck_matmul_job *job = product->job;
    const ck_operand *operand = &product->a;
    for (int k = 0; k < job->k; k += K_BLOCK) {
        int count = job->k - k < K_BLOCK ? job->k - k : K_BLOCK;
        const void *a = ck_operand_at(operand, row, k);
        bool add = k > 0 || job->accumulate;
        if (operand->is_bf16) {
            int first = panel * CK_PANEL;
            run->kernels->pack_pairs(
                job->b + first * job->b_row + k * job->b_column, job->b_row, job->b_column,
                job->n - first < CK_PANEL ? job->n - first : CK_PANEL, count, scratch->panel);
            run->kernels->bf16(
                a, operand->stride, rows, scratch->panel, count, c, c_stride, add, NULL);
        } else {
            pack_block(run->kernels, job, panel * CK_PANEL, k, count, scratch->wide);
            if (operand->is_tiled) {
                run->kernels->tiles(
                    a, operand->stride, rows, scratch->wide, count, CK_F32, NULL, c, c_stride, add,
                    scratch->panel);
                continue;
            }
            run->kernels->f32(a, operand->stride, rows, scratch->wide, count, c, c_stride, add);
        }
    }
}

static void copy_tile(
    const float *from, ptrdiff_t from_stride, float *to, ptrdiff_t to_stride, int rows,
    int columns) {
    for (int r = 0; r < rows; r++) {
        memcpy(to + r * to_stride, from + r * from_stride, (size_t)columns * sizeof(float));
    }
}

/// The product that a unit belongs to: the last that begins at or before it.
static const product *product_of(const matmul_run *run, int unit) {
    int low = 0, high = run->count;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (run->products[middle].first_unit <= unit) low = middle;
        else high = middle;
    }
    return &run->products[low];
}

static void matmul_task(void *context, int thread, int threads) {
    matmul_run *run = context;
    matmul_scratch scratch = scratch_of(run, thread);
    for (;;) {
        int unit = atomic_fetch_add_explicit(&run->next, 1, memory_order_relaxed);
        if (unit >= run->units) return;
        const product *product = product_of(run, unit);
        const ck_matmul_job *job = product->job;
        unit -= product->first_unit;
        int panel = unit % product->panels, row = unit / product->panels * product->rows_per_unit;
        int rows = job->m - row < product->rows_per_unit ? job->m - row : product->rows_per_unit;
        int outputs = job->n - panel * CK_PANEL;
        float *c = job->c + row * job->c_row + panel * CK_PANEL;
        if (outputs >= CK_PANEL) {
            multiply_panel(run, product, panel, row, rows, c, job->c_row, &scratch);
            continue;
        }
        if (job->accumulate) copy_tile(c, job->c_row, scratch.edge, CK_PANEL, rows, outputs);
        multiply_panel(run, product, panel, row, rows, scratch.edge, CK_PANEL, &scratch);
        copy_tile(scratch.edge, CK_PANEL, c, job->c_row, rows, outputs);
    }
}

/// How a product is cut; returns its units, none where nothing is to be computed.
static int cut(const ck_matmul_job *job, product *product) {
    int chunks = (job->m + UNIT_ROWS - 1) / UNIT_ROWS;
    product->panels = (int)ck_panels(job->n);
    if (job->m == 0 || job->n == 0 || job->k == 0) return 0;
    int rows = (job->m + chunks - 1) / chunks + CK_TILE_ROWS - 1;
    product->rows_per_unit = rows / CK_TILE_ROWS * CK_TILE_ROWS;
    rows = product->rows_per_unit;
    return product->panels * ((job->m + rows - 1) / rows);
}

static void clear(const ck_matmul_job *job) {
    for (int m = 0; m < job->m; m++) {
        memset(job->c + m * job->c_row, 0, (size_t)job->n * sizeof(float));
    }
}

void ck_matmuls(const ck_matmul_job *jobs, int count, int compute, ck_pool *pool) {
    const ck_kernels *kernels = ck_kernels_for(CK_BF16, compute);
    size_t each = sizeof(product) + sizeof(ck_input) + sizeof(ck_operand);
    product *products = ck_pool_scratch(pool, -2, (size_t)count * each);
    ck_input *inputs = (ck_input *)(products + count);
    ck_operand *operands = (ck_operand *)(inputs + count);
    matmul_run run = {products, kernels, pool, 0, 0, 0, 0};
    for (int i = 0; i < count; i++) {
        const ck_matmul_job *job = &jobs[i];
        product *product = &products[run.count];
        *product = (struct product){.job = job, .first_unit = run.units};
        int units = cut(job, product);
        if (job->k == 0 && !job->accumulate) clear(job);
        if (units == 0) continue;
        // The format only tells `ck_prepare` whose loops these are.
        inputs[run.count++] = (ck_input){
            job->a, job->a_row, job->a_column, job->m, job->k, CK_BF16,
        };
        run.units += units;
        run.tallest = product->rows_per_unit > run.tallest ? product->rows_per_unit : run.tallest;
    }
    if (run.count == 0) return;
    ck_prepare(inputs, run.count, compute, kernels, pool, operands);
    for (int i = 0; i < run.count; i++) products[i].a = operands[i];
    ck_pool_run(pool, matmul_task, &run);
}
