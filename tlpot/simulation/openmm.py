"""The potential that openmmml knows as ``tlpot``: pure systems, and mixed ones in a force field."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from tlpot.calculators import FragmentMethod
from tlpot.energy import implies_charges
from tlpot.errors import (
    ConfigError,
    GeometryError,
    MissingExtraError,
    TLPotWarning,
    UnknownElementError,
    nearest,
)
from tlpot.jobs import EnergyMethod
from tlpot.simulation.batch import check_elements
from tlpot.simulation.openmm_function import NANOMETRE, PotentialFunction, Region

try:
    import openmm
    from openmmml.mlpotential import MLPotentialImpl

    from tlpot.simulation.openmm_exceptions import thin_exceptions
except ImportError as error:
    raise MissingExtraError("openmmml", "openmm", "a potential in OpenMM") from error

OLDEST = {"OpenMM": (8, 6), "openmmml": (1, 8)}
"""PythonForce.setParticles came with OpenMM 8.6, link atoms with openmmml 1.8."""
LARGE = 200
"""Atoms in a region from which on exceptions for all its pairs cost more than to do without."""
OF_SYSTEMS = ("charge", "spin", "linkAtomDistances")
"""Arguments of createSystem and createMixedSystem that mean something here or to the embedding."""


class OpenMMPotential(MLPotentialImpl):
    """A model of tlpot, or fragments of a protein, as a potential of openmmml.

    ``MLPotential("tlpot", model=..., level=..., scheme=..., low=...)`` makes it; settings are
    those of `tlpot.jobs.EnergyMethod`. ``createSystem`` and ``createMixedSystem`` take ``charge``
    and ``spin`` of the region.

    Args:
        settings: see above.

    Raises:
        ConfigError: settings that do not exist, or no model.
        MissingExtraError: OpenMM or openmmml is too old.
    """

    def __init__(self, **settings: Any) -> None:
        for package, oldest in OLDEST.items():
            check_version(package, oldest)
        known = [field.name for field in fields(EnergyMethod)]
        for name in settings:
            if name not in known:
                raise ConfigError(
                    f'MLPotential("tlpot", ...) has no argument {name!r}{nearest(name, known)}'
                )
        if settings.get("model") is None:
            raise ConfigError('MLPotential("tlpot", ...) needs model=, a file or a name')
        self.method = EnergyMethod(**settings).absolute()  # XML may be read elsewhere

    def getMLLongRange(self) -> bool:  # noqa: N802
        """Returns False: beyond its cutoff, or the region itself, the force field is at work."""
        return False

    def addForces(  # noqa: N802
        self,
        topology: Any,
        system: Any,
        atoms: Iterable[int] | None,
        forceGroup: int,
        **args: Any,
    ) -> None:
        """Adds a PythonForce, and bonds without strength that keep molecules together.

        Args:
            topology: of the whole system, with caps at its end.
            system: to add to; one without particles is openmmml's for interpolation.
            atoms: of the region, caps last; None for all.
            forceGroup: of the forces.
            args: ``charge`` and ``spin`` of the region.

        Raises:
            UnknownElementError: the model lacks an element; the atom's residue is named.
            GeometryError: a bond that caps cannot replace, or a box that is too small.
            ConfigError: an argument that does not exist, or a charge that is not the region's.
        """
        for name in args:
            if name not in OF_SYSTEMS:
                raise ConfigError(f"tlpot has no argument {name!r}{nearest(name, OF_SYSTEMS)}")
        cut = CutOut.of(topology, None if atoms is None else list(atoms))
        cut.check_links()
        interpolated = atoms is not None and not system.getNumParticles()
        mixed = atoms is not None and not interpolated
        boxed = topology.getPeriodicBoxVectors() is not None
        if mixed:
            boxed = system.usesPeriodicBoundaryConditions()
        molecules = cut.molecules
        alone = atoms is not None and not any(molecules)
        region = Region(
            numbers=cut.numbers,
            names=cut.names,
            bonds=cut.bonds,
            boxed=boxed,
            periodic=boxed and not alone,
            molecules=molecules,
            within_half=interpolated or (mixed and not alone),
            whole=atoms is None,
            spin=args.get("spin"),
        )
        function = PotentialFunction(self.method, region)
        opened = function.open()
        check_elements(region.numbers, opened.model, region.names)
        charge = args.get("charge")
        if mixed:
            nonbonded = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
            charge = self._charge(opened.model, charge, cut, nonbonded)
            if boxed and alone:
                region = replace(region, apart=NANOMETRE * _longest_cutoff(system))
                for force in nonbonded:
                    # with it, the force on two atoms of the region turns round when they are half
                    # a box apart, because it is taken off at the distance of the nearest images
                    force.setExceptionsUsePeriodicBoundaryConditions(False)
            if len(cut.atoms) > LARGE:
                doubled = thin_exceptions(system, cut.atoms, cut.bonds) if alone else ()
                if not doubled:
                    _warn_of_exceptions(len(cut.atoms))
                region = replace(region, doubled=doubled)
            if boxed and not alone:
                _check_box(system.getDefaultPeriodicBoxVectors(), _reach(opened))
        elif interpolated:
            function.__getstate__()  # openmmml copies the force by way of XML
            charge = self._charge(opened.model, charge, cut, [])
        function.region = replace(region, charge=charge)
        force = openmm.PythonForce(function)
        force.setName("tlpot")
        force.setForceGroup(forceGroup)
        force.setUsesPeriodicBoundaryConditions(boxed)
        if atoms is not None:
            force.setParticles(cut.atoms)
        system.addForce(force)
        system.addForce(_zero_bonds(cut, boxed))

    def _charge(
        self, model: Any, charge: int | None, cut: CutOut, nonbonded: list[Any]
    ) -> int | None:
        """Returns the charge to tell the model: that of the force field, where it has one."""
        found = None
        if nonbonded and not cut.links:
            total = sum(nonbonded[0].getParticleParameters(i)[0]._value for i in cut.atoms)
            found = round(total) if abs(total - round(total)) < 0.01 else None
        if found is None:
            reads = self.method.scheme is None and model.uses_charge
            if reads and charge is None:
                raise ConfigError(
                    "the model reads the charge, and that of the region does not follow from the "
                    "force field (cut bonds, interpolation); give createMixedSystem charge="
                )
            return charge
        if self.method.scheme is not None:
            return found if charge is None else charge  # compared with that of the bonds later
        if model.uses_charge and charge not in (None, found):
            raise ConfigError(
                f"charge is {charge}, but in the force field the region has {found:+d}; leave it "
                "out, or mend the protonation"
            )
        if not model.uses_charge and charge is None and found and not implies_charges(model):
            raise ConfigError(
                f"the region has charge {found:+d} in the force field, and the model does not read "
                "charges; use one that does, or fragments (scheme=), or say charge=0 if it was "
                "trained on such molecules"
            )
        return found if model.uses_charge else charge


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """A part of an OpenMM topology.

    Attributes:
        atoms: indices in the topology, caps last.
        numbers: atomic numbers.
        names: what to call each in a message.
        bonds: pairs of positions in `atoms`; that of a cap is with the atom that it is on.
        links: cut bonds, as pairs of OpenMM atoms, inside and outside.
        neighbors: how many atoms are bound to each atom of the topology.
    """

    atoms: list[int]
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    links: tuple[tuple[Any, Any], ...]
    neighbors: list[int]

    @classmethod
    def of(cls, topology: Any, atoms: list[int] | None) -> CutOut:
        """Cuts atoms out of a topology; None takes all of them.

        Raises:
            UnknownElementError: a particle without element.
            ConfigError: caps are not where openmmml 1.8 puts them.
        """
        every = list(topology.atoms())
        chosen = list(range(len(every))) if atoms is None else [int(i) for i in atoms]
        for i in chosen:
            if every[i].element is None:
                raise UnknownElementError(
                    f"{_called(every[i])} has no element, as the extra sites of water models; "
                    "leave its molecule out of the region, or take a model without such sites"
                )
        place = {atom: k for k, atom in enumerate(chosen)}
        neighbors, bonds, links = [0] * len(every), [], []
        for a, b in topology.bonds():
            neighbors[a.index] += 1
            neighbors[b.index] += 1
            inside = [a.index in place, b.index in place]
            if all(inside):
                bonds.append((place[a.index], place[b.index]))
            elif any(inside):
                links.append((a, b) if inside[0] else (b, a))
        # caps come in the order of the bonds that they replace, after the atoms of the region
        caps = range(len(chosen) - len(links), len(chosen))
        for cap, (inner, _) in zip(caps, links, strict=True):
            atom = every[chosen[cap]]
            if atom.element.atomic_number != 1 or neighbors[atom.index]:
                raise ConfigError(
                    f"expected hydrogen caps after the atoms of the region, found {_called(atom)}; "
                    "this is not openmmml 1.8 as tlpot knows it"
                )
            bonds.append((place[inner.index], cap))
        names = [_called(every[i]) for i in chosen]
        for cap, (inner, _) in zip(caps, links, strict=True):
            names[cap] = f"the cap on {_called(inner)}"
        return cls(
            atoms=chosen,
            numbers=tuple(every[i].element.atomic_number for i in chosen),
            names=tuple(names),
            bonds=tuple((min(pair), max(pair)) for pair in bonds),
            links=tuple(links),
            neighbors=neighbors,
        )

    def check_links(self) -> None:
        """Checks that only single bonds between carbons are cut.

        Raises:
            GeometryError: another bond is; both atoms are named.
        """
        for inner, outer in self.links:
            ends = (inner, outer)
            if all(atom.element is not None and atom.element.symbol == "C" for atom in ends) and (
                any(self.neighbors[atom.index] == 4 for atom in ends)
            ):
                continue
            raise GeometryError(
                f"the region ends between {_called(inner)} and {_called(outer)}: hydrogen caps "
                "stand in for single bonds of two carbons, one of them with four neighbours; move "
                "the border to such a bond, say between CA and CB or between CA and C"
            )

    @property
    def molecules(self) -> tuple[int, ...]:
        """The molecule of each atom, from 0, as the bonds make them."""
        from scipy import sparse
        from scipy.sparse import csgraph

        n = len(self.atoms)
        i, j = np.array(self.bonds, dtype=np.int64).reshape(-1, 2).T
        graph = sparse.coo_array((np.ones(len(i)), (i, j)), shape=(n, n))
        return tuple(csgraph.connected_components(graph, directed=False)[1].tolist())


def check_version(package: str, oldest: tuple[int, int]) -> None:
    """Checks that a package is not too old.

    Raises:
        MissingExtraError: it is, or it is not installed.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "0.0"
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        raise MissingExtraError(
            f"{package} {wanted} or later (found {found})", "openmm", "a potential in OpenMM"
        )


def _called(atom: Any) -> str:
    return f"{atom.name} of {atom.residue.name} {atom.residue.id}"


def _warn_of_exceptions(n_atoms: int) -> None:
    warnings.warn(
        f"the region has {n_atoms} atoms in several molecules, or the force field pair terms of "
        f"its own, so that each of {n_atoms * (n_atoms - 1) // 2:,} pairs is an exception, which "
        "makes a step several times as long (14 times for 900 atoms); take a smaller region, or "
        "a single molecule",
        TLPotWarning,
        stacklevel=4,
    )


def _longest_cutoff(system: Any) -> float:
    """The range of direct interactions of a force field, nm; 0 if it has none."""
    cutoffs = [
        force.getCutoffDistance()._value
        for force in system.getForces()
        if isinstance(force, openmm.NonbondedForce | openmm.CustomNonbondedForce)
    ]
    return float(max(cutoffs, default=0.0))


def _reach(opened: EnergyMethod) -> float:
    """How far apart molecules see each other, Å."""
    if opened.scheme is None:
        return float(opened.model.cutoff)
    scheme = FragmentMethod(scheme=opened.scheme).parsed()
    low = 0.0 if opened.low is None else opened.low.cutoff
    return float(max(getattr(scheme, "outer", 0.0), low))


def _check_box(vectors: Any, cutoff: float) -> None:
    """Refuses a box in which a region of several molecules meets one molecule twice."""
    cell = NANOMETRE * np.array([[v.x, v.y, v.z] for v in (w._value for w in vectors)])
    width = float((1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min())
    if width < 2.0 * cutoff:
        raise GeometryError(
            f"the box is {width:.1f} Å wide, less than twice the range of the model, "
            f"{cutoff:.1f} Å, so that molecules of the region would meet several images of each "
            "other, and the force field leaves out one; take a larger box"
        )


def _zero_bonds(cut: CutOut, boxed: bool) -> Any:
    """Bonds of no strength: barostats and the wrapping of coordinates go by bonds of forces."""
    force = openmm.CustomBondForce("0")
    force.setName("molecules of tlpot")
    force.setUsesPeriodicBoundaryConditions(boxed)
    for i, j in cut.bonds:
        force.addBond(cut.atoms[i], cut.atoms[j])
    return force
