// Small matrix products, sums of registers, and the exponential, on whole registers.
//
// The fused call pads rows of numbers with zeros to whole registers, so nothing here has a remainder
// along a row.

#pragma once

#include "vector.hpp"

namespace tlpot {

#ifdef __AVX512F__
constexpr int REGISTER = 64, TALL = 8; // bytes, and rows of a block of a product
#else
constexpr int REGISTER = 32, TALL = 4;
#endif

template <class T> constexpr int LANES = REGISTER / int(sizeof(T));
template <class T> using Lanes = typename Vector<T, LANES<T>>::type;

// R rows and N registers of C (+)= A B.
template <class T, int R, int N>
inline void product_block(bool more, int64_t K, const T *a, int64_t lda, const T *b, int64_t ldb,
                          T *c, int64_t ldc) {
    typedef Lanes<T> V;
    constexpr int W = LANES<T>;
    V total[R][N];
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) total[r][n] = more ? load<V>(c + r * ldc + n * W) : V{};
    for (int64_t k = 0; k < K; ++k) {
        V row[N];
        for (int n = 0; n < N; ++n) row[n] = load<V>(b + k * ldb + n * W);
        for (int r = 0; r < R; ++r) {
            const T value = a[r * lda + k];
            for (int n = 0; n < N; ++n) total[r][n] += value * row[n];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) store(c + r * ldc + n * W, total[r][n]);
}

template <class T, int N>
inline void product_columns(bool more, int64_t rows, int64_t K, const T *a, int64_t lda, const T *b,
                            int64_t ldb, T *c, int64_t ldc) {
    int64_t r = 0;
    for (; r + TALL <= rows; r += TALL)
        product_block<T, TALL, N>(more, K, a + r * lda, lda, b, ldb, c + r * ldc, ldc);
    a += r * lda;
    c += r * ldc;
    switch (rows - r) {
#define TLPOT_REST(R)                                                                              \
    case R: product_block<T, R, N>(more, K, a, lda, b, ldb, c, ldc); break;
        TLPOT_REST(1) TLPOT_REST(2) TLPOT_REST(3)
#ifdef __AVX512F__
        TLPOT_REST(4) TLPOT_REST(5) TLPOT_REST(6) TLPOT_REST(7)
#endif
#undef TLPOT_REST
    default: break;
    }
}

// C [rows, N] = A [rows, K] B [K, N], or added to it (`more`); N is a number of whole registers.
template <class T>
inline void product(bool more, int64_t rows, int64_t K, int64_t N, const T *a, int64_t lda,
                    const T *b, T *c, int64_t ldc) {
    constexpr int W = LANES<T>;
    int64_t n = 0;
    for (; n + 2 * W <= N; n += 2 * W)
        product_columns<T, 2>(more, rows, K, a, lda, b + n, N, c + n, ldc);
    if (n < N) product_columns<T, 1>(more, rows, K, a, lda, b + n, N, c + n, ldc);
}

constexpr int64_t RUN = 8; // atoms whose rows are gathered for one product

// Some rows of each atom, `width` numbers long, one after the other; atoms are `stride` apart.
template <class T> struct Rows {
    T *at;
    int64_t count, width, stride;
};

// y (+)= x W for the rows of the atoms from `begin` to `end`.
template <class T>
inline void product_of_rows(bool more, int64_t begin, int64_t end, const Rows<T> &x, const T *w,
                            const Rows<T> &y) {
    for (int64_t m = 0; m < x.count; ++m)
        product(more, end - begin, x.width, y.width, x.at + begin * x.stride + m * x.width,
                x.stride, w, y.at + begin * y.stride + m * y.width, y.stride);
}

// The same for at most RUN atoms from here and there; `room` is for the rows of both.
template <class T>
inline void product_of_rows(bool more, const int32_t *atoms, int64_t n, const Rows<T> &x,
                            const T *w, const Rows<T> &y, T *room) {
    const int64_t given = x.count * x.width, found = y.count * y.width;
    T *results = room + n * given;
    for (int64_t k = 0; k < n; ++k)
        std::memcpy(room + k * given, x.at + atoms[k] * x.stride, given * sizeof(T));
    product(false, n * x.count, x.width, y.width, room, x.width, w, results, y.width);
    for (int64_t k = 0; k < n; ++k) {
        T *to = y.at + atoms[k] * y.stride, *from = results + k * found;
        if (!more) std::memcpy(to, from, found * sizeof(T));
        for (int64_t c = 0; c < found && more; c += LANES<T>) add(to + c, load<Lanes<T>>(from + c));
    }
}

// Lanes of two registers side by side: those whose sums, step by step, are sums of all lanes.
template <class I, int W, int STEP> struct Halves {
    I near[W], far[W];
    constexpr Halves() : near(), far() {
        for (int k = 0; k < W; ++k) {
            near[k] = k & STEP ? W + k - STEP : k;
            far[k] = k & STEP ? W + k : k + STEP;
        }
    }
};

template <class T, int STEP> inline void add_halves(Lanes<T> *rows) {
    constexpr int W = LANES<T>;
#if defined(__GNUC__) && !defined(__clang__)
    typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> I;
    typedef typename Vector<I, W>::type Places;
    static constexpr Halves<I, W, STEP> halves;
    const Places near = load<Places>(halves.near), far = load<Places>(halves.far);
    for (int k = 0; k < W / STEP / 2; ++k)
        rows[k] = __builtin_shuffle(rows[2 * k], rows[2 * k + 1], near) +
                  __builtin_shuffle(rows[2 * k], rows[2 * k + 1], far);
    if constexpr (2 * STEP < W) add_halves<T, 2 * STEP>(rows);
#else
    T totals[W];
    for (int k = 0; k < W; ++k) totals[k] = sum<T, W>(rows[k]);
    rows[0] = load<Lanes<T>>(totals);
#endif
}

// Lane k of the result is the sum of all lanes of row k of a square [W, W].
template <class T> inline Lanes<T> sums_of_rows(const T *square) {
    Lanes<T> rows[LANES<T>];
    for (int k = 0; k < LANES<T>; ++k) rows[k] = load<Lanes<T>>(square + k * LANES<T>);
    add_halves<T, 1>(rows);
    return rows[0];
}

// e^x to rounding: 2^n times a polynomial of what is left.
template <class T> inline Lanes<T> exponential(Lanes<T> x) {
    typedef Lanes<T> V;
    constexpr bool single = sizeof(T) == 4;
    constexpr int W = LANES<T>, DEGREE = single ? 7 : 13, DIGITS = single ? 23 : 52;
    typedef std::conditional_t<single, int32_t, int64_t> I;
    typedef typename Vector<I, W>::type Bits;
    const T most = single ? T(87) : T(708);
    x = x > most ? V{} + most : x < -most ? V{} - most : x;
    // adding 1.5 · 2^DIGITS leaves the nearest integer in the last bits
    const T shift = T(3) * T(I(1) << (DIGITS - 1));
    const V shifted = x * T(1.4426950408889634) + shift, n = shifted - shift;
    const T coarse = single ? T(0.693359375) : T(6.93147180369123816490e-01);
    const T fine = single ? T(-2.12194440e-4) : T(1.90821492927058770002e-10);
    const V r = (x - n * coarse) - n * fine;
    V value = {};
    T factorial[DEGREE + 1] = {T(1)};
    for (int k = 1; k <= DEGREE; ++k) factorial[k] = factorial[k - 1] / T(k);
    for (int k = DEGREE; k >= 0; --k) value = value * r + factorial[k];
    Bits whole, zero;
    const V base = V{} + shift;
    std::memcpy(&whole, &shifted, sizeof(whole));
    std::memcpy(&zero, &base, sizeof(zero));
    const Bits power = (whole - zero + ((I(1) << (single ? 7 : 10)) - 1)) << DIGITS;
    V scale;
    std::memcpy(&scale, &power, sizeof(scale));
    return value * scale;
}

// SiLU and its derivative, scaled as in tlpot.nn (SILU_SCALE).
template <class T> inline Lanes<T> silu(const Lanes<T> &x, Lanes<T> &slope) {
    constexpr T scale = T(1.6765);
    const Lanes<T> s = T(1) / (T(1) + exponential<T>(-x));
    slope = scale * s * (T(1) + x * (T(1) - s));
    return scale * x * s;
}

} // namespace tlpot
