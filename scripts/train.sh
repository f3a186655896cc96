#!/usr/bin/env bash
# Five folds of all six detectors, with the command lines of the authors' release.
# Usage: bash scripts/train.sh [DATA_ROOT] [further flags of train.py]
set -euo pipefail
cd "$(dirname "$0")/.."
data_root=${1:-./data/FakeAVCeleb_v1.2/}
for model in AVDF AVDF_Ensemble AVDF_Multilabel AVDF_Multiclass MRDF_Margin MRDF_CE; do
    python train.py --model_type "$model" --save_name "$model" --data_root "$data_root" --dataset fakeavceleb "${@:2}"
done
