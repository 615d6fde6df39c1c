// Words in memory that several processes map, and the Linux calls around them.
//
// Swift's `Atomic` owns its storage and cannot be laid over a shared mapping; `syscall` is variadic
// and is not imported.
#pragma once
#include <malloc.h>
#include <stdint.h>

static inline uint64_t fabric_load(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void fabric_store(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline uint32_t fabric_load32(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void fabric_store32(uint32_t *word, uint32_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline uint32_t fabric_add32(uint32_t *word, int32_t amount) {
    return __atomic_add_fetch(word, (uint32_t)amount, __ATOMIC_SEQ_CST);
}

static inline void fabric_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Nanoseconds of CLOCK_MONOTONIC, the same for every process of one kernel.
uint64_t fabric_now(void);

/// Sleeps while `*word == expected`, at most `nanoseconds`; across processes.
void fabric_futex_wait(const uint32_t *word, uint32_t expected, uint64_t nanoseconds);

/// Wakes every sleeper on `word`, in any process.
void fabric_futex_wake(const uint32_t *word);

/// `memfd_create` with close-on-exec; -1 and errno on failure.
int fabric_memfd(const char *name);

/// `pidfd_open`; -1 and errno on failure.
int fabric_pidfd(int32_t pid);

/// `eventfd`, close-on-exec and non-blocking (its flags are an anonymous enum); -1 on failure.
int fabric_eventfd(void);

/// Adds one to an eventfd, which wakes every thread that polls it.
void fabric_eventfd_ring(int descriptor);

/// Takes an eventfd's count, so that it can be polled again.
void fabric_eventfd_clear(int descriptor);

/// Names the calling thread, at most 15 bytes; `pthread_setname_np` needs _GNU_SOURCE.
void fabric_name_thread(const char *name);

/// `accept4`, close-on-exec and non-blocking (it needs _GNU_SOURCE); -1 on failure.
int fabric_accept(int listener);

/// Has the kernel kill this process when its parent ends; `prctl` is variadic.
void fabric_die_with_parent(void);

/// Binds the calling thread, and those it starts, to one of the cores that it may use: number
/// `place` modulo how many they are. Returns how many, or -1 and errno.
int fabric_bind(int place);

/// Gives memory that the heap holds and nobody uses back to the system; `malloc.h` is not in
/// Swift's map of glibc.
static inline void fabric_trim_heap(void) {
    (void)malloc_trim(0);
}
