// A force call in one piece: from positions and edges to energies, forces and virial.
//
// Networks of tlpot only. The way back is written by hand, layer by layer; there is one thread.

#include "geometry.hpp"
#include "messages.hpp"

using namespace tlpot;

namespace {

constexpr int64_t TILE = 16; // pairs whose gradients are taken together
constexpr int MOST_LAYERS = 8;

template <class T> class Call {
    typedef Lanes<T> V;
    static constexpr int W = LANES<T>;

    const FusedTables &t;
    const FusedData &d;
    const int64_t n, M, C; // atoms, components of the atomic basis, channels
    const bool derive;
    bool kept; // whether all radial weights are held
    Pairs pairs;
    int32_t *species, *rows;
    double *vectors, *by_vectors, *by_distance;
    T *harmonics, *radial, *slopes, *angular, *by_harmonics;
    T *sums, *messages, *products, *scalars, *wide[4];
    T *weights, *gathered, *by_weights, *by_angular, *squares; // of a few pairs
    T *by_features, *by_next, *by_senders, *by_basis, *by_products;
    // What a layer is given and the way back reads again.
    struct Saved {
        T *features, *senders, *basis, *hidden, *slopes, *weights;
    } saved[MOST_LAYERS + 1];

  public:
    Call(const FusedTables &tables, const FusedData &data)
        : t(tables), d(data), n(data.n_atoms), M(tables.n_degrees * tables.n_degrees),
          C(tables.n_channels), derive(data.forces || data.virial) {}

    // Divides the scratch memory; returns how much it takes.
    int64_t divide(void *memory) {
        Arena a(memory);
        const int64_t E = d.n_edges, Q = E / 2, width = t.n_paths * C;
        const int64_t some = std::max(most_edges(), TILE);
        pairs = {0, a.take<int32_t>(Q), a.take<int32_t>(Q), a.take<int32_t>(Q),
                 a.take<int32_t>(E), a.take<int32_t>(E), a.take<int64_t>(n + 1)};
        species = a.take<int32_t>(n);
        rows = a.take<int32_t>(some);
        for (double **x : {&vectors, &by_vectors}) *x = a.take<double>(3 * Q);
        by_distance = a.take<double>(Q);
        for (T **x : {&harmonics, &by_harmonics}) *x = a.take<T>(Q * t.harmonic_width);
        for (T **x : {&radial, &slopes}) *x = a.take<T>(Q * t.basis_width);
        angular = a.take<T>(Q * t.angular_width);
        kept = Q * width * (t.n_layers - 1) <= t.most_kept;
        int64_t widest = t.basis_width, deep = 0;
        for (int64_t k = 0; k < t.n_layers; ++k) {
            const FusedLayer &layer = t.layers[k];
            const int64_t row = layer.in_degrees * layer.in_degrees * C;
            deep |= layer.n_radial > 1;
            for (int64_t r = 0; r < layer.n_radial; ++r)
                widest = std::max(widest, layer.radial_widths[r]);
            saved[k] = {a.take<T>(n * row),           a.take<T>(n * row),
                        a.take<T>(n * M * C),         a.take<T>(Q * layer.n_hidden),
                        a.take<T>(Q * layer.n_hidden), a.take<T>(kept && k > 0 ? Q * width : 0)};
        }
        saved[t.n_layers].features = a.take<T>(n * C);
        sums = a.take<T>(n * M * t.layers[0].n_hidden * t.n_elements);
        messages = a.take<T>(n * Messages<T>(t, d, pairs, nullptr, nullptr).row);
        scalars = d.invariants ? static_cast<T *>(d.invariants) : a.take<T>(n * t.n_layers * C);
        for (T **x : {&products, &by_features, &by_next, &by_senders, &by_basis, &by_products})
            *x = a.take<T>(n * M * C);
        for (T *&x : wide) x = a.take<T>(deep ? Q * widest : 0);
        weights = a.take<T>(kept ? 0 : some * width);
        gathered = a.take<T>(std::max(some * widest, n * std::max(t.n_readout, C)));
        by_weights = a.take<T>(TILE * width);
        by_angular = a.take<T>(TILE * t.angular_width);
        squares = a.take<T>(t.angular_width * W);
        return a.used();
    }

    FusedStatus run() {
        for (int64_t i = 0; i < n; ++i) {
            const int64_t z = d.atomic_numbers[i];
            species[i] = z < 0 || z >= t.n_numbers ? -1 : int32_t(t.species[z]);
            if (species[i] < 0) return UNKNOWN_ELEMENT;
        }
        for (int64_t s = 0; s < d.n_systems; ++s)
            if (d.charge[s] != 0 || d.spin[s] != 1) return CHARGED;
        if (!find_pairs(d, pairs)) return ONE_WAY;
        pair_vectors(d, pairs, vectors);
        embed_pairs(t, pairs.n, vectors, harmonics, radial, slopes);
        if (t.n_layers > 1)
            product(false, pairs.n, t.harmonic_width, t.angular_width, harmonics, t.harmonic_width,
                    as(t.couplings), angular, t.angular_width);
        const Messages<T> sum(t, d, pairs, harmonics, species);
        for (int64_t k = 0; k < t.n_layers; ++k) forward(k, sum);
        std::memset(by_distance, 0, pairs.n * sizeof(double));
        std::memset(by_harmonics, 0, pairs.n * t.harmonic_width * sizeof(T));
        std::memset(squares, 0, t.angular_width * W * sizeof(T));
        read_out();
        if (t.numbers) repulsion(t, d, pairs, species, vectors, by_distance);
        std::memset(d.energy, 0, d.n_systems * sizeof(double));
        for (int64_t i = 0; i < n; ++i) d.energy[d.system[i]] += d.energies[i];
        if (!derive) return SERVED;
        for (int64_t k = t.n_layers - 1; k >= 0; --k) backward(k, sum);
        embed_back(t, pairs.n, vectors, by_harmonics, by_distance, by_vectors);
        forces_and_virial(d, pairs, vectors, by_vectors);
        return SERVED;
    }

  private:
    static const T *as(const void *x) { return static_cast<const T *>(x); }

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
        radial_network(layer, s.hidden, s.slopes);
        if (k == 0) sum_by_element(layer, s, sum);
        else sum_messages(layer, s, sum);
        const Polynomials<T> polynomials{t, layer};
        const int64_t out = layer.out_degrees * layer.out_degrees;
        for (int64_t i = 0; i < n; ++i)
            polynomials.values(s.basis + i * M * C, species[i], products + i * out * C);
        T *next = saved[k + 1].features;
        map(layer.update, layer.out_degrees, products, out, next, out);
        for (int64_t l = 0; l < shared_degrees(k); ++l)
            for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m) {
                const int64_t in = layer.in_degrees * layer.in_degrees;
                product(false, n, C, C, s.features + m * C, in * C, as(layer.skip[l]), gathered, C);
                add_gained(layer, gathered, C, next + m * C, out * C, true);
            }
        for (int64_t i = 0; i < n; ++i)
            std::memcpy(scalars + (k * n + i) * C, next + i * out * C, C * sizeof(T));
    }

    void sum_by_element(const FusedLayer &layer, const Saved &s, const Messages<T> &sum) {
        const int64_t H = layer.n_hidden, Z = t.n_elements;
        sum.by_element(H, s.hidden, sums);
        for (int64_t l = 0; l < t.n_degrees; ++l)
            for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m)
                product(false, n, Z * H, C, sums + m * Z * H, M * Z * H, as(layer.mix[l]),
                        s.basis + m * C, M * C);
    }

    void sum_messages(const FusedLayer &layer, const Saved &s, const Messages<T> &sum) {
        const int64_t H = layer.n_hidden, width = t.n_paths * C;
        map(layer.sender, layer.in_degrees, s.features, layer.in_degrees * layer.in_degrees,
            s.senders, layer.in_degrees * layer.in_degrees);
        if (kept) product(false, pairs.n, H, width, s.hidden, H, as(layer.last), s.weights, width);
        for (int64_t i = 0; i < n; ++i) {
            const int64_t e0 = pairs.first[i], count = pairs.first[i + 1] - e0;
            if (kept) {
                sum.collect(i, angular, s.weights, pairs.of + e0, s.senders, messages);
                continue;
            }
            for (int64_t e = 0; e < count; ++e) {
                rows[e] = int32_t(e);
                std::memcpy(gathered + e * H, s.hidden + pairs.of[e0 + e] * H, H * sizeof(T));
            }
            product(false, count, H, width, gathered, H, as(layer.last), weights, width);
            sum.collect(i, angular, weights, rows, s.senders, messages);
        }
        for (int64_t l = 0; l < t.n_degrees; ++l) {
            const int64_t in = sum.paths[l] * C;
            for (int64_t m = 0; m < 2 * l + 1; ++m)
                product(false, n, in, C, messages + sum.from[l] + m * in, sum.row, as(layer.mix[l]),
                        s.basis + (l * l + m) * C, M * C);
        }
    }

    // Energies of the atoms, and their gradient by the last layer's invariants.
    void read_out() {
        const int64_t R = t.n_readout;
        const T scale = T(t.scale);
        const T *last = scalars + (t.n_layers - 1) * n * C, *out = as(t.last);
        product(false, n, C, R, last, C, as(t.hidden), gathered, R);
        for (int64_t i = 0; i < n; ++i) {
            V total = {};
            for (int64_t c = 0; c < R; c += W) {
                V slope;
                total += silu(load<V>(gathered + i * R + c), slope) * load<V>(out + c);
                store(gathered + i * R + c, V(slope * load<V>(out + c) * scale));
            }
            for (int64_t k = 0; k + 1 < t.n_layers; ++k)
                for (int64_t c = 0; c < C; c += W)
                    total += load<V>(scalars + (k * n + i) * C + c) *
                             load<V>(as(t.linear) + k * C + c);
            d.energies[i] = t.references[species[i]] + double(sum<T, W>(total) * scale);
        }
        if (derive) product(false, n, R, C, gathered, R, as(t.hidden_t), by_features, C);
    }

    void backward(int64_t k, const Messages<T> &sum) {
        const FusedLayer &layer = t.layers[k];
        const Saved &s = saved[k];
        const int64_t out = layer.out_degrees * layer.out_degrees;
        for (int64_t i = 0; i < n && k + 1 < t.n_layers; ++i)
            for (int64_t c = 0; c < C; c += W)
                add(by_features + i * out * C + c, V(load<V>(as(t.linear) + k * C + c) * T(t.scale)));
        map(layer.update_t, layer.out_degrees, by_features, out, by_products, out);
        const Polynomials<T> polynomials{t, layer};
        for (int64_t i = 0; i < n; ++i)
            polynomials.back(s.basis + i * M * C, species[i], by_products + i * out * C,
                             by_basis + i * M * C);
        if (k == 0) {
            const int64_t H = layer.n_hidden, Z = t.n_elements;
            for (int64_t l = 0; l < t.n_degrees; ++l)
                for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m)
                    product(false, n, C, Z * H, by_basis + m * C, M * C, as(layer.mix_t[l]),
                            sums + m * Z * H, M * Z * H);
            sum.by_element_back(H, s.hidden, s.slopes, sums, by_harmonics, by_distance);
            return;
        }
        spread_messages(layer, s, sum);
        const int64_t in = layer.in_degrees * layer.in_degrees;
        map(layer.sender_t, layer.in_degrees, by_senders, in, by_next, in);
        for (int64_t l = 0; l < shared_degrees(k); ++l)
            for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m) {
                add_gained(layer, by_features + m * C, out * C, gathered, C, false);
                product(true, n, C, C, gathered, C, as(layer.skip_t[l]), by_next + m * C, in * C);
            }
        std::swap(by_features, by_next);
    }

    void spread_messages(const FusedLayer &layer, const Saved &s, const Messages<T> &sum) {
        const int64_t H = layer.n_hidden, width = t.n_paths * C;
        for (int64_t l = 0; l < t.n_degrees; ++l) {
            const int64_t in = sum.paths[l] * C;
            for (int64_t m = 0; m < 2 * l + 1; ++m)
                product(false, n, C, in, by_basis + (l * l + m) * C, M * C, as(layer.mix_t[l]),
                        messages + sum.from[l] + m * in, sum.row);
        }
        std::memset(by_senders, 0, n * sum.sender_row() * sizeof(T));
        for (int64_t first = 0; first < pairs.n; first += TILE) {
            const int64_t count = std::min(TILE, pairs.n - first);
            const T *held = s.weights + first * width;
            if (!kept) {
                product(false, count, H, width, s.hidden + first * H, H, as(layer.last), weights,
                        width);
                held = weights;
            }
            for (int64_t q = 0; q < count; ++q)
                sum.spread(first + q, angular, held + q * width, s.senders, messages,
                           by_weights + q * width, by_angular + q * t.angular_width, by_senders,
                           squares);
            product(true, count, t.angular_width, t.harmonic_width, by_angular, t.angular_width,
                    as(t.couplings_t), by_harmonics + first * t.harmonic_width, t.harmonic_width);
            product(false, count, width, H, by_weights, width, as(layer.last_t), gathered, H);
            for (int64_t q = 0; q < count; ++q) {
                V along = {};
                for (int64_t h = 0; h < H; h += W)
                    along += load<V>(gathered + q * H + h) * load<V>(s.slopes + (first + q) * H + h);
                by_distance[first + q] += double(tlpot::sum<T, W>(along));
            }
        }
    }

    // Maps each degree of the atoms' features by its matrix; `in` and `out` are components of rows.
    void map(const void *const *matrices, int64_t degrees, const T *x, int64_t in, T *y,
             int64_t out) const {
        for (int64_t l = 0; l < degrees; ++l)
            for (int64_t m = l * l; m < (l + 1) * (l + 1); ++m)
                product(false, n, C, C, x + m * C, in * C, as(matrices[l]), y + m * C, out * C);
    }

    int64_t shared_degrees(int64_t k) const {
        return k == 0 ? 0 : std::min(t.layers[k].in_degrees, t.layers[k].out_degrees);
    }

    // y (+)= gain of each atom's element · x
    void add_gained(const FusedLayer &layer, const T *x, int64_t from, T *y, int64_t to,
                    bool more) const {
        for (int64_t i = 0; i < n; ++i) {
            const T *gain = as(layer.gain) + species[i] * C;
            for (int64_t c = 0; c < C; c += W) {
                const V value = load<V>(gain + c) * load<V>(x + i * from + c);
                if (more) add(y + i * to + c, value);
                else store(y + i * to + c, value);
            }
        }
    }

    // Hidden radial values of all pairs and their derivatives by distance.
    void radial_network(const FusedLayer &layer, T *hidden, T *changes) const {
        const T *x = radial, *dx = slopes;
        int64_t in = t.basis_width;
        if (layer.n_radial == 0) {
            std::memcpy(hidden, x, pairs.n * in * sizeof(T));
            std::memcpy(changes, dx, pairs.n * in * sizeof(T));
        }
        for (int64_t k = 0; k < layer.n_radial; ++k) {
            const int64_t out = layer.radial_widths[k];
            const bool last = k + 1 == layer.n_radial;
            T *y = last ? hidden : wide[2 * (k % 2)], *dy = last ? changes : wide[2 * (k % 2) + 1];
            product(false, pairs.n, in, out, x, in, as(layer.radial[k]), y, out);
            product(false, pairs.n, in, out, dx, in, as(layer.radial[k]), dy, out);
            for (int64_t c = 0; c < pairs.n * out; c += W) {
                V slope;
                store(y + c, silu(load<V>(y + c), slope));
                store(dy + c, V(slope * load<V>(dy + c)));
            }
            x = y, dx = dy, in = out;
        }
    }

    static V silu(const V &x, V &slope) {
        constexpr T scale = T(1.6765); // SILU_SCALE in tlpot.nn
        const V s = T(1) / (T(1) + exponential<T>(-x));
        slope = scale * s * (T(1) + x * (T(1) - s));
        return scale * x * s;
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
