/* The 16 lanes in two registers of AVX. See lanes.h for what each function means. */
#ifndef CLIPSHELF_LANES_AVX2_H
#define CLIPSHELF_LANES_AVX2_H

#include <immintrin.h>

typedef struct {
    __m256 low, high;
} Lanes;

#define BOTH(operation, a, b) ((Lanes){operation((a).low, (b).low), operation((a).high, (b).high)})

static inline __m256i first_mask(size_t count, int from) {
    __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(from));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

static inline Lanes lanes_load(const float *from) { return (Lanes){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
static inline Lanes lanes_load_first(const float *from, size_t count) {
    /* lanes that the mask leaves out are not touched in memory */
    return (Lanes){_mm256_maskload_ps(from, first_mask(count, 0)), _mm256_maskload_ps(from + 8, first_mask(count, 8))};
}
static inline Lanes lanes_load_half(const uint16_t *from) {
    const __m128i *halves = (const __m128i *)(const void *)from;
    return (Lanes){_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
static inline __m256 sum_of_eight(const int32_t *a, const int32_t *b) {
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)a);
    __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)b);
    return _mm256_cvtepi32_ps(_mm256_add_epi32(x, y));
}
static inline Lanes lanes_load_sum(const int32_t *a, const int32_t *b) {
    return (Lanes){sum_of_eight(a, b), sum_of_eight(a + 8, b + 8)};
}
static inline Lanes lanes_of(float value) { return (Lanes){_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
static inline Lanes lanes_add(Lanes a, Lanes b) { return BOTH(_mm256_add_ps, a, b); }
static inline Lanes lanes_sub(Lanes a, Lanes b) { return BOTH(_mm256_sub_ps, a, b); }
static inline Lanes lanes_mul(Lanes a, Lanes b) { return BOTH(_mm256_mul_ps, a, b); }
static inline Lanes lanes_div(Lanes a, Lanes b) { return BOTH(_mm256_div_ps, a, b); }
static inline Lanes lanes_fma(Lanes a, Lanes b, Lanes c) {
    return (Lanes){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
static inline Lanes lanes_max(Lanes a, Lanes b) { return BOTH(_mm256_max_ps, a, b); }
static inline Lanes lanes_min(Lanes a, Lanes b) { return BOTH(_mm256_min_ps, a, b); }
static inline Lanes lanes_round(Lanes a) {
    return (Lanes){_mm256_round_ps(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                   _mm256_round_ps(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static inline Lanes lanes_greater(Lanes a, Lanes b, Lanes yes, Lanes no) {
    return (Lanes){_mm256_blendv_ps(no.low, yes.low, _mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ)),
                   _mm256_blendv_ps(no.high, yes.high, _mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ))};
}
static inline Lanes lanes_keep_first(Lanes a, size_t count, Lanes other) {
    return (Lanes){_mm256_blendv_ps(other.low, a.low, _mm256_castsi256_ps(first_mask(count, 0))),
                   _mm256_blendv_ps(other.high, a.high, _mm256_castsi256_ps(first_mask(count, 8)))};
}
static inline __m256 power_of_two_of_eight(__m256 exponent) {
    __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
static inline Lanes lanes_power_of_two(Lanes exponent) {
    return (Lanes){power_of_two_of_eight(exponent.low), power_of_two_of_eight(exponent.high)};
}

static inline void lanes_store(float *to, Lanes a) {
    _mm256_storeu_ps(to, a.low);
    _mm256_storeu_ps(to + 8, a.high);
}
static inline void lanes_store_first(float *to, Lanes a, size_t count) {
    _mm256_maskstore_ps(to, first_mask(count, 0), a.low);
    _mm256_maskstore_ps(to + 8, first_mask(count, 8), a.high);
}

/* 32-bit integers from 0 to 255 as 16 bytes. */
static inline __m128i bytes_of(Lanes rounded, int32_t zero) {
    __m256i low = _mm256_add_epi32(_mm256_cvtps_epi32(rounded.low), _mm256_set1_epi32(zero));
    __m256i high = _mm256_add_epi32(_mm256_cvtps_epi32(rounded.high), _mm256_set1_epi32(zero));
    /* packs interleaves the halves of its arguments */
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
static inline void lanes_store_bytes(uint8_t *to, Lanes rounded, int32_t zero) {
    _mm_storeu_si128((__m128i *)(void *)to, bytes_of(rounded, zero));
}
static inline void lanes_store_bytes_first(uint8_t *to, Lanes rounded, int32_t zero, size_t count) {
    uint8_t bytes[16];
    lanes_store_bytes(bytes, rounded, zero);
    memcpy(to, bytes, count);
}

static inline float lanes_sum(Lanes a) {
    __m256 eight = _mm256_add_ps(a.low, a.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline float lanes_largest(Lanes a) {
    __m256 eight = _mm256_max_ps(a.low, a.high);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* A block of 8 x 8: pairs, fours and halves of rows change places. */
static inline void transpose_eight(const float *from, size_t from_stride, size_t count, float *to, size_t to_stride) {
    __m256 row[8], four[8];
    for (size_t i = 0; i < 8; i++) {
        row[i] = i < count ? _mm256_loadu_ps(from + i * from_stride) : _mm256_setzero_ps();
    }
    for (size_t i = 0; i < 8; i += 4) {
        __m256 a = _mm256_unpacklo_ps(row[i], row[i + 1]), b = _mm256_unpackhi_ps(row[i], row[i + 1]);
        __m256 c = _mm256_unpacklo_ps(row[i + 2], row[i + 3]), d = _mm256_unpackhi_ps(row[i + 2], row[i + 3]);
        four[i] = _mm256_shuffle_ps(a, c, 0x44);
        four[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        four[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        four[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    for (size_t j = 0; j < 4; j++) {
        _mm256_storeu_ps(to + j * to_stride, _mm256_permute2f128_ps(four[j], four[4 + j], 0x20));
        _mm256_storeu_ps(to + (4 + j) * to_stride, _mm256_permute2f128_ps(four[j], four[4 + j], 0x31));
    }
}

static inline void lanes_transpose(const float *from, size_t from_stride, size_t count, float *to, size_t to_stride) {
    for (size_t i = 0; i < 16; i += 8) {
        size_t rows = count > i ? count - i : 0;
        transpose_eight(from + i * from_stride, from_stride, rows, to + i, to_stride);
        transpose_eight(from + i * from_stride + 8, from_stride, rows, to + 8 * to_stride + i, to_stride);
    }
}
#undef BOTH

#endif
