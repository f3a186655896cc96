#!/usr/bin/env bash
# Five folds of all six detectors, fold by fold, with the command lines of the authors' release. A fold that fails does
# not stop the others: in the end there is a list of them, and an exit code that is not 0.
# Usage: bash scripts/train.sh [DATA_ROOT] [further flags of train.py], with --resume auto to go on where it was stopped.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
data_root=${1:-./data/FakeAVCeleb_v1.2/}
failed=()
for model in AVDF AVDF_Ensemble AVDF_Multilabel AVDF_Multiclass MRDF_Margin MRDF_CE; do
    for fold in 1 2 3 4 5; do
        code=0
        python train.py --model_type "$model" --save_name "$model" --data_root "$data_root" --dataset fakeavceleb \
            --folds "$fold" "${@:2}" || code=$?
        if ((code > 128)); then # asked to stop, so the rest is not wanted either
            exit "$code"
        elif ((code)); then
            failed+=("$model train_$fold: exit code $code")
        fi
    done
done
if ((${#failed[@]})); then
    printf '%s folds failed:\n' "${#failed[@]}" >&2
    printf '  %s\n' "${failed[@]}" >&2
    exit 1
fi
