// Distances of atoms to the nearest prototype of their element, after a linear projection of their
// features that is their element's, and a soft maximum of them over each structure.

#include "vector.hpp"

#include <algorithm>
#include <cmath>

using namespace tlpot;

struct DistanceTables {
    int64_t n_layers, n_axes;
    const int64_t *widths;   // [n_layers], features of each layer
    const void *projection;  // [n_elements, n_features, n_axes]
    const void *shift;       // [n_elements, n_axes]
    const void *prototypes;  // [n_prototypes, n_axes], sorted by element
    const int64_t *first;    // [n_elements + 1], prototypes of each element
    double farthest, softness;
};

struct DistanceData {
    int64_t n_atoms, n_systems, n_threads;
    const void *const *layers; // [n_layers][n_atoms, width]
    const int64_t *element;    // [n_atoms]
    const int64_t *system;     // [n_atoms]
    double *scores;            // [n_systems]
};

namespace {

template <class T, int W>
double nearest(const DistanceTables &t, const DistanceData &d, int64_t i, T *own) {
    typedef typename Vector<T, W>::type V;
    const int64_t A = t.n_axes, element = d.element[i];
    const T *row = static_cast<const T *>(t.projection);
    for (int64_t n = 0; n < t.n_layers; ++n) row += element * A * t.widths[n];
    std::memcpy(own, static_cast<const T *>(t.shift) + element * A, A * sizeof(T));
    for (int64_t n = 0; n < t.n_layers; ++n) {
        const T *x = static_cast<const T *>(d.layers[n]) + i * t.widths[n];
        for (int64_t f = 0; f < t.widths[n]; ++f, row += A)
            for (int64_t k = 0; k < A; k += W) add(own + k, V(x[f] * load<V>(row + k)));
    }
    double least = t.farthest * t.farthest;
    for (int64_t j = t.first[element]; j < t.first[element + 1]; ++j) {
        const T *prototype = static_cast<const T *>(t.prototypes) + j * A;
        V squares = {};
        for (int64_t k = 0; k < A; k += W) {
            const V difference = load<V>(own + k) - load<V>(prototype + k);
            squares += difference * difference;
        }
        const double square = sum<T, W>(squares);
        if (!(square >= least)) least = square; // what is no number stays so
    }
    return std::sqrt(least);
}

template <class T, int W> void scores(const DistanceTables &t, const DistanceData &d) {
    std::vector<double> distances(d.n_atoms);
#pragma omp parallel num_threads(d.n_threads) if (d.n_atoms > 32)
    {
        std::vector<T> own(t.n_axes);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < d.n_atoms; ++i)
            distances[i] = nearest<T, W>(t, d, i, own.data()) / t.softness;
    }
    std::vector<double> top(d.n_systems, 0.0), parts(d.n_systems, 0.0);
    std::vector<int64_t> sizes(d.n_systems, 0);
    for (int64_t i = 0; i < d.n_atoms; ++i)
        top[d.system[i]] = std::max(top[d.system[i]], distances[i]);
    for (int64_t i = 0; i < d.n_atoms; ++i) {
        parts[d.system[i]] += std::exp(distances[i] - top[d.system[i]]);
        ++sizes[d.system[i]];
    }
    for (int64_t s = 0; s < d.n_systems; ++s)
        d.scores[s] = t.softness * (top[s] + std::log(parts[s] / sizes[s]));
}

} // namespace

extern "C" void tlpot_distance_scores(const DistanceTables *t, const DistanceData *d) {
    TLPOT_WIDTHS(scores, t->n_axes);
}
