#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static size_t scales_of(int width) { return ((size_t)width + CK_SCALE_BLOCK - 1) / CK_SCALE_BLOCK; }

size_t ck_cache_entry_bytes(int format, int width) {
    switch (format) {
    case CK_F32: return (size_t)width * 4;
    case CK_BF16: return (size_t)width * 2;
    default: return (size_t)width + scales_of(width) * sizeof(float);
    }
}

void ck_cache_write(int format, const float *row, int width, uint8_t *entry) {
    switch (format) {
    case CK_F32: memcpy(entry, row, (size_t)width * 4); break;
    case CK_BF16: ck_bf16_encode(row, (uint16_t *)(void *)entry, (size_t)width); break;
    default: {
        float scales[scales_of(width)];
        ck_e4m3_encode(row, entry, scales, (size_t)width, false);
        memcpy(entry + width, scales, sizeof scales);
    }
    }
}

void ck_cache_read(int format, const uint8_t *entry, int width, float *row) {
    switch (format) {
    case CK_F32: memcpy(row, entry, (size_t)width * 4); break;
    case CK_BF16: ck_bf16_decode((const uint16_t *)(const void *)entry, row, (size_t)width); break;
    default: {
        float scales[scales_of(width)];
        memcpy(scales, entry + width, sizeof scales);
        ck_e4m3_decode(entry, scales, row, (size_t)width);
    }
    }
}

static const uint8_t *entry_of(const ck_attention_job *job, int token, int position) {
    int sequence = job->sequences[token];
    int32_t block = job->blocks[job->first_block[sequence] + position / job->block_tokens];
    size_t index = (size_t)block * (size_t)job->block_tokens + (size_t)(position % job->block_tokens);
    return job->cache + index * job->entry_bytes;
}

static void attend(const ck_attention_job *job, int token, float *row, float *scores) {
    int width = job->latent + job->rope, context = job->contexts[token];
    float *out = job->out + token * job->out_stride;
    const float *queries = job->queries + token * job->query_stride;
    memset(out, 0, (size_t)(job->heads * job->latent) * sizeof(float));
    if (context == 0) return;
    for (int p = 0; p < context; p++) {
        ck_cache_read(job->format, entry_of(job, token, p), width, row);
        for (int h = 0; h < job->heads; h++) {
            float sum = 0;
            for (int i = 0; i < width; i++) sum += queries[h * width + i] * row[i];
            scores[(size_t)h * (size_t)context + (size_t)p] = sum * job->scale;
        }
    }
    for (int h = 0; h < job->heads; h++) ck_softmax(scores + (size_t)h * (size_t)context, context);
    for (int p = 0; p < context; p++) {
        ck_cache_read(job->format, entry_of(job, token, p), width, row);
        for (int h = 0; h < job->heads; h++) {
            float weight = scores[(size_t)h * (size_t)context + (size_t)p];
            for (int i = 0; i < job->latent; i++) out[h * job->latent + i] += weight * row[i];
        }
    }
}

typedef struct {
    const ck_attention_job *job;
    ck_pool *pool;
} attention_run;

static void attention_task(void *context, int thread, int threads) {
    attention_run *run = context;
    int width = run->job->latent + run->job->rope;
    for (int t = thread; t < run->job->tokens; t += threads) {
        size_t floats = (size_t)width + (size_t)run->job->heads * (size_t)run->job->contexts[t];
        float *scratch = ck_pool_scratch(run->pool, thread, floats * sizeof(float));
        attend(run->job, t, scratch, scratch + width);
    }
}

void ck_attention(const ck_attention_job *job, int compute, ck_pool *pool) {
    attention_run run = {job, pool};
    ck_pool_run(pool, attention_task, &run);
}
