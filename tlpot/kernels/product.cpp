// Symmetric products of an atom's own features and their first and second derivatives.

#include "vector.hpp"

#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num() { return 0; }
#endif

using namespace tlpot;

// What a symmetric product is given: out_o = Σ_t w_t x_i x_j x_k, one polynomial for each
// output o. A term is (i, j, k, o) with the pair (i, j) shared by consecutive terms; the index
// `n_in` stands for the constant one.
struct ProductTables {
    int64_t n_channels, n_in, n_out, n_pairs, n_terms, n_elements;
    const int32_t *pairs; // [n_pairs, 3]: i, j, first term
    const int32_t *terms; // [n_terms, 2]: k, o
};

struct ProductData {
    int64_t n_atoms, n_threads;
    const int64_t *species;      // [n_atoms]
    const int32_t *in_place;     // [n_in, 2]: degree, component
    const int32_t *out_place;    // [n_out, 2]
    const void *coefficients, *d_coefficients; // [n_elements, n_terms, n_channels]
    const void *inputs[MAX_L], *d_inputs[MAX_L];      // [n_atoms, 2 l + 1, n_channels]
    const void *grad[MAX_L];
    void *out[MAX_L];
    void *grad_inputs[MAX_L];
    void *grad_coefficients; // [n_threads, n_elements, n_terms, n_channels], added to
};

namespace {

constexpr int MAX_K = MAX_L * MAX_L + 1;

template <class T> inline int64_t place_of(const int32_t *place, int64_t n, int64_t C) {
    return (n * (2 * place[0] + 1) + place[1]) * C;
}

template <class V, class T>
inline void gather(V *to, const int32_t *places, int64_t count, const void *const *from, int64_t n,
                   int64_t C, int64_t c) {
    for (int64_t k = 0; k < count; ++k) {
        const T *source = static_cast<const T *>(from[places[2 * k]]);
        to[k] = source ? load<V>(source + place_of<T>(places + 2 * k, n, C) + c) : V{};
    }
}

template <class V, class T>
inline void scatter(const V *from, const int32_t *places, int64_t count, void *const *to, int64_t n,
                    int64_t C, int64_t c) {
    for (int64_t k = 0; k < count; ++k)
        store(static_cast<T *>(to[places[2 * k]]) + place_of<T>(places + 2 * k, n, C) + c, from[k]);
}

template <class T, int W> void multiply(const ProductTables &t, const ProductData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t C = t.n_channels;
    const T *coefficients = static_cast<const T *>(d.coefficients);
#pragma omp parallel for schedule(static) num_threads(d.n_threads)
    for (int64_t n = 0; n < d.n_atoms; ++n)
        for (int64_t c = 0; c < C; c += W) {
            V x[MAX_K], out[MAX_K] = {};
            gather<V, T>(x, d.in_place, t.n_in, d.inputs, n, C, c);
            x[t.n_in] = V{} + T(1);
            const T *w = coefficients + d.species[n] * t.n_terms * C + c;
            for (int64_t q = 0; q < t.n_pairs; ++q) {
                const int32_t *pair = t.pairs + 3 * q;
                const V product = x[pair[0]] * x[pair[1]];
                for (int64_t k = pair[2]; k < pair[5]; ++k)
                    out[t.terms[2 * k + 1]] += load<V>(w + k * C) * (product * x[t.terms[2 * k]]);
            }
            scatter<V, T>(out, d.out_place, t.n_out, d.out, n, C, c);
        }
}

template <class T, int W> void multiply_backward(const ProductTables &t, const ProductData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t C = t.n_channels;
    const T *coefficients = static_cast<const T *>(d.coefficients);
#pragma omp parallel for schedule(static) num_threads(d.n_threads)
    for (int64_t n = 0; n < d.n_atoms; ++n)
        for (int64_t c = 0; c < C; c += W) {
            V x[MAX_K], g[MAX_K], out[MAX_K] = {};
            gather<V, T>(x, d.in_place, t.n_in, d.inputs, n, C, c);
            gather<V, T>(g, d.out_place, t.n_out, d.grad, n, C, c);
            x[t.n_in] = V{} + T(1);
            const int64_t place = d.species[n] * t.n_terms * C + c;
            const T *w = coefficients + place;
            T *gw = d.grad_coefficients
                        ? static_cast<T *>(d.grad_coefficients) + place +
                              omp_get_thread_num() * t.n_elements * t.n_terms * C
                        : nullptr;
            for (int64_t q = 0; q < t.n_pairs; ++q) {
                const int32_t *pair = t.pairs + 3 * q;
                const V product = x[pair[0]] * x[pair[1]];
                V s = {};
                for (int64_t k = pair[2]; k < pair[5]; ++k) {
                    const int32_t i = t.terms[2 * k], o = t.terms[2 * k + 1];
                    const V wg = load<V>(w + k * C) * g[o];
                    s += wg * x[i];
                    out[i] += wg * product;
                    if (gw) add(gw + k * C, V(g[o] * (product * x[i])));
                }
                out[pair[0]] += s * x[pair[1]];
                out[pair[1]] += s * x[pair[0]];
            }
            scatter<V, T>(out, d.in_place, t.n_in, d.grad_inputs, n, C, c);
        }
}

// The derivative of `multiply_backward` along d_inputs and d_coefficients, seen from behind: `out`
// receives the gradient by its `grad`, `grad_inputs` and `grad_coefficients` those by its other inputs.
template <class T, int W> void multiply_dual(const ProductTables &t, const ProductData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t C = t.n_channels;
    const T *coefficients = static_cast<const T *>(d.coefficients);
    const T *d_coefficients = static_cast<const T *>(d.d_coefficients);
#pragma omp parallel for schedule(static) num_threads(d.n_threads)
    for (int64_t n = 0; n < d.n_atoms; ++n)
        for (int64_t c = 0; c < C; c += W) {
            V x[MAX_K], dx[MAX_K], g[MAX_K], out[MAX_K] = {}, gx[MAX_K] = {};
            gather<V, T>(x, d.in_place, t.n_in, d.inputs, n, C, c);
            gather<V, T>(dx, d.in_place, t.n_in, d.d_inputs, n, C, c);
            gather<V, T>(g, d.out_place, t.n_out, d.grad, n, C, c);
            x[t.n_in] = V{} + T(1);
            dx[t.n_in] = V{};
            const int64_t place = d.species[n] * t.n_terms * C + c;
            const T *w = coefficients + place;
            const T *dw = d_coefficients ? d_coefficients + place : nullptr;
            T *gw = d.grad_coefficients
                        ? static_cast<T *>(d.grad_coefficients) + place +
                              omp_get_thread_num() * t.n_elements * t.n_terms * C
                        : nullptr;
            for (int64_t q = 0; q < t.n_pairs; ++q) {
                const int32_t *pair = t.pairs + 3 * q;
                const V xi = x[pair[0]], xj = x[pair[1]];
                const V dxi = dx[pair[0]], dxj = dx[pair[1]];
                const V product = xi * xj, d_product = dxi * xj + xi * dxj;
                V s = {}, ds = {};
                for (int64_t k = pair[2]; k < pair[5]; ++k) {
                    const int32_t i = t.terms[2 * k], o = t.terms[2 * k + 1];
                    const V weight = load<V>(w + k * C);
                    const V change = d_product * x[i] + product * dx[i];
                    const V wg = weight * g[o];
                    out[o] += weight * change;
                    s += wg * x[i];
                    ds += wg * dx[i];
                    gx[i] += wg * d_product;
                    if (gw) add(gw + k * C, V(g[o] * change));
                    if (dw) {
                        const V along = load<V>(dw + k * C), dwg = along * g[o];
                        out[o] += along * (product * x[i]);
                        ds += dwg * x[i];
                        gx[i] += dwg * product;
                    }
                }
                gx[pair[0]] += ds * xj + s * dxj;
                gx[pair[1]] += ds * xi + s * dxi;
            }
            scatter<V, T>(out, d.out_place, t.n_out, d.out, n, C, c);
            scatter<V, T>(gx, d.in_place, t.n_in, d.grad_inputs, n, C, c);
        }
}

} // namespace

#define TLPOT_PRODUCT(kernel)                                                                      \
    void tlpot_##kernel(const ProductTables *t, const ProductData *d) {                            \
        TLPOT_WIDTHS(kernel, t->n_channels, );                                                     \
    }

extern "C" {

TLPOT_PRODUCT(multiply)
TLPOT_PRODUCT(multiply_backward)
TLPOT_PRODUCT(multiply_dual)
}
