// Rows to e4m3, a group of blocks after the other. A file defines GROUP, `divisors`,
// `find_divisors` and `divisor_of`, and then includes this.

/// A row of any source: `largest_of` and `encode_block` for whole blocks, `plain` for the rest.
#define ENCODE_ROW(largest_of, encode_block, plain)                                                \
    size_t blocks = count / CK_SCALE_BLOCK;                                                        \
    for (size_t first = 0; first < blocks; first += GROUP) {                                       \
        int here = blocks - first < GROUP ? (int)(blocks - first) : GROUP;                         \
        size_t start = first * CK_SCALE_BLOCK;                                                     \
        uint32_t largest[GROUP] = {0};                                                             \
        for (int i = 0; i < here; i++)                                                             \
            largest[i] = largest_of(source + start + i * CK_SCALE_BLOCK);                          \
        divisors all;                                                                              \
        if (!find_divisors(largest, pow2, &all)) {                                                 \
            plain(source + start, target + start, scales + first, here * CK_SCALE_BLOCK, pow2);    \
            continue;                                                                              \
        }                                                                                          \
        for (int i = 0; i < here; i++) {                                                           \
            scales[first + i] = all.scale[i];                                                      \
            size_t place = start + i * CK_SCALE_BLOCK;                                             \
            encode_block(source + place, target + place, divisor_of(&all, i));                     \
        }                                                                                          \
    }                                                                                              \
    size_t whole = blocks * CK_SCALE_BLOCK;                                                        \
    plain(source + whole, target + whole, scales + blocks, count - whole, pow2)
