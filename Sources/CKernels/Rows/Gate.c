#include <math.h>
#include <string.h>

#include "Levels/Kernels.h"

// The top-k gate: select by biased score among the best groups, weigh by unbiased score.

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

/// Turns logits into scores.
static void score(const ck_gate_rule *rule, const float *bias, float *scores) {
    if (rule->weighs_chosen) {
        for (int i = 0; bias && i < rule->experts; i++) scores[i] += bias[i];
    } else if (rule->softmax) {
        ck_softmax(scores, rule->experts);
    } else {
        ck_kernels_in_use()->sigmoid(scores, (size_t)rule->experts);
    }
}

void ck_gate(
    const ck_gate_rule *rule, const float *logits, const float *bias, int32_t *chosen,
    float *weights, float *scratch) {
    float *scores = scratch, *choice = scratch + rule->experts;
    memcpy(scores, logits, (size_t)rule->experts * sizeof(float));
    score(rule, bias, scores);
    bool is_biased = bias && !rule->weighs_chosen;
    for (int i = 0; i < rule->experts; i++) choice[i] = scores[i] + (is_biased ? bias[i] : 0);
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
    if (rule->weighs_chosen) {
        ck_softmax(weights, rule->top_k);
        sum = 1;
    }
    float scale = rule->normalise ? rule->scaling / (sum + 1e-20f) : rule->scaling;
    for (int k = 0; k < rule->top_k; k++) weights[k] *= scale;
}
