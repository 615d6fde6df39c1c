#pragma once

// The kernels that only training needs: backward loops, the loss, the optimizer.
//
// Invariants
//  1. A result does not depend on how many threads share the work: every sum over rows, heads or
//     tokens runs in one fixed order.
//  2. Inputs and outputs may not overlap unless a comment says so.

#include <stddef.h>
#include <stdint.h>

typedef struct ck_pool ck_pool;

/// Causal attention with one head's keys made of a part of its own and a part shared by all heads.
///
/// Rows are tokens; `sequence` of them in a row form a sequence, which sees nothing outside itself.
typedef struct {
    int tokens, sequence, heads;
    int nope, rope, value; // columns of a head's key (own part, shared part) and of its value
    float scale;
    const float *q;      // [tokens][heads * (nope + rope)]
    const float *kv;     // [tokens][heads * (nope + value)]: a head's key, then its value
    const float *k_rope; // [tokens][rope], rows k_rope_stride apart
    ptrdiff_t k_rope_stride;
    float *out; // [tokens][heads * value]
    float *lse; // [tokens][heads]: log of the sum of exponentials of the scores
    // Backward only.
    const float *d_out; // like out
    float *d_q;         // like q
    float *d_kv;        // like kv
    float *d_k_rope;    // [tokens][heads * rope]: one part per head, to be added in head order
} ck_causal_attention;

void ck_attention_forward(const ck_causal_attention *job, ck_pool *pool);
void ck_attention_backward(const ck_causal_attention *job, ck_pool *pool);

/// y = x / sqrt(mean(x^2) + epsilon) * weight. Adds to d_x, and to d_weight if it is not NULL.
typedef struct {
    int rows, columns;
    float epsilon;
    const float *x, *weight, *d_y;
    float *d_x, *d_weight;
    ptrdiff_t x_stride, d_y_stride, d_x_stride;
} ck_norm_backward;

void ck_rms_norm_backward(const ck_norm_backward *job, ck_pool *pool);

/// y = silu(gate) * up, each row of whose gradient counts `weights` times (once when NULL).
typedef struct {
    int rows, columns;
    const float *gate, *up, *d_y;
    const float *weights;   // [rows] or NULL
    float *d_gate, *d_up;   // [rows][columns]; may be gate and up
    float *weighted;        // [rows][columns]: weights * y, for the weight gradient that follows
    float *dots;            // [rows] or NULL: sum of d_y * y, the gradient of `weights`
} ck_swiglu_gradient;

void ck_swiglu_backward(const ck_swiglu_gradient *job, ck_pool *pool);

/// Turns rows of logits into `scale` times the gradient of -log softmax at the target, and gives
/// each row's loss. A row whose target is negative has neither loss nor gradient.
void ck_cross_entropy(
    float *logits, int rows, int columns, const int32_t *targets, float scale, float *losses,
    ck_pool *pool);

/// What one AdamW step needs besides the arrays.
typedef struct {
    float rate, beta1, beta2, epsilon, decay;
    float correction1, correction2; // 1 - beta^step
    float gradient_scale;           // clipping, applied to the gradient first
} ck_adam_rule;

/// Updates f32 master values with bf16 moments.
void ck_adam(
    const ck_adam_rule *rule, float *values, const float *gradients, uint16_t *first,
    uint16_t *second, size_t count, ck_pool *pool);

/// Sum of squares, in double, in a fixed order.
double ck_sum_of_squares(const float *values, size_t count, ck_pool *pool);
