"""Datasets of QM labels: reading, describing, splitting, batching."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.data.arrays import ArrayDataset
    from tlpot.data.batch import Batch, Targets, collate
    from tlpot.data.cif_files import cif_structures
    from tlpot.data.dataset import (
        SEVERITIES,
        Dataset,
        Frame,
        LabelKind,
        Labels,
        LevelInfo,
        Problem,
        frames_of,
        known_values,
        structures_hash,
        with_any_label,
    )
    from tlpot.data.decode import Decoder
    from tlpot.data.deepmd_folders import deepmd_systems
    from tlpot.data.fragments import (
        FragmentGraph,
        FragmentRows,
        FragmentSource,
        add_rows,
        edited_fragments,
        fragment_kinds,
        geometry_prints,
        is_fragment_file,
    )
    from tlpot.data.frame_sketch import FrameSketch, frame_hashes, read_sketch, sketch_frames
    from tlpot.data.hdf5 import HDF5Store, json_attribute, open_hdf5, printable, written_hdf5
    from tlpot.data.joined import JoinedDataset
    from tlpot.data.loader import (
        Loader,
        average_neighbors,
        energy_scale,
        evaluation_batches,
        force_scale,
    )
    from tlpot.data.material_files import ID, material_atoms, readable_structures
    from tlpot.data.native import (
        OPTIONAL,
        UNITS,
        add_structures,
        geometry_groups,
        make_column,
        write_dataset,
        write_structures,
    )
    from tlpot.data.native_edits import (
        add_labels,
        add_level,
        announce_level,
        copy_rows,
        store_split,
        stored_split,
    )
    from tlpot.data.open import (
        DataSource,
        Source,
        as_listed,
        files_or_atoms,
        open_dataset,
        open_unlabelled,
    )
    from tlpot.data.problems import find_problems, label_problems, overlap_problems
    from tlpot.data.program_outputs import output_kind, read_output
    from tlpot.data.proteins import ProteinAssembly, add_assembly, add_protein, assembled
    from tlpot.data.spec import DataSpec, LevelSpec, SpecSource, UnitSpec, load_spec
    from tlpot.data.split import DEFAULT_SHARE, FrameOrder, Share, make_split
    from tlpot.data.split_coverage import lacking_elements, renamed_molecules
    from tlpot.data.split_file import (
        Split,
        SplitPart,
        SplitSource,
        as_split,
        load_split,
        split_words,
        stored_part,
    )
    from tlpot.data.split_groups import (
        PRECISION,
        SplitBy,
        default_by,
        fingerprint,
        kept_kinds,
        kept_together,
        reduced_formula,
    )
    from tlpot.data.store import MemoryStore, Section
    from tlpot.data.summary import ElectronCheck, LevelSummary, Summary, definitions_of, summarize
    from tlpot.data.views import (
        DatasetWithLabels,
        DifferenceDataset,
        LowValues,
        NeutralDataset,
        beneath_views,
        with_difference,
    )
    from tlpot.data.xyz_file import is_xyz, parse_xyz_atoms, read_xyz_atoms

__getattr__ = lazy_exports(__name__)
