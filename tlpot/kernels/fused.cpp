// A force call in one piece: from positions and edges to energies, forces and virial.
//
// Networks of tlpot and of MACE. The way back is written by hand, layer by layer. Threads share the
// atoms, or the pairs, a piece at a time: pieces are small enough for what they hold to stay in the
// cache.

#include "geometry.hpp"
#include "messages.hpp"

using namespace tlpot;

#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num() { return 0; }
#endif

namespace {

constexpr int64_t ATOMS = 32, PAIRS = 64; // in a piece
constexpr int64_t TILE = 16;              // pairs whose gradients are taken together
constexpr int MOST_LAYERS = 8, MOST_ELEMENTS = 128;

template <class T> class Call {
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>;

    const FusedTables &t;
    const FusedData &d;
    const int64_t n, M, C; // atoms, components of the atomic basis, channels
    const bool derive;
    bool kept; // whether all radial weights are held
    Pairs pairs;
    int32_t *species, *kinds, *order; // of each atom; order is by element within a piece
    int32_t present[MOST_ELEMENTS], kind_of[MOST_ELEMENTS]; // elements that occur, and back
    int64_t n_kinds = 0;
    double *vectors, *by_vectors, *by_distance, *radii;
    T *harmonics, *radial, *slopes, *angular, *by_harmonics;
    T *sums, *messages, *products, *scalars, *wide[4];
    T *by_features, *by_next, *by_basis, *by_products, *by_density;
    int64_t widest; // row of a radial network
    // What a layer is given and the way back reads again.
    struct Saved {
        T *features, *senders, *basis, *hidden, *slopes, *weights;
        T *nearness, *changes, *shares; // of pairs in densities; one over those of atoms
    } saved[MOST_LAYERS + 1];
    // What a thread has for itself; its weights are of a few pairs.
    struct Own {
        int32_t *places;
        T *weights, *rows, *by_weights, *by_angular, *squares, *by_senders, *gathered;
    } *own;

  public:
    Call(const FusedTables &tables, const FusedData &data)
        : t(tables), d(data), n(data.n_atoms), M(tables.n_degrees * tables.n_degrees),
          C(tables.n_channels), derive(data.forces || data.virial) {
        std::fill(kind_of, kind_of + MOST_ELEMENTS, -1);
        for (int64_t i = 0; i < n; ++i)
            if (element(i) >= 0) kind_of[element(i)] = 0;
        for (int32_t k = 0; k < t.n_elements; ++k)
            if (kind_of[k] == 0) present[n_kinds] = k, kind_of[k] = int32_t(n_kinds++);
    }

    // Divides the scratch memory; returns how much it takes.
    int64_t divide(void *memory) {
        Arena a(memory);
        const int64_t E = d.n_edges, Q = E / 2, width = t.n_paths * C;
        const int64_t some = std::max(most_edges(), TILE);
        pairs = {0, a.take<int32_t>(Q), a.take<int32_t>(Q), a.take<int32_t>(Q),
                 a.take<int32_t>(E), a.take<int32_t>(E), a.take<int64_t>(n + 1)};
        for (int32_t **x : {&species, &kinds, &order}) *x = a.take<int32_t>(n);
        for (double **x : {&vectors, &by_vectors}) *x = a.take<double>(3 * Q);
        by_distance = a.take<double>(Q);
        radii = a.take<double>(t.transform == NO_TRANSFORM ? 0 : Q);
        for (T **x : {&harmonics, &by_harmonics}) *x = a.take<T>(Q * t.harmonic_width);
        for (T **x : {&radial, &slopes}) *x = a.take<T>(Q * t.basis_width);
        angular = a.take<T>(Q * t.angular_width);
        kept = Q * width * (t.n_layers - 1) <= t.most_kept;
        const Messages<T> shape(t, d, pairs, nullptr, nullptr, 0);
        int64_t deep = 0, row = 0, apart = 0, dense = 0;
        widest = t.basis_width;
        for (int64_t k = 0; k < t.n_layers; ++k) {
            const FusedLayer &layer = t.layers[k];
            row = layer.in_degrees * layer.in_degrees * C;
            deep |= layer.n_radial > 1;
            for (int64_t r = 0; r < layer.n_radial; ++r)
                widest = std::max(widest, layer.radial_widths[r]);
            const int64_t of_pairs = layer.density ? Q : 0, of_atoms = layer.density ? n : 0;
            dense = std::max(dense, of_atoms);
            for (const FusedMaps *maps : {&layer.mix, &layer.skip})
                for (int64_t l = 0; l < t.n_degrees && maps->kinds > 1; ++l)
                    apart = std::max(apart, (2 * l + 1) * (shape.paths[l] + 1) * C);
            saved[k] = {a.take<T>(n * row),           a.take<T>(n * row),
                        a.take<T>(n * M * C),         a.take<T>(Q * layer.n_hidden),
                        a.take<T>(Q * layer.n_hidden), a.take<T>(kept && k > 0 ? Q * width : 0),
                        a.take<T>(of_pairs),          a.take<T>(of_pairs),
                        a.take<T>(of_atoms)};
        }
        saved[t.n_layers].features = a.take<T>(n * C);
        sums = a.take<T>(n * M * t.layers[0].n_hidden * n_kinds);
        messages = a.take<T>(n * shape.row);
        by_density = a.take<T>(dense);
        scalars = d.invariants ? static_cast<T *>(d.invariants) : a.take<T>(n * t.n_layers * C);
        for (T **x : {&products, &by_features, &by_next, &by_basis, &by_products})
            *x = a.take<T>(n * M * C);
        for (T *&x : wide) x = a.take<T>(deep ? Q * widest : 0);
        own = a.take<Own>(d.n_threads);
        const int64_t rows = std::max(some * widest, ATOMS * std::max(t.n_readout, C));
        for (int64_t k = 0; k < d.n_threads; ++k) {
            const Own mine = {a.take<int32_t>(some),
                              a.take<T>(kept ? 0 : some * width),
                              a.take<T>(rows),
                              a.take<T>(TILE * width),
                              a.take<T>(TILE * t.angular_width),
                              a.take<T>(t.angular_width * W),
                              a.take<T>(n * row), // all layers but the first have the same degrees
                              a.take<T>(RUN * apart)};
            if (memory) own[k] = mine;
        }
        return a.used();
    }

    FusedStatus run() {
        for (int64_t i = 0; i < n; ++i) {
            species[i] = int32_t(element(i));
            if (species[i] < 0) return UNKNOWN_ELEMENT;
            kinds[i] = kind_of[species[i]];
            order[i] = int32_t(i);
        }
        for (int64_t i = 0; i < n; i += ATOMS)
            std::sort(order + i, order + std::min(n, i + ATOMS), [&](int32_t a, int32_t b) {
                return species[a] != species[b] ? species[a] < species[b] : a < b;
            });
        for (int64_t s = 0; s < d.n_systems; ++s)
            if (d.charge[s] != 0 || d.spin[s] != 1) return CHARGED;
        if (!find_pairs(d, pairs)) return ONE_WAY;
        pair_vectors(d, pairs, vectors);
        for (int64_t q = 0; q < pairs.n && t.transform != NO_TRANSFORM; ++q)
            radii[q] =
                t.covalent_radii[species[pairs.i[q]]] + t.covalent_radii[species[pairs.j[q]]];
        const int64_t H = t.harmonic_width, B = t.basis_width;
        share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
            const auto embed =
                t.transform == NO_TRANSFORM ? embed_pairs<T, false> : embed_pairs<T, true>;
            embed(t, end - q, vectors + 3 * q, radii + q, harmonics + q * H, radial + q * B,
                  slopes + q * B);
            if (t.n_layers > 1)
                product(false, end - q, H, t.angular_width, harmonics + q * H, H, as(t.couplings),
                        angular + q * t.angular_width, t.angular_width);
        });
        const Messages<T> sum(t, d, pairs, harmonics, kinds, n_kinds);
        for (int64_t k = 0; k < t.n_layers; ++k) forward(k, sum);
        std::memset(by_distance, 0, pairs.n * sizeof(double));
        std::memset(by_harmonics, 0, pairs.n * H * sizeof(T));
        share(n, ATOMS, [&](int64_t i, int64_t end) { read_out(i, end); });
        if (t.numbers) repulsion(t, d, pairs, species, vectors, by_distance);
        std::memset(d.energy, 0, d.n_systems * sizeof(double));
        for (int64_t i = 0; i < n; ++i) d.energy[d.system[i]] += d.energies[i];
        if (!derive) return SERVED;
        for (int64_t k = t.n_layers - 1; k >= 0; --k) backward(k, sum);
        share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
            embed_back(t, end - q, vectors + 3 * q, by_harmonics + q * H, by_distance + q,
                       by_vectors + 3 * q);
        });
        forces_and_virial(d, pairs, vectors, by_vectors);
        return SERVED;
    }

  private:
    static const T *as(const void *x) { return static_cast<const T *>(x); }

    // Index of an atom's element; negative where the model does not know it.
    int64_t element(int64_t i) const {
        const int64_t z = d.atomic_numbers[i];
        return z < 0 || z >= t.n_numbers ? -1 : t.species[z];
    }

    // Calls f with begin and end of pieces of at most `size`, on several threads.
    template <class F> void share(int64_t count, int64_t size, F &&f) const {
        const int64_t pieces = (count + size - 1) / size;
#pragma omp parallel for schedule(static) num_threads(d.n_threads) if (d.n_threads > 1 && pieces > 1)
        for (int64_t k = 0; k < pieces; ++k) f(k * size, std::min(count, (k + 1) * size));
    }

    int64_t most_edges() const {
        int64_t most = 0, run = 0;
        for (int64_t e = 0; e < d.n_edges; ++e) {
            run = e > 0 && d.center[e] == d.center[e - 1] ? run + 1 : 1;
            most = std::max(most, run);
        }
        return most;
    }

    void forward(int64_t k, const Messages<T> &sum) {
        const FusedLayer &layer = t.layers[k];
        const Saved &s = saved[k];
        const Density<T> density{t, pairs};
        const int64_t H = layer.n_hidden, width = t.n_paths * C;
        const int64_t in = layer.in_degrees * layer.in_degrees;
        share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
            radial_network(layer, q, end, s.hidden, s.slopes);
            if (layer.density)
                density.of_pairs(q, end, as(layer.density), radial, slopes, s.nearness, s.changes);
            if (kept && k > 0)
                product(false, end - q, H, width, s.hidden + q * H, H, as(layer.last),
                        s.weights + q * width, width);
        });
        if (k > 0)
            share(n, ATOMS, [&](int64_t i, int64_t end) {
                map_all(i, end, layer.sender, false, layer.in_degrees, s.features, in, s.senders,
                        in);
            });
        share(n, ATOMS, [&](int64_t i, int64_t end) {
            if (k == 0) sum_by_element(i, end, layer, s, sum);
            else sum_messages(i, end, layer, s, sum);
            if (layer.density) density.divide(i, end, M * C, s.nearness, s.basis, s.shares);
            update(i, end, k);
        });
    }

    void sum_by_element(int64_t i, int64_t end, const FusedLayer &layer, const Saved &s,
                        const Messages<T> &sum) {
        const int64_t H = layer.n_hidden, width = H * n_kinds;
        T *to = layer.mix.kinds ? messages : s.basis;
        sum.by_element(i, end, H, s.hidden, sums);
        for (int64_t l = 0; l < t.n_degrees; ++l) {
            for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m)
                for (int64_t k = 0; k < n_kinds; ++k)
                    product(k > 0, end - i, H, C, sums + (i * M + m) * width + k * H, M * width,
                            as(layer.by_neighbor.of[l]) + present[k] * H * C, to + (i * M + m) * C,
                            M * C);
            if (layer.mix.kinds)
                map(false, i, end, layer.mix, false, rows_of(messages, l, M),
                    rows_of(s.basis, l, M));
        }
    }

    void sum_messages(int64_t begin, int64_t end, const FusedLayer &layer, const Saved &s,
                      const Messages<T> &sum) {
        const int64_t H = layer.n_hidden, width = t.n_paths * C;
        const Own &mine = own[omp_get_thread_num()];
        for (int64_t i = begin; i < end; ++i) {
            const int64_t e0 = pairs.first[i], count = pairs.first[i + 1] - e0;
            if (kept) {
                sum.collect(i, angular, s.weights, pairs.of + e0, s.senders, messages);
                continue;
            }
            for (int64_t e = 0; e < count; ++e) {
                mine.places[e] = int32_t(e);
                std::memcpy(mine.rows + e * H, s.hidden + pairs.of[e0 + e] * H, H * sizeof(T));
            }
            product(false, count, H, width, mine.rows, H, as(layer.last), mine.weights, width);
            sum.collect(i, angular, mine.weights, mine.places, s.senders, messages);
        }
        for (int64_t l = 0; l < t.n_degrees; ++l)
            map(false, begin, end, layer.mix, false, rows_of(sum, l), rows_of(s.basis, l, M));
    }

    // From the atomic basis to the next layer's features.
    void update(int64_t begin, int64_t end, int64_t k) {
        const FusedLayer &layer = t.layers[k];
        const Saved &s = saved[k];
        const Polynomials<T> polynomials{t, layer};
        const int64_t in = layer.in_degrees * layer.in_degrees;
        const int64_t out = layer.out_degrees * layer.out_degrees;
        for (int64_t i = begin; i < end; ++i)
            polynomials.values(s.basis + i * M * C, species[i], products + i * out * C);
        T *next = saved[k + 1].features;
        map_all(begin, end, layer.update, false, layer.out_degrees, products, out, next, out);
        for (int64_t i = begin; i < end && layer.offset; ++i)
            for (int64_t c = 0; c < C; c += W)
                add(next + i * out * C + c, load<V>(as(layer.offset) + species[i] * C + c));
        for (int64_t l = 0; l < shared_degrees(k); ++l)
            add_skipped(begin, end, layer, false, rows_of(s.features, l, in),
                        rows_of(next, l, out));
        for (int64_t i = begin; i < end; ++i)
            std::memcpy(scalars + (k * n + i) * C, next + i * out * C, C * sizeof(T));
    }

    // Energies of the atoms, and their gradient by the last layer's invariants.
    void read_out(int64_t begin, int64_t end) {
        const int64_t R = t.n_readout;
        const T scale = T(t.scale), *out = as(t.last);
        T *rows = own[omp_get_thread_num()].rows;
        product(false, end - begin, C, R, scalars + ((t.n_layers - 1) * n + begin) * C, C,
                as(t.hidden), rows, R);
        for (int64_t i = begin; i < end; ++i) {
            T *row = rows + (i - begin) * R;
            V total = {};
            for (int64_t c = 0; c < R; c += W) {
                V slope;
                total += silu<T>(load<V>(row + c), slope) * load<V>(out + c);
                store(row + c, V(slope * load<V>(out + c) * scale));
            }
            for (int64_t k = 0; k + 1 < t.n_layers; ++k)
                for (int64_t c = 0; c < C; c += W)
                    total += load<V>(scalars + (k * n + i) * C + c) *
                             load<V>(as(t.linear) + k * C + c);
            d.energies[i] = t.references[species[i]] + double(sum<T, W>(total) * scale);
        }
        if (derive)
            product(false, end - begin, R, C, rows, R, as(t.hidden_t), by_features + begin * C, C);
    }

    void backward(int64_t k, const Messages<T> &sum) {
        const FusedLayer &layer = t.layers[k];
        const Saved &s = saved[k];
        const int64_t in = layer.in_degrees * layer.in_degrees;
        const int64_t out = layer.out_degrees * layer.out_degrees;
        const Density<T> density{t, pairs};
        share(n, ATOMS, [&](int64_t i, int64_t end) { to_sums(i, end, k, sum); });
        if (k == 0) {
            share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
                sum.by_element_back(q, end, layer.n_hidden, s.hidden, s.slopes, sums, by_harmonics,
                                    by_distance);
                if (layer.density) density.spread(q, end, by_density, s.changes, by_distance);
            });
            return;
        }
        for (int64_t thread = 0; thread < d.n_threads; ++thread) {
            std::memset(own[thread].squares, 0, t.angular_width * W * sizeof(T));
            std::memset(own[thread].by_senders, 0, n * in * C * sizeof(T));
        }
        share(pairs.n, TILE, [&](int64_t q, int64_t end) {
            spread_messages(q, end, layer, s, sum);
            if (layer.density) density.spread(q, end, by_density, s.changes, by_distance);
        });
        share(n, ATOMS, [&](int64_t i, int64_t end) {
            T *total = own[0].by_senders;
            for (int64_t thread = 1; thread < d.n_threads; ++thread)
                for (int64_t c = i * in * C; c < end * in * C; c += W)
                    add(total + c, load<V>(own[thread].by_senders + c));
            map_all(i, end, layer.sender, true, layer.in_degrees, total, in, by_next, in);
            for (int64_t l = 0; l < shared_degrees(k); ++l)
                add_skipped(i, end, layer, true, rows_of(by_features, l, out),
                            rows_of(by_next, l, in));
        });
        std::swap(by_features, by_next);
    }

    // Gradients from those by a layer's result to those by its sums over neighbours.
    void to_sums(int64_t begin, int64_t end, int64_t k, const Messages<T> &sum) {
        const FusedLayer &layer = t.layers[k];
        const int64_t out = layer.out_degrees * layer.out_degrees;
        for (int64_t i = begin; i < end && k + 1 < t.n_layers; ++i)
            for (int64_t c = 0; c < C; c += W)
                add(by_features + i * out * C + c, V(load<V>(as(t.linear) + k * C + c) * T(t.scale)));
        map_all(begin, end, layer.update, true, layer.out_degrees, by_features, out, by_products,
                out);
        const Polynomials<T> polynomials{t, layer};
        for (int64_t i = begin; i < end; ++i)
            polynomials.back(saved[k].basis + i * M * C, species[i], by_products + i * out * C,
                             by_basis + i * M * C);
        if (layer.density)
            Density<T>{t, pairs}.back(begin, end, M * C, saved[k].basis, saved[k].shares, by_basis,
                                      by_density);
        for (int64_t l = 0; l < t.n_degrees; ++l) {
            if (k > 0) {
                map(false, begin, end, layer.mix, true, rows_of(by_basis, l, M), rows_of(sum, l));
                continue;
            }
            const int64_t H = layer.n_hidden, width = H * n_kinds;
            const T *from = layer.mix.kinds ? messages : by_basis;
            if (layer.mix.kinds)
                map(false, begin, end, layer.mix, true, rows_of(by_basis, l, M),
                    rows_of(messages, l, M));
            for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m)
                for (int64_t kind = 0; kind < n_kinds; ++kind)
                    product(false, end - begin, C, H, from + (begin * M + m) * C, M * C,
                            as(layer.by_neighbor.back[l]) + present[kind] * C * H,
                            sums + (begin * M + m) * width + kind * H, M * width);
        }
    }

    void spread_messages(int64_t first, int64_t end, const FusedLayer &layer, const Saved &s,
                         const Messages<T> &sum) {
        const int64_t H = layer.n_hidden, width = t.n_paths * C, count = end - first;
        const Own &mine = own[omp_get_thread_num()];
        const T *weights = s.weights + first * width;
        if (!kept) {
            product(false, count, H, width, s.hidden + first * H, H, as(layer.last), mine.weights,
                    width);
            weights = mine.weights;
        }
        for (int64_t q = 0; q < count; ++q)
            sum.spread(first + q, angular, weights + q * width, s.senders, messages,
                       mine.by_weights + q * width, mine.by_angular + q * t.angular_width,
                       mine.by_senders, mine.squares);
        product(true, count, t.angular_width, t.harmonic_width, mine.by_angular, t.angular_width,
                as(t.couplings_t), by_harmonics + first * t.harmonic_width, t.harmonic_width);
        product(false, count, width, H, mine.by_weights, width, as(layer.last_t), mine.rows, H);
        for (int64_t q = 0; q < count; ++q) {
            V along = {};
            for (int64_t h = 0; h < H; h += W)
                along += load<V>(mine.rows + q * H + h) * load<V>(s.slopes + (first + q) * H + h);
            by_distance[first + q] += double(tlpot::sum<T, W>(along));
        }
    }

    // What atoms have of degree l in an array of `components` for each.
    Rows<T> rows_of(T *x, int64_t l, int64_t components) const {
        return {x + l * l * C, 2 * l + 1, C, components * C};
    }
    Rows<T> rows_of(const Messages<T> &sum, int64_t l) const {
        return {messages + sum.from[l], 2 * l + 1, sum.paths[l] * C, sum.row};
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

    // Hidden radial values of some pairs and their derivatives by distance.
    void radial_network(const FusedLayer &layer, int64_t q, int64_t end, T *hidden,
                        T *changes) const {
        const int64_t count = end - q;
        int64_t in = t.basis_width;
        const T *x = radial + q * in, *dx = slopes + q * in;
        hidden += q * layer.n_hidden, changes += q * layer.n_hidden;
        if (layer.n_radial == 0) {
            std::memcpy(hidden, x, count * in * sizeof(T));
            std::memcpy(changes, dx, count * in * sizeof(T));
        }
        for (int64_t k = 0; k < layer.n_radial; ++k) {
            const int64_t out = layer.radial_widths[k], at = 2 * (k % 2);
            const bool last = k + 1 == layer.n_radial;
            T *y = last ? hidden : wide[at] + q * widest;
            T *dy = last ? changes : wide[at + 1] + q * widest;
            product(false, count, in, out, x, in, as(layer.radial[k]), y, out);
            product(false, count, in, out, dx, in, as(layer.radial[k]), dy, out);
            for (int64_t c = 0; c < count * out; c += W) {
                V slope;
                store(y + c, silu<T>(load<V>(y + c), slope));
                store(dy + c, V(slope * load<V>(dy + c)));
            }
            x = y, dx = dy, in = out;
        }
    }
};

} // namespace

extern "C" {

int64_t tlpot_fused_lanes() { return LANES<TLPOT_SCALAR>; }

int64_t tlpot_fused(const FusedTables *t, FusedData *d) {
    Call<TLPOT_SCALAR> call(*t, *d);
    const int64_t needed = call.divide(nullptr);
    if (needed > d->room) {
        d->room = needed;
        return NEEDS_ROOM;
    }
    call.divide(d->scratch);
    return call.run();
}
}
