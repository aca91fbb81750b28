#!/bin/sh
# run.sh RESULTS: joins the parts that pack.sh made and that were copied to /tmp/parts, installs them, and measures.
# Run it in the repository's root, on the GPU machine, within 10 minutes.
set -e
site=/tmp/clipshelf-site
if [ ! -d "$site/onnxruntime" ]; then
    cat /tmp/parts/part.* | tar -xf - -C /tmp/parts
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" /tmp/parts/wheels/*.whl
    # the CUDA libraries that PyTorch came with, where onnxruntime looks for them
    ln -s "$(python3 -c 'import nvidia; print(nvidia.__path__[0])')" "$site/nvidia"
fi
root=$PWD
cd bench
PYTHONUNBUFFERED=1 PYTHONPATH="$site:$root/engine:$root/export:$root/bench" python3 -m device --out "$1"
