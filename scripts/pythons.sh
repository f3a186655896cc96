#!/usr/bin/env bash
# Do the requirements exist for every Python that is supported, and do the tests pass there? Slow: each Python gets a
# virtual environment of its own, of a few GB, which is deleted at the end.
# Usage: bash scripts/pythons.sh [resolve | test [flags of pytest]]; resolve, the default, only asks pip what it would
# install. PYTHONS names the interpreters, REQUIREMENTS another list, such as requirements-cu12.txt.
set -uo pipefail
cd "$(dirname "$0")/.."
what=${1:-resolve}
failed=()
for python in ${PYTHONS:-python3.10 python3.11 python3.12 python3.13}; do
    folder=$(mktemp -d)
    echo "== $python: $what"
    case $what in
        resolve) "$python" -m venv "$folder/venv" && "$folder/venv/bin/python" -m pip install --quiet \
            --disable-pip-version-check --dry-run --requirement "${REQUIREMENTS:-requirements.txt}" ;;
        test) VENV="$folder/venv" PYTHON="$python" bash scripts/check.sh "${@:2}" ;;
        *) echo "usage: bash scripts/pythons.sh [resolve | test [flags of pytest]]" >&2; exit 2 ;;
    esac || failed+=("$python")
    rm -rf "$folder"
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
echo "all passed"
