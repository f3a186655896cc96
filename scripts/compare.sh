#!/usr/bin/env bash
# What the regularisation changes: four more runs of five folds on the demo's miniature, then a table of
# five. An hour and a half on two cores without a GPU; goes on where it was stopped.
# Usage: bash scripts/compare.sh [SUBJECTS [EPOCHS [FRAMES]]], 40 3 10 by default, as for demo.sh.
set -euo pipefail
source "$(dirname "$0")/demo.sh" "$@"

run() { # NAME, further flags
    python train.py --save_name "compare-$1" --data_root "$data" --max_frames "$frames" \
        --batch_size 8 --resume auto --max_epochs "$epochs" --min_epochs "$epochs" "${@:2}"
}
run AVDF --model_type AVDF --learning_rate 3e-4
run MRDF_Margin --model_type MRDF_Margin --learning_rate 3e-4
run MRDF_CE-no-contrast --model_type MRDF_CE --learning_rate 3e-4 --contrast_weight 0
run MRDF_CE-no-within --model_type MRDF_CE --learning_rate 3e-4 --within_weight 0
python scripts/compare.py --out outputs/demo/comparison outputs/results/{compare-AVDF,compare-MRDF_Margin,demo,compare-MRDF_CE-no-contrast,compare-MRDF_CE-no-within}
