#include <string.h>

#include "CKernels.h"

// The positions of the largest scores, by a radix selection: three counts of the scores' bits, from
// the highest down, give the smallest chosen score exactly; one more pass collects. O(n), and no
// order of work can change the choice.

enum { DIGIT = 11, BINS = 1 << DIGIT };

/// A number that orders as the score does; both zeros are one.
static uint32_t order_of(float score) {
    float value = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

void ck_top_positions(const float *scores, int count, int wanted, int32_t *chosen) {
    // Neighbours are counted apart: most scores fall into few bins, and would wait for each other.
    enum { WAYS = 4 };
    uint32_t known = 0, mask = 0, bins[WAYS][BINS];
    uint32_t left = (uint32_t)wanted; // of those whose known digits are the smallest chosen's
    for (int shift = 32 - DIGIT; mask != 0xffffffffu; shift = shift > DIGIT ? shift - DIGIT : 0) {
        memset(bins, 0, sizeof bins);
        for (int p = 0; p < count; p++) {
            uint32_t order = order_of(scores[p]);
            if ((order & mask) == known) bins[p % WAYS][(order >> shift) % BINS]++;
        }
        for (int b = 0; b < BINS; b++) {
            for (int way = 1; way < WAYS; way++) bins[0][b] += bins[way][b];
        }
        int bin = BINS - 1;
        while (bins[0][bin] < left) left -= bins[0][bin--];
        known |= (uint32_t)bin << shift;
        mask |= (uint32_t)(BINS - 1) << shift;
    }
    for (int p = 0, taken = 0; p < count && taken < wanted; p++) {
        uint32_t order = order_of(scores[p]);
        if (order < known || (order == known && left == 0)) continue;
        if (order == known) left--;
        chosen[taken++] = p;
    }
}
