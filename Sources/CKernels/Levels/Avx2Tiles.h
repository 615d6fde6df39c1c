// Panel products of AVX2 for many rows, whose inputs lie as tiles. Included by Avx2Panels.h.
//
// A tile's inputs are one stream, `[k][6]`: six rows side by side cost the first-level cache as
// many streams, and their addresses.

/// Asks for the lines of the next block, a few before each tile.
INLINE void bring(const char *next, int first, int lines) {
    for (int line = first; line < first + lines; line++) {
        _mm_prefetch(next + line * 64, _MM_HINT_T1);
    }
}

/// 16 outputs of one block for all rows. Meanwhile memory brings `lines` lines per tile.
INLINE void tiles_of_block(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *from, int k,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *next, int lines) {
    const ahead nothing = {0};
#define TILE(n)                                                                                    \
    tile(                                                                                          \
        origin, a, 1, TILE_ROWS, from, k, c, c_stride, ending, scale, NULL, nothing, 0, n,         \
        SLICE / VECTOR_LANES);                                                                     \
    break
    for (; rows > 0; rows -= TILE_ROWS, a += TILE_ROWS * a_stride, c += TILE_ROWS * c_stride) {
        bring(next, 0, lines);
        next += lines * 64;
        switch (rows) {
        case 1: TILE(1);
        case 2: TILE(2);
        case 3: TILE(3);
        case 4: TILE(4);
        case 5: TILE(5);
        default: TILE(TILE_ROWS);
        }
    }
#undef TILE
}

/// One block for all rows; `bytes` of the panel after it are brought meanwhile.
INLINE void tiled_block(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, ending ending, float scale, const char *next, int bytes) {
    int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    int lines = (bytes / 64 + 4 * tiles - 1) / (4 * tiles);
    for (int o = 0; o < CK_PANEL; o += SLICE) {
        const char *from = panel + o / VECTOR_LANES * LANE_BYTES(origin);
        tiles_of_block(
            origin, a, a_stride, rows, from, k, c + o, c_stride, ending, scale, next, lines);
        next += lines * tiles * 64;
    }
}

INLINE void tiled_blocks(
    const origin origin, const float *a, ptrdiff_t a_stride, int rows, const char *panel, int k,
    float *c, ptrdiff_t c_stride, bool add) {
    for (int first = 0; first < k; first += K_BLOCK) {
        int count = k - first < K_BLOCK ? k - first : K_BLOCK;
        const char *from = panel + (ptrdiff_t)first * ROW_BYTES(origin);
        int bytes = K_BLOCK * ROW_BYTES(origin);
        tiled_block(
            origin, a + first * TILE_ROWS, a_stride, rows, from, count, c, c_stride,
            add || first > 0 ? CONTINUE : OVERWRITE, 1, from + bytes, bytes);
    }
}

static void avx2_panel_tiles(
    const float *a, ptrdiff_t a_stride, int rows, const void *panel, int k, int format,
    const float *scales, float *c, ptrdiff_t c_stride, bool add, void *scratch) {
    if (format == CK_F32) {
        tiled_blocks(FROM_F32, a, a_stride, rows, panel, k, c, c_stride, add);
        return;
    }
    if (format == CK_BF16) {
        tiled_blocks(FROM_BF16, a, a_stride, rows, panel, k, c, c_stride, add);
        return;
    }
    for (int first = 0; first < k; first += CK_SCALE_BLOCK) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        const uint8_t *codes = (const uint8_t *)panel + (ptrdiff_t)first * CK_PANEL;
        const char *next = (const char *)codes + CK_SCALE_BLOCK * CK_PANEL;
        float scale = scales ? scales[first / CK_SCALE_BLOCK] : 1;
        ending ending = add || first > 0 ? SCALED_ONTO : SCALED;
        decode_block(codes, count, next, scratch);
        tiled_block(
            FROM_F16, a + first * TILE_ROWS, a_stride, rows, scratch, count, c, c_stride, ending,
            scale * F16_UNIT, next, CK_SCALE_BLOCK * CK_PANEL);
    }
}
