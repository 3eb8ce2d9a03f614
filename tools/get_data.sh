#!/usr/bin/env bash
# Fashion-MNIST on this machine: torchvision's files if they are there, else Debian's package; else torchvision downloads it at run time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/apt.sh
raw=${LANDSCAPE_NB_HOME:-.}/data/FashionMNIST/raw debian=/usr/share/datasets/fashion-mnist
if compgen -G "$raw/*-ubyte*" >/dev/null || compgen -G "$debian/*.gz" >/dev/null; then exit 0; fi
echo 'data: installing dataset-fashion-mnist'
apt_install dataset-fashion-mnist || echo 'data: apt cannot install dataset-fashion-mnist here; torchvision downloads Fashion-MNIST when it is first needed.'
