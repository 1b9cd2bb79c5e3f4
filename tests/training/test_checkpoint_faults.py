"""A damaged checkpoint never resumes to other weights."""

import pytest
from training_toys import SETTINGS, ToyPotential, everything, loaders

from tlpot.errors import DataError
from tlpot.training import train


def fit(run_dir, **options):
    training, validation = loaders(batch_size=SETTINGS.batch_size)
    potential = ToyPotential()
    return train(
        potential, levels=("low",), train_loader=training, validation_loader=validation,
        settings=SETTINGS, run_dir=run_dir, plan=everything(potential), show=False, **options,
    )  # fmt: skip


@pytest.mark.fault
def test_a_flipped_bit_of_a_checkpoint_is_an_error(tmp_path):
    fit(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-4] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="checksum"):
        fit(tmp_path, resume=True)
