// Sums over neighbours, and the way back: of harmonics times radial functions apart for each
// element (first layer), of features coupled with the harmonics (the others), and of densities.
//
// Rows of an atom: its atomic basis is [components, n_channels], component l² + m; its messages
// are [components][paths of l, n_channels], by degree.

#pragma once

#include <cmath>

#include "fused.hpp"

namespace tlpot {

template <class T> struct Messages {
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>;

    const FusedTables &t;
    const FusedData &d;
    const Pairs &p;
    const T *harmonics;   // [n_pairs, harmonic_width]
    const int32_t *kinds; // of each atom: its element among those that occur
    int64_t n_kinds;
    Paths route;         // of the layer
    T parity[MAX_L * MAX_L]; // of each harmonic, seen from the pair's other end
    int64_t row, from[MAX_L], paths[MAX_L]; // numbers in an atom's messages; where a degree begins

    Messages(const FusedTables &tables, const FusedData &data, const Pairs &pairs,
             const Paths &route_, const T *harmonics_, const int32_t *kinds_, int64_t n_kinds_)
        : t(tables), d(data), p(pairs), harmonics(harmonics_), kinds(kinds_), n_kinds(n_kinds_),
          route(route_), row(0) {
        for (int64_t l = 0; l < t.n_degrees; ++l) {
            for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m) parity[m] = l % 2 ? T(-1) : T(1);
            paths[l] = 0;
            for (int64_t k = 0; k < route.count; ++k) paths[l] += route.rows[5 * k + 1] == l;
            from[l] = row;
            row += (2 * l + 1) * paths[l] * route.n_channels;
        }
    }

    // S [n_atoms, components, n_kinds, H] of some atoms from hidden radial values [n_pairs, H].
    void by_element(int64_t begin, int64_t end, int64_t H, const T *hidden, T *sums) const {
        const int64_t M = t.n_degrees * t.n_degrees, Z = n_kinds;
        std::memset(sums + begin * M * Z * H, 0, (end - begin) * M * Z * H * sizeof(T));
        for (int64_t i = begin; i < end; ++i)
            for (int64_t e = p.first[i]; e < p.first[i + 1]; ++e) {
                const int64_t q = p.of[e];
                const T *y = harmonics + q * t.harmonic_width, *x = hidden + q * H;
                T *to = sums + (i * M * Z + kinds[d.neighbor[e]]) * H;
                for (int64_t h = 0; h < H; h += W) {
                    const V value = load<V>(x + h);
                    for (int64_t m = 0; m < M; ++m)
                        add(to + m * Z * H + h, V(value * (p.back[e] ? y[m] * parity[m] : y[m])));
                }
            }
    }

    // Adds to some pairs' gradients by harmonics, and by distance through hidden values and their slopes.
    void by_element_back(int64_t begin, int64_t end, int64_t H, const T *hidden, const T *slopes,
                         const T *by_sums, T *by_harmonics, double *by_distance) const {
        const int64_t M = t.n_degrees * t.n_degrees, Z = n_kinds;
        alignas(64) T products[MAX_L * MAX_L * W];
        std::memset(products, 0, sizeof(products));
        for (int64_t q = begin; q < end; ++q) {
            const int64_t i = p.i[q], j = p.j[q];
            const T *y = harmonics + q * t.harmonic_width;
            const T *at_i = by_sums + (i * M * Z + kinds[j]) * H;
            const T *at_j = by_sums + (j * M * Z + kinds[i]) * H;
            V along = {};
            for (int64_t h = 0; h < H; h += W) {
                const V value = load<V>(hidden + q * H + h);
                V total = {};
                for (int64_t m = 0; m < M; ++m) {
                    const V g = load<V>(at_i + m * Z * H + h) + parity[m] * load<V>(at_j + m * Z * H + h);
                    total += y[m] * g;
                    if (h == 0) store(products + m * W, V(value * g));
                    else add(products + m * W, V(value * g));
                }
                along += total * load<V>(slopes + q * H + h);
            }
            by_distance[q] += double(sum<T, W>(along));
            add_sums(products, M, by_harmonics + q * t.harmonic_width);
        }
    }

    // Messages of an atom; `weights` [·, n_paths · n_channels] has rows by `rows` of its edges.
    void collect(int64_t i, const T *angular, const T *weights, const int32_t *rows,
                 const T *senders, T *messages) const {
        const int64_t C = route.n_channels, width = route.count * C;
        const int64_t e0 = p.first[i], n = p.first[i + 1] - e0;
        const int64_t sender = sender_row();
        for (int64_t k = 0; k < route.count; ++k) {
            const int32_t *path = route.rows + 5 * k;
            dispatch(path[0], path[1], [&](auto m2_, auto m3_) {
                constexpr int M2 = decltype(m2_)::value, M3 = decltype(m3_)::value;
                constexpr bool odd = (M2 / 2 + M3 / 2) % 2;
                constexpr int L2 = M2 / 2;
                const int64_t stride = path[4] * C;
                T *to = messages + i * row + from[M3 / 2] + path[3] * C;
                const T *a0 = angular + path[2], *w0 = weights + k * C;
                const T *s0 = senders + L2 * L2 * C;
                for (int64_t c = 0; c < C; c += W) {
                    V total[M3] = {};
                    for (int64_t e = 0; e < n; ++e) {
                        const T *a = a0 + p.of[e0 + e] * route.angular_width;
                        const T *x = s0 + d.neighbor[e0 + e] * sender + c;
                        V weight = load<V>(w0 + rows[e] * width + c);
                        if (odd) weight *= p.back[e0 + e] ? T(-1) : T(1);
                        for (int m2 = 0; m2 < M2; ++m2) {
                            const V value = weight * load<V>(x + m2 * C);
                            for (int m3 = 0; m3 < M3; ++m3) total[m3] += a[m2 * M3 + m3] * value;
                        }
                    }
                    for (int m3 = 0; m3 < M3; ++m3) store(to + m3 * stride + c, total[m3]);
                }
            });
        }
    }

    // Gradients of pair q by weights (one row) and couplings (one row); adds those by senders.
    // `products` is room for angular_width registers, those behind the couplings zero. Where the
    // pair's directions differ (DIRECTED), a second row of weights is for what i sends to j.
    template <bool DIRECTED>
    void spread(int64_t q, const T *angular, const T *weights, const T *senders,
                const T *by_messages, T *by_weights, T *by_angular, T *by_senders,
                T *products) const {
        const int64_t C = route.n_channels, i = p.i[q], j = p.j[q], sender = sender_row();
        const int64_t second = DIRECTED ? route.count * C : 0;
        const T *coupled = angular + q * route.angular_width;
        for (int64_t k = 0; k < route.count; ++k) {
            const int32_t *path = route.rows + 5 * k;
            dispatch(path[0], path[1], [&](auto m2_, auto m3_) {
                constexpr int M2 = decltype(m2_)::value, M3 = decltype(m3_)::value;
                constexpr bool odd = (M2 / 2 + M3 / 2) % 2;
                constexpr int L2 = M2 / 2;
                const int64_t stride = path[4] * C, place = from[M3 / 2] + path[3] * C;
                const T *a = coupled + path[2];
                V total[M2 * M3] = {};
                for (int64_t c = 0; c < C; c += W) {
                    const V weight = load<V>(weights + k * C + c);
                    V back = weight; // of what i sends to j
                    if constexpr (DIRECTED) back = load<V>(weights + second + k * C + c);
                    V gi[M3], gj[M3], by_weight = {}, by_back = {};
                    for (int m3 = 0; m3 < M3; ++m3) {
                        gi[m3] = load<V>(by_messages + i * row + place + m3 * stride + c);
                        gj[m3] = load<V>(by_messages + j * row + place + m3 * stride + c);
                        if (odd) gj[m3] = -gj[m3];
                    }
                    for (int m2 = 0; m2 < M2; ++m2) {
                        const int64_t at = (L2 * L2 + m2) * C + c;
                        const V xi = load<V>(senders + i * sender + at);
                        const V xj = load<V>(senders + j * sender + at);
                        const V wi = back * xi, wj = weight * xj;
                        V to_i = {}, to_j = {};
                        for (int m3 = 0; m3 < M3; ++m3) {
                            const T value = a[m2 * M3 + m3];
                            to_j += value * gi[m3];
                            to_i += value * gj[m3];
                            total[m2 * M3 + m3] += wj * gi[m3];
                            total[m2 * M3 + m3] += wi * gj[m3];
                        }
                        by_weight += xj * to_j;
                        if constexpr (DIRECTED) by_back += xi * to_i;
                        else by_weight += xi * to_i;
                        add(by_senders + j * sender + at, V(weight * to_j));
                        add(by_senders + i * sender + at, V(back * to_i));
                    }
                    store(by_weights + k * C + c, by_weight);
                    if constexpr (DIRECTED) store(by_weights + second + k * C + c, by_back);
                }
                for (int m = 0; m < M2 * M3; ++m) store(products + (path[2] + m) * W, total[m]);
            });
        }
        for (int64_t m = 0; m < route.angular_width; m += W)
            store(by_angular + m, sums_of_rows(products + m * W));
    }

    // Radial weights of one pair, or of one of its directions.
    int64_t width() const { return route.count * route.n_channels; }

    // Numbers of one atom's senders, which have all components that a path reads.
    int64_t sender_row() const {
        int64_t degrees = 0;
        for (int64_t k = 0; k < route.count; ++k)
            if (route.rows[5 * k] >= degrees) degrees = route.rows[5 * k] + 1;
        return degrees * degrees * route.n_channels;
    }

  private:
    void add_sums(const T *products, int64_t n, T *to) const {
        for (int64_t m = 0; m < n; m += W) add(to + m, sums_of_rows(products + m * W));
    }
};

// The density of neighbours, 1 + Σ tanh((w · b)²) of an atom's pairs, by which sums are divided.
template <class T> struct Density {
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>;

    const FusedTables &t;
    const Pairs &p;

    // Terms of some pairs, and their derivatives by distance.
    void of_pairs(int64_t begin, int64_t end, const T *w, const T *basis, const T *slopes, T *terms,
                  T *changes) const {
        const int64_t B = t.basis_width;
        for (int64_t q = begin; q < end; ++q) {
            V value = {}, slope = {};
            for (int64_t c = 0; c < B; c += W) {
                value += load<V>(w + c) * load<V>(basis + q * B + c);
                slope += load<V>(w + c) * load<V>(slopes + q * B + c);
            }
            const T x = sum<T, W>(value);
            terms[q] = std::tanh(x * x);
            changes[q] = (T(1) - terms[q] * terms[q]) * T(2) * x * sum<T, W>(slope);
        }
    }

    // Divides rows of `width` numbers; `shares` is one over the densities.
    void divide(int64_t begin, int64_t end, int64_t width, const T *terms, T *rows,
                T *shares) const {
        for (int64_t i = begin; i < end; ++i) {
            double density = 1; // whose rounding would be the same in all channels
            for (int64_t e = p.first[i]; e < p.first[i + 1]; ++e) density += terms[p.of[e]];
            shares[i] = T(1.0 / density);
            scale(width, rows + i * width, shares[i]);
        }
    }

    // From gradients by divided rows to those by the rows (in place) and by density.
    void back(int64_t begin, int64_t end, int64_t width, const T *rows, const T *shares, T *by_rows,
              T *by_density) const {
        for (int64_t i = begin; i < end; ++i) {
            V along = {};
            for (int64_t c = i * width; c < (i + 1) * width; c += W)
                along += load<V>(by_rows + c) * load<V>(rows + c);
            by_density[i] = -sum<T, W>(along) * shares[i];
            scale(width, by_rows + i * width, shares[i]);
        }
    }

    void spread(int64_t begin, int64_t end, const T *by_density, const T *changes,
                double *by_distance) const {
        for (int64_t q = begin; q < end; ++q)
            by_distance[q] += double((by_density[p.i[q]] + by_density[p.j[q]]) * changes[q]);
    }

  private:
    static void scale(int64_t count, T *x, T factor) {
        for (int64_t c = 0; c < count; c += W) store(x + c, V(load<V>(x + c) * factor));
    }
};

// Polynomials of an atom's basis, out_o = Σ_t w_t x_i x_j x_k, see product.cpp.
template <class T> struct Polynomials {
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>, N = 2, MAX_K = MAX_L * MAX_L + 1; // registers side by side

    const FusedTables &t;
    const FusedLayer &layer;

    void values(const T *basis, int64_t element, T *out) const {
        const int64_t C = t.n_channels;
        int64_t c = 0;
        for (; c + N * W <= C; c += N * W) values<N>(basis + c, coefficients(element) + c, out + c);
        if (c < C) values<1>(basis + c, coefficients(element) + c, out + c);
    }

    void back(const T *basis, int64_t element, const T *by_out, T *by_basis) const {
        const int64_t C = t.n_channels;
        int64_t c = 0;
        for (; c + N * W <= C; c += N * W)
            back<N>(basis + c, coefficients(element) + c, by_out + c, by_basis + c);
        if (c < C) back<1>(basis + c, coefficients(element) + c, by_out + c, by_basis + c);
    }

  private:
    const T *coefficients(int64_t element) const {
        const int64_t kind = std::min(element, layer.product_kinds - 1); // one may be for all
        return static_cast<const T *>(layer.coefficients) + kind * layer.n_terms * t.n_channels;
    }

    // the basis, and the constant one behind it
    template <int B> void read(const T *basis, V (*x)[B]) const {
        const int64_t n = t.n_degrees * t.n_degrees;
        for (int64_t k = 0; k < n; ++k)
            for (int b = 0; b < B; ++b) x[k][b] = load<V>(basis + k * t.n_channels + b * W);
        for (int b = 0; b < B; ++b) x[n][b] = V{} + T(1);
    }

    template <int B> void values(const T *basis, const T *w, T *out) const {
        const int64_t C = t.n_channels, n_out = layer.out_degrees * layer.out_degrees;
        V x[MAX_K][B], y[MAX_K][B] = {};
        read<B>(basis, x);
        for (int64_t q = 0; q < layer.n_pairs; ++q) {
            const int32_t *pair = layer.pairs + 3 * q;
            V both[B];
            for (int b = 0; b < B; ++b) both[b] = x[pair[0]][b] * x[pair[1]][b];
            for (int64_t k = pair[2]; k < pair[5]; ++k) {
                const int32_t i = layer.terms[2 * k], o = layer.terms[2 * k + 1];
                for (int b = 0; b < B; ++b)
                    y[o][b] += load<V>(w + k * C + b * W) * (both[b] * x[i][b]);
            }
        }
        for (int64_t o = 0; o < n_out; ++o)
            for (int b = 0; b < B; ++b) store(out + o * C + b * W, y[o][b]);
    }

    template <int B> void back(const T *basis, const T *w, const T *by_out, T *by_basis) const {
        const int64_t C = t.n_channels, n_out = layer.out_degrees * layer.out_degrees;
        const int64_t n = t.n_degrees * t.n_degrees;
        V x[MAX_K][B], g[MAX_K][B], y[MAX_K][B] = {};
        read<B>(basis, x);
        for (int64_t o = 0; o < n_out; ++o)
            for (int b = 0; b < B; ++b) g[o][b] = load<V>(by_out + o * C + b * W);
        for (int64_t q = 0; q < layer.n_pairs; ++q) {
            const int32_t *pair = layer.pairs + 3 * q;
            V both[B], s[B] = {};
            for (int b = 0; b < B; ++b) both[b] = x[pair[0]][b] * x[pair[1]][b];
            for (int64_t k = pair[2]; k < pair[5]; ++k) {
                const int32_t i = layer.terms[2 * k], o = layer.terms[2 * k + 1];
                for (int b = 0; b < B; ++b) {
                    const V weighted = load<V>(w + k * C + b * W) * g[o][b];
                    s[b] += weighted * x[i][b];
                    y[i][b] += weighted * both[b];
                }
            }
            for (int b = 0; b < B; ++b) {
                y[pair[0]][b] += s[b] * x[pair[1]][b];
                y[pair[1]][b] += s[b] * x[pair[0]][b];
            }
        }
        for (int64_t k = 0; k < n; ++k)
            for (int b = 0; b < B; ++b) store(by_basis + k * C + b * W, y[k][b]);
    }
};

} // namespace tlpot
