#include "scan_query.h"

#include <math.h>

static const double LARGEST = (double)LARGEST_DIGIT * DIGIT_BASE; /* the largest |y| */

ScanQuery scan_encode(const float *query, int64_t inputs, int64_t padded, double *scaled, int8_t *digits,
                      int32_t zero_sums[2]) {
    double largest = 0x1p-149, squares = 0, rest_squares = 0;
    for (int64_t i = 0; i < inputs; i++) {
        double size = query[i] < 0 ? -(double)query[i] : (double)query[i];
        largest = size > largest ? size : largest;
    }
    double unit = largest / LARGEST;
    int32_t high_sum = 0, low_sum = 0;
    for (int64_t i = 0; i < inputs; i++) {
        double y = query[i] / unit;
        int32_t from_zero = (int32_t)(y + (LARGEST + LARGEST_DIGIT + 0.5)); /* rounded, as the sum is positive */
        double rest = y - (from_zero - (LARGEST + LARGEST_DIGIT));
        int32_t high = from_zero / DIGIT_BASE - LARGEST_DIGIT, low = from_zero % DIGIT_BASE - LARGEST_DIGIT;
        scaled[i] = y;
        squares += y * y;
        rest_squares += rest * rest;
        digits[i] = (int8_t)high;
        digits[padded + i] = (int8_t)low;
        high_sum += high;
        low_sum += low;
    }
    zero_sums[0] = LARGEST_LEVEL * high_sum;
    zero_sums[1] = LARGEST_LEVEL * low_sum;
    double roundings = 5 * 0x1p-24 * (LARGEST + DIGIT_BASE) * sqrt((double)inputs + 1);
    double growth = 1 + 0x1p-30; /* of the sums above, at least */
    return (ScanQuery){unit, sqrt(squares) * growth, sqrt(rest_squares) * growth + roundings};
}

double scan_offset(const ScanPart *part, const double *scaled, int64_t inputs) {
    double sum = 0;
    for (int64_t i = 0; i < inputs; i++) {
        sum += part->mean[i] * scaled[i];
    }
    return sum;
}

float scan_error(const ScanPart *part, const ScanQuery *query) {
    if (isinf(part->rest_norm)) { /* also for a query of norm 0 */
        return INFINITY;
    }
    /* the sum of digits, of at most level_norm (norm + rest_norm), is added to the error and multiplied: two roundings */
    double roundings = 4 * 0x1p-24 * part->level_norm * (query->norm + query->rest_norm);
    double error = part->rest_norm * query->norm + part->level_norm * query->rest_norm + roundings;
    return nextafterf((float)(error * (1 + 0x1p-20)), INFINITY);
}
