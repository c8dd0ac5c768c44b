#!/usr/bin/env bash
# Builds images with podman and runs them (tests/deploy/test_images.py): the sink's, or those that are named.
#   tests/images.sh                      produce, store, status; some minutes
#   tests/images.sh sink models planner  also the chart's containers as one pod, where helm is there; 10 GB
# Where podman, a base image or a container cannot be had, it says so and passes.
set -euo pipefail
cd "$(dirname "$0")/.."
BASE=docker.io/library/python:3.11-slim-bookworm
# podman as it is without systemd; debootstrap where no registry answers
NEEDED=(podman buildah runc netavark aardvark-dns catatonit iptables debootstrap)

pass() {
    echo "images are not tested: $1"
    exit 0
}

place=$(mktemp -d /tmp/vpp-images.XXXXXX)
trap 'rm -rf "$place"' EXIT
IMAGES=${*:-sink}
LIMIT_S=$(($# > 1 ? 1800 : 300))
SECONDS=0
if ! command -v podman >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || pass "there is no podman, and only root with apt-get can install it"
    apt-get update -q >/dev/null || pass "apt-get finds no packages"
    DEBIAN_FRONTEND=noninteractive timeout 120 \
        apt-get install -y -q --no-install-recommends "${NEEDED[@]}" >/dev/null || pass "apt-get cannot install podman"
fi
if [ -z "${CONTAINERS_CONF:-}" ] && [ ! -d /run/systemd/system ]; then
    export CONTAINERS_CONF="$place/containers.conf"
    printf '%s\n' '[containers]' 'default_ulimits=["nofile=20000:20000","nproc=20000:20000"]' \
        '[engine]' 'runtime="runc"' 'cgroup_manager="cgroupfs"' 'events_logger="file"' >"$CONTAINERS_CONF"
fi
if ! podman image exists "$BASE" && ! timeout 60 podman pull -q "$BASE" >/dev/null 2>&1; then
    command -v debootstrap >/dev/null && [ "$(id -u)" = 0 ] || pass "$BASE cannot be pulled, and there is no debootstrap"
    echo "$BASE cannot be pulled: Debian's own Python takes its place"
    timeout 200 debootstrap --variant=minbase --include=python3.11,python3.11-venv,python3-pip,ca-certificates \
        bookworm "$place/base" >/dev/null 2>&1 || pass "debootstrap cannot make a base"
    rm -f "$place"/base/usr/lib/python3*/EXTERNALLY-MANAGED
    ln -s python3 "$place/base/usr/bin/python"
    tar -C "$place/base" -c . | podman import - "$BASE" >/dev/null 2>&1
    rm -rf "$place/base"
fi
podman run --rm --network=host "$BASE" true 2>"$place/why" || pass "podman cannot run a container here: $(tail -n 1 "$place/why")"
if ! timeout "$LIMIT_S" make -s image IMAGES="$IMAGES" >"$place/built" 2>&1; then
    tail -n 30 "$place/built"
    # a fault of the network is none of the image
    ! grep -qiE 'timed out|connection|resolve|certificate' "$place/built" || pass "the packages of the images cannot be had"
    exit 1
fi
VPP_TEST_ENGINE=podman .venv/bin/python -m pytest -s tests/deploy/test_images.py
podman rmi -f localhost/vpp-test-edited >/dev/null
echo "images: $SECONDS s"
