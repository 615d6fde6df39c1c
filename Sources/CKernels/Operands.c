#include "Operands.h"

#include <string.h>

/// Values below which one thread converts faster than two agree to.
enum { SHARE_FROM = 1 << 15 };

typedef struct {
    const ck_input *inputs;
    const ck_kernels *kernels;
    const ck_operand *operands;
    int count;
    bool rounds;
} prepare_run;

/// One row, strided or not, into contiguous f32.
static void gather_row(const ck_input *input, int row, float *target) {
    const float *from = input->values + row * input->row;
    for (int i = 0; i < input->columns; i++) target[i] = from[i * input->column];
}

/// 64 values at a time, so that a strided row needs no buffer of its own length.
static void round_row(
    const ck_kernels *kernels, const ck_input *input, int row, uint16_t *target) {
    const float *from = input->values + row * input->row;
    if (input->column == 1) {
        kernels->round(from, target, (size_t)input->columns);
        return;
    }
    for (int first = 0; first < input->columns; first += CK_PANEL) {
        float buffer[CK_PANEL];
        int count = input->columns - first < CK_PANEL ? input->columns - first : CK_PANEL;
        for (int i = 0; i < count; i++) buffer[i] = from[(first + i) * input->column];
        kernels->round(buffer, target + first, (size_t)count);
    }
}

static void prepare_row(const prepare_run *run, int index, int row) {
    const ck_input *input = &run->inputs[index];
    const ck_operand *operand = &run->operands[index];
    void *target = (void *)(uintptr_t)ck_operand_at(operand, row, 0);
    if (operand->is_bf16) {
        round_row(run->kernels, input, row, target);
        memset((uint16_t *)target + input->columns, 0, 4 * sizeof(uint16_t));
        return;
    }
    float *floats = target;
    gather_row(input, row, floats);
    if (run->rounds) {
        for (int i = 0; i < input->columns; i++) {
            floats[i] = ck_from_bf16(ck_to_bf16(floats[i]));
        }
    }
}

static bool stays(const ck_input *input, const ck_operand *operand) {
    return operand->data == (const void *)input->values;
}

static bool same(const ck_input *a, const ck_input *b) {
    return a->values == b->values && a->row == b->row && a->column == b->column
        && a->rows == b->rows && a->columns == b->columns;
}

/// Whether input `i` is the one before it again, so that one operand serves both.
static bool repeats(const ck_input *inputs, const ck_operand *operands, int i) {
    return i > 0 && same(&inputs[i], &inputs[i - 1])
        && operands[i].is_bf16 == operands[i - 1].is_bf16;
}

/// Every thread takes its share of the rows of each input.
static void prepare_task(void *context, int thread, int threads) {
    const prepare_run *run = context;
    for (int i = 0; i < run->count; i++) {
        const ck_input *input = &run->inputs[i];
        if (repeats(run->inputs, run->operands, i) || stays(input, &run->operands[i])) continue;
        int first = (int)((long)input->rows * thread / threads);
        int end = (int)((long)input->rows * (thread + 1) / threads);
        for (int row = first; row < end; row++) prepare_row(run, i, row);
    }
}

/// Says where each operand goes; returns the bytes they take together.
static size_t place(
    const ck_input *inputs, int count, int compute, const ck_kernels *kernels,
    ck_operand *operands) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        const ck_input *input = &inputs[i];
        bool is_bf16 = compute == CK_COMPUTE_BF16 && kernels->bf16 && input->format != CK_F32;
        if (compute == CK_COMPUTE_F32 && input->column == 1) {
            operands[i] = (ck_operand){input->values, input->row, false};
            continue;
        }
        operands[i].is_bf16 = is_bf16;
        if (repeats(inputs, operands, i)) {
            operands[i] = operands[i - 1];
            continue;
        }
        ptrdiff_t stride = ck_operand_stride(input->columns);
        // The offset, until the scratch is there.
        operands[i] = (ck_operand){(const void *)(bytes + 1), stride, is_bf16};
        bytes += (size_t)input->rows * (size_t)stride * (is_bf16 ? 2 : 4);
    }
    return bytes;
}

void ck_prepare(
    const ck_input *inputs, int count, int compute, const ck_kernels *kernels, ck_pool *pool,
    ck_operand *operands) {
    size_t bytes = place(inputs, count, compute, kernels, operands);
    char *scratch = bytes > 0 ? ck_pool_scratch(pool, -1, bytes) : NULL;
    long values = 0;
    for (int i = 0; i < count; i++) {
        if (stays(&inputs[i], &operands[i])) continue;
        operands[i].data = scratch + ((size_t)operands[i].data - 1);
        values += (long)inputs[i].rows * inputs[i].columns;
    }
    if (bytes == 0) return;
    prepare_run run = {inputs, kernels, operands, count, compute == CK_COMPUTE_BF16};
    if (values < SHARE_FROM) {
        prepare_task(&run, 0, 1);
    } else {
        ck_pool_run(pool, prepare_task, &run);
    }
}
