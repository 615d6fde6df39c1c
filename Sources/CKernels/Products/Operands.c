#include "Products/Operands.h"

#include <string.h>

/// Values below which one thread converts faster than two agree to.
enum { SHARE_FROM = 1 << 15 };
/// Rows turned together: a vector of words; as pairs of bf16, four vectors, whole lines.
enum { TURNED_ROWS = 16, TURNED_PAIRS = 64 };

typedef struct {
    const ck_input *inputs;
    const ck_kernels *kernels;
    const ck_operand *operands;
    ck_pool *pool;
    int count;
    bool rounds;
} prepare_run;

void ck_round_to_bf16(
    const ck_kernels *kernels, const float *source, float *target, size_t count) {
    uint16_t rounded[256];
    for (size_t first = 0; first < count; first += 256) {
        size_t length = count - first < 256 ? count - first : 256;
        kernels->bf16_encode(source + first, rounded, length);
        kernels->bf16_decode(rounded, target + first, length);
    }
}

void ck_place_row(
    const ck_kernels *kernels, const ck_operand *operand, bool rounds, int row, int first,
    const float *values, int count) {
    enum { PIECE = 256 };
    float rounded[PIECE];
    for (int k = 0; operand->is_tiled && k < count; k += PIECE) {
        int length = count - k < PIECE ? count - k : PIECE;
        float *target = (float *)(uintptr_t)ck_operand_at(operand, row, first + k);
        if (rounds) ck_round_to_bf16(kernels, values + k, rounded, (size_t)length);
        const float *from = rounds ? rounded : values + k;
        for (int i = 0; i < length; i++) target[i * CK_TILE_ROWS] = from[i];
    }
    if (operand->is_tiled) return;
    float *target = (float *)(uintptr_t)ck_operand_at(operand, row, first);
    if (rounds) {
        ck_round_to_bf16(kernels, values, target, (size_t)count);
    } else {
        memcpy(target, values, (size_t)count * sizeof(float));
    }
}

/// One row of contiguous f32 becomes a row of the operand.
static void prepare_row(const prepare_run *run, int index, int row, const float *from) {
    const ck_operand *operand = &run->operands[index];
    int columns = run->inputs[index].columns;
    void *target = (void *)(uintptr_t)ck_operand_at(operand, row, 0);
    if (operand->is_int8) {
        int8_t *bytes = target;
        size_t padded = ck_int8_bytes(columns);
        memset(bytes + columns, 0, padded - (size_t)columns);
        ck_int8_block *blocks = (ck_int8_block *)(void *)(bytes + padded);
        run->kernels->round_int8(from, bytes, blocks, (size_t)columns);
        return;
    }
    if (operand->is_bf16) {
        operand->kernels->round(from, target, (size_t)columns);
        memset((uint16_t *)target + columns, 0, 4 * sizeof(uint16_t));
        return;
    }
    ck_place_row(run->kernels, operand, run->rounds, row, 0, from, columns);
}

/// A row that lies apart, in the form in which it travelled, becomes a row of the operand.
///
/// The bits are those of decoding it first: a bf16 value is its own rounding.
static void prepare_apart(const prepare_run *run, int index, int row, int thread) {
    const ck_input *input = &run->inputs[index];
    const ck_operand *operand = &run->operands[index];
    size_t columns = (size_t)input->columns;
    const char *from = input->apart[row];
    if (input->codec == CK_F32) {
        prepare_row(run, index, row, (const float *)(const void *)from);
        return;
    }
    bool is_float = !operand->is_bf16 && !operand->is_int8 && !operand->is_tiled;
    bool is_final = is_float && (input->codec == CK_BF16 || !run->rounds);
    float *values = is_final ? (float *)(uintptr_t)ck_operand_at(operand, row, 0)
                             : ck_pool_scratch(run->pool, thread, columns * sizeof(float));
    if (input->codec == CK_BF16) {
        run->kernels->bf16_decode((const uint16_t *)(const void *)from, values, columns);
    } else {
        const char *scales = from + (columns + 3) / 4 * 4;
        ck_e4m3_decode(
            (const uint8_t *)from, (const float *)(const void *)scales, values, columns);
    }
    if (!is_final) prepare_row(run, index, row, values);
}

/// Rows of a matrix that lies transposed, turned 16 at a time.
static void prepare_turned(const prepare_run *run, int index, int first, int end, int thread) {
    const ck_input *input = &run->inputs[index];
    const ck_operand *operand = &run->operands[index];
    if (operand->is_bf16) {
        for (int row = first; row < end; row += TURNED_PAIRS) {
            int count = end - row < TURNED_PAIRS ? end - row : TURNED_PAIRS;
            uint16_t *to = (uint16_t *)(uintptr_t)ck_operand_at(operand, row, 0);
            operand->kernels->turn_pairs(
                input->values + row * input->row, input->column, count, input->columns, to,
                operand->stride);
            int from = (input->columns + 1) / 2 * 2;
            for (int r = 0; r < count; r++) {
                memset(to + r * operand->stride + from, 0, 4 * sizeof(uint16_t));
            }
        }
        return;
    }
    ptrdiff_t stride = ck_operand_stride(input->columns);
    float *turned =
        ck_pool_scratch(run->pool, thread, TURNED_ROWS * (size_t)stride * sizeof(float));
    for (int row = first; row < end; row += TURNED_ROWS) {
        int count = end - row < TURNED_ROWS ? end - row : TURNED_ROWS;
        run->kernels->transpose(
            (const uint32_t *)(const void *)(input->values + row * input->row), input->column,
            input->columns, count, (uint32_t *)(void *)turned, stride);
        for (int r = 0; r < count; r++) prepare_row(run, index, row + r, turned + r * stride);
    }
}

static bool stays(const ck_input *input, const ck_operand *operand) {
    return !input->apart && operand->data == (const void *)input->values;
}

static bool same(const ck_input *a, const ck_input *b) {
    return a->values == b->values && a->row == b->row && a->column == b->column
        && a->rows == b->rows && a->columns == b->columns && a->apart == b->apart;
}

/// Whether input `i` is the one before it again, so that one operand serves both.
static bool repeats(const ck_input *inputs, const ck_operand *operands, int i) {
    return i > 0 && same(&inputs[i], &inputs[i - 1])
        && operands[i].is_bf16 == operands[i - 1].is_bf16
        && operands[i].is_tiled == operands[i - 1].is_tiled
        && operands[i].is_int8 == operands[i - 1].is_int8;
}

/// Every thread takes its share of the rows of each input.
static void prepare_task(void *context, int thread, int threads) {
    const prepare_run *run = context;
    for (int i = 0; i < run->count; i++) {
        const ck_input *input = &run->inputs[i];
        if (repeats(run->inputs, run->operands, i) || stays(input, &run->operands[i])) continue;
        int first = (int)((long)input->rows * thread / threads);
        int end = (int)((long)input->rows * (thread + 1) / threads);
        if (input->apart) {
            for (int row = first; row < end; row++) prepare_apart(run, i, row, thread);
            continue;
        }
        if (input->column != 1) {
            prepare_turned(run, i, first, end, thread);
            continue;
        }
        for (int row = first; row < end; row++) {
            prepare_row(run, i, row, input->values + row * input->row);
        }
    }
}

/// Says where each operand goes; returns the bytes they take together.
static size_t place(
    const ck_input *inputs, int count, int compute, ck_operand *operands) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        const ck_input *input = &inputs[i];
        const ck_kernels *kernels = ck_kernels_for(input->format, compute);
        bool is_int8 = compute == CK_COMPUTE_BF16 && input->format == CK_INT8;
        bool is_bf16 = compute == CK_COMPUTE_BF16 && kernels->bf16 && !is_int8
            && ck_takes_bf16(input->format);
        if (compute == CK_COMPUTE_F32 && input->column == 1 && !input->apart) {
            operands[i] = (ck_operand){input->values, input->row, false, false, false, kernels};
            continue;
        }
        operands[i].is_bf16 = is_bf16;
        operands[i].is_int8 = is_int8;
        bool is_tiled = !is_bf16 && !is_int8 && ck_takes_tiles(kernels, input->format, input->rows);
        operands[i].is_tiled = is_tiled;
        if (repeats(inputs, operands, i)) {
            operands[i] = operands[i - 1];
            operands[i].kernels = kernels;
            continue;
        }
        ptrdiff_t stride =
            is_int8 ? ck_int8_stride(input->columns) : ck_operand_stride(input->columns);
        // The offset, until the scratch is there.
        operands[i] = (ck_operand){
            (const void *)(bytes + 1), stride, is_bf16, is_int8, is_tiled, kernels};
        size_t rows = ck_operand_rows(is_tiled, input->rows);
        bytes += (rows * (size_t)stride * (is_int8 ? 1 : is_bf16 ? 2 : 4) + 63) / 64 * 64;
    }
    return bytes;
}

void ck_prepare(
    const ck_input *inputs, int count, int compute, const ck_kernels *kernels, ck_pool *pool,
    ck_operand *operands) {
    size_t bytes = place(inputs, count, compute, operands);
    char *scratch = bytes > 0 ? ck_pool_scratch(pool, -1, bytes) : NULL;
    long values = 0;
    for (int i = 0; i < count; i++) {
        if (stays(&inputs[i], &operands[i])) continue;
        operands[i].data = scratch + ((size_t)operands[i].data - 1);
        values += (long)inputs[i].rows * inputs[i].columns;
    }
    if (bytes == 0) return;
    prepare_run run = {inputs, kernels, operands, pool, count, compute == CK_COMPUTE_BF16};
    if (values < SHARE_FROM) {
        prepare_task(&run, 0, 1);
    } else {
        ck_pool_run(pool, prepare_task, &run);
    }
}
