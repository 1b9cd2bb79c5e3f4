// One vector register of numbers, and the choice of its width.
//
// Channels never mix in the sums of an equivariant network, so every kernel is a loop over
// blocks of channels. It exists once, as a template on the scalar and the width of the block.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace tlpot {

template <class T, int W> struct Vector {
    typedef T type __attribute__((vector_size(W * sizeof(T))));
};
template <class T> struct Vector<T, 1> {
    typedef T type;
};

template <class V, class T> inline V load(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof(V));
    return value;
}
template <class V, class T> inline void store(T *to, const V &value) {
    std::memcpy(to, &value, sizeof(V));
}
template <class V, class T> inline void add(T *to, const V &value) {
    store(to, V(load<V>(to) + value));
}
template <class T, int W> inline T sum(const typename Vector<T, W>::type &value) {
    T lanes[W];
    std::memcpy(lanes, &value, sizeof(lanes));
    T total = 0;
    for (int k = 0; k < W; ++k) total += lanes[k];
    return total;
}

constexpr int MAX_L = 4; // degrees 0 to 3

// Calls f with the two sizes as constants, so that the loops over components unroll.
template <class F> inline void dispatch(int l2, int l3, F &&f) {
    using std::integral_constant;
#define TLPOT_CASE(a, b)                                                                           \
    case (a) * MAX_L + (b):                                                                        \
        return f(integral_constant<int, 2 * (a) + 1>(), integral_constant<int, 2 * (b) + 1>());
#define TLPOT_ROW(a) TLPOT_CASE(a, 0) TLPOT_CASE(a, 1) TLPOT_CASE(a, 2) TLPOT_CASE(a, 3)
    switch (l2 * MAX_L + l3) { TLPOT_ROW(0) TLPOT_ROW(1) TLPOT_ROW(2) TLPOT_ROW(3) }
#undef TLPOT_ROW
#undef TLPOT_CASE
}

} // namespace tlpot

// Calls `kernel<scalar, width>` with blocks of 32 bytes where they divide the channels, else one
// channel at a time.
#define TLPOT_WIDTHS(kernel, C, ...)                                                               \
    do {                                                                                           \
        constexpr int full = 32 / sizeof(TLPOT_SCALAR);                                            \
        if ((C) % full == 0) kernel<TLPOT_SCALAR, full __VA_ARGS__>(*t, *d);                       \
        else kernel<TLPOT_SCALAR, 1 __VA_ARGS__>(*t, *d);                                          \
    } while (0)
