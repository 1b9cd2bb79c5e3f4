// What a fused call works on: the arrays of all layers, in one piece of memory.

#pragma once

#include "messages.hpp"
#include "nonlinear.hpp"

#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num() { return 0; }
#endif

namespace tlpot {

constexpr int64_t ATOMS = 32, PAIRS = 64; // in a piece
constexpr int64_t TILE = 16;              // pairs whose gradients are taken together
constexpr int MOST_LAYERS = 8, MOST_ELEMENTS = 128;

struct Memory {
    typedef TLPOT_SCALAR T;
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>;

    const FusedTables &t;
    const FusedData &d;
    const int64_t n, M, C; // atoms, components of the atomic basis, channels
    const bool derive;
    bool kept; // whether all radial weights are held
    Pairs pairs;
    Directions directions; // where layers are non-linear
    int32_t *species, *kinds, *order; // of each atom; order is by element within a piece
    int32_t present[MOST_ELEMENTS], kind_of[MOST_ELEMENTS]; // elements that occur, and back
    int64_t n_kinds = 0;
    double *vectors, *by_vectors, *by_distance, *radii;
    T *harmonics, *radial, *slopes, *envelope, *falls, *angular, *by_harmonics;
    T *sums, *messages, *products, *scalars, *wide[4];
    T *by_features, *by_next, *by_basis, *by_products, *by_density;
    T *by_mixed, *opened; // of non-linear layers
    int64_t widest; // row of a radial network
    // What a layer is given and the way back reads again.
    struct Saved {
        T *features, *senders, *basis, *hidden, *slopes, *weights;
        T *nearness, *changes, *shares; // of pairs in densities; one over those of atoms
        T *divided, *mixed;             // see nonlinear.hpp
    } saved[MOST_LAYERS + 1];
    // What a thread has for itself; its weights are of a few pairs.
    struct Own {
        int32_t *places;
        T *weights, *rows, *by_weights, *by_angular, *squares, *by_senders, *gathered;
    } *own;

    Memory(const FusedTables &tables, const FusedData &data)
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
        const int64_t E = d.n_edges, Q = E / 2;
        // rows of radial weights, and the most that are together
        const auto element_of = [&](int64_t i) { return element(i); };
        const int64_t N = t.blocks ? Directions::count(d, element_of) : Q;
        const int64_t tile = t.blocks ? 2 * TILE : TILE, some = std::max(most_edges(), tile);
        pairs = {0, a.take<int32_t>(Q), a.take<int32_t>(Q), a.take<int32_t>(Q),
                 a.take<int32_t>(E), a.take<int32_t>(E), a.take<int64_t>(n + 1)};
        if (t.blocks)
            directions = {a.take<int32_t>(Q + 1), a.take<int32_t>(N), a.take<int32_t>(E)};
        for (int32_t **x : {&species, &kinds, &order}) *x = a.take<int32_t>(n);
        for (double **x : {&vectors, &by_vectors}) *x = a.take<double>(3 * Q);
        by_distance = a.take<double>(Q);
        radii = a.take<double>(t.transform == NO_TRANSFORM ? 0 : Q);
        for (T **x : {&harmonics, &by_harmonics}) *x = a.take<T>(Q * t.harmonic_width);
        for (T **x : {&radial, &slopes}) *x = a.take<T>(Q * t.basis_width);
        for (T **x : {&envelope, &falls}) *x = a.take<T>(t.blocks ? Q : 0);
        int64_t width = 0, weights = 0, row = 0, sent = 0, coupled = 0;
        int64_t deep = 0, apart = 0, dense = t.blocks ? n : 0;
        widest = t.basis_width;
        for (int64_t k = 0; k < t.n_layers; ++k) {
            const FusedLayer &layer = t.layers[k];
            const Messages<T> shape = messages_of(k);
            width = std::max(width, shape.width()), row = std::max(row, shape.row);
            sent = std::max(sent, shape.sender_row());
            coupled = std::max(coupled, shape.route.angular_width);
            if (t.blocks || k > 0) weights += shape.width();
            deep |= layer.n_radial > 1;
            for (int64_t r = 0; r < layer.n_radial; ++r)
                widest = std::max(widest, layer.radial_widths[r]);
            if (t.blocks) widest = std::max(widest, Nonlinear<T>::widest(t.blocks[k]));
            if (layer.density) dense = n;
            for (const FusedMaps *maps : {&layer.mix, &layer.skip})
                for (int64_t l = 0; l < t.n_degrees && maps->kinds > 1; ++l)
                    apart = std::max(apart, (2 * l + 1) * (shape.paths[l] + 1) * C);
        }
        angular = a.take<T>(Q * coupled);
        kept = N * weights <= t.most_kept;
        const int64_t mixed = t.blocks ? n * Nonlinear<T>::mixed_row(t) : 0;
        for (int64_t k = 0; k < t.n_layers; ++k) {
            const FusedLayer &layer = t.layers[k];
            const bool held = kept && (t.blocks || k > 0);
            const int64_t terms = t.blocks ? N : layer.density ? Q : 0;
            saved[k] = {a.take<T>(n * layer.in_degrees * layer.in_degrees * C),
                        a.take<T>(n * messages_of(k).sender_row()),
                        a.take<T>(n * M * C),
                        a.take<T>(N * layer.n_hidden),
                        a.take<T>(N * layer.n_hidden),
                        a.take<T>(held ? N * messages_of(k).width() : 0),
                        a.take<T>(terms),
                        a.take<T>(terms),
                        a.take<T>(t.blocks || layer.density ? n : 0),
                        a.take<T>(mixed),
                        a.take<T>(mixed)};
        }
        saved[t.n_layers].features = a.take<T>(n * C);
        sums = a.take<T>(t.blocks ? 0 : n * M * t.layers[0].n_hidden * n_kinds);
        messages = a.take<T>(n * row);
        by_density = a.take<T>(dense);
        by_mixed = a.take<T>(mixed);
        opened = a.take<T>(t.blocks ? n * M * C : 0);
        scalars = d.invariants ? static_cast<T *>(d.invariants) : a.take<T>(n * t.n_layers * C);
        for (T **x : {&products, &by_features, &by_next, &by_basis, &by_products})
            *x = a.take<T>(n * M * C);
        for (T *&x : wide) x = a.take<T>(deep ? Q * widest : 0);
        own = a.take<Own>(d.n_threads);
        const int64_t rows = std::max((t.blocks ? std::max(some, 4 * tile) : some) * widest,
                                      ATOMS * std::max(3 * t.n_readout, C));
        for (int64_t k = 0; k < d.n_threads; ++k) {
            const Own mine = {a.take<int32_t>(some),        a.take<T>(kept ? 0 : some * width),
                              a.take<T>(rows),              a.take<T>(tile * width),
                              a.take<T>(TILE * coupled),    a.take<T>(coupled * W),
                              a.take<T>(n * sent),          a.take<T>(RUN * apart)};
            if (memory) own[k] = mine;
        }
        return a.used();
    }

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

    Messages<T> messages_of(int64_t k) const {
        const Paths route =
            t.blocks ? Paths{t.blocks[k].n_paths, t.blocks[k].angular_width, t.blocks[k].n_sent,
                             t.blocks[k].paths}
                     : Paths{t.n_paths, t.angular_width, C, t.paths};
        return {t, d, pairs, route, harmonics, kinds, n_kinds};
    }
};

} // namespace tlpot
