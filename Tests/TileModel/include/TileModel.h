// AMX's tile instructions in plain C, after their pseudo code in Intel's manual (volume 2), so that
// Sources/CKernels/Levels/Amx.c can be compiled and tested without the instructions.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The product of `Amx.c`, on the model.
void ck_panel_amx(
    const uint16_t *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add, const void *next);

void _tile_loadconfig(const void *shapes);
void _tile_loadd(int tile, const void *from, size_t stride);
void _tile_stored(int tile, void *to, size_t stride);
void _tile_dpbf16ps(int sums, int inputs, int weights);
void _tile_release(void);
