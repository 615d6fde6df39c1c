#include <math.h>

#include "Levels/Kernels.h"

// Operations on one row, by the level in use; RowLoops.h has the loops.

void ck_rms_norm(const float *x, const float *weight, float epsilon, float *y, int columns) {
    ck_kernels_in_use()->rms_norm(x, weight, epsilon, y, columns);
}

void ck_layer_norm(
    const float *x, const float *weight, const float *bias, float epsilon, float *y, int columns) {
    double sum = 0, squares = 0;
    for (int i = 0; i < columns; i++) sum += (double)x[i];
    double mean = sum / columns;
    for (int i = 0; i < columns; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double scale = 1 / sqrt(squares / columns + (double)epsilon);
    for (int i = 0; i < columns; i++) {
        y[i] = (float)(((double)x[i] - mean) * scale) * weight[i] + bias[i];
    }
}

void ck_rope(float *x, const float *cosines, const float *sines, int pairs, float sign) {
    ck_kernels_in_use()->rope(x, cosines, sines, pairs, sign);
}

void ck_rope_halves(float *x, const float *cosines, const float *sines, int pairs, float sign) {
    for (int i = 0; i < pairs; i++) {
        float first = x[i], second = x[pairs + i], sine = sign * sines[i];
        x[i] = first * cosines[i] - second * sine;
        x[pairs + i] = second * cosines[i] + first * sine;
    }
}

void ck_swiglu(const float *gate, const float *up, float *y, size_t count) {
    ck_kernels_in_use()->swiglu(gate, up, y, count);
}

void ck_softmax(float *x, int columns) {
    const ck_kernels *kernels = ck_kernels_in_use();
    float largest = kernels->largest(x, (size_t)columns);
    float sum = kernels->exponentials(x, largest, (size_t)columns);
    kernels->scale(x, 1 / sum, (size_t)columns);
}

enum { LOG_CHUNK = 512 };

/// The row is read twice, and a chunk of its exponentials at a time is thrown away.
void ck_log_softmax(float *x, int columns) {
    const ck_kernels *kernels = ck_kernels_in_use();
    float largest = kernels->largest(x, (size_t)columns), chunk[LOG_CHUNK];
    double sum = 0;
    for (int i = 0; i < columns; i += LOG_CHUNK) {
        size_t count = (size_t)(columns - i < LOG_CHUNK ? columns - i : LOG_CHUNK);
        for (size_t j = 0; j < count; j++) chunk[j] = x[(size_t)i + j];
        sum += (double)kernels->exponentials(chunk, largest, count);
    }
    float logarithm = (float)log(sum);
    for (int i = 0; i < columns; i++) x[i] = (x[i] - largest) - logarithm;
}

void ck_add(const float *x, float *y, size_t count) { ck_kernels_in_use()->add(x, y, count); }
