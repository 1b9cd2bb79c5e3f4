// A force call in one piece: from positions and edges to energies, forces and virial.
//
// Networks of tlpot and of MACE. The way back is written by hand, layer by layer. Threads share the
// atoms, or the pairs, a piece at a time: pieces are small enough for what they hold to stay in the
// cache.

#include "geometry.hpp"
#include "maps.hpp"

using namespace tlpot;

namespace {

class Call : Maps {
  public:
    using Maps::Maps, Maps::divide;

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
        for (int64_t s = 0; s < d.n_systems && !d.state; ++s)
            if (d.charge[s] != 0 || d.spin[s] != 1) return CHARGED;
        if (!find_pairs(d, pairs)) return ONE_WAY;
        pair_vectors(d, pairs, vectors);
        if (t.blocks) directions.find(d, pairs, species);
        for (int64_t q = 0; q < pairs.n && t.transform != NO_TRANSFORM; ++q)
            radii[q] =
                t.covalent_radii[species[pairs.i[q]]] + t.covalent_radii[species[pairs.j[q]]];
        const int64_t H = t.harmonic_width, B = t.basis_width;
        share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
            const auto embed = t.blocks                       ? embed_pairs<T, true, true>
                               : t.transform == NO_TRANSFORM ? embed_pairs<T, false, false>
                                                             : embed_pairs<T, true, false>;
            embed(t, end - q, vectors + 3 * q, radii + q, harmonics + q * H,
                  {radial + q * B, slopes + q * B}, {envelope + q, falls + q});
        });
        if (t.blocks) start();
        else if (t.n_layers > 1) couple(t.couplings, t.angular_width);
        for (int64_t k = 0; k < t.n_layers; ++k)
            if (t.blocks) forward_nonlinear(k);
            else forward(k, messages_of(k));
        std::memset(by_distance, 0, pairs.n * sizeof(double));
        std::memset(by_harmonics, 0, pairs.n * H * sizeof(T));
        share(n, ATOMS, [&](int64_t i, int64_t end) { read_out(i, end); });
        if (t.numbers) repulsion(t, d, pairs, species, vectors, by_distance);
        std::memset(d.energy, 0, d.n_systems * sizeof(double));
        for (int64_t i = 0; i < n; ++i) d.energy[d.system[i]] += d.energies[i];
        if (!derive) return SERVED;
        for (int64_t k = t.n_layers - 1; k >= 0; --k)
            if (t.blocks) backward_nonlinear(k);
            else backward(k, messages_of(k));
        share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
            embed_back(t, end - q, vectors + 3 * q, by_harmonics + q * H, by_distance + q,
                       by_vectors + 3 * q);
        });
        forces_and_virial(d, pairs, vectors, by_vectors);
        return SERVED;
    }

  private:
    // What harmonics give to the paths of a layer.
    void couple(const void *couplings, int64_t width) {
        const int64_t H = t.harmonic_width;
        share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
            product(false, end - q, H, width, harmonics + q * H, H, as(couplings),
                    angular + q * width, width);
        });
    }

    // The features that non-linear layers start from.
    void start() {
        for (int64_t i = 0; i < n; ++i)
            for (int64_t c = 0; c < C; c += W) {
                V x = load<V>(as(t.initial) + species[i] * C + c);
                if (d.state) x += load<V>(as(d.state) + d.system[i] * C + c);
                store(saved[0].features + i * C + c, x);
            }
    }

    void forward(int64_t k, const Messages<T> &sum) {
        const FusedLayer &layer = t.layers[k];
        const Saved &s = saved[k];
        const Density<T> density{t, pairs};
        const int64_t H = layer.n_hidden, width = t.n_paths * C;
        const int64_t in = layer.in_degrees * layer.in_degrees;
        share(pairs.n, PAIRS, [&](int64_t q, int64_t end) {
            radial_network<T>(t, layer, q, end, {radial, slopes}, wide, widest,
                              {s.hidden, s.slopes});
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

    Nonlinear<T> nonlinear(int64_t k) const {
        return {t, t.layers[k], t.blocks[k], pairs, directions};
    }
    PairNetwork<T> network(const FusedPairNetwork &f) const {
        return {t, f, pairs, directions, species, {radial, slopes}, {envelope, falls}};
    }

    void forward_nonlinear(int64_t k) {
        const FusedBlock &block = t.blocks[k];
        const Saved &s = saved[k];
        const Messages<T> sum = messages_of(k);
        const Nonlinear<T> step = nonlinear(k);
        const PairNetwork<T> weigh = network(block.radial), near = network(block.density);
        const int64_t H = t.layers[k].n_hidden, width = sum.width();
        couple(block.couplings, block.angular_width);
        share(pairs.n, TILE, [&](int64_t q, int64_t end) {
            T *room = own[omp_get_thread_num()].rows;
            weigh.hidden(q, end, room, widest, s.hidden, s.slopes);
            near.densities(q, end, room, widest, s.nearness, s.changes);
            const int64_t r = directions.first[q];
            if (kept)
                weigh.last(directions.first[end] - r, [&](int64_t x) { return r + x; },
                           s.hidden + r * H, width, s.weights + r * width);
        });
        share(n, ATOMS, [&](int64_t i, int64_t end) {
            step.send(i, end, false, s.features, s.senders);
        });
        share(n, ATOMS, [&](int64_t begin, int64_t end) {
            const Own &mine = own[omp_get_thread_num()];
            for (int64_t i = begin; i < end; ++i) {
                const int32_t *rows = directions.of + pairs.first[i];
                const int64_t count = pairs.first[i + 1] - pairs.first[i];
                if (kept) {
                    sum.collect(i, angular, s.weights, rows, s.senders, messages);
                    continue;
                }
                for (int64_t e = 0; e < count; ++e) {
                    mine.places[e] = int32_t(e);
                    std::memcpy(mine.rows + e * H, s.hidden + rows[e] * H, H * sizeof(T));
                }
                weigh.last(count, [&](int64_t x) { return rows[x]; }, mine.rows, width,
                           mine.weights);
                sum.collect(i, angular, mine.weights, mine.places, s.senders, messages);
            }
            for (int64_t l = 0; l < t.n_degrees; ++l)
                product_of_rows(false, begin, end, rows_of(sum, l), as(t.layers[k].mix.of[l]),
                                step.of_mixed(s.divided, l));
            step.divide(begin, end, s.nearness, s.senders, s.divided, s.shares, s.mixed);
            step.to_basis(begin, end, s.mixed, opened, s.basis);
            update(begin, end, k);
        });
    }

    void backward_nonlinear(int64_t k) {
        const FusedLayer &layer = t.layers[k];
        const FusedBlock &block = t.blocks[k];
        const Saved &s = saved[k];
        const Messages<T> sum = messages_of(k);
        const Nonlinear<T> step = nonlinear(k);
        const PairNetwork<T> weigh = network(block.radial);
        const int64_t in = layer.in_degrees * layer.in_degrees;
        const int64_t out = layer.out_degrees * layer.out_degrees;
        clear(sum);
        share(n, ATOMS, [&](int64_t begin, int64_t end) {
            update_back(begin, end, k);
            step.to_basis_back(begin, end, s.mixed, by_basis, opened, by_mixed);
            if (k > 0) step.residual_back(begin, end, by_mixed, own[0].by_senders);
            step.divide_back(begin, end, s.divided, s.shares, by_mixed, by_density);
            for (int64_t l = 0; l < t.n_degrees; ++l)
                product_of_rows(false, begin, end, step.of_mixed(by_mixed, l),
                                as(layer.mix.back[l]), rows_of(sum, l));
        });
        if (k + 1 < t.n_layers) couple(block.couplings, block.angular_width);
        share(pairs.n, TILE, [&](int64_t q, int64_t end) {
            spread_directed(q, end, k, weigh, sum);
            step.spread_density(q, end, by_density, s.changes, by_distance);
        });
        if (k == 0) return;
        share(n, ATOMS, [&](int64_t i, int64_t end) {
            step.send(i, end, true, by_next, by_senders(i, end, sum));
            for (int64_t l = 0; l < shared_degrees(k); ++l)
                add_skipped(i, end, layer, true, rows_of(by_features, l, out),
                            rows_of(by_next, l, in));
        });
        std::swap(by_features, by_next);
    }

    void spread_directed(int64_t begin, int64_t end, int64_t k, const PairNetwork<T> &weigh,
                         const Messages<T> &sum) {
        const Saved &s = saved[k];
        const Own &mine = own[omp_get_thread_num()];
        const int64_t width = sum.width(), coupled = sum.route.angular_width;
        const int64_t r0 = directions.first[begin], r1 = directions.first[end];
        const T *weights = s.weights + r0 * width;
        if (!kept) {
            weigh.last(r1 - r0, [&](int64_t x) { return r0 + x; },
                       s.hidden + r0 * t.layers[k].n_hidden, width, mine.weights);
            weights = mine.weights;
        }
        for (int64_t q = begin; q < end; ++q) {
            const int64_t at = (directions.first[q] - r0) * width;
            const auto spread = directions.differ(q) ? &Messages<T>::template spread<true>
                                                     : &Messages<T>::template spread<false>;
            (sum.*spread)(q, angular, weights + at, s.senders, messages, mine.by_weights + at,
                          mine.by_angular + (q - begin) * coupled, mine.by_senders, mine.squares);
        }
        product(true, end - begin, coupled, t.harmonic_width, mine.by_angular, coupled,
                as(t.blocks[k].couplings_t), by_harmonics + begin * t.harmonic_width,
                t.harmonic_width);
        weigh.last_back(r0, r1, mine.by_weights, width, s.slopes, mine.rows, by_distance);
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
        const int64_t H = layer.n_hidden, width = sum.width();
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
        const int64_t R = t.n_readout, size = (end - begin) * R;
        const T scale = T(t.scale), *out = as(t.last);
        T *rows = own[omp_get_thread_num()].rows, *slopes = rows + size, *last = rows + 2 * size;
        product(false, end - begin, C, R, scalars + ((t.n_layers - 1) * n + begin) * C, C,
                as(t.hidden), rows, R);
        if (t.middle) {
            for (int64_t c = 0; c < size; c += W) {
                V slope;
                store(rows + c, silu<T>(load<V>(rows + c), slope));
                store(slopes + c, slope);
            }
            for (int64_t r = 0; r < size; r += R)
                std::memcpy(last + r, t.middle_bias, R * sizeof(T));
            product(true, end - begin, R, R, rows, R, as(t.middle), last, R);
        } else last = rows;
        for (int64_t i = begin; i < end; ++i) {
            T *row = last + (i - begin) * R;
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
            if (t.read_initial) d.energies[i] += read_initial(i);
        }
        if (!derive) return;
        if (t.middle) {
            product(false, end - begin, R, R, last, R, as(t.middle_t), rows, R);
            for (int64_t c = 0; c < size; c += W)
                store(rows + c, V(load<V>(rows + c) * load<V>(slopes + c)));
        }
        product(false, end - begin, R, C, rows, R, as(t.hidden_t), by_features + begin * C, C);
    }

    // What is read from the features that an atom starts from, which has no gradient.
    double read_initial(int64_t i) const {
        V total = {};
        for (int64_t c = 0; c < C; c += W)
            total += load<V>(saved[0].features + i * C + c) * load<V>(as(t.read_initial) + c);
        return double(sum<T, W>(total));
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
        clear(sum);
        share(pairs.n, TILE, [&](int64_t q, int64_t end) {
            spread_messages(q, end, layer, s, sum);
            if (layer.density) density.spread(q, end, by_density, s.changes, by_distance);
        });
        share(n, ATOMS, [&](int64_t i, int64_t end) {
            T *total = by_senders(i, end, sum);
            map_all(i, end, layer.sender, true, layer.in_degrees, total, in, by_next, in);
            for (int64_t l = 0; l < shared_degrees(k); ++l)
                add_skipped(i, end, layer, true, rows_of(by_features, l, out),
                            rows_of(by_next, l, in));
        });
        std::swap(by_features, by_next);
    }

    // Empties what threads add to when they spread gradients over pairs.
    void clear(const Messages<T> &sum) {
        for (int64_t thread = 0; thread < d.n_threads; ++thread) {
            std::memset(own[thread].squares, 0, sum.route.angular_width * W * sizeof(T));
            std::memset(own[thread].by_senders, 0, n * sum.sender_row() * sizeof(T));
        }
    }

    // The gradient by what some atoms send, of all threads.
    T *by_senders(int64_t begin, int64_t end, const Messages<T> &sum) {
        T *total = own[0].by_senders;
        const int64_t row = sum.sender_row();
        for (int64_t thread = 1; thread < d.n_threads; ++thread)
            for (int64_t c = begin * row; c < end * row; c += W)
                add(total + c, load<V>(own[thread].by_senders + c));
        return total;
    }

    // Gradients from those by a layer's result to those by its atomic basis.
    void update_back(int64_t begin, int64_t end, int64_t k) {
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
    }

    // Gradients from those by a layer's result to those by its sums over neighbours.
    void to_sums(int64_t begin, int64_t end, int64_t k, const Messages<T> &sum) {
        const FusedLayer &layer = t.layers[k];
        update_back(begin, end, k);
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
            sum.spread<false>(first + q, angular, weights + q * width, s.senders, messages,
                                       mine.by_weights + q * width,
                                       mine.by_angular + q * t.angular_width, mine.by_senders,
                                       mine.squares);
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
};

} // namespace

extern "C" {

int64_t tlpot_fused_lanes() { return LANES<TLPOT_SCALAR>; }

int64_t tlpot_fused(const FusedTables *t, FusedData *d) {
    Call call(*t, *d);
    const int64_t needed = call.divide(nullptr);
    if (needed > d->room) {
        d->room = needed;
        return NEEDS_ROOM;
    }
    call.divide(d->scratch);
    return call.run();
}
}
