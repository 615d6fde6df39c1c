#include "CFuzzDriver.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// There only in a program that was linked with -sanitize=fuzzer.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*test)(const uint8_t *, size_t))
    __attribute__((weak));

enum { SEED_LIMIT = 256, BYTE_LIMIT = 1 << 16 };

static uint8_t *seeds[SEED_LIMIT];
static size_t sizes[SEED_LIMIT];
static int seed_count;

static void read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || seed_count == SEED_LIMIT) {
        if (file) fclose(file);
        return;
    }
    uint8_t *bytes = malloc(BYTE_LIMIT);
    size_t size = bytes ? fread(bytes, 1, BYTE_LIMIT, file) : 0;
    fclose(file);
    if (size == 0) {
        free(bytes);
        return;
    }
    seeds[seed_count] = bytes;
    sizes[seed_count++] = size;
}

static void read_folder(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        read_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        read_file(name);
    }
    closedir(folder);
}

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static int drive_alone(int argc, char **argv, int (*test)(const uint8_t *, size_t)) {
    long runs = 100000, longest = 4096;
    for (int i = 1; i < argc; i++) {
        if (sscanf(argv[i], "-runs=%ld", &runs) == 1) continue;
        if (sscanf(argv[i], "-max_len=%ld", &longest) == 1) continue;
        if (argv[i][0] != '-') read_folder(argv[i]);
    }
    if (longest > BYTE_LIMIT || longest < 1) longest = BYTE_LIMIT;
    uint8_t *bytes = malloc(BYTE_LIMIT);
    if (!bytes) return 1;
    uint64_t state = 0x9e3779b97f4a7c15;
    for (long run = 0; run < runs; run++) {
        size_t size = 0;
        if (seed_count > 0) {
            int seed = (int)(next(&state) % (uint64_t)seed_count);
            size = sizes[seed] < (size_t)longest ? sizes[seed] : (size_t)longest;
            memcpy(bytes, seeds[seed], size);
        }
        for (uint64_t change = next(&state) % 8; change > 0; change--) {
            uint64_t where = next(&state);
            if (size == 0 || where % 4 == 0) {
                if (size < (size_t)longest) bytes[size++] = (uint8_t)(where >> 32);
            } else if (where % 4 == 1) {
                size = (size_t)(where >> 8) % size + 1;
            } else {
                bytes[(where >> 8) % size] = (uint8_t)(where >> 56);
            }
        }
        test(bytes, size);
    }
    printf("Done %ld runs without libFuzzer, from %d seeds\n", runs, seed_count);
    free(bytes);
    return 0;
}

int fuzz_drive(int argc, char **argv, int (*test)(const uint8_t *, size_t)) {
    if (LLVMFuzzerRunDriver) return LLVMFuzzerRunDriver(&argc, &argv, test);
    return drive_alone(argc, argv, test);
}
