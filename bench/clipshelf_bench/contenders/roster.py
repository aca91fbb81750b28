"""All contenders, in the order of the report."""

from __future__ import annotations

from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.contenders.clipshelf_profiles import ClipshelfBatch, ClipshelfOneByOne
from clipshelf_bench.contenders.clipshelf_rank import ClipshelfRank, ClipshelfRankFloat
from clipshelf_bench.contenders.clipshelf_runtime import Clipshelf, ClipshelfFloat, ClipshelfFunctions
from clipshelf_bench.contenders.faiss_rank import FaissFlat, FaissSq8
from clipshelf_bench.contenders.fastembed_clip import Fastembed
from clipshelf_bench.contenders.hnswlib_rank import Hnswlib
from clipshelf_bench.contenders.modern_onnx_clip import ModernOnnxClip
from clipshelf_bench.contenders.numpy_rank import NumpyRank
from clipshelf_bench.contenders.openvino_clip import OpenVinoFloat, OpenVinoHalf, OpenVinoInt8, OpenVinoInt8Vnni
from clipshelf_bench.contenders.optimum_ort import OptimumOrt
from clipshelf_bench.contenders.original import Original
from clipshelf_bench.contenders.ort_dynamic import OrtDynamic
from clipshelf_bench.contenders.pillow_pixels import Pillow
from clipshelf_bench.contenders.torch_clip import TorchClip, TorchClipHalf
from clipshelf_bench.contenders.usearch_rank import UsearchExact

CONTENDERS: tuple[type[Contender], ...] = (
    Clipshelf,
    ClipshelfFunctions,
    ClipshelfFloat,
    OpenVinoInt8,
    OpenVinoInt8Vnni,
    OpenVinoFloat,
    OpenVinoHalf,
    OrtDynamic,
    OptimumOrt,
    Fastembed,
    ModernOnnxClip,
    TorchClip,
    TorchClipHalf,
    Original,
    Pillow,
    ClipshelfRank,
    ClipshelfRankFloat,
    NumpyRank,
    FaissFlat,
    FaissSq8,
    UsearchExact,
    Hnswlib,
    ClipshelfBatch,
    ClipshelfOneByOne,
)
