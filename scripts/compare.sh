#!/usr/bin/env bash
# What the regularisation and the recipe change: six runs of five folds on a miniature, then a
# table. Two hours on two cores without a GPU; goes on where it was stopped.
# Usage: bash scripts/compare.sh [SUBJECTS [EPOCHS [FRAMES]]], 25 5 8 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh
subjects=${1:-25} epochs=${2:-5} frames=${3:-8}
data=data/compare-$subjects

python main.py synthesize --out "$data" --subjects "$subjects" --seconds 0.8 --seed 7
python main.py prepare --data_root "$data" --cache > /dev/null
run() { # NAME, further flags
    python train.py --save_name "compare-$1" --data_root "$data" --max_frames "$frames" --batch_size 4 --resume auto \
        --max_epochs "$epochs" --min_epochs "$epochs" "${@:2}"
}
run AVDF --model_type AVDF --learning_rate 3e-4
run MRDF_Margin --model_type MRDF_Margin --learning_rate 3e-4
run MRDF_CE --model_type MRDF_CE --learning_rate 3e-4
run MRDF_CE-no-contrast --model_type MRDF_CE --learning_rate 3e-4 --contrast_weight 0
run MRDF_CE-no-within --model_type MRDF_CE --learning_rate 3e-4 --within_weight 0
run MRDF_CE-clean --model_type MRDF_CE --recipe clean
python scripts/compare.py --out outputs/demo/comparison outputs/results/compare-{AVDF,MRDF_Margin,MRDF_CE,MRDF_CE-no-contrast,MRDF_CE-no-within,MRDF_CE-clean}
