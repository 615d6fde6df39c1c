#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "Kernels.h"

// The level is chosen once: the best of the CPU, unless APUS_CPU names a lower one.

static _Atomic(const ck_kernels *) in_use;
static _Atomic int level_in_use;

static const char *const names[] = {"portable", "avx2", "avx512", "avx512bf16", "neon"};

ck_level ck_level_of_cpu(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CK_PORTABLE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")
        || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq")) {
        return CK_AVX2;
    }
    if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vbmi")) {
        return CK_AVX512;
    }
    return CK_AVX512BF16;
#elif defined(__aarch64__)
    return CK_NEON;
#else
    return CK_PORTABLE;
#endif
}

static const ck_kernels *table_of(ck_level level) {
#if defined(__x86_64__)
    switch (level) {
    case CK_AVX512BF16: return &ck_kernels_avx512bf16;
    case CK_AVX512: return &ck_kernels_avx512;
    case CK_AVX2: return &ck_kernels_avx2;
    default: break;
    }
#elif defined(__aarch64__)
    if (level == CK_NEON) return &ck_kernels_neon;
#endif
    return &ck_kernels_portable;
}

/// The best level that this CPU has and that is no better than `level`.
static ck_level at_most(ck_level level) {
    ck_level best = ck_level_of_cpu();
    if (level >= best) return best;
    // Levels of another architecture lie between the plain one and this CPU's.
    return table_of(level) == &ck_kernels_portable ? CK_PORTABLE : level;
}

ck_level ck_set_level(ck_level level) {
    level = at_most(level);
    atomic_store(&level_in_use, (int)level);
    atomic_store(&in_use, table_of(level));
    return level;
}

static ck_level level_asked_for(void) {
    const char *name = getenv("APUS_CPU");
    for (int level = CK_PORTABLE; name != NULL && level <= CK_NEON; level++) {
        if (strcmp(name, names[level]) == 0) return (ck_level)level;
    }
    return CK_NEON;
}

const ck_kernels *ck_kernels_in_use(void) {
    const ck_kernels *table = atomic_load_explicit(&in_use, memory_order_acquire);
    if (table != NULL) return table;
    ck_set_level(level_asked_for());
    return atomic_load(&in_use);
}

ck_level ck_level_in_use(void) {
    ck_kernels_in_use();
    return (ck_level)atomic_load(&level_in_use);
}
