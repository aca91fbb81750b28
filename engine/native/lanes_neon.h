/* The 16 lanes in four registers of NEON. See lanes.h for what each function means. */
#ifndef CLIPSHELF_LANES_NEON_H
#define CLIPSHELF_LANES_NEON_H

#include <arm_neon.h>

typedef struct {
    float32x4_t part[4];
} Lanes;

#define EACH_PART(expression)                                                                                          \
    Lanes result;                                                                                                      \
    for (int i = 0; i < 4; i++) {                                                                                      \
        result.part[i] = (expression);                                                                                 \
    }                                                                                                                  \
    return result

static inline Lanes lanes_load(const float *from) { EACH_PART(vld1q_f32(from + 4 * i)); }
static inline Lanes lanes_load_first(const float *from, size_t count) {
    float values[16] = {0};
    memcpy(values, from, count * sizeof(float));
    return lanes_load(values);
}
static inline Lanes lanes_load_half(const uint16_t *from) {
    EACH_PART(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i))));
}
static inline Lanes lanes_load_sum(const int32_t *a, const int32_t *b) {
    EACH_PART(vcvtq_f32_s32(vaddq_s32(vld1q_s32(a + 4 * i), vld1q_s32(b + 4 * i))));
}
static inline Lanes lanes_of(float value) { EACH_PART(vdupq_n_f32(value)); }
static inline Lanes lanes_add(Lanes a, Lanes b) { EACH_PART(vaddq_f32(a.part[i], b.part[i])); }
static inline Lanes lanes_sub(Lanes a, Lanes b) { EACH_PART(vsubq_f32(a.part[i], b.part[i])); }
static inline Lanes lanes_mul(Lanes a, Lanes b) { EACH_PART(vmulq_f32(a.part[i], b.part[i])); }
static inline Lanes lanes_div(Lanes a, Lanes b) { EACH_PART(vdivq_f32(a.part[i], b.part[i])); }
static inline Lanes lanes_fma(Lanes a, Lanes b, Lanes c) { EACH_PART(vfmaq_f32(c.part[i], a.part[i], b.part[i])); }
static inline Lanes lanes_greater(Lanes a, Lanes b, Lanes yes, Lanes no) {
    EACH_PART(vbslq_f32(vcgtq_f32(a.part[i], b.part[i]), yes.part[i], no.part[i]));
}
/* not vmaxq and vminq, which treat NaN and the two zeros in another way than x86 */
static inline Lanes lanes_max(Lanes a, Lanes b) { return lanes_greater(a, b, a, b); }
static inline Lanes lanes_min(Lanes a, Lanes b) { return lanes_greater(b, a, a, b); }
static inline Lanes lanes_round(Lanes a) { EACH_PART(vrndnq_f32(a.part[i])); }
static inline Lanes lanes_keep_first(Lanes a, size_t count, Lanes other) {
    static const uint32_t number[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint32x4_t limit = vdupq_n_u32((uint32_t)count);
    EACH_PART(vbslq_f32(vcltq_u32(vld1q_u32(number + 4 * i), limit), a.part[i], other.part[i]));
}
static inline Lanes lanes_power_of_two(Lanes exponent) {
    int32x4_t bias = vdupq_n_s32(127);
    EACH_PART(vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(exponent.part[i]), bias), 23)));
}

static inline void lanes_store(float *to, Lanes a) {
    for (int i = 0; i < 4; i++) {
        vst1q_f32(to + 4 * i, a.part[i]);
    }
}
static inline void lanes_store_first(float *to, Lanes a, size_t count) {
    float values[16];
    lanes_store(values, a);
    memcpy(to, values, count * sizeof(float));
}

static inline uint16x4_t words_of(float32x4_t rounded, int32_t zero) {
    return vqmovun_s32(vaddq_s32(vcvtnq_s32_f32(rounded), vdupq_n_s32(zero)));
}
static inline void lanes_store_bytes(uint8_t *to, Lanes rounded, int32_t zero) {
    uint16x8_t low = vcombine_u16(words_of(rounded.part[0], zero), words_of(rounded.part[1], zero));
    uint16x8_t high = vcombine_u16(words_of(rounded.part[2], zero), words_of(rounded.part[3], zero));
    vst1q_u8(to, vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
}
static inline void lanes_store_bytes_first(uint8_t *to, Lanes rounded, int32_t zero, size_t count) {
    uint8_t bytes[16];
    lanes_store_bytes(bytes, rounded, zero);
    memcpy(to, bytes, count);
}

static inline float lanes_sum(Lanes a) {
    float32x4_t four = vaddq_f32(vaddq_f32(a.part[0], a.part[2]), vaddq_f32(a.part[1], a.part[3]));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

static inline float larger(float a, float b) { return a > b ? a : b; }

static inline float lanes_largest(Lanes a) {
    float values[16];
    lanes_store(values, a);
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            values[i] = larger(values[i], values[i + half]);
        }
    }
    return values[0];
}

/* Blocks of 4 x 4. */
static inline void lanes_transpose(const float *from, size_t from_stride, size_t count, float *to, size_t to_stride) {
    for (size_t j = 0; j < 16; j += 4) {
        for (size_t i = 0; i < 16; i += 4) {
            float32x4_t row[4];
            for (size_t r = 0; r < 4; r++) {
                row[r] = j + r < count ? vld1q_f32(from + (j + r) * from_stride + i) : vdupq_n_f32(0);
            }
            float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(row[0], row[1]));
            float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(row[0], row[1]));
            float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(row[2], row[3]));
            float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(row[2], row[3]));
            float *block = to + i * to_stride + j;
            vst1q_f32(block, vreinterpretq_f32_f64(vtrn1q_f64(a, c)));
            vst1q_f32(block + to_stride, vreinterpretq_f32_f64(vtrn1q_f64(b, d)));
            vst1q_f32(block + 2 * to_stride, vreinterpretq_f32_f64(vtrn2q_f64(a, c)));
            vst1q_f32(block + 3 * to_stride, vreinterpretq_f32_f64(vtrn2q_f64(b, d)));
        }
    }
}
#undef EACH_PART

#endif
