#!/bin/sh
# Checks for the Debian packages the build needs; installs the missing ones when run as root.
set -eu

packages="llvm-22-dev libmlir-22-dev mlir-22-tools clang-22 libclang-22-dev lld-22 libomp-22-dev
    libpolly-22-dev zlib1g-dev libzstd-dev libxml2-dev g++ make z3 cvc5
    libvulkan1 mesa-vulkan-drivers spirv-tools"

missing=""
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    echo "setup: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086 # a list of names
    apt-get install -q -y --no-install-recommends $missing
else
    echo "setup: packages are missing; run:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y$missing" >&2
    exit 1
fi
