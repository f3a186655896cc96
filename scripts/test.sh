#!/usr/bin/env bash
# Test the checkpoints of all six detectors on every fold, after scripts/train.sh.
# Usage: bash scripts/test.sh [DATA_ROOT] [further flags of test.py]
set -euo pipefail
cd "$(dirname "$0")/.."
data_root=${1:-./data/FakeAVCeleb_v1.2/}
for model in AVDF AVDF_Ensemble AVDF_Multilabel AVDF_Multiclass MRDF_Margin MRDF_CE; do
    for fold in 1 2 3 4 5; do
        python test.py --data_root "$data_root" --checkpoint "outputs/ckpts/$model/${model}_train_$fold.ckpt" \
            --train_fold "train_$fold.txt" --model_type "$model" "${@:2}"
    done
done
