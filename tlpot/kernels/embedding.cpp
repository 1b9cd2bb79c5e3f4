// Spherical harmonics and radial basis of edge vectors and their first and second derivatives.
//
// The functions are written once, for any type of number. Derivatives come from numbers that
// carry them: one with a gradient by x, y, z, and one whose parts each carry a change along a
// given direction besides. All is done in double precision: it costs little, and the network then
// starts from exact numbers.

#include <cmath>

#include "vector.hpp"

using namespace tlpot;

struct EmbeddingTables {
    int64_t n_basis, power, n_harmonics, n_entries;
    double cutoff;
    const int32_t *entries; // [n_entries, 2]: harmonic, monomial
    const double *values;   // [n_entries]
};

struct EmbeddingData {
    int64_t n_edges, n_threads;
    const double *vectors, *d_vectors; // [n_edges, 3]
    const void *grad_harmonics, *grad_radial;
    void *harmonics, *radial; // [n_edges, n_harmonics], [n_edges, n_basis]
    double *grad_vectors;     // [n_edges, 3]
};

namespace {

constexpr int MAX_BASIS = 64, N_MONOMIALS = 20, MAX_HARMONICS = 16;

// A number v with N derivatives d; the parts may be such numbers themselves.
template <class I, int N> struct Dual {
    I v;
    I d[N];
};

template <class T> struct IsDual : std::false_type {};
template <class I, int N> struct IsDual<Dual<I, N>> : std::true_type {};

template <class I, int N> inline Dual<I, N> operator+(const Dual<I, N> &a, const Dual<I, N> &b) {
    Dual<I, N> c{a.v + b.v, {}};
    for (int k = 0; k < N; ++k) c.d[k] = a.d[k] + b.d[k];
    return c;
}
template <class I, int N> inline Dual<I, N> operator*(const Dual<I, N> &a, const Dual<I, N> &b) {
    Dual<I, N> c{a.v * b.v, {}};
    for (int k = 0; k < N; ++k) c.d[k] = a.v * b.d[k] + a.d[k] * b.v;
    return c;
}
// times a plain number or vector of numbers
template <class V, class S, class = std::enable_if_t<!IsDual<V>::value>>
inline V scaled(const V &a, const S &s) {
    return a * s;
}
template <class I, int N, class S> inline Dual<I, N> scaled(const Dual<I, N> &a, const S &s) {
    Dual<I, N> c{scaled(a.v, s), {}};
    for (int k = 0; k < N; ++k) c.d[k] = scaled(a.d[k], s);
    return c;
}

template <int W> struct Maths {
    typedef double T;
    typedef typename Vector<T, W>::type V;

    template <class F> static V each(const V &a, F &&f) {
        T lanes[W];
        std::memcpy(lanes, &a, sizeof(lanes));
        for (int k = 0; k < W; ++k) lanes[k] = f(lanes[k]);
        return load<V>(lanes);
    }

    static V root(const V &a) { return each(a, [](T x) { return std::sqrt(x); }); }
    static V inverse(const V &a) { return (V{} + T(1)) / a; }
    static V sine(const V &a) { return each(a, [](T x) { return std::sin(x); }); }
    static V cosine(const V &a) { return each(a, [](T x) { return std::cos(x); }); }

    template <class I, int N> static Dual<I, N> chain(const Dual<I, N> &a, const I &f, const I &df) {
        Dual<I, N> c{f, {}};
        for (int k = 0; k < N; ++k) c.d[k] = df * a.d[k];
        return c;
    }
    template <class I, int N> static Dual<I, N> inverse(const Dual<I, N> &a) {
        const I f = inverse(a.v);
        return chain(a, f, scaled(f * f, T(-1)));
    }
    template <class I, int N> static Dual<I, N> root(const Dual<I, N> &a) {
        const I f = root(a.v);
        return chain(a, f, scaled(inverse(f), T(0.5)));
    }
    template <class I, int N> static Dual<I, N> sine(const Dual<I, N> &a) {
        return chain(a, sine(a.v), cosine(a.v));
    }
    template <class I, int N> static Dual<I, N> cosine(const Dual<I, N> &a) {
        return chain(a, cosine(a.v), scaled(sine(a.v), T(-1)));
    }

    // All harmonics and radial functions of a block of vectors.
    template <class S>
    static void embed(const EmbeddingTables &t, const S *r, const V &inside, S *Y, S *B) {
        const S distance = root(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
        const S over = inverse(distance);
        const S x = r[0] * over, y = r[1] * over, z = r[2] * over;
        const S xx = x * x, xy = x * y, yy = y * y, zz = z * z;
        const S monomials[N_MONOMIALS] = {
            S{},    x,      y,      z,      xx,     xy,     x * z,  yy,     y * z,  zz,
            xx * x, xx * y, xx * z, x * yy, xy * z, x * zz, yy * y, yy * z, y * zz, zz * z};
        for (int m = 0; m < t.n_harmonics; ++m) Y[m] = S{};
        for (int64_t k = 0; k < t.n_entries; ++k) {
            const int32_t *entry = t.entries + 2 * k;
            // the constant harmonic has no derivatives, which S{} has none of either
            if (entry[1] == 0) set(Y[entry[0]], V{} + T(t.values[k]));
            else Y[entry[0]] = Y[entry[0]] + scaled(monomials[entry[1]], T(t.values[k]));
        }

        const S u = scaled(distance, T(1.0 / t.cutoff));
        const double p = double(t.power);
        S up = u;
        for (int64_t k = 1; k < t.power; ++k) up = up * u;
        const S up1 = up * u;
        S fade = scaled(up, T(-0.5 * (p + 1.0) * (p + 2.0))) + scaled(up1, T(p * (p + 2.0))) +
                 scaled(up1 * u, T(-0.5 * p * (p + 1.0)));
        S one = S{};
        set(one, V{} + T(1));
        const S weight = scaled((fade + one) * over, inside);
        const S angle = scaled(u, T(3.14159265358979323846));
        const S twice = scaled(cosine(angle), T(2));
        S before = S{}, now = sine(angle);
        for (int64_t n = 0; n < t.n_basis; ++n) {
            B[n] = now * weight;
            const S next = twice * now + scaled(before, T(-1));
            before = now;
            now = next;
        }
    }

    static void set(V &to, const V &value) { to = value; }
    template <class I, int N> static void set(Dual<I, N> &to, const V &value) {
        set(to.v, value);
    }
};

// A block of rows [count, n] as n vectors, and back; missing rows repeat the first.
template <int W, class V, class T>
inline void columns(V *to, const T *from, int64_t n, int64_t count) {
    for (int64_t m = 0; m < n; ++m) {
        double lanes[W];
        for (int k = 0; k < W; ++k) lanes[k] = double(from[(k < count ? k : 0) * n + m]);
        to[m] = load<V>(lanes);
    }
}
template <int W, class V, class T>
inline void put(T *to, const V &value, int64_t m, int64_t n, int64_t count) {
    double lanes[W];
    std::memcpy(lanes, &value, sizeof(lanes));
    for (int k = 0; k < count; ++k) to[k * n + m] = T(lanes[k]);
}

enum Task { VALUES, GRADIENT, DUAL };

template <class T, int W, int TASK>
void embed_all(const EmbeddingTables &t, const EmbeddingData &d) {
    typedef Maths<W> M;
    typedef typename M::V V;
    typedef std::conditional_t<TASK == DUAL, Dual<V, 1>, V> Inner;
    typedef std::conditional_t<TASK == VALUES, V, Dual<Inner, 3>> S;
    const T *gY = static_cast<const T *>(d.grad_harmonics);
    const T *gB = static_cast<const T *>(d.grad_radial);
    T *Y = static_cast<T *>(d.harmonics), *B = static_cast<T *>(d.radial);
#pragma omp parallel for schedule(static) num_threads(d.n_threads)
    for (int64_t e = 0; e < d.n_edges; e += W) {
        const int64_t count = d.n_edges - e < W ? d.n_edges - e : W;
        V r[3];
        columns<W>(r, d.vectors + 3 * e, 3, count);
        const V squares = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
        const double limit = t.cutoff * t.cutoff;
        const V inside = M::each(squares, [=](double x) { return x < limit ? 1.0 : 0.0; });
        S point[3], harmonics[MAX_HARMONICS], radial[MAX_BASIS];
        for (int k = 0; k < 3; ++k) {
            point[k] = S{};
            M::set(point[k], r[k]);
        }
        if constexpr (TASK == GRADIENT)
            for (int k = 0; k < 3; ++k) point[k].d[k] = V{} + 1.0;
        if constexpr (TASK == DUAL) {
            V along[3];
            columns<W>(along, d.d_vectors + 3 * e, 3, count);
            for (int k = 0; k < 3; ++k) {
                point[k].v.d[0] = along[k];
                point[k].d[k].v = V{} + 1.0;
            }
        }
        M::embed(t, point, inside, harmonics, radial);

        if constexpr (TASK == VALUES) {
            for (int64_t m = 0; m < t.n_harmonics; ++m)
                put<W>(Y + e * t.n_harmonics, harmonics[m], m, t.n_harmonics, count);
            for (int64_t m = 0; m < t.n_basis; ++m)
                put<W>(B + e * t.n_basis, radial[m], m, t.n_basis, count);
        } else {
            V by_harmonics[MAX_HARMONICS], by_radial[MAX_BASIS], total[3] = {};
            columns<W>(by_harmonics, gY + e * t.n_harmonics, t.n_harmonics, count);
            columns<W>(by_radial, gB + e * t.n_basis, t.n_basis, count);
            auto part = [](const Inner &x) {
                if constexpr (TASK == DUAL) return x.d[0];
                else return x;
            };
            for (int k = 0; k < 3; ++k) {
                for (int64_t m = 0; m < t.n_harmonics; ++m)
                    total[k] += by_harmonics[m] * part(harmonics[m].d[k]);
                for (int64_t m = 0; m < t.n_basis; ++m)
                    total[k] += by_radial[m] * part(radial[m].d[k]);
                put<W>(d.grad_vectors + 3 * e, total[k], k, 3, count);
            }
            if constexpr (TASK == DUAL) {
                for (int64_t m = 0; m < t.n_harmonics; ++m)
                    put<W>(Y + e * t.n_harmonics, harmonics[m].v.d[0], m, t.n_harmonics, count);
                for (int64_t m = 0; m < t.n_basis; ++m)
                    put<W>(B + e * t.n_basis, radial[m].v.d[0], m, t.n_basis, count);
            }
        }
    }
}

} // namespace

extern "C" {

void tlpot_embed(const EmbeddingTables *t, const EmbeddingData *d, int task) {
    constexpr int W = 4;
    if (task == VALUES) embed_all<TLPOT_SCALAR, W, VALUES>(*t, *d);
    else if (task == GRADIENT) embed_all<TLPOT_SCALAR, W, GRADIENT>(*t, *d);
    else embed_all<TLPOT_SCALAR, W, DUAL>(*t, *d);
}
}
