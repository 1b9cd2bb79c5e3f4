// The non-linear interaction of MACE-OMOL and MACE-MH between sums over neighbours and the atomic
// basis, and the way back, for some atoms at a time.
//
// Sums are mixed and divided by a density, and a map of the atom's own senders is added; scalars
// then go through SiLU, the other degrees through gates, and all are mixed again. Rows of an atom:
// its mixed numbers are [scalars, a gate for each degree, components of the degrees], n_channels
// of each.

#pragma once

#include "networks.hpp"

namespace tlpot {

template <class T> struct Nonlinear {
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>;

    const FusedTables &t;
    const FusedLayer &layer;
    const FusedBlock &block;
    const Pairs &p;
    const Directions &rows;

    static int64_t widest(const FusedBlock &block) {
        int64_t most = 0;
        for (const FusedPairNetwork *f : {&block.radial, &block.density})
            most = std::max(most, *std::max_element(f->widths, f->widths + f->n_layers));
        return most;
    }

    // Numbers of one atom that are mixed.
    static int64_t mixed_row(const FusedTables &t) {
        return (t.n_degrees * t.n_degrees + t.n_degrees - 1) * t.n_channels;
    }

    Rows<T> of_mixed(T *x, int64_t l) const {
        const int64_t C = t.n_channels, gates = t.n_degrees - 1;
        if (l == 0) return {x, 1, (1 + gates) * C, mixed_row(t)};
        return {x + (gates + l * l) * C, 2 * l + 1, C, mixed_row(t)};
    }
    Rows<T> of_senders(T *x, int64_t l) const {
        const int64_t S = block.n_sent;
        return {x + l * l * S, 2 * l + 1, S, block.sent_degrees * block.sent_degrees * S};
    }
    Rows<T> of_features(T *x, int64_t l, int64_t components) const {
        return {x + l * l * t.n_channels, 2 * l + 1, t.n_channels, components * t.n_channels};
    }

    // What atoms send, or what features are of the gradient by it (`back`).
    void send(int64_t begin, int64_t end, bool back, T *features, T *senders) const {
        const int64_t in = layer.in_degrees * layer.in_degrees;
        for (int64_t l = 0; l < layer.in_degrees && back; ++l) {
            const Rows<T> to = of_features(features, l, in);
            for (int64_t i = begin; i < end && l >= block.sent_degrees; ++i)
                std::memset(to.at + i * to.stride, 0, to.count * to.width * sizeof(T));
        }
        for (int64_t l = 0; l < block.sent_degrees; ++l) {
            const Rows<T> x = of_features(features, l, in), y = of_senders(senders, l);
            if (back) product_of_rows(false, begin, end, y, as(layer.sender.back[l]), x);
            else product_of_rows(false, begin, end, x, as(layer.sender.of[l]), y);
        }
    }

    // Divides mixed sums; `shares` is one over the divisor. Adds what the atoms send themselves.
    void divide(int64_t begin, int64_t end, const T *terms, T *senders, T *divided, T *shares,
                T *mixed) const {
        const int64_t row = mixed_row(t);
        for (int64_t i = begin; i < end; ++i) {
            double density = 0.0;
            for (int64_t e = p.first[i]; e < p.first[i + 1]; ++e) density += terms[rows.of[e]];
            shares[i] = T(1.0 / (block.alpha + block.beta * density));
            for (int64_t c = i * row; c < (i + 1) * row; c += W)
                store(divided + c, V(load<V>(divided + c) * shares[i]));
        }
        std::memcpy(mixed + begin * row, divided + begin * row, (end - begin) * row * sizeof(T));
        for (int64_t l = 0; l < block.sent_degrees; ++l)
            product_of_rows(true, begin, end, of_senders(senders, l), as(block.residual.of[l]),
                            of_mixed(mixed, l));
    }

    // From gradients by mixed sums to those before the division (in place) and by densities.
    void divide_back(int64_t begin, int64_t end, const T *divided, const T *shares, T *by_mixed,
                     T *by_density) const {
        const int64_t row = mixed_row(t);
        for (int64_t i = begin; i < end; ++i) {
            V along = {};
            for (int64_t c = i * row; c < (i + 1) * row; c += W) {
                const V given = load<V>(by_mixed + c) * shares[i];
                along += given * load<V>(divided + c);
                store(by_mixed + c, given);
            }
            by_density[i] = -sum<T, W>(along) * T(block.beta);
        }
    }

    // Adds gradients by what atoms send that come through their own rows.
    void residual_back(int64_t begin, int64_t end, T *by_mixed, T *by_senders) const {
        for (int64_t l = 0; l < block.sent_degrees; ++l)
            product_of_rows(true, begin, end, of_mixed(by_mixed, l), as(block.residual.back[l]),
                            of_senders(by_senders, l));
    }

    // SiLU and gates; `opened` is [components, n_channels] of each atom, and room.
    void to_basis(int64_t begin, int64_t end, const T *mixed, T *opened, T *basis) const {
        const int64_t C = t.n_channels, M = t.n_degrees * t.n_degrees, gates = t.n_degrees - 1;
        for (int64_t i = begin; i < end; ++i) {
            const T *x = mixed + i * mixed_row(t);
            T *to = opened + i * M * C;
            for (int64_t c = 0; c < C; c += W) {
                store(to + c, V(load<V>(x + c) * sigmoid(load<V>(x + c))));
                for (int64_t l = 1; l < t.n_degrees; ++l) {
                    const V open = sigmoid(load<V>(x + l * C + c));
                    for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m)
                        store(to + m * C + c, V(load<V>(x + (gates + m) * C + c) * open));
                }
            }
        }
        for (int64_t l = 0; l < t.n_degrees; ++l)
            product_of_rows(false, begin, end, of_features(opened, l, M), as(block.gated.of[l]),
                            of_features(basis, l, M));
    }

    void to_basis_back(int64_t begin, int64_t end, const T *mixed, T *by_basis, T *by_opened,
                       T *by_mixed) const {
        const int64_t C = t.n_channels, M = t.n_degrees * t.n_degrees, gates = t.n_degrees - 1;
        for (int64_t l = 0; l < t.n_degrees; ++l)
            product_of_rows(false, begin, end, of_features(by_basis, l, M),
                            as(block.gated.back[l]), of_features(by_opened, l, M));
        for (int64_t i = begin; i < end; ++i) {
            const T *x = mixed + i * mixed_row(t), *g = by_opened + i * M * C;
            T *to = by_mixed + i * mixed_row(t);
            for (int64_t c = 0; c < C; c += W) {
                const V y = load<V>(x + c), s = sigmoid(y);
                store(to + c, V(load<V>(g + c) * (s * (T(1) + y * (T(1) - s)))));
                for (int64_t l = 1; l < t.n_degrees; ++l) {
                    const V open = sigmoid(load<V>(x + l * C + c));
                    V along = {};
                    for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m) {
                        const V given = load<V>(g + m * C + c);
                        along += given * load<V>(x + (gates + m) * C + c);
                        store(to + (gates + m) * C + c, V(given * open));
                    }
                    store(to + l * C + c, V(along * (open * (T(1) - open))));
                }
            }
        }
    }

    // Gradients by the distance through the densities of some pairs.
    void spread_density(int64_t begin, int64_t end, const T *by_density, const T *changes,
                        double *by_distance) const {
        for (int64_t q = begin; q < end; ++q) {
            const int64_t r = rows.first[q], back = rows.first[q + 1] - 1;
            by_distance[q] += double(by_density[p.i[q]] * changes[r]);
            by_distance[q] += double(by_density[p.j[q]] * changes[back]);
        }
    }

  private:
    static const T *as(const void *x) { return static_cast<const T *>(x); }
    static V sigmoid(const V &x) { return T(1) / (T(1) + exponential<T>(-x)); }
};

} // namespace tlpot
