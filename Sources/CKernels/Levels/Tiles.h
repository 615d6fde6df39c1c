#pragma once

// What the panel products of every level share: how rows are cut into tiles. A file defines
// VECTOR_LANES and SLICE_VECTORS first.

#include "Products/Panel.h"

enum {
    SLICE = VECTOR_LANES * SLICE_VECTORS, // outputs of one tile
    TILE_ROWS = CK_TILE_ROWS,
};

typedef float vector __attribute__((vector_size(VECTOR_LANES * 4), aligned(4)));
typedef int32_t dots __attribute__((vector_size(VECTOR_LANES * 4), aligned(4)));
typedef uint32_t words __attribute__((vector_size(VECTOR_LANES * 4), aligned(4)));

/// How far ahead of the multiplications a stream of weights is asked for. The CPU's own reading
/// ahead starts anew at every page of 4 KiB; asking beyond that makes one core read as fast as it
/// can (Zen 5: e4m3 with one row 35 -> 43 GB/s per core, its limit). 6 KiB was 1 to 2% better than
/// 8, and 2, 4 and 12 no better, in pairs over all products of a step of shape L at 85 GB/s. Not to
/// be kept: a weight is read once per token, and the inputs stay in the caches.
enum { STREAM_AHEAD = 6 << 10 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/// What becomes of a tile's sums: they replace c or continue it; or, times a scale, they replace it
/// or are added to it.
typedef enum { OVERWRITE, CONTINUE, SCALED, SCALED_ONTO } ending;

// Taking zero away, unlike adding it, changes no x, so nothing is computed.
INLINE vector splat(float x) { return x - (vector){0}; }

/// Calls `tile` with the number of rows as a constant, for tiles of nearly equal height: 8 rows are
/// 4 + 4, which keeps both tiles busy, not 6 + 2.
#define FOR_EACH_TILE(rows, tile)                                                                  \
    for (int row = 0, left = (rows), height; left > 0; row += height, left -= height) {            \
        int tiles = (left + TILE_ROWS - 1) / TILE_ROWS;                                            \
        height = (left + tiles - 1) / tiles;                                                       \
        switch (height) {                                                                          \
        case 1: tile(1); break;                                                                    \
        case 2: tile(2); break;                                                                    \
        case 3: tile(3); break;                                                                    \
        case 4: tile(4); break;                                                                    \
        case 5: tile(5); break;                                                                    \
        default: tile(TILE_ROWS); break;                                                           \
        }                                                                                          \
    }
