/* exp and the activations on 16 lanes. Included after the lanes of an instruction set.
 *
 * They use nothing but operations that IEEE 754 rounds correctly, in one order, so that they give the same bits on every
 * instruction set. tests/native bounds their errors. */
#ifndef CLIPSHELF_FUNCTIONS_H
#define CLIPSHELF_FUNCTIONS_H

/* e^x for x in [-64, 88]; values outside give that of the bound.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by the polynomial of expf in Moshier's Cephes library. The upper bound keeps
 * 1 + e^x finite. The lower one is beyond what a float32 sum of weights can tell from 0, and keeps products with the result
 * from becoming subnormal numbers, which x86 computes a hundred times more slowly. */
static ALWAYS_INLINE Lanes lanes_exp(Lanes x) {
    x = lanes_min(lanes_max(x, lanes_of(-64.0F)), lanes_of(88.0F));
    Lanes n = lanes_round(lanes_mul(x, lanes_of(1.44269504F)));
    Lanes r = lanes_fma(n, lanes_of(-0.693359375F), x);
    r = lanes_fma(n, lanes_of(2.12194440e-4F), r);
    Lanes p = lanes_fma(lanes_of(1.9875691500e-4F), r, lanes_of(1.3981999507e-3F));
    p = lanes_fma(p, r, lanes_of(8.3334519073e-3F));
    p = lanes_fma(p, r, lanes_of(4.1665795894e-2F));
    p = lanes_fma(p, r, lanes_of(1.6666665459e-1F));
    p = lanes_fma(p, r, lanes_of(5.0000001201e-1F));
    p = lanes_add(lanes_fma(p, lanes_mul(r, r), r), lanes_of(1.0F));
    return lanes_mul(p, lanes_power_of_two(n));
}

/* x / (1 + e^-x) */
static ALWAYS_INLINE Lanes lanes_silu(Lanes x) {
    return lanes_div(x, lanes_add(lanes_of(1.0F), lanes_exp(lanes_sub(lanes_of(0.0F), x))));
}

/* x times the normal distribution function of x.
 *
 * 1 - erf(z) = t (a1 + t (a2 + ...)) e^(-z^2) with t = 1 / (1 + p z), formula 7.1.26 of Abramowitz and Stegun, whose
 * error is below 1.5e-7. Half of it is the function's value at -|x|, without cancellation. */
static ALWAYS_INLINE Lanes lanes_gelu(Lanes x) {
    Lanes zero = lanes_of(0.0F);
    Lanes bounded = lanes_min(lanes_max(x, lanes_of(-30.0F)), lanes_of(30.0F)); /* no infinity times 0 */
    Lanes z = lanes_mul(lanes_max(bounded, lanes_sub(zero, bounded)), lanes_of(0.707106781F));
    Lanes t = lanes_div(lanes_of(1.0F), lanes_fma(z, lanes_of(0.3275911F), lanes_of(1.0F)));
    Lanes p = lanes_fma(lanes_of(1.061405429F), t, lanes_of(-1.453152027F));
    p = lanes_fma(p, t, lanes_of(1.421413741F));
    p = lanes_fma(p, t, lanes_of(-0.284496736F));
    p = lanes_fma(p, t, lanes_of(0.254829592F));
    Lanes half_tail = lanes_mul(lanes_mul(p, t), lanes_of(0.5F));
    half_tail = lanes_mul(half_tail, lanes_exp(lanes_sub(zero, lanes_mul(z, z))));
    Lanes below = lanes_mul(bounded, half_tail);
    return lanes_greater(x, zero, lanes_sub(x, below), below);
}

/* GELU's approximation by tanh: x / 2 (1 + tanh(u)) = x / (1 + e^(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3). */
static ALWAYS_INLINE Lanes lanes_gelu_tanh(Lanes x) {
    Lanes cubic = lanes_fma(lanes_mul(lanes_mul(x, x), lanes_of(0.044715F)), x, x);
    Lanes e = lanes_exp(lanes_mul(cubic, lanes_of(-1.59576912F)));
    return lanes_div(x, lanes_add(lanes_of(1.0F), e));
}

static ALWAYS_INLINE Lanes lanes_activation(Activation activation, Lanes x) {
    switch (activation) {
        case ACTIVATION_SILU:
            return lanes_silu(x);
        case ACTIVATION_GELU:
            return lanes_gelu(x);
        case ACTIVATION_GELU_TANH:
            return lanes_gelu_tanh(x);
        case ACTIVATION_NONE:
        case ACTIVATION_COUNT:
        default:
            return x;
    }
}

/* The sum of four partial sums, in one order. */
static inline float lanes_sum4(const Lanes part[4]) {
    return lanes_sum(lanes_add(lanes_add(part[0], part[1]), lanes_add(part[2], part[3])));
}

/* `count` of the floats at `from`, 16 at most; the others are 0. */
static ALWAYS_INLINE Lanes lanes_load_some(const float *from, size_t count) {
    return count >= LANES ? lanes_load(from) : lanes_load_first(from, count);
}

static inline void lanes_store_some(float *to, Lanes a, size_t count) {
    if (count >= LANES) {
        lanes_store(to, a);
    } else {
        lanes_store_first(to, a, count);
    }
}

/* Round to uint8 and store `count` values, 16 at most. A value that is no number becomes 0. */
static ALWAYS_INLINE void lanes_quantise(uint8_t *to, Lanes value, Rounding rounding, size_t count) {
    Lanes scaled = lanes_mul(value, lanes_of(rounding.inverse_scale));
    /* the order of the arguments makes NaN the lower bound on every instruction set */
    scaled = lanes_max(scaled, lanes_of((float)-rounding.zero));
    scaled = lanes_min(scaled, lanes_of((float)(255 - rounding.zero)));
    Lanes rounded = lanes_round(scaled);
    if (count >= LANES) {
        lanes_store_bytes(to, rounded, rounding.zero);
    } else {
        lanes_store_bytes_first(to, rounded, rounding.zero, count);
    }
}

#endif
