// What the fused call is given: a network's weights, once, and a batch of structures, each time.

#pragma once

#include "dense.hpp"

namespace tlpot {

// A matrix for each degree, applied from the right: one for all atoms, or one for each element, one
// after the other. Null where a layer has no such degree; `kinds` is 0 where it has none at all.
struct FusedMaps {
    int64_t kinds;
    const void *of[MAX_L], *back[MAX_L]; // `back` is the transposed
};

// A network on the radial functions of an edge and the elements of its ends: layers with layer
// norms and SiLU between them, the last to `n_out` numbers or one. See `PairNetwork` of tlpot.
struct FusedPairNetwork {
    int64_t n_layers;                   // before the last
    const int64_t *widths, *sizes;      // [n_layers], with and without padding
    const void *of_basis;               // [basis_width, widths[0]]
    const void *of_neighbor, *of_center; // [n_elements, widths[0]]
    const void *const *gains, *const *offsets;   // of the norms, [n_layers]
    const void *const *matrices, *const *biases; // from width to width, [n_layers − 1]
    const void *last, *last_t, *last_bias;
};

// What a non-linear interaction has beside its FusedLayer; see nonlinear.hpp.
struct FusedBlock {
    int64_t n_sent, sent_degrees;       // channels and degrees of what is sent
    int64_t n_paths, angular_width;
    const int32_t *paths;               // likewise, of this layer
    const void *couplings, *couplings_t;
    FusedPairNetwork radial, density;
    FusedMaps residual, gated;          // of the senders, and from gated features to the basis
    double alpha, beta;                 // sums are divided by alpha + beta · density
};

// One interaction. Rows of numbers are padded with zeros to whole registers; `*_t` is the
// transposed of a matrix.
struct FusedLayer {
    int64_t n_hidden, n_radial; // width of the radial functions, and layers before the last
    int64_t in_degrees, out_degrees;
    int64_t n_pairs, n_terms;          // of the many-body product, see product.cpp
    int64_t product_kinds;             // elements that it tells apart, or 1
    const int64_t *radial_widths;      // [n_radial]
    const void *const *radial;         // [n_radial], matrices from width to width
    const void *last, *last_t;         // [n_hidden, n_paths · n_channels]; not in the first layer
    FusedMaps by_neighbor;             // [n_hidden, n_channels] for the neighbour's element, in the
                                       // first layer only; what follows is for the atom's own
    FusedMaps mix;                     // sums to atomic basis; may be missing in the first layer
    FusedMaps sender, update, skip;    // [n_channels, n_channels]
    const void *gain;                  // of `skip`, [n_elements, n_channels], or null
    const void *offset;                // of the result, likewise
    const void *density;               // [basis_width], or null
    const int32_t *pairs, *terms;      // of the product
    const void *coefficients;          // [product_kinds, n_terms, n_channels]
};

struct FusedTables {
    int64_t n_elements, n_channels, n_layers, n_degrees;
    int64_t n_basis, basis_width;      // radial functions, and their padded number
    int64_t harmonic_width, power, n_entries;
    int64_t n_paths, angular_width;
    int64_t n_readout;                 // padded width of the last network
    int64_t most_kept;                 // radial weights that are held for all pairs at once
    int64_t transform;                 // of distances: see geometry.hpp
    double cutoff, scale;
    const int64_t *species;            // of each atomic number; negative where unknown
    int64_t n_numbers;
    const int32_t *entries;            // see embedding.cpp
    const double *values;
    const int32_t *paths;              // see convolution.cpp
    const void *couplings, *couplings_t; // [harmonic_width, angular_width]
    const FusedLayer *layers;
    const FusedBlock *blocks;          // of non-linear layers, or null
    const void *initial;               // features of elements that these start from
    const void *read_initial;          // readout of the first features, or null
    const double *references;          // [n_elements], eV
    const void *linear;                // [n_layers − 1, n_channels], readouts of all but the last
    const void *hidden, *hidden_t, *last; // of the last: [n_channels, n_readout], [n_readout]
    const void *middle, *middle_t, *middle_bias; // of its second hidden layer, or null
    const double *transform_constants, *covalent_radii; // of the transform, or null
    const double *numbers, *reach, *screening; // of the nuclear repulsion, or null
    const double *exponents, *coefficients;    // [4] each, of it
    int64_t repulsion_power;
    double coulomb;
};

struct FusedData {
    int64_t n_atoms, n_edges, n_systems, n_threads;
    const double *positions;           // [n_atoms, 3], Å
    const int64_t *atomic_numbers, *system;
    const int64_t *center, *neighbor;  // [n_edges], by center
    const double *shifts, *cell;       // [n_edges, 3], [n_systems, 3, 3], or null
    const int64_t *charge, *spin;      // [n_systems]
    const void *state;                 // added to the first features, [n_systems, n_channels]
    double *energies, *energy;         // [n_atoms], [n_systems], eV
    double *forces, *virial;           // [n_atoms, 3], [n_systems, 3, 3]; may be null
    void *invariants;                  // [n_layers, n_atoms, n_channels], or null
    void *scratch;
    int64_t room;                      // bytes of scratch; what is needed, where it is too small
};

enum FusedStatus { SERVED, NEEDS_ROOM, UNKNOWN_ELEMENT, CHARGED, ONE_WAY };

// Takes arrays from a piece of memory one after the other; on no memory, counts.
class Arena {
    char *begin, *at;

  public:
    explicit Arena(void *memory) : begin(static_cast<char *>(memory)), at(begin) {}
    template <class T> T *take(int64_t n) {
        at += (64 - reinterpret_cast<uintptr_t>(at) % 64) % 64;
        T *found = reinterpret_cast<T *>(at);
        at += n * sizeof(T);
        return found;
    }
    int64_t used() const { return at - begin; }
};

// Edges (i, j) and (j, i) are one pair: its radial functions are the same, its harmonics those of
// the other up to (−1)^l.
struct Pairs {
    int64_t n;
    int32_t *edge, *i, *j; // of each pair: one of its edges, and that edge's ends
    int32_t *of, *back;    // of each edge: its pair, and whether it is the pair's other edge
    int64_t *first;        // [n_atoms + 1], edges of each center
};

// Numbers of pairs, and their derivatives by the distance.
template <class T> struct Changing {
    T *values, *slopes;
};

// Which senders' degree couples to which messages' degree; see convolution.cpp.
struct Paths {
    int64_t count, angular_width, n_channels;
    const int32_t *rows;
};

} // namespace tlpot
