/* The 16 lanes in plain C. See lanes.h for what each function means. */
#ifndef CLIPSHELF_LANES_PORTABLE_H
#define CLIPSHELF_LANES_PORTABLE_H

typedef struct {
    float at[LANES];
} Lanes;

#define EACH_LANE(expression)                                                                                          \
    Lanes result;                                                                                                      \
    for (int i = 0; i < LANES; i++) {                                                                                  \
        result.at[i] = (expression);                                                                                   \
    }                                                                                                                  \
    return result

static inline Lanes lanes_load(const float *from) { EACH_LANE(from[i]); }
static inline Lanes lanes_load_first(const float *from, size_t count) { EACH_LANE((size_t)i < count ? from[i] : 0); }
static inline Lanes lanes_load_sum(const int32_t *a, const int32_t *b) {
    EACH_LANE((float)(int32_t)((uint32_t)a[i] + (uint32_t)b[i]));
}
static inline Lanes lanes_of(float value) { EACH_LANE(value); }
static inline Lanes lanes_add(Lanes a, Lanes b) { EACH_LANE(a.at[i] + b.at[i]); }
static inline Lanes lanes_sub(Lanes a, Lanes b) { EACH_LANE(a.at[i] - b.at[i]); }
static inline Lanes lanes_mul(Lanes a, Lanes b) { EACH_LANE(a.at[i] * b.at[i]); }
static inline Lanes lanes_div(Lanes a, Lanes b) { EACH_LANE(a.at[i] / b.at[i]); }
static inline Lanes lanes_fma(Lanes a, Lanes b, Lanes c) { EACH_LANE(fmaf(a.at[i], b.at[i], c.at[i])); }
static inline Lanes lanes_max(Lanes a, Lanes b) { EACH_LANE(a.at[i] > b.at[i] ? a.at[i] : b.at[i]); }
static inline Lanes lanes_min(Lanes a, Lanes b) { EACH_LANE(a.at[i] < b.at[i] ? a.at[i] : b.at[i]); }
static inline Lanes lanes_round(Lanes a) { EACH_LANE(rintf(a.at[i])); }
static inline Lanes lanes_greater(Lanes a, Lanes b, Lanes yes, Lanes no) {
    EACH_LANE(a.at[i] > b.at[i] ? yes.at[i] : no.at[i]);
}
static inline Lanes lanes_keep_first(Lanes a, size_t count, Lanes other) {
    EACH_LANE((size_t)i < count ? a.at[i] : other.at[i]);
}

static inline void lanes_store(float *to, Lanes a) { memcpy(to, a.at, sizeof a.at); }
static inline void lanes_store_first(float *to, Lanes a, size_t count) { memcpy(to, a.at, count * sizeof(float)); }

static inline Lanes lanes_power_of_two(Lanes exponent) {
    Lanes result;
    for (int i = 0; i < LANES; i++) {
        uint32_t bits = (uint32_t)((int32_t)exponent.at[i] + 127) << 23;
        memcpy(&result.at[i], &bits, sizeof bits);
    }
    return result;
}

static inline float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000U) << 16, rest = half & 0x7fffU, bits;
    float value;
    if (rest >= 0x7c00U) {
        bits = 0x7f800000U | (rest & 0x3ffU) << 13;
    } else {
        /* read the bits as a float whose exponent is 112 too small, and multiply it by 2^112: exact, subnormals too */
        bits = rest << 13;
        memcpy(&value, &bits, sizeof bits);
        value *= 0x1p112F;
        memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

static inline Lanes lanes_load_half(const uint16_t *from) { EACH_LANE(half_to_float(from[i])); }

static inline void lanes_store_bytes_first(uint8_t *to, Lanes rounded, int32_t zero, size_t count) {
    for (size_t i = 0; i < count; i++) {
        to[i] = (uint8_t)((int32_t)rounded.at[i] + zero);
    }
}

static inline void lanes_store_bytes(uint8_t *to, Lanes rounded, int32_t zero) {
    lanes_store_bytes_first(to, rounded, zero, LANES);
}

/* The one tree of every sum: lanes 8 apart, then 4, 2 and 1. */
static inline float lanes_sum(Lanes a) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            a.at[i] += a.at[i + half];
        }
    }
    return a.at[0];
}

static inline float lanes_largest(Lanes a) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            a.at[i] = a.at[i] > a.at[i + half] ? a.at[i] : a.at[i + half];
        }
    }
    return a.at[0];
}

/* to (16, 16), rows to_stride apart = the transpose of `count` rows of 16 floats; the other columns become 0. */
static inline void lanes_transpose(const float *from, size_t from_stride, size_t count, float *to, size_t to_stride) {
    for (size_t i = 0; i < LANES; i++) {
        for (size_t j = 0; j < LANES; j++) {
            to[i * to_stride + j] = j < count ? from[j * from_stride + i] : 0;
        }
    }
}

#undef EACH_LANE
#endif
