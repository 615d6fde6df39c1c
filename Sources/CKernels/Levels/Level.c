#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "Levels/Kernels.h"

// The level is chosen once: the best of the CPU by its name, unless APUS_CPU names another. Each
// kind of product may then be given the loops of another level: KernelChoice of Tensors measures
// them.

static _Atomic(const ck_kernels *) in_use, of_kinds[CK_KINDS];
static _Atomic int level_in_use, levels_of_kinds[CK_KINDS];

static const char *const names[] = {
    "portable", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "neon", "amx",
};

/// The inner loops of a level; NULL where this CPU cannot run them.
static const ck_kernels *table_of(ck_level level) {
    if (level == CK_PORTABLE) return &ck_kernels_portable;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return NULL;
    if (!__builtin_cpu_supports("f16c")) return NULL;
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool vnni = wide && __builtin_cpu_supports("avx512vnni");
    bool bf16 = vnni && __builtin_cpu_supports("avx512bf16")
        && __builtin_cpu_supports("avx512vbmi");
    switch (level) {
    case CK_AVX2: return &ck_kernels_avx2;
    case CK_AVXVNNI: return __builtin_cpu_supports("avxvnni") ? &ck_kernels_avxvnni : NULL;
    case CK_AVX512: return wide ? &ck_kernels_avx512 : NULL;
    case CK_AVX512VNNI: return vnni ? &ck_kernels_avx512vnni : NULL;
    case CK_AVX512BF16: return bf16 ? &ck_kernels_avx512bf16 : NULL;
    case CK_AMX: return ck_kernels_amx();
    default: return NULL;
    }
#elif defined(__aarch64__)
    // Int8 products have the same bits with and without dot products: one level.
    bool dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
    return level != CK_NEON ? NULL : dot ? &ck_kernels_neon_dot : &ck_kernels_neon;
#else
    return NULL;
#endif
}

/// The best level that this CPU has and that is no better than `level`.
static ck_level at_most(ck_level level) {
    while (table_of(level) == NULL) level--;
    return level;
}

ck_level ck_level_of_cpu(void) { return at_most(CK_NEON); }

bool ck_has_level(ck_level level) { return table_of(level) != NULL; }

ck_level ck_set_level(ck_level level) {
    level = at_most(level);
    for (int kind = 0; kind < CK_KINDS; kind++) {
        atomic_store(&levels_of_kinds[kind], (int)level);
        atomic_store(&of_kinds[kind], table_of(level));
    }
    atomic_store(&level_in_use, (int)level);
    // Last: who finds this table finds those of the kinds.
    atomic_store(&in_use, table_of(level));
    return level;
}

static ck_level level_asked_for(void) {
    const char *name = getenv("APUS_CPU");
    for (int level = CK_PORTABLE; name != NULL && level <= CK_AMX; level++) {
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

ck_level ck_level_of_kind(ck_kind kind) {
    ck_kernels_in_use();
    return (ck_level)atomic_load(&levels_of_kinds[kind]);
}

ck_level ck_set_level_of_kind(ck_kind kind, ck_level level) {
    ck_kernels_in_use();
    level = at_most(level);
    atomic_store(&levels_of_kinds[kind], (int)level);
    atomic_store(&of_kinds[kind], table_of(level));
    return level;
}

static const ck_kernels *kernels_of(ck_kind kind) {
    ck_kernels_in_use();
    return atomic_load_explicit(&of_kinds[kind], memory_order_acquire);
}

const ck_kernels *ck_kernels_for(int format, int compute) {
    switch (format) {
    case CK_INT4:
    case CK_INT4_F32: return kernels_of(CK_KIND_INT4);
    case CK_MXFP4: return kernels_of(CK_KIND_MXFP4);
    default: break;
    }
    if (compute == CK_COMPUTE_F32) return kernels_of(CK_KIND_F32);
    switch (format) {
    case CK_BF16: return kernels_of(CK_KIND_BF16);
    case CK_E4M3: return kernels_of(CK_KIND_E4M3);
    case CK_INT8: return kernels_of(CK_KIND_INT8);
    default: return kernels_of(CK_KIND_F32);
    }
}

const ck_kernels *ck_kernels_for_attention(int compute) {
    return kernels_of(compute == CK_COMPUTE_BF16 ? CK_KIND_ATTENTION : CK_KIND_F32);
}
