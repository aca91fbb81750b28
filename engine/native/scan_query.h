/* The queries of a scan, in digits. */
#ifndef CLIPSHELF_SCAN_QUERY_H
#define CLIPSHELF_SCAN_QUERY_H

#include "scan.h"

/* A query of D numbers is unit * y. */
typedef struct {
    double unit;
    double norm;      /* at least |y| */
    double rest_norm; /* at least |y - digits|, with the roundings of the sums of digits */
} ScanQuery;

/* Encode a query.
 *
 * scaled: (D) takes y.
 * digits: (2, padded) takes the high and the low digits, those beyond D are left as they are.
 * zero_sums: (2) takes LARGEST_LEVEL times the sums of the digits. */
ScanQuery scan_encode(const float *query, int64_t inputs, int64_t padded, double *scaled, int8_t *digits,
                      int32_t zero_sums[2]);

/* The product of the mean of a part with y, which all of its rows share. */
double scan_offset(const ScanPart *part, const double *scaled, int64_t inputs);

/* What turns a sum of levels times digits into an upper bound, before it is multiplied by the step. */
float scan_error(const ScanPart *part, const ScanQuery *query);

#endif
