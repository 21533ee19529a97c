#!/bin/sh
# A Python environment with pinned packages: .ci/python.sh FOLDER PACKAGE==VERSION ...
set -eu

folder=$1
shift
if [ "$(cat "$folder/packages" 2>/dev/null || true)" = "$*" ]; then
    exit 0
fi
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "python.sh: python3 cannot make environments; run: sudo apt-get install -y python3-venv" >&2
    exit 1
fi
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
echo "$*" > "$folder/packages"
