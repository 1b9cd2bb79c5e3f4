// Networks on the radial functions of pairs, with the derivatives of their values by the distance.

#pragma once

#include <algorithm>
#include <cmath>

#include "fused.hpp"

namespace tlpot {

// Hidden radial values of some pairs, as far as the last layer; `wide` is room for two layers with
// their derivatives, rows `widest` long.
template <class T>
inline void radial_network(const FusedTables &t, const FusedLayer &layer, int64_t q, int64_t end,
                           const Changing<T> &radial, T *const *wide, int64_t widest,
                           const Changing<T> &found) {
    typedef Lanes<T> V;
    const int64_t count = end - q;
    int64_t in = t.basis_width;
    const T *x = radial.values + q * in, *dx = radial.slopes + q * in;
    T *hidden = found.values + q * layer.n_hidden, *changes = found.slopes + q * layer.n_hidden;
    if (layer.n_radial == 0) {
        std::memcpy(hidden, x, count * in * sizeof(T));
        std::memcpy(changes, dx, count * in * sizeof(T));
    }
    for (int64_t k = 0; k < layer.n_radial; ++k) {
        const int64_t out = layer.radial_widths[k], at = 2 * (k % 2);
        const bool last = k + 1 == layer.n_radial;
        T *y = last ? hidden : wide[at] + q * widest;
        T *dy = last ? changes : wide[at + 1] + q * widest;
        const T *matrix = static_cast<const T *>(layer.radial[k]);
        product(false, count, in, out, x, in, matrix, y, out);
        product(false, count, in, out, dx, in, matrix, dy, out);
        for (int64_t c = 0; c < count * out; c += LANES<T>) {
            V slope;
            store(y + c, silu<T>(load<V>(y + c), slope));
            store(dy + c, V(slope * load<V>(dy + c)));
        }
        x = y, dx = dy, in = out;
    }
}

// Rows of pairs whose numbers depend on which end is the center: a pair of two elements has two,
// the first for its first atom as the center; one of equal atoms has one.
struct Directions {
    int32_t *first; // [n_pairs + 1], of each pair
    int32_t *pair;  // of each row
    int32_t *of;    // row of each edge

    // How many there will be; every edge has its counterpart.
    template <class F> static int64_t count(const FusedData &d, F &&element) {
        int64_t rows = 0;
        for (int64_t e = 0; e < d.n_edges; ++e)
            rows += element(d.center[e]) == element(d.neighbor[e]) ? 1 : 2;
        return rows / 2 + 1;
    }

    void find(const FusedData &d, const Pairs &p, const int32_t *species) {
        int32_t row = 0;
        for (int64_t q = 0; q < p.n; ++q) {
            first[q] = row;
            pair[row++] = int32_t(q);
            if (species[p.i[q]] != species[p.j[q]]) pair[row++] = int32_t(q);
        }
        first[p.n] = row;
        for (int64_t e = 0; e < d.n_edges; ++e)
            of[e] = p.back[e] ? first[p.of[e] + 1] - 1 : first[p.of[e]];
    }
    bool differ(int64_t q) const { return first[q + 1] > first[q] + 1; }
};

// What a FusedPairNetwork makes of some pairs, in one row for each direction.
template <class T> struct PairNetwork {
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>;

    const FusedTables &t;
    const FusedPairNetwork &f;
    const Pairs &p;
    const Directions &rows;
    const int32_t *species;
    Changing<T> radial, envelope;

    // Hidden values times the envelope, and their derivatives; `room` is for four times as many
    // rows, `widest` long.
    void hidden(int64_t begin, int64_t end, T *room, int64_t widest, T *values, T *slopes) const {
        const int64_t H = f.widths[f.n_layers - 1];
        const T *y, *dy;
        run(begin, end, room, widest, y, dy);
        for (int64_t r = rows.first[begin]; r < rows.first[end]; ++r, y += H, dy += H)
            for (int64_t c = 0; c < H; c += W) {
                const T e = envelope.values[rows.pair[r]], fall = envelope.slopes[rows.pair[r]];
                store(values + r * H + c, V(load<V>(y + c) * e));
                store(slopes + r * H + c, V(load<V>(dy + c) * e + load<V>(y + c) * fall));
            }
    }

    // The last layer of some rows, whose numbers `row` tells, from their hidden values.
    template <class F>
    void last(int64_t count, F &&row, const T *values, int64_t width, T *out) const {
        const int64_t H = f.widths[f.n_layers - 1];
        const T *bias = as(f.last_bias);
        for (int64_t k = 0; k < count; ++k) {
            const T e = envelope.values[rows.pair[row(k)]];
            for (int64_t c = 0; c < width; c += W)
                store(out + k * width + c, V(load<V>(bias + c) * e));
        }
        product(true, count, H, width, values, H, as(f.last), out, width);
    }

    // From gradients by that to those by the distance; `by_values` is room for rows of `values`.
    void last_back(int64_t begin, int64_t end, const T *by_out, int64_t width, const T *slopes,
                   T *by_values, double *by_distance) const {
        const int64_t H = f.widths[f.n_layers - 1];
        const T *bias = as(f.last_bias);
        product(false, end - begin, width, H, by_out, width, as(f.last_t), by_values, H);
        for (int64_t r = begin; r < end; ++r, by_out += width, by_values += H) {
            V along = {}, by_envelope = {};
            for (int64_t c = 0; c < H; c += W)
                along += load<V>(by_values + c) * load<V>(slopes + r * H + c);
            for (int64_t c = 0; c < width; c += W)
                by_envelope += load<V>(by_out + c) * load<V>(bias + c);
            const int64_t q = rows.pair[r];
            const T through = sum<T, W>(by_envelope) * envelope.slopes[q];
            by_distance[q] += double(sum<T, W>(along) + through);
        }
    }

    // Terms of the density of neighbours, tanh(x²) times the envelope, and their derivatives.
    void densities(int64_t begin, int64_t end, T *room, int64_t widest, T *terms,
                   T *changes) const {
        const int64_t H = f.widths[f.n_layers - 1];
        const T *y, *dy, *w = as(f.last_t);
        run(begin, end, room, widest, y, dy);
        for (int64_t r = rows.first[begin]; r < rows.first[end]; ++r, y += H, dy += H) {
            V value = {}, slope = {};
            for (int64_t c = 0; c < H; c += W) {
                value += load<V>(w + c) * load<V>(y + c);
                slope += load<V>(w + c) * load<V>(dy + c);
            }
            const T x = sum<T, W>(value) + as(f.last_bias)[0], step = std::tanh(x * x);
            const T e = envelope.values[rows.pair[r]], fall = envelope.slopes[rows.pair[r]];
            terms[r] = step * e;
            changes[r] = (T(1) - step * step) * T(2) * x * sum<T, W>(slope) * e + step * fall;
        }
    }

  private:
    static const T *as(const void *x) { return static_cast<const T *>(x); }

    // All layers but the last.
    void run(int64_t begin, int64_t end, T *room, int64_t widest, const T *&values,
             const T *&slopes) const {
        const int64_t r0 = rows.first[begin], count = rows.first[end] - r0, B = t.basis_width;
        const int64_t size = count * widest;
        int64_t in = f.widths[0];
        T *y = room, *dy = room + size, *next = room + 2 * size, *dnext = room + 3 * size;
        // what the radial functions give is the same in both directions
        product(false, end - begin, B, in, radial.values + begin * B, B, as(f.of_basis), next, in);
        product(false, end - begin, B, in, radial.slopes + begin * B, B, as(f.of_basis), dnext, in);
        for (int64_t r = 0; r < count; ++r) {
            const int64_t q = rows.pair[r0 + r];
            const bool second = r0 + r > rows.first[q];
            const int64_t center = species[second ? p.j[q] : p.i[q]];
            const int64_t neighbor = species[second ? p.i[q] : p.j[q]];
            const T *a = as(f.of_neighbor) + neighbor * in, *b = as(f.of_center) + center * in;
            const T *x = next + (q - begin) * in;
            for (int64_t c = 0; c < in; c += W)
                store(y + r * in + c, V(load<V>(x + c) + (load<V>(a + c) + load<V>(b + c))));
            std::memcpy(dy + r * in, dnext + (q - begin) * in, in * sizeof(T));
        }
        activate(0, count, y, dy);
        for (int64_t k = 1; k < f.n_layers; ++k) {
            const int64_t out = f.widths[k];
            const T *bias = as(f.biases[k - 1]), *matrix = as(f.matrices[k - 1]);
            for (int64_t r = 0; r < count; ++r) std::memcpy(next + r * out, bias, out * sizeof(T));
            product(true, count, in, out, y, in, matrix, next, out);
            product(false, count, in, out, dy, in, matrix, dnext, out);
            std::swap(y, next), std::swap(dy, dnext);
            activate(k, count, y, dy);
            in = out;
        }
        values = y, slopes = dy;
    }

    // Layer norm and SiLU of some rows and of their derivatives, in place.
    void activate(int64_t k, int64_t count, T *y, T *dy) const {
        const int64_t width = f.widths[k], n = f.sizes[k];
        const T *gain = as(f.gains[k]), *offset = as(f.offsets[k]), over_n = T(1) / T(n);
        T ones[2 * W] = {};
        std::fill(ones, ones + W, T(1));
        // ones, and zeros beyond the width
        const auto inside = [&](int64_t c) {
            return load<V>(ones + (c + W <= n ? 0 : std::min<int64_t>(W, c + W - n)));
        };
        for (int64_t r = 0; r < count; ++r, y += width, dy += width) {
            V total = {}, change = {};
            for (int64_t c = 0; c < width; c += W) {
                total += load<V>(y + c);
                change += load<V>(dy + c);
            }
            const T mean = sum<T, W>(total) * over_n, drift = sum<T, W>(change) * over_n;
            V squares = {}, along = {};
            for (int64_t c = 0; c < width; c += W) {
                const V x = (load<V>(y + c) - mean) * inside(c);
                squares += x * x;
                along += x * load<V>(dy + c);
            }
            const T over = T(1) / std::sqrt(sum<T, W>(squares) * over_n + T(1e-5));
            const T turn = sum<T, W>(along) * over_n * over * over;
            for (int64_t c = 0; c < width; c += W) {
                const V x = load<V>(y + c) - mean, scale = over * load<V>(gain + c);
                const V z = x * scale + load<V>(offset + c);
                const V s = T(1) / (T(1) + exponential<T>(-z));
                const V slope = s * (T(1) + z * (T(1) - s));
                store(dy + c, V(slope * scale * (load<V>(dy + c) - drift - x * turn)));
                store(y + c, V(z * s));
            }
        }
    }
};

} // namespace tlpot
