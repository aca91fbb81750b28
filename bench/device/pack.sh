#!/bin/sh
# pack.sh: the packages that a GPU machine without a registry lacks, in parts of 50 MB: bench/device/.parts/0 ... 5.
# Run it in the repository's root, on a machine with a registry.
set -e
parts=bench/device/.parts
rm -rf "$parts" && mkdir -p "$parts/wheels"
platforms="--platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64"
python3 -m pip download --no-deps --python-version 3.12 --only-binary=:all: $platforms -d "$parts/wheels" \
    "onnxruntime-gpu==1.31.1" "ftfy>=6.2" wcwidth
tar -C "$parts" -cf "$parts/wheels.tar" wheels
split -b 50M -d -a 1 "$parts/wheels.tar" "$parts/part."
for part in "$parts"/part.*; do
    mkdir "$parts/${part##*.}" && mv "$part" "$parts/${part##*.}/"
done
rm -r "$parts/wheels" "$parts/wheels.tar"
du -sh "$parts"/*
