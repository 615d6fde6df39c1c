#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "CKernels.h"

// Memory in huge pages: weights are read once per token from end to end, and with 4 KiB pages a
// good part of that time would go to finding pages. Small weights share arenas, since an expert of
// a small model is far from filling a huge page.

enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20, ARENA = 64 << 20 };

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

/// The head of an arena, which is aligned to its own size: a pointer's upper bits find it. The
/// memory after it is handed out in order and returned when nobody holds any of it.
typedef struct {
    size_t used;
    int holders; // pieces not freed, and one while new pieces come from here
} arena;

static arena *current;
static pthread_mutex_t arenas = PTHREAD_MUTEX_INITIALIZER;

static arena *new_arena(void) {
    char *wide = map(2 * (size_t)ARENA);
    char *aligned = (char *)round_up((size_t)wide, ARENA);
    if (aligned > wide) munmap(wide, (size_t)(aligned - wide));
    munmap(aligned + ARENA, (size_t)(wide + ARENA - aligned));
    madvise(aligned, ARENA, MADV_HUGEPAGE);
    arena *new = (arena *)(void *)aligned;
    *new = (arena){round_up(sizeof(arena), CACHE_LINE), 1};
    return new;
}

static void let_go(arena *arena) {
    if (--arena->holders == 0) munmap(arena, ARENA);
}

void *ck_allocate_packed(size_t bytes) {
    if (bytes > ARENA / 4) return ck_allocate(bytes);
    size_t rounded = round_up(bytes, CACHE_LINE);
    pthread_mutex_lock(&arenas);
    if (current == NULL || current->used + rounded > ARENA) {
        if (current != NULL) let_go(current);
        current = new_arena();
    }
    void *memory = (char *)current + current->used;
    current->used += rounded;
    current->holders++;
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
    let_go((arena *)((size_t)memory / ARENA * ARENA));
    pthread_mutex_unlock(&arenas);
}
