// Used by no command but `apus bench kernels`: no checkpoint of this architecture is int8.
//
// Products of int8 weights and int8 inputs, in integers block by block: see CKernels.h. A file
// defines INT8(name), VECTOR_LANES and SLICE_VECTORS, opens the target, includes Tiles.h and
// defines
//
//   static inline dots INT8(dot)(dots sum, dots codes, int32_t inputs)
//
// which adds four products to every lane of `sum`: of the lane's bytes of `codes`, 0...255 each,
// and the four signed bytes of `inputs`; and then includes this.
//
// A code is its weight + 128, so the sum over a block begins at -128 times the sum of its inputs;
// INT8_BIAS is 128, or 0 where `dot` takes 128 away by itself. No sum of 128 products of at most
// 255 * 127 overflows.

/// `ahead` is what memory should bring meanwhile, `lines` of it per four inputs; with none of them
/// the panel itself is a stream.
INLINE void INT8(tile)(
    const int8_t *a, ptrdiff_t a_stride, const ck_int8_block *block, const uint8_t *codes, int k,
    float *c, ptrdiff_t c_stride, bool add, const char *ahead, const int lines, const int rows) {
    dots sums[TILE_ROWS][SLICE_VECTORS];
    vector scales[TILE_ROWS];
    UNROLL for (int r = 0; r < rows; r++) {
        const ck_int8_block *own = (const void *)((const char *)block + r * a_stride);
        scales[r] = own->scale - (vector){0};
        dots start = (dots){0} - INT8_BIAS * own->sum;
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) sums[r][v] = start;
    }
    for (int i = 0; i < k; i += 4, codes += 4 * CK_PANEL, ahead += lines * 64) {
        dots weights[SLICE_VECTORS];
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
            weights[v] = *(const dots *)(const void *)(codes + v * VECTOR_LANES * 4);
        }
        UNROLL for (int v = 0; v < lines; v++) __builtin_prefetch(ahead + v * 64, 0, 2);
        UNROLL for (int v = 0; lines == 0 && v < SLICE * 4; v += 64) {
            __builtin_prefetch(codes + STREAM_AHEAD + v, 0, 0);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            int32_t inputs;
            memcpy(&inputs, a + r * a_stride + i, sizeof inputs);
            UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
                sums[r][v] = INT8(dot)(sums[r][v], weights[v], inputs);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < SLICE_VECTORS; v++) {
            vector *to = (vector *)(void *)(c + r * c_stride + v * VECTOR_LANES);
            vector sum = __builtin_convertvector(sums[r][v], vector);
            vector before = add ? *to : (vector){0};
            *to = __builtin_elementwise_fma(sum, scales[r], before);
        }
    }
}

static void INT8(panel)(
    const int8_t *a, ptrdiff_t a_stride, int rows, const uint8_t *panel, int k, float *c,
    ptrdiff_t c_stride, const void *next) {
    const ck_int8_block *block = ck_int8_blocks(a, k);
    for (int first = 0; first < k; first += CK_SCALE_BLOCK, a += CK_SCALE_BLOCK, block++) {
        int count = k - first < CK_SCALE_BLOCK ? k - first : CK_SCALE_BLOCK;
        const uint8_t *codes = panel + (size_t)first * CK_PANEL;
        const char *ahead = (const char *)codes + count * CK_PANEL;
        if (first + count == k) ahead = next ? next : (const char *)panel;
        // Two lines per step of two tiles, or one of four, are the next block.
        const char *last = ahead + count * (CK_PANEL / 2);
        // Four tiles of 8 lanes walk a block one after the other: what comes next is asked for in
        // the order of its addresses, not in each tile's.
        enum { LINES_ALONE = VECTOR_LANES == 8 ? 1 : 0 };
        if (LINES_ALONE && rows <= TILE_ROWS) last = ahead + count * CK_PANEL;
        for (int o = 0; o < CK_PANEL; o += SLICE) {
#define TILE(n, lines)                                                                             \
    INT8(tile)(                                                                              \
        a + row * a_stride, a_stride,                                                              \
        (const ck_int8_block *)(const void *)((const char *)block + row * a_stride),               \
        codes + o * 4, count, c + row * c_stride + o, c_stride, first > 0, ahead, lines, n);       \
    ahead += ahead < last ? count / 4 * 64 * lines : 0
#define TILE_ALONE(n) TILE(n, LINES_ALONE)
#define TILE_OF_MANY(n) TILE(n, 2)
            if (rows <= TILE_ROWS) {
                FOR_EACH_TILE(rows, TILE_ALONE)
            } else {
                FOR_EACH_TILE(rows, TILE_OF_MANY)
            }
#undef TILE_ALONE
#undef TILE_OF_MANY
#undef TILE
        }
    }
}
