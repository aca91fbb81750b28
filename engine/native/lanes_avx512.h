/* The 16 lanes in one register of AVX-512. See lanes.h for what each function means. */
#ifndef CLIPSHELF_LANES_AVX512_H
#define CLIPSHELF_LANES_AVX512_H

#include <immintrin.h>

typedef __m512 Lanes;

static inline __mmask16 first_mask(size_t count) { return (__mmask16)((1U << count) - 1U); }

static inline Lanes lanes_load(const float *from) { return _mm512_loadu_ps(from); }
static inline Lanes lanes_load_first(const float *from, size_t count) {
    return _mm512_maskz_loadu_ps(first_mask(count), from);
}
static inline Lanes lanes_load_half(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}
static inline Lanes lanes_load_sum(const int32_t *a, const int32_t *b) {
    return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_loadu_si512(a), _mm512_loadu_si512(b)));
}
static inline Lanes lanes_of(float value) { return _mm512_set1_ps(value); }
static inline Lanes lanes_add(Lanes a, Lanes b) { return _mm512_add_ps(a, b); }
static inline Lanes lanes_sub(Lanes a, Lanes b) { return _mm512_sub_ps(a, b); }
static inline Lanes lanes_mul(Lanes a, Lanes b) { return _mm512_mul_ps(a, b); }
static inline Lanes lanes_div(Lanes a, Lanes b) { return _mm512_div_ps(a, b); }
static inline Lanes lanes_fma(Lanes a, Lanes b, Lanes c) { return _mm512_fmadd_ps(a, b, c); }
static inline Lanes lanes_max(Lanes a, Lanes b) { return _mm512_max_ps(a, b); }
static inline Lanes lanes_min(Lanes a, Lanes b) { return _mm512_min_ps(a, b); }
static inline Lanes lanes_round(Lanes a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline Lanes lanes_greater(Lanes a, Lanes b, Lanes yes, Lanes no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}
static inline Lanes lanes_keep_first(Lanes a, size_t count, Lanes other) {
    return _mm512_mask_blend_ps(first_mask(count), other, a);
}
static inline Lanes lanes_power_of_two(Lanes exponent) {
    __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(exponent), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

static inline void lanes_store(float *to, Lanes a) { _mm512_storeu_ps(to, a); }
static inline void lanes_store_first(float *to, Lanes a, size_t count) {
    _mm512_mask_storeu_ps(to, first_mask(count), a);
}

static inline __m512i integers(Lanes rounded, int32_t zero) {
    return _mm512_add_epi32(_mm512_cvtps_epi32(rounded), _mm512_set1_epi32(zero));
}
static inline void lanes_store_bytes(uint8_t *to, Lanes rounded, int32_t zero) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8(integers(rounded, zero)));
}
static inline void lanes_store_bytes_first(uint8_t *to, Lanes rounded, int32_t zero, size_t count) {
    _mm512_mask_cvtepi32_storeu_epi8(to, first_mask(count), integers(rounded, zero));
}

static inline float lanes_sum(Lanes a) {
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline float lanes_largest(Lanes a) {
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), high);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* Four rows at a time are interleaved to columns of 4x4 blocks, then the blocks change places. */
static inline void lanes_transpose(const float *from, size_t from_stride, size_t count, float *to, size_t to_stride) {
    __m512 row[16], quad[16];
    for (size_t i = 0; i < 16; i++) {
        row[i] = i < count ? _mm512_loadu_ps(from + i * from_stride) : _mm512_setzero_ps();
    }
    for (size_t i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(row[i], row[i + 1]));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(row[i], row[i + 1]));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(row[i + 2], row[i + 3]));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(row[i + 2], row[i + 3]));
        /* quad[4 * j + q]: column j of each 4x4 block of rows 4q to 4q+3 */
        quad[i / 4] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        quad[4 + i / 4] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        quad[8 + i / 4] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        quad[12 + i / 4] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    for (size_t j = 0; j < 4; j++) {
        const __m512 *q = quad + 4 * j;
        __m512 a = _mm512_shuffle_f32x4(q[0], q[1], 0x88), b = _mm512_shuffle_f32x4(q[0], q[1], 0xdd);
        __m512 c = _mm512_shuffle_f32x4(q[2], q[3], 0x88), d = _mm512_shuffle_f32x4(q[2], q[3], 0xdd);
        _mm512_storeu_ps(to + j * to_stride, _mm512_shuffle_f32x4(a, c, 0x88));
        _mm512_storeu_ps(to + (4 + j) * to_stride, _mm512_shuffle_f32x4(b, d, 0x88));
        _mm512_storeu_ps(to + (8 + j) * to_stride, _mm512_shuffle_f32x4(a, c, 0xdd));
        _mm512_storeu_ps(to + (12 + j) * to_stride, _mm512_shuffle_f32x4(b, d, 0xdd));
    }
}

#endif
