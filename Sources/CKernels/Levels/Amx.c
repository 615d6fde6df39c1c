// Used by no command unless APUS_CPU=amx asks for it: it has never run on a processor with AMX.
//
// AMX: products of bf16 pairs on tiles of 16 rows by 64 bytes. A panel's layout, pairs of inputs
// side by side for every output, is what a tile of weights wants, so nothing is packed again. 16
// rows by 64 outputs are four tiles of sums; a tile of inputs and two of weights are beside them.
//
// An instruction adds 32 products to a sum, the even inputs in one chain and the odd in another. So
// sums differ from AVX-512's in the last bits; but k is always cut at the same multiples of 32, and
// invariant 1 of Tensors holds here too.
//
// The instructions are checked by a model of them (Tests/TileModel), which compiles this file too.

#if defined(__x86_64__)

#define _GNU_SOURCE

#include <string.h>

#include "Levels/Kernels.h"
#include "Products/Panel.h"

#ifdef TILE_MODEL
#include "TileModel.h"
#else
#include <asm/prctl.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { TILE_HEIGHT = 16, TILE_PAIRS = 16, TILE_INPUTS = 2 * TILE_PAIRS };

/// What ldtilecfg reads.
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;
_Static_assert(sizeof(tile_shapes) == 64, "ldtilecfg reads 64 bytes");

/// Tiles 0 to 3 are sums, 4 holds inputs, 5 and 6 hold weights.
static tile_shapes shapes_of(int rows, int pairs) {
    tile_shapes shapes = {.palette = 1};
    for (int tile = 0; tile < 7; tile++) {
        shapes.row_bytes[tile] = 64;
        shapes.rows[tile] = (uint8_t)(tile > 4 ? pairs : rows);
    }
    shapes.row_bytes[4] = (uint16_t)(pairs * 4);
    return shapes;
}

#ifndef TILE_MODEL
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16"))), apply_to = function)
#endif

/// c += up to 16 rows of `a` times `steps` times as many inputs as a tile holds.
static void multiply(
    const uint16_t *a, ptrdiff_t a_stride, const uint16_t *panel, int steps, float *c,
    ptrdiff_t c_stride, bool add, tile_shapes shapes) {
    const size_t a_bytes = (size_t)a_stride * 2, c_bytes = (size_t)c_stride * 4;
    const size_t weight_bytes = 4 * CK_PANEL;
    _tile_loadconfig(&shapes);
    if (add) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(1, c + 16, c_bytes);
        _tile_loadd(2, c + 32, c_bytes);
        _tile_loadd(3, c + 48, c_bytes);
    } // else ldtilecfg left zeros
    for (int step = 0; step < steps; step++) {
        _tile_loadd(4, a, a_bytes);
        _tile_loadd(5, panel, weight_bytes);
        _tile_dpbf16ps(0, 4, 5);
        _tile_loadd(6, panel + 32, weight_bytes);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(5, panel + 64, weight_bytes);
        _tile_dpbf16ps(2, 4, 5);
        _tile_loadd(6, panel + 96, weight_bytes);
        _tile_dpbf16ps(3, 4, 6);
        a += TILE_INPUTS;
        panel += TILE_INPUTS * CK_PANEL;
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + 16, c_bytes);
    _tile_stored(2, c + 32, c_bytes);
    _tile_stored(3, c + 48, c_bytes);
    // Else the system saves 8 KiB whenever it takes the core away.
    _tile_release();
}

#ifndef TILE_MODEL
#pragma clang attribute pop
static
#endif
void ck_panel_amx(
    const uint16_t *a, ptrdiff_t a_stride, int rows, const uint16_t *panel, int k, float *c,
    ptrdiff_t c_stride, bool add, const void *next) {
    (void)next;
    const int steps = k / TILE_INPUTS, whole = steps * TILE_INPUTS, pairs = (k - whole + 1) / 2;
    for (int row = 0; row < rows; row += TILE_HEIGHT) {
        const int height = rows - row < TILE_HEIGHT ? rows - row : TILE_HEIGHT;
        const uint16_t *from = a + row * a_stride;
        float *to = c + row * c_stride;
        if (steps > 0) {
            multiply(
                from, a_stride, panel, steps, to, c_stride, add, shapes_of(height, TILE_PAIRS));
        }
        if (pairs > 0) {
            multiply(
                from + whole, a_stride, panel + whole * CK_PANEL, 1, to, c_stride,
                add || steps > 0, shapes_of(height, pairs));
        }
    }
}

#ifndef TILE_MODEL
/// Asks the system for the tiles' state, which it gives a process only on request.
static bool have_tiles(void) {
    enum { REQUEST_STATE = 0x1023, TILE_DATA = 18 };
    __builtin_cpu_init();
    return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16")
        && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi")
        && __builtin_cpu_supports("avx512vnni")
        && syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0;
}

const ck_kernels *ck_kernels_amx(void) {
    static ck_kernels table;
    static _Atomic int state; // 0 unknown, 1 absent, 2 present
    if (atomic_load(&state) == 0) {
        bool present = have_tiles();
        table = ck_kernels_avx512bf16;
        table.bf16 = ck_panel_amx;
        atomic_store(&state, present ? 2 : 1);
    }
    return atomic_load(&state) == 2 ? &table : NULL;
}
#endif

#endif
