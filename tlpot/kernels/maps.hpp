// Linear maps of atoms' features, degree by degree.

#pragma once

#include "memory.hpp"

namespace tlpot {

struct Maps : Memory {
    using Memory::Memory;

    // What atoms have of degree l in an array of `components` for each.
    Rows<T> rows_of(T *x, int64_t l, int64_t components) const {
        return {x + l * l * C, 2 * l + 1, C, components * C};
    }
    Rows<T> rows_of(const Messages<T> &sum, int64_t l) const {
        return {messages + sum.from[l], 2 * l + 1, sum.paths[l] * sum.route.n_channels, sum.row};
    }

    // Maps some atoms' features of one degree, or adds that (`more`); `back` by the transposed.
    void map(bool more, int64_t begin, int64_t end, const FusedMaps &maps, bool back,
             const Rows<T> &x, const Rows<T> &y) const {
        const int64_t l = x.count / 2;
        const T *matrices = as(back ? maps.back[l] : maps.of[l]);
        if (maps.kinds == 1) return product_of_rows(more, begin, end, x, matrices, y);
        for (int64_t at = begin, to = begin; at < end; at = to) {
            const int64_t z = species[order[at]];
            while (to < end && to < at + RUN && species[order[to]] == z) ++to;
            product_of_rows(more, order + at, to - at, x, matrices + z * x.width * y.width, y,
                            own[omp_get_thread_num()].gathered);
        }
    }

    // Adds what a layer's skip makes of some atoms' features of one degree.
    void add_skipped(int64_t begin, int64_t end, const FusedLayer &layer, bool back,
                     const Rows<T> &x, const Rows<T> &y) const {
        const int64_t l = x.count / 2, count = end - begin;
        if (!layer.gain) return map(true, begin, end, layer.skip, back, x, y);
        T *rows = own[omp_get_thread_num()].rows;
        for (int64_t m = 0; m < x.count; ++m) {
            const T *from = x.at + begin * x.stride + m * C;
            T *to = y.at + begin * y.stride + m * C;
            if (!back) product(false, count, C, C, from, x.stride, as(layer.skip.of[l]), rows, C);
            for (int64_t i = 0; i < count; ++i)
                for (int64_t c = 0; c < C; c += W) {
                    const V gain = load<V>(as(layer.gain) + species[begin + i] * C + c);
                    if (back) store(rows + i * C + c, V(gain * load<V>(from + i * x.stride + c)));
                    else add(to + i * y.stride + c, V(gain * load<V>(rows + i * C + c)));
                }
            if (back) product(true, count, C, C, rows, C, as(layer.skip.back[l]), to, y.stride);
        }
    }

    // Maps each degree of some atoms' features; `in` and `out` are components.
    void map_all(int64_t i, int64_t end, const FusedMaps &maps, bool back, int64_t degrees, T *x,
                 int64_t in, T *y, int64_t out) const {
        for (int64_t l = 0; l < degrees; ++l)
            map(false, i, end, maps, back, rows_of(x, l, in), rows_of(y, l, out));
    }

    int64_t shared_degrees(int64_t k) const {
        const FusedLayer &layer = t.layers[k];
        return layer.skip.kinds == 0 ? 0 : std::min(layer.in_degrees, layer.out_degrees);
    }
};

} // namespace tlpot
