#!/usr/bin/env bash
# Set up everything and run the tests. Arguments go to pytest: bash scripts/check.sh -k folds
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh
python -m ruff check .
python -m ruff format --check .
python -m pytest "$@"
