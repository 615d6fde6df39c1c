#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "CKernels.h"

// Memory in huge pages: weights are read once per token from end to end, and with 4 KiB pages a
// good part of that time would go to finding pages. Small weights share arenas, since an expert of
// a small model is far from filling a huge page.

enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20, ARENA = 64 << 20, ARENA_HEAD = 64 << 10 };

static size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

static void *map(size_t bytes) {
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) abort();
    return memory;
}

void *ck_allocate(size_t bytes) {
    if (bytes < HUGE_PAGE) {
        size_t rounded = round_up(bytes + 1, CACHE_LINE);
        void *memory = aligned_alloc(CACHE_LINE, rounded);
        if (memory == NULL) abort();
        return memset(memory, 0, rounded);
    }
    void *memory = map(bytes);
    madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

void ck_free(void *memory, size_t bytes) {
    if (memory == NULL) return;
    if (bytes < HUGE_PAGE) {
        free(memory);
    } else {
        munmap(memory, bytes);
    }
}

// ---- Arenas --------------------------------------------------------------------------------

/// The head of an arena. The memory after it is aligned to its own size, so a pointer's upper bits
/// find both; it is handed out in order and returned when nobody holds any of it.
///
/// The head has pages of its own: among the weights it would push matrices of whole huge pages out
/// of step, and the last page of every arena would be held for a few lines.
typedef struct {
    size_t used;
    int holders; // pieces not freed, and one while new pieces come from here
} arena;

/// Pieces below this size come from arenas of their own: the scales of a matrix, packed when its
/// memory is reserved, would touch and hold huge pages that only its numbers shall fill.
enum { SMALL = 64 << 10 };

static arena *current[2]; // for small pieces, and for the others
static pthread_mutex_t arenas = PTHREAD_MUTEX_INITIALIZER;

static char *memory_of(arena *arena) { return (char *)arena + ARENA_HEAD; }

static arena *new_arena(void) {
    size_t bytes = 2 * (size_t)ARENA + ARENA_HEAD;
    char *wide = map(bytes);
    char *aligned = (char *)round_up((size_t)wide + ARENA_HEAD, ARENA);
    char *head = aligned - ARENA_HEAD, *end = aligned + ARENA;
    if (head > wide) munmap(wide, (size_t)(head - wide));
    if (wide + bytes > end) munmap(end, (size_t)(wide + bytes - end));
    madvise(aligned, ARENA, MADV_HUGEPAGE);
    arena *new = (arena *)(void *)head;
    *new = (arena){0, 1};
    return new;
}

static void let_go(arena *arena) {
    if (--arena->holders == 0) munmap(arena, ARENA_HEAD + ARENA);
}

void *ck_allocate_packed(size_t bytes) {
    if (bytes > ARENA / 4) return ck_allocate(bytes);
    size_t rounded = round_up(bytes, CACHE_LINE);
    pthread_mutex_lock(&arenas);
    arena **from = &current[bytes < SMALL ? 0 : 1];
    if (*from == NULL || (*from)->used + rounded > ARENA) {
        if (*from != NULL) let_go(*from);
        *from = new_arena();
    }
    void *memory = memory_of(*from) + (*from)->used;
    (*from)->used += rounded;
    (*from)->holders++;
    pthread_mutex_unlock(&arenas);
    return memory;
}

void ck_free_packed(void *memory, size_t bytes) {
    if (memory == NULL) return;
    if (bytes > ARENA / 4) {
        ck_free(memory, bytes);
        return;
    }
    pthread_mutex_lock(&arenas);
    let_go((arena *)((size_t)memory / ARENA * ARENA - ARENA_HEAD));
    pthread_mutex_unlock(&arenas);
}
