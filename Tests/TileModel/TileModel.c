#include "TileModel.h"

#include <stdlib.h>
#include <string.h>

// Anything that the processor would refuse ends the process: a wrong shape must not pass.

static struct {
    int rows[8], row_bytes[8];
    uint8_t bytes[8][16][64];
    bool configured;
} state;

static void demand(bool condition) {
    if (!condition) abort();
}

void _tile_loadconfig(const void *shapes) {
    const uint8_t *bytes = shapes;
    demand(bytes[0] == 1 && bytes[1] == 0);
    for (int i = 2; i < 16; i++) demand(bytes[i] == 0);
    memset(&state, 0, sizeof state);
    for (int tile = 0; tile < 16; tile++) {
        uint16_t row_bytes;
        memcpy(&row_bytes, bytes + 16 + 2 * tile, 2);
        int rows = bytes[48 + tile];
        demand(tile < 8 ? rows <= 16 && row_bytes <= 64 : rows == 0 && row_bytes == 0);
        demand((rows == 0) == (row_bytes == 0));
        if (tile < 8) {
            state.rows[tile] = rows;
            state.row_bytes[tile] = row_bytes;
        }
    }
    state.configured = true;
}

void _tile_loadd(int tile, const void *from, size_t stride) {
    demand(state.configured && state.rows[tile] > 0);
    memset(state.bytes[tile], 0, sizeof state.bytes[tile]);
    for (int row = 0; row < state.rows[tile]; row++) {
        memcpy(
            state.bytes[tile][row], (const uint8_t *)from + (size_t)row * stride,
            (size_t)state.row_bytes[tile]);
    }
}

void _tile_stored(int tile, void *to, size_t stride) {
    demand(state.configured && state.rows[tile] > 0);
    for (int row = 0; row < state.rows[tile]; row++) {
        memcpy(
            (uint8_t *)to + (size_t)row * stride, state.bytes[tile][row],
            (size_t)state.row_bytes[tile]);
    }
}

static float word(const uint8_t *from) {
    float value;
    memcpy(&value, from, sizeof value);
    return value;
}

static float half(const uint8_t *from) {
    uint32_t bits = (uint32_t)(from[0] | from[1] << 8) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void _tile_dpbf16ps(int sums, int inputs, int weights) {
    demand(state.configured && sums != inputs && inputs != weights && sums != weights);
    const int pairs = state.row_bytes[inputs] / 4, columns = state.row_bytes[weights] / 4;
    demand(state.row_bytes[inputs] % 4 == 0 && pairs == state.rows[weights]);
    demand(state.rows[sums] == state.rows[inputs] && state.row_bytes[sums] == columns * 4);
    for (int row = 0; row < state.rows[inputs]; row++) {
        for (int column = 0; column < columns; column++) {
            float even = 0, odd = 0;
            for (int pair = 0; pair < pairs; pair++) {
                const uint8_t *x = state.bytes[inputs][row] + pair * 4;
                const uint8_t *w = state.bytes[weights][pair] + column * 4;
                // Products of two bf16 are exact in f32, so this rounds once, as the fused form.
                even += half(x) * half(w);
                odd += half(x + 2) * half(w + 2);
            }
            uint8_t *sum = state.bytes[sums][row] + column * 4;
            float total = word(sum) + even + odd;
            memcpy(sum, &total, sizeof total);
        }
    }
}

void _tile_release(void) { memset(&state, 0, sizeof state); }

#define TILE_MODEL
#include "../../Sources/CKernels/Levels/Amx.c"
