// The neighbour sum A_i = Σ_j Σ_paths R_ij C Y_ij h_j and its first and second derivatives.
//
// "Dual" kernels also carry a first-order perturbation of their input, which is what second
// derivatives (forces in a loss) need.

#include "vector.hpp"

using namespace tlpot;

// What a convolution is given. Tensors are contiguous; those named d_* are perturbations and may
// be null. `out` and `grad` are blocks [n_atoms, 2 l + 1, paths of l, n_channels] by degree.
struct ConvolutionTables {
    int64_t n_channels, n_paths, n_angular, n_couplings, n_harmonics;
    const int32_t *paths;    // [n_paths, 5]: sender degree, message degree, angular offset,
                             //               place among the paths of the degree, their number
    const int32_t *places;   // [n_couplings, 2]: angular index, harmonic index
    const void *couplings;   // [n_couplings]
};

struct ConvolutionData {
    int64_t n_atoms, n_nodes, n_edges, n_threads;
    const int64_t *first;    // [n_atoms + 1], edges of each center
    const int64_t *neighbor; // [n_edges]
    const int64_t *center;   // [n_edges]
    const int64_t *into;     // [n_nodes + 1], edges into each neighbor, by `order`
    const int64_t *order;    // [n_edges]
    const void *harmonics, *d_harmonics;          // [n_edges, n_harmonics]
    const void *weights, *d_weights;              // [n_edges, n_paths, n_channels]
    const void *senders[MAX_L], *d_senders[MAX_L]; // [n_nodes, 2 l + 1, n_channels]
    const void *grad[MAX_L];
    void *out[MAX_L];
    void *grad_harmonics, *grad_weights;
    void *grad_senders[MAX_L]; // added to
};

namespace {

template <class T> struct Angular {
    // Y coupled with the Clebsch–Gordan coefficients, for one edge
    static void expand(const ConvolutionTables &t, const T *y, T *angular) {
        std::memset(angular, 0, t.n_angular * sizeof(T));
        const T *c = static_cast<const T *>(t.couplings);
        for (int64_t k = 0; k < t.n_couplings; ++k)
            angular[t.places[2 * k]] += c[k] * y[t.places[2 * k + 1]];
    }
    static void collect(const ConvolutionTables &t, const T *angular, T *y) {
        std::memset(y, 0, t.n_harmonics * sizeof(T));
        const T *c = static_cast<const T *>(t.couplings);
        for (int64_t k = 0; k < t.n_couplings; ++k)
            y[t.places[2 * k + 1]] += c[k] * angular[t.places[2 * k]];
    }
};

template <class T, int W, bool DUAL>
void convolve(const ConvolutionTables &t, const ConvolutionData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t C = t.n_channels, P = t.n_paths;
    const T *Y = static_cast<const T *>(d.harmonics), *dY = static_cast<const T *>(d.d_harmonics);
    const T *R = static_cast<const T *>(d.weights), *dR = static_cast<const T *>(d.d_weights);
#pragma omp parallel num_threads(d.n_threads)
    {
        std::vector<T> angular, d_angular;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < d.n_atoms; ++i) {
            const int64_t e0 = d.first[i], n = d.first[i + 1] - e0;
            angular.resize(n * t.n_angular);
            for (int64_t e = 0; e < n; ++e)
                Angular<T>::expand(t, Y + (e0 + e) * t.n_harmonics, &angular[e * t.n_angular]);
            if (DUAL) {
                d_angular.assign(n * t.n_angular, T(0));
                for (int64_t e = 0; e < n && dY; ++e)
                    Angular<T>::expand(t, dY + (e0 + e) * t.n_harmonics,
                                       &d_angular[e * t.n_angular]);
            }
            for (int64_t p = 0; p < P; ++p) {
                const int32_t *path = t.paths + 5 * p;
                const int l2 = path[0], l3 = path[1], offset = path[2];
                const int64_t row = path[4] * C;
                dispatch(l2, l3, [&](auto m2_, auto m3_) {
                    constexpr int M2 = decltype(m2_)::value, M3 = decltype(m3_)::value;
                    T *to = static_cast<T *>(d.out[l3]) + i * M3 * row + path[3] * C;
                    const T *h = static_cast<const T *>(d.senders[l2]);
                    const T *dh = DUAL ? static_cast<const T *>(d.d_senders[l2]) : nullptr;
                    for (int64_t c = 0; c < C; c += W) {
                        V total[M3] = {};
                        for (int64_t e = 0; e < n; ++e) {
                            const int64_t place = (e0 + e) * P * C + p * C + c;
                            const T *x = h + d.neighbor[e0 + e] * M2 * C + c;
                            const T *a = &angular[e * t.n_angular + offset];
                            const V r = load<V>(R + place);
                            if (!DUAL) {
                                for (int m2 = 0; m2 < M2; ++m2) {
                                    const V s = r * load<V>(x + m2 * C);
                                    for (int m3 = 0; m3 < M3; ++m3) total[m3] += a[m2 * M3 + m3] * s;
                                }
                                continue;
                            }
                            const T *da = &d_angular[e * t.n_angular + offset];
                            for (int m2 = 0; m2 < M2; ++m2) {
                                const V value = load<V>(x + m2 * C), s = r * value;
                                V ds = {};
                                if (dR) ds += load<V>(dR + place) * value;
                                if (dh) ds += r * load<V>(dh + d.neighbor[e0 + e] * M2 * C + c + m2 * C);
                                for (int m3 = 0; m3 < M3; ++m3)
                                    total[m3] += a[m2 * M3 + m3] * ds + da[m2 * M3 + m3] * s;
                            }
                        }
                        for (int m3 = 0; m3 < M3; ++m3) store(to + m3 * row + c, total[m3]);
                    }
                });
            }
        }
    }
}

// Gradients by harmonics and weights: one edge at a time.
template <class T, int W, bool DUAL>
void convolve_edges(const ConvolutionTables &t, const ConvolutionData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t C = t.n_channels, P = t.n_paths;
    const T *Y = static_cast<const T *>(d.harmonics), *dY = static_cast<const T *>(d.d_harmonics);
    const T *R = static_cast<const T *>(d.weights), *dR = static_cast<const T *>(d.d_weights);
    T *gY = static_cast<T *>(d.grad_harmonics), *gR = static_cast<T *>(d.grad_weights);
#pragma omp parallel num_threads(d.n_threads)
    {
        std::vector<T> angular(t.n_angular), d_angular(t.n_angular), grad(t.n_angular);
#pragma omp for schedule(static)
        for (int64_t e = 0; e < d.n_edges; ++e) {
            const int64_t i = d.center[e], j = d.neighbor[e];
            Angular<T>::expand(t, Y + e * t.n_harmonics, angular.data());
            if (DUAL && dY) Angular<T>::expand(t, dY + e * t.n_harmonics, d_angular.data());
            for (int64_t p = 0; p < P; ++p) {
                const int32_t *path = t.paths + 5 * p;
                const int l2 = path[0], l3 = path[1], offset = path[2];
                const int64_t row = path[4] * C;
                dispatch(l2, l3, [&](auto m2_, auto m3_) {
                    constexpr int M2 = decltype(m2_)::value, M3 = decltype(m3_)::value;
                    const T *from = static_cast<const T *>(d.grad[l3]) + i * M3 * row + path[3] * C;
                    const T *x = static_cast<const T *>(d.senders[l2]) + j * M2 * C;
                    const T *dx = DUAL && d.d_senders[l2]
                                      ? static_cast<const T *>(d.d_senders[l2]) + j * M2 * C
                                      : nullptr;
                    const T *a = &angular[offset], *da = &d_angular[offset];
                    V total[M2 * M3] = {};
                    for (int64_t c = 0; c < C; c += W) {
                        const int64_t place = e * P * C + p * C + c;
                        const V r = load<V>(R + place);
                        const V dr = DUAL && dR ? load<V>(dR + place) : V{};
                        V g[M3], weight = {};
                        for (int m3 = 0; m3 < M3; ++m3) g[m3] = load<V>(from + m3 * row + c);
                        for (int m2 = 0; m2 < M2; ++m2) {
                            const V value = load<V>(x + m2 * C + c);
                            const V change = DUAL && dx ? load<V>(dx + m2 * C + c) : V{};
                            V s = {}, ds = {};
                            const V product = DUAL ? V(dr * value + r * change) : V(r * value);
                            for (int m3 = 0; m3 < M3; ++m3) {
                                s += a[m2 * M3 + m3] * g[m3];
                                if (DUAL) ds += da[m2 * M3 + m3] * g[m3];
                                total[m2 * M3 + m3] += product * g[m3];
                            }
                            weight += DUAL ? V(value * ds + change * s) : V(value * s);
                        }
                        if (gR) store(gR + place, weight);
                    }
                    for (int m = 0; m < M2 * M3; ++m) grad[offset + m] = sum<T, W>(total[m]);
                });
            }
            if (gY) Angular<T>::collect(t, grad.data(), gY + e * t.n_harmonics);
        }
    }
}

// Gradient by the senders' features: one sender at a time, over the edges that leave it.
template <class T, int W, bool DUAL>
void convolve_senders(const ConvolutionTables &t, const ConvolutionData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t C = t.n_channels, P = t.n_paths;
    const T *Y = static_cast<const T *>(d.harmonics), *dY = static_cast<const T *>(d.d_harmonics);
    const T *R = static_cast<const T *>(d.weights), *dR = static_cast<const T *>(d.d_weights);
#pragma omp parallel num_threads(d.n_threads)
    {
        std::vector<T> angular(t.n_angular), d_angular(t.n_angular);
#pragma omp for schedule(static, 8)
        for (int64_t j = 0; j < d.n_nodes; ++j)
            for (int64_t k = d.into[j]; k < d.into[j + 1]; ++k) {
                const int64_t e = d.order[k], i = d.center[e];
                Angular<T>::expand(t, Y + e * t.n_harmonics, angular.data());
                if (DUAL && dY) Angular<T>::expand(t, dY + e * t.n_harmonics, d_angular.data());
                for (int64_t p = 0; p < P; ++p) {
                    const int32_t *path = t.paths + 5 * p;
                    const int l2 = path[0], l3 = path[1], offset = path[2];
                    const int64_t row = path[4] * C;
                    dispatch(l2, l3, [&](auto m2_, auto m3_) {
                        constexpr int M2 = decltype(m2_)::value, M3 = decltype(m3_)::value;
                        const T *from =
                            static_cast<const T *>(d.grad[l3]) + i * M3 * row + path[3] * C;
                        T *to = static_cast<T *>(d.grad_senders[l2]) + j * M2 * C;
                        const T *a = &angular[offset], *da = &d_angular[offset];
                        for (int64_t c = 0; c < C; c += W) {
                            const int64_t place = e * P * C + p * C + c;
                            const V r = load<V>(R + place);
                            const V dr = DUAL && dR ? load<V>(dR + place) : V{};
                            V g[M3];
                            for (int m3 = 0; m3 < M3; ++m3) g[m3] = load<V>(from + m3 * row + c);
                            for (int m2 = 0; m2 < M2; ++m2) {
                                V s = {}, ds = {};
                                for (int m3 = 0; m3 < M3; ++m3) {
                                    s += a[m2 * M3 + m3] * g[m3];
                                    if (DUAL) ds += da[m2 * M3 + m3] * g[m3];
                                }
                                add(to + m2 * C + c, DUAL ? V(r * ds + dr * s) : V(r * s));
                            }
                        }
                    });
                }
            }
    }
}

} // namespace

#define TLPOT_CONVOLUTION(kernel)                                                                  \
    void tlpot_##kernel(const ConvolutionTables *t, const ConvolutionData *d, int dual) {          \
        if (dual) TLPOT_WIDTHS(kernel, t->n_channels, , true);                                     \
        else TLPOT_WIDTHS(kernel, t->n_channels, , false);                                         \
    }

extern "C" {

TLPOT_CONVOLUTION(convolve)
TLPOT_CONVOLUTION(convolve_edges)
TLPOT_CONVOLUTION(convolve_senders)

// Lists the edges by `neighbor`: into [n_nodes + 1] and order [n_edges], which is null where they
// must ascend. Returns 1 if one is no node, or if they must ascend and do not.
int tlpot_group_edges(const int64_t *neighbor, int64_t n_edges, int64_t n_nodes, int64_t *into,
                      int64_t *order) {
    std::memset(into, 0, (n_nodes + 1) * sizeof(int64_t));
    for (int64_t e = 0; e < n_edges; ++e) {
        if (neighbor[e] < 0 || neighbor[e] >= n_nodes) return 1;
        if (!order && e > 0 && neighbor[e] < neighbor[e - 1]) return 1;
        ++into[neighbor[e] + 1];
    }
    for (int64_t j = 0; j < n_nodes; ++j) into[j + 1] += into[j];
    if (!order) return 0;
    std::vector<int64_t> next(into, into + n_nodes);
    for (int64_t e = 0; e < n_edges; ++e) order[next[neighbor[e]]++] = e;
    return 0;
}

// Returns the place of the first of n indices that is not 0 to limit − 1, or n.
int64_t tlpot_outside(const int64_t *index, int64_t n, int64_t limit) {
    for (int64_t k = 0; k < n; ++k)
        if (index[k] < 0 || index[k] >= limit) return k;
    return n;
}

int tlpot_has_openmp() {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
}
