/* Attention of one head at a time, written in lanes. Included after float_kernels.h. */
#ifndef CLIPSHELF_ATTENTION_H
#define CLIPSHELF_ATTENTION_H

#include "float_kernels.h"

/* One work item: a run of queries of one head of one sequence, and its part of the scratch memory. */
typedef struct {
    const Attention *job;
    size_t sequence, head;
    size_t first, last;   /* queries */
    size_t keys, stride;  /* keys that some query sees; rounded up to lanes */
    float *keys_t;        /* (S, stride): the keys transposed */
    float *limits;        /* (stride): the largest score that a key may have; for a masked key, -FLT_MAX */
    float *scores;        /* (FLOAT_ROWS, stride) */
    float *values;        /* (stride, 16): the last S % 16 columns of the values, beyond which nothing may be read */
    float *sums;          /* (FLOAT_ROWS, S rounded up) */
} Item;

static inline size_t token_of(const Item *item, size_t query) {
    const Attention *job = item->job;
    return job->position ? (size_t)job->position[item->sequence * job->position_step] : query;
}

static Item attention_item(const Attention *job, size_t index, float *scratch) {
    size_t runs = ceil_div(job->queries, ATTENTION_QUERIES);
    Item item = {.job = job, .sequence = index / runs / job->heads, .head = index / runs % job->heads};
    item.first = index % runs * ATTENTION_QUERIES;
    item.last = smaller(job->queries, item.first + ATTENTION_QUERIES);
    item.keys = job->causal ? token_of(&item, item.last - 1) + 1 : job->tokens;
    item.stride = round_up(item.keys, LANES);
    item.keys_t = scratch;
    item.limits = item.keys_t + job->head_size * item.stride;
    item.scores = item.limits + item.stride;
    item.values = item.scores + FLOAT_ROWS * item.stride;
    item.sums = item.values + LANES * item.stride;
    return item;
}

static inline const float *head_rows(const Item *item, const float *rows) {
    const Attention *job = item->job;
    return rows + item->sequence * job->tokens * job->kv_stride + item->head * job->head_size;
}

/* Lay the keys, the limits of their scores, and the last columns of the values out for the products. */
static void attention_prepare(const Item *item) {
    const Attention *job = item->job;
    const float *k = head_rows(item, job->k), *v = head_rows(item, job->v);
    size_t whole = job->head_size / LANES * LANES, stride = item->stride, step = job->kv_stride;
    for (size_t j = 0; j < stride; j += LANES) {
        size_t count = smaller(LANES, item->keys - j);
        for (size_t s = 0; s < whole; s += LANES) {
            lanes_transpose(k + j * step + s, step, count, item->keys_t + s * stride + j, stride);
        }
        for (size_t s = whole; s < job->head_size; s++) {
            for (size_t i = 0; i < LANES; i++) {
                item->keys_t[s * stride + j + i] = i < count ? k[(j + i) * step + s] : 0;
            }
        }
    }
    for (size_t j = 0; job->key_mask && j < item->keys; j++) {
        item->limits[j] = job->key_mask[item->sequence * job->tokens + j] ? FLT_MAX : -FLT_MAX;
    }
    for (size_t j = item->keys; job->key_mask && j < stride; j++) {
        item->limits[j] = -FLT_MAX;
    }
    for (size_t j = 0; whole < job->head_size && j < item->keys; j++) {
        lanes_store(item->values + j * LANES, lanes_load_first(v + j * step + whole, job->head_size - whole));
    }
}

/* Make weights of a query's scores in place, for the first `count` keys; the others become 0.
 * Returns what the sum of weighted values is multiplied with: 1 / the sum of the weights. */
static float softmax(const Item *item, float *scores, size_t count, Lanes scale) {
    Lanes lowest = lanes_of(-FLT_MAX), zero = lanes_of(0.0F), top = lowest;
    for (size_t j = 0; j < item->stride; j += LANES) {
        Lanes score = lanes_mul(lanes_load(scores + j), scale);
        if (item->job->key_mask) {
            score = lanes_min(score, lanes_load(item->limits + j));
        }
        score = lanes_keep_first(score, j < count ? smaller(LANES, count - j) : 0, lowest);
        lanes_store(scores + j, score);
        top = lanes_max(score, top);
    }
    Lanes largest = lanes_of(lanes_largest(top));
    Lanes part[4] = {zero, zero, zero, zero};
    for (size_t j = 0; j < item->stride; j += 4 * LANES) {
        UNROLL for (size_t i = 0; i < 4; i++) {
            size_t at = j + i * LANES;
            if (at >= item->stride) {
                break;
            }
            Lanes score = lanes_load(scores + at);
            Lanes weight = lanes_greater(score, lowest, lanes_exp(lanes_sub(score, largest)), zero);
            lanes_store(scores + at, weight);
            part[i] = lanes_add(part[i], weight);
        }
    }
    float sum = lanes_sum4(part);
    return sum > 0 ? 1.0F / sum : 0.0F;
}

static void attention_store(const Item *item, size_t query, const float *sums, float inverse) {
    const Attention *job = item->job;
    size_t size = job->head_size;
    size_t to = ((item->sequence * job->queries + query) * job->heads + item->head) * size;
    for (size_t s = 0; s < size; s += LANES) {
        size_t count = smaller(LANES, size - s);
        /* + 0 makes one zero of both: how many products of 0 were added, which depends on padding, sets its sign */
        Lanes value = lanes_fma(lanes_load(sums + s), lanes_of(inverse), lanes_of(0.0F));
        if (job->y8) {
            lanes_quantise(job->y8 + to + s, value, job->rounding, count);
        } else {
            lanes_store_some(job->y + to + s, value, count);
        }
    }
}

/* A tile of queries: scores, weights, and the weighted values. */
static void attention_tile(const Item *item, size_t query, size_t rows) {
    const Attention *job = item->job;
    size_t size = job->head_size, whole = size / LANES * LANES, padded = round_up(size, LANES);
    const float *q = job->q + (item->sequence * job->queries + query) * job->q_stride + item->head * size;
    const float *v = head_rows(item, job->v);
    Lanes scale = lanes_of(1.0F / sqrtf((float)size));
    float inverse[FLOAT_ROWS];
    float_product(rows, item->stride, q, job->q_stride, item->keys_t, item->stride, size, item->scores, item->stride);
    for (size_t r = 0; r < rows; r++) {
        size_t count = job->causal ? token_of(item, query + r) + 1 : job->tokens;
        inverse[r] = softmax(item, item->scores + r * item->stride, count, scale);
    }
    float_product(rows, whole, item->scores, item->stride, v, job->kv_stride, item->keys, item->sums, padded);
    if (whole < size) {
        float_product(rows, LANES, item->scores, item->stride, item->values, LANES, item->keys, item->sums + whole,
                      padded);
    }
    for (size_t r = 0; r < rows; r++) {
        attention_store(item, query + r, item->sums + r * padded, inverse[r]);
    }
}

static void attention(const Attention *job, Range items, float *scratch) {
    for (size_t index = items.first; index < items.last; index++) {
        Item item = attention_item(job, index, scratch);
        attention_prepare(&item);
        for (size_t query = item.first, count; query < item.last; query += count) {
            count = even_rows(item.last - query, FLOAT_ROWS);
            attention_tile(&item, query, count);
        }
    }
}

#endif
