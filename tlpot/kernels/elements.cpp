// Sums over the neighbours of products of two small vectors, apart for each element of the
// neighbour: S_i^{m,zk} = Σ_{j of element z} a_ij^m b_ij^k. Both derivatives are of the same kind:
// a sum again, and the products of S with either vector. All of it is bilinear, so these two
// kernels serve derivatives of every order.

#include "vector.hpp"

using namespace tlpot;

struct ElementTables {
    int64_t n_left, n_right, n_elements;
};

struct ElementData {
    int64_t n_atoms, n_edges, n_threads;
    const int64_t *first;    // [n_atoms + 1], edges of each center
    const int64_t *center;   // [n_edges]
    const int64_t *neighbor; // [n_edges]
    const int64_t *element;  // [n_atoms]
    const void *left;        // [n_edges, n_left]
    const void *right;       // [n_edges, n_right]
    void *sums;              // [n_atoms, n_left, n_elements, n_right]
    void *by_left, *by_right;
};

namespace {

template <class T, int W> void sum_by_element(const ElementTables &t, const ElementData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t A = t.n_left, B = t.n_right, row = t.n_elements * B;
#pragma omp parallel for schedule(static) num_threads(d.n_threads)
    for (int64_t i = 0; i < d.n_atoms; ++i) {
        T *sums = static_cast<T *>(d.sums) + i * A * row;
        std::memset(sums, 0, A * row * sizeof(T));
        for (int64_t e = d.first[i]; e < d.first[i + 1]; ++e) {
            const T *a = static_cast<const T *>(d.left) + e * A;
            const T *b = static_cast<const T *>(d.right) + e * B;
            T *to = sums + d.element[d.neighbor[e]] * B;
            for (int64_t k = 0; k < B; k += W) {
                const V value = load<V>(b + k);
                for (int64_t m = 0; m < A; ++m) add(to + m * row + k, V(a[m] * value));
            }
        }
    }
}

template <class T, int W> void spread_by_element(const ElementTables &t, const ElementData &d) {
    typedef typename Vector<T, W>::type V;
    const int64_t A = t.n_left, B = t.n_right, row = t.n_elements * B;
#pragma omp parallel for schedule(static) num_threads(d.n_threads)
    for (int64_t e = 0; e < d.n_edges; ++e) {
        const T *a = static_cast<const T *>(d.left) + e * A;
        const T *b = static_cast<const T *>(d.right) + e * B;
        const T *from = static_cast<const T *>(d.sums) + d.center[e] * A * row +
                        d.element[d.neighbor[e]] * B;
        T *by_a = static_cast<T *>(d.by_left) + e * A;
        T *by_b = static_cast<T *>(d.by_right) + e * B;
        std::memset(by_b, 0, B * sizeof(T));
        for (int64_t m = 0; m < A; ++m) {
            V total = {};
            for (int64_t k = 0; k < B; k += W) {
                const V s = load<V>(from + m * row + k);
                total += s * load<V>(b + k);
                add(by_b + k, V(a[m] * s));
            }
            by_a[m] = sum<T, W>(total);
        }
    }
}

} // namespace

extern "C" {

void tlpot_sum_by_element(const ElementTables *t, const ElementData *d) {
    TLPOT_WIDTHS(sum_by_element, t->n_right);
}

void tlpot_spread_by_element(const ElementTables *t, const ElementData *d) {
    TLPOT_WIDTHS(spread_by_element, t->n_right);
}
}
