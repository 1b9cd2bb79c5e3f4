#!/usr/bin/env bash
# The MACE of ../parents/acac-gfn2-mace.model: train_parent.sh MACE_RUN_TRAIN FILES OUT, where FILES
# is what acetylacetone_xyz.py wrote. 160 epochs, 93 minutes beside other work.
set -euo pipefail
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
"$1" --name acac-gfn2 --work_dir "$3" --train_file "$2/gfn2-xtb-train.xyz" \
    --valid_file "$2/gfn2-xtb-valid.xyz" --test_file "$2/gfn2-xtb-test.xyz" \
    --energy_key REF_energy --forces_key REF_forces \
    --E0s "$(tr -d '"' < "$2/gfn2-xtb-atoms.json")" --model MACE \
    --hidden_irreps 64x0e+64x1o --max_ell 2 --correlation 3 --r_max 5.0 --num_interactions 2 \
    --batch_size 5 --valid_batch_size 25 --max_num_epochs 160 --lr 0.01 \
    --scheduler_patience 10 --patience 100 --swa --start_swa 120 --ema --ema_decay 0.99 \
    --energy_weight 1 --forces_weight 100 --default_dtype float32 --device cpu --seed 1 \
    --eval_interval 2
