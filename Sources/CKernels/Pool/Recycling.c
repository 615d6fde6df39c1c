#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "CKernels.h"

// Work that repeats, such as a training step, asks for the same sizes again and again. Returning
// each to the system and mapping it anew costs a page fault per 4 KiB and clearing every byte
// before it is written: a third of a step. Freed memory is therefore kept, sorted by size.
//
// Sizes are rounded up to one of four per octave, so a block serves again for nearly its own size.
// All that is held, in use and free, never exceeds KEEP / 4 of the most that was in use at once
// since recycling was turned on: when a block of a new size is needed, free ones of other sizes go
// first.

enum { SMALLEST = 1 << 15, FIRST_OCTAVE = 15, OCTAVES = 32, KEEP = 6 };

typedef struct block {
    struct block *next;
} block;

static pthread_mutex_t blocks = PTHREAD_MUTEX_INITIALIZER;
static block *free_blocks[4 * OCTAVES];
static size_t used, most_used, kept;
static atomic_bool recycling;

static int octave_of(size_t bytes) { return 63 - __builtin_clzl(bytes); }

/// The class of a size of at least SMALLEST, and the size of its blocks.
static int class_of(size_t bytes, size_t *size) {
    int octave = octave_of(bytes);
    size_t step = (size_t)1 << (octave - 2);
    size_t quarters = (bytes + step - 1) / step; // 4 ... 8; 8 is the next octave's 4
    *size = quarters * step;
    return 4 * (octave - FIRST_OCTAVE) + (int)quarters - 4;
}

static size_t size_of(int class) {
    return (size_t)(4 + class % 4) << (class / 4 + FIRST_OCTAVE - 2);
}

/// Gives free blocks back to the system, the largest first, until no more than `limit` are kept.
static void shrink(size_t limit) {
    for (int class = 4 * OCTAVES - 1; class >= 0 && kept > limit; class--) {
        while (free_blocks[class] != NULL && kept > limit) {
            block *first = free_blocks[class];
            free_blocks[class] = first->next;
            kept -= size_of(class);
            ck_free(first, size_of(class));
        }
    }
}

void ck_recycle(bool on) {
    pthread_mutex_lock(&blocks);
    // What was in use before is no measure of the work that begins.
    if (on && !atomic_load(&recycling)) most_used = used;
    atomic_store(&recycling, on);
    if (!on) shrink(0);
    pthread_mutex_unlock(&blocks);
}

size_t ck_recycled_bytes(void) {
    pthread_mutex_lock(&blocks);
    size_t bytes = kept;
    pthread_mutex_unlock(&blocks);
    return bytes;
}

void *ck_take(size_t bytes, bool zeroed) {
    if (bytes < SMALLEST) return ck_allocate(bytes);
    size_t size;
    int class = class_of(bytes, &size);
    pthread_mutex_lock(&blocks);
    used += size;
    most_used = used > most_used ? used : most_used;
    block *found = free_blocks[class];
    if (found != NULL) {
        free_blocks[class] = found->next;
        kept -= size;
    } else {
        size_t limit = most_used / 4 * KEEP;
        shrink(limit > used ? limit - used : 0);
    }
    pthread_mutex_unlock(&blocks);
    if (found == NULL) return ck_allocate(size);
    return zeroed ? memset(found, 0, bytes) : found;
}

void ck_give(void *memory, size_t bytes) {
    if (memory == NULL) return;
    if (bytes < SMALLEST) {
        ck_free(memory, bytes);
        return;
    }
    size_t size;
    int class = class_of(bytes, &size);
    pthread_mutex_lock(&blocks);
    used -= size;
    bool keeps = atomic_load(&recycling);
    if (keeps) {
        block *freed = memory;
        freed->next = free_blocks[class];
        free_blocks[class] = freed;
        kept += size;
    }
    pthread_mutex_unlock(&blocks);
    if (!keeps) ck_free(memory, size);
}
