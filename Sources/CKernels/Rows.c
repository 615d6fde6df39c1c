#include <math.h>
#include <string.h>

#include "CKernels.h"

float ck_exp(float value) { return expf(value); }

void ck_rms_norm(const float *x, const float *weight, float epsilon, float *y, int columns) {
    float sum = 0;
    for (int i = 0; i < columns; i++) sum += x[i] * x[i];
    float scale = 1 / sqrtf(sum / (float)columns + epsilon);
    for (int i = 0; i < columns; i++) y[i] = x[i] * scale * weight[i];
}

void ck_rope(float *x, const float *cosines, const float *sines, int pairs, float sign) {
    for (int i = 0; i < pairs; i++) {
        float even = x[2 * i], odd = x[2 * i + 1], sine = sign * sines[i];
        x[2 * i] = even * cosines[i] - odd * sine;
        x[2 * i + 1] = odd * cosines[i] + even * sine;
    }
}

void ck_swiglu(const float *gate, const float *up, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = gate[i] / (1 + ck_exp(-gate[i])) * up[i];
}

void ck_softmax(float *x, int columns) {
    float largest = x[0], sum = 0;
    for (int i = 1; i < columns; i++) largest = x[i] > largest ? x[i] : largest;
    for (int i = 0; i < columns; i++) {
        x[i] = ck_exp(x[i] - largest);
        sum += x[i];
    }
    float scale = 1 / sum;
    for (int i = 0; i < columns; i++) x[i] *= scale;
}

void ck_log_softmax(float *x, int columns) {
    float largest = x[0], sum = 0;
    for (int i = 1; i < columns; i++) largest = x[i] > largest ? x[i] : largest;
    for (int i = 0; i < columns; i++) sum += ck_exp(x[i] - largest);
    float shift = largest + logf(sum);
    for (int i = 0; i < columns; i++) x[i] -= shift;
}

void ck_add(const float *x, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] += x[i];
}

/// The index of the largest score that is not taken, the lowest of equals.
static int best_of(const float *scores, int first, int end) {
    int best = first;
    for (int i = first + 1; i < end; i++) best = scores[i] > scores[best] ? i : best;
    return best;
}

/// A group counts by its best expert, or by the sum of its best two.
static float group_score(const float *scores, int first, int end, int group_max) {
    float best = -INFINITY, second = -INFINITY;
    for (int i = first; i < end; i++) {
        if (scores[i] > best) {
            second = best;
            best = scores[i];
        } else if (scores[i] > second) {
            second = scores[i];
        }
    }
    return group_max || end - first == 1 ? best : best + second;
}

static void drop_weak_groups(const ck_gate_rule *rule, float *choice, float *group_scores) {
    int size = rule->experts / rule->groups;
    for (int g = 0; g < rule->groups; g++) {
        group_scores[g] = group_score(choice, g * size, (g + 1) * size, rule->group_max);
    }
    for (int kept = 0; kept < rule->top_groups; kept++) {
        group_scores[best_of(group_scores, 0, rule->groups)] = -INFINITY;
    }
    for (int g = 0; g < rule->groups; g++) {
        if (group_scores[g] == -INFINITY) continue;
        for (int i = g * size; i < (g + 1) * size; i++) choice[i] = -INFINITY;
    }
}

void ck_gate(
    const ck_gate_rule *rule, const float *logits, const float *bias, int32_t *chosen,
    float *weights, float *scratch) {
    float *scores = scratch, *choice = scratch + rule->experts;
    memcpy(scores, logits, (size_t)rule->experts * sizeof(float));
    if (rule->softmax) {
        ck_softmax(scores, rule->experts);
    } else {
        for (int i = 0; i < rule->experts; i++) scores[i] = 1 / (1 + ck_exp(-scores[i]));
    }
    for (int i = 0; i < rule->experts; i++) choice[i] = scores[i] + (bias ? bias[i] : 0);
    if (rule->top_groups < rule->groups) {
        drop_weak_groups(rule, choice, choice + rule->experts);
    }
    float sum = 0;
    for (int k = 0; k < rule->top_k; k++) {
        int best = best_of(choice, 0, rule->experts);
        choice[best] = -INFINITY;
        chosen[k] = best;
        weights[k] = scores[best];
        sum += scores[best];
    }
    float scale = rule->normalise ? rule->scaling / (sum + 1e-20f) : rule->scaling;
    for (int k = 0; k < rule->top_k; k++) weights[k] *= scale;
}
