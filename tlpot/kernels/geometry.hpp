// Pairs of a graph, their harmonics and radial functions, and the way back to forces and virial.
// All of it is in double precision.

#pragma once

#include <algorithm>
#include <cmath>

#include "fused.hpp"

namespace tlpot {

constexpr int N_MONOMIALS = 20, BLOCK = REGISTER / 8; // pairs that are done together
typedef Vector<double, BLOCK>::type Numbers;

// Finds the pairs; false if an edge lacks its counterpart.
inline bool find_pairs(const FusedData &d, Pairs &p) {
    int64_t e = 0;
    for (int64_t i = 0; i <= d.n_atoms; ++i) {
        while (e < d.n_edges && d.center[e] < i) ++e;
        p.first[i] = e;
    }
    std::fill(p.of, p.of + d.n_edges, -1);
    p.n = 0;
    for (e = 0; e < d.n_edges; ++e) {
        if (p.of[e] >= 0) continue;
        const int64_t i = d.center[e], j = d.neighbor[e];
        int64_t other = p.first[j], end = p.first[j + 1];
        // most lists ascend, too, by neighbor
        const int64_t *found = std::lower_bound(d.neighbor + other, d.neighbor + end, i);
        if (found < d.neighbor + end && *found == i) other = found - d.neighbor;
        for (int pass = 0; pass < 2; ++pass) {
            for (; other < end; ++other) {
                if (d.neighbor[other] != i || p.of[other] >= 0 || other == e) continue;
                if (!d.shifts) break;
                const double *a = d.shifts + 3 * e, *b = d.shifts + 3 * other;
                if (a[0] == -b[0] && a[1] == -b[1] && a[2] == -b[2]) break;
            }
            if (other < end) break;
            if (pass == 0) other = p.first[j];
        }
        if (other == end || p.n == d.n_edges / 2) return false;
        p.edge[p.n] = int32_t(e);
        p.i[p.n] = int32_t(i);
        p.j[p.n] = int32_t(j);
        p.of[e] = p.of[other] = int32_t(p.n++);
        p.back[e] = 0;
        p.back[other] = 1;
    }
    return 2 * p.n == d.n_edges;
}

inline void pair_vectors(const FusedData &d, const Pairs &p, double *vectors) {
    for (int64_t q = 0; q < p.n; ++q) {
        const double *from = d.positions + 3 * p.i[q], *to = d.positions + 3 * p.j[q];
        double *r = vectors + 3 * q;
        for (int k = 0; k < 3; ++k) r[k] = to[k] - from[k];
        if (!d.shifts || !d.cell) continue;
        const double *s = d.shifts + 3 * p.edge[q], *cell = d.cell + 9 * d.system[p.i[q]];
        for (int k = 0; k < 3; ++k) r[k] += s[0] * cell[k] + s[1] * cell[3 + k] + s[2] * cell[6 + k];
    }
}

template <class F> inline Numbers each(const Numbers &a, F &&f) {
    double lanes[BLOCK];
    std::memcpy(lanes, &a, sizeof(lanes));
    for (double &x : lanes) x = f(x);
    return load<Numbers>(lanes);
}

// A block of vectors; what is missing repeats the first.
struct UnitVectors {
    Numbers x, y, z, distance, over;
    UnitVectors(const double *vectors, int64_t count) {
        double lanes[3][BLOCK];
        for (int k = 0; k < BLOCK; ++k)
            for (int a = 0; a < 3; ++a) lanes[a][k] = vectors[3 * (k < count ? k : 0) + a];
        x = load<Numbers>(lanes[0]), y = load<Numbers>(lanes[1]), z = load<Numbers>(lanes[2]);
        distance = each(x * x + y * y + z * z, [](double s) { return std::sqrt(s); });
        over = 1.0 / distance;
        x *= over, y *= over, z *= over;
    }
};

template <class T>
inline void put(T *to, const Numbers &value, int64_t stride, int64_t count) {
    double lanes[BLOCK];
    std::memcpy(lanes, &value, sizeof(lanes));
    for (int64_t k = 0; k < count; ++k) to[k * stride] = T(lanes[k]);
}

enum Transform { NO_TRANSFORM, AGNESI, SOFT };

// What stands for a distance in the radial functions, and its derivative; see `DistanceTransform`.
inline void transform(const FusedTables &t, double r, double radii, double &u, double &change) {
    const double *c = t.transform_constants;
    if (t.transform == AGNESI) {
        const double x = 2.0 * r / radii, up = std::pow(x, c[1]), down = std::pow(x, c[1] - c[2]);
        const double over = 1.0 / (1.0 + down), rise = (c[1] - (c[1] - c[2]) * down * over) / r;
        u = 1.0 / (1.0 + c[0] * up * over);
        change = -u * u * c[0] * up * over * rise;
    } else {
        const double near = 0.75 * radii, far = 4.0 / 3.0 * radii, steepness = c[0] / (far - near);
        const double step = std::tanh(steepness * (r - 0.5 * (near + far)));
        u = near + (r - near) * 0.5 * (1.0 + step);
        change = 0.5 * (1.0 + step) + (r - near) * 0.5 * (1.0 - step * step) * steepness;
    }
}

// Harmonics, radial functions and the latter's derivatives, rows padded with zeros; `radii` are
// sums of covalent radii. The envelope is in the radial functions or APART, with its derivatives.
template <class T, bool TRANSFORMED, bool APART>
inline void embed_pairs(const FusedTables &t, int64_t n, const double *vectors, const double *radii,
                        T *harmonics, const Changing<T> &radial, const Changing<T> &envelope) {
    const int64_t M = t.harmonic_width, B = t.basis_width;
    T *basis = radial.values, *slopes = radial.slopes;
    std::memset(harmonics, 0, n * M * sizeof(T));
    std::memset(basis, 0, n * B * sizeof(T));
    std::memset(slopes, 0, n * B * sizeof(T));
    const double p = double(t.power), step = 3.14159265358979323846 / t.cutoff;
    for (int64_t q = 0; q < n; q += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, n - q);
        const UnitVectors u(vectors + 3 * q, count);
        const Numbers x = u.x, y = u.y, z = u.z;
        const Numbers xx = x * x, xy = x * y, yy = y * y, zz = z * z;
        const Numbers monomials[N_MONOMIALS] = {
            Numbers{} + 1.0, x,      y,      z,      xx,     xy,     x * z,  yy,     y * z,  zz,
            xx * x,          xx * y, xx * z, x * yy, xy * z, x * zz, yy * y, yy * z, y * zz, zz * z};
        Numbers found[MAX_L * MAX_L] = {};
        for (int64_t k = 0; k < t.n_entries; ++k)
            found[t.entries[2 * k]] += t.values[k] * monomials[t.entries[2 * k + 1]];
        for (int64_t m = 0; m < t.n_degrees * t.n_degrees; ++m)
            put(harmonics + q * M + m, found[m], M, count);

        const Numbers s = u.distance / t.cutoff;
        const Numbers inside = each(s, [](double a) { return a < 1.0 ? 1.0 : 0.0; });
        Numbers power = s;
        for (int64_t k = 2; k < t.power; ++k) power *= s; // s^(p − 1)
        const Numbers fade = 1.0 - power * s * (0.5 * (p + 1.0) * (p + 2.0) -
                                                s * (p * (p + 2.0) - s * (0.5 * p * (p + 1.0))));
        const Numbers rest = 1.0 - s;
        const Numbers fall = -0.5 * p * (p + 1.0) * (p + 2.0) / t.cutoff * power * rest * rest;
        Numbers seen = u.distance, weight = inside * fade * u.over, lead = weight;
        Numbers change = inside * (fall - fade * u.over) * u.over;
        if constexpr (TRANSFORMED) {
            double r[BLOCK], rates[BLOCK];
            std::memcpy(r, &seen, sizeof(r));
            for (int k = 0; k < BLOCK; ++k)
                if (APART && t.transform == NO_TRANSFORM) rates[k] = 1.0;
                else transform(t, r[k], radii[q + (k < count ? k : 0)], r[k], rates[k]);
            seen = load<Numbers>(r);
            const Numbers over = 1.0 / seen, rate = load<Numbers>(rates);
            if constexpr (APART) {
                weight = over, lead = over * rate, change = -over * over * rate;
                put(envelope.values + q, Numbers(inside * fade), 1, count);
                put(envelope.slopes + q, Numbers(inside * fall), 1, count);
            } else {
                weight = inside * fade * over, lead = weight * rate;
                change = inside * (fall - fade * over * rate) * over;
            }
        }
        const Numbers angle = seen * step;
        Numbers sine = each(angle, [](double a) { return std::sin(a); });
        Numbers cosine = each(angle, [](double a) { return std::cos(a); });
        const Numbers twice = 2.0 * cosine;
        Numbers sine_before = {}, cosine_before = Numbers{} + 1.0;
        for (int64_t k = 0; k < t.n_basis; ++k) {
            put(basis + q * B + k, Numbers(sine * weight), B, count);
            put(slopes + q * B + k, Numbers(sine * change + cosine * lead * ((k + 1) * step)), B,
                count);
            const Numbers next = twice * sine - sine_before, other = twice * cosine - cosine_before;
            sine_before = sine, cosine_before = cosine;
            sine = next, cosine = other;
        }
    }
}

// From gradients by harmonics and distance to those by the pairs' vectors.
template <class T>
inline void embed_back(const FusedTables &t, int64_t n, const double *vectors, const T *by_harmonics,
                       const double *by_distance, double *by_vectors) {
    const int64_t M = t.harmonic_width;
    for (int64_t q = 0; q < n; q += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, n - q);
        const UnitVectors u(vectors + 3 * q, count);
        const Numbers x = u.x, y = u.y, z = u.z;
        Numbers given[MAX_L * MAX_L], g[N_MONOMIALS] = {};
        for (int64_t m = 0; m < t.n_degrees * t.n_degrees; ++m) {
            double lanes[BLOCK];
            for (int k = 0; k < BLOCK; ++k)
                lanes[k] = double(by_harmonics[(q + (k < count ? k : 0)) * M + m]);
            given[m] = load<Numbers>(lanes);
        }
        for (int64_t k = 0; k < t.n_entries; ++k)
            g[t.entries[2 * k + 1]] += t.values[k] * given[t.entries[2 * k]];
        const Numbers xx = x * x, xy = x * y, xz = x * z, yy = y * y, yz = y * z, zz = z * z;
        const Numbers gx = g[1] + 2.0 * x * g[4] + y * g[5] + z * g[6] + 3.0 * xx * g[10] +
                           2.0 * (xy * g[11] + xz * g[12]) + yy * g[13] + yz * g[14] + zz * g[15];
        const Numbers gy = g[2] + x * g[5] + 2.0 * y * g[7] + z * g[8] + xx * g[11] +
                           2.0 * (xy * g[13] + yz * g[17]) + xz * g[14] + 3.0 * yy * g[16] +
                           zz * g[18];
        const Numbers gz = g[3] + x * g[6] + y * g[8] + 2.0 * z * g[9] + xx * g[12] + xy * g[14] +
                           2.0 * (xz * g[15] + yz * g[18]) + yy * g[17] + 3.0 * zz * g[19];
        double lanes[BLOCK];
        for (int k = 0; k < BLOCK; ++k) lanes[k] = by_distance[q + (k < count ? k : 0)];
        // across the vector by the angles, along it by the distance
        const Numbers along = load<Numbers>(lanes) - (gx * x + gy * y + gz * z) * u.over;
        put(by_vectors + 3 * q, Numbers(gx * u.over + along * x), 3, count);
        put(by_vectors + 3 * q + 1, Numbers(gy * u.over + along * y), 3, count);
        put(by_vectors + 3 * q + 2, Numbers(gz * u.over + along * z), 3, count);
    }
}

inline void forces_and_virial(const FusedData &d, const Pairs &p, const double *vectors,
                              const double *by_vectors) {
    if (d.forces) std::memset(d.forces, 0, 3 * d.n_atoms * sizeof(double));
    if (d.virial) std::memset(d.virial, 0, 9 * d.n_systems * sizeof(double));
    for (int64_t q = 0; q < p.n; ++q) {
        const double *g = by_vectors + 3 * q, *r = vectors + 3 * q;
        for (int k = 0; k < 3 && d.forces; ++k) {
            d.forces[3 * p.i[q] + k] += g[k];
            d.forces[3 * p.j[q] + k] -= g[k];
        }
        if (!d.virial) continue;
        double *w = d.virial + 9 * d.system[p.i[q]];
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b) w[3 * a + b] += 0.5 * (r[a] * g[b] + r[b] * g[a]);
    }
}

// The repulsion of Ziegler, Biersack and Littmark.
inline void repulsion(const FusedTables &t, const FusedData &d, const Pairs &p,
                      const int32_t *species, const double *vectors, double *by_distance) {
    const double n = double(t.repulsion_power);
    for (int64_t q = 0; q < p.n; ++q) {
        const int32_t a = species[p.i[q]], b = species[p.j[q]];
        const double *v = vectors + 3 * q;
        const double r = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        const double reach = t.reach[a] + t.reach[b], s = r / reach;
        if (!(s < 1.0)) continue;
        const double rate = t.screening[a] + t.screening[b];
        double phi = 0.0, slope = 0.0;
        for (int k = 0; k < 4; ++k) {
            const double term = t.coefficients[k] * std::exp(-t.exponents[k] * rate * r);
            phi += term;
            slope -= t.exponents[k] * rate * term;
        }
        const double low = std::pow(s, n - 1.0), rest = 1.0 - s;
        const double fade = 1.0 - low * s * (0.5 * (n + 1.0) * (n + 2.0) -
                                             s * (n * (n + 2.0) - s * 0.5 * n * (n + 1.0)));
        const double fall = -0.5 * n * (n + 1.0) * (n + 2.0) / reach * low * rest * rest;
        const double front = t.coulomb * t.numbers[a] * t.numbers[b] / r;
        const double energy = 0.5 * front * phi * fade;
        d.energies[p.i[q]] += energy;
        d.energies[p.j[q]] += energy;
        if (by_distance)
            by_distance[q] += front * (slope * fade + phi * fall - phi * fade / r);
    }
}

} // namespace tlpot
