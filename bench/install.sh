#!/bin/sh
# Installs what weft is measured against, unless it is there: ONNX Runtime, from npm's package onnxruntime-node (291 MB,
# none of its scripts is run), into node_modules, and PyTorch, from Debian's package python3-torch. ./install.sh onnxruntime
# installs the first alone.
set -eu
cd "$(dirname "$0")"

lib=node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1
if [ ! -e "$lib" ]; then
	command -v npm >/dev/null || { echo "ONNX Runtime comes as an npm package: install node and npm"; exit 1; }
	npm ci --ignore-scripts --no-audit --no-fund
fi
[ "${1:-}" = onnxruntime ] && exit 0

if ! /usr/bin/python3 -c 'import torch' 2>/dev/null; then
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		echo "PyTorch is Debian's package python3-torch, for /usr/bin/python3: install it as root"
		exit 1
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-torch
fi
