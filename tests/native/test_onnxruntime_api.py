"""The part of onnxruntime's C interface that the library declares itself, against what its public headers say."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from kernel_runner import SOURCES

# Read from onnxruntime_c_api.h of the releases 1.17, 1.20 and 1.29, in which they are equal.
INDICES = {
    "CreateStatus": 0,
    "GetErrorMessage": 2,
    "CreateCustomOpDomain": 26,
    "CustomOpDomain_Add": 27,
    "AddCustomOpDomain": 28,
    "GetTensorMutableData": 51,
    "GetDimensionsCount": 61,
    "GetDimensions": 62,
    "GetTensorTypeAndShape": 65,
    "KernelInfoGetAttribute_float": 85,
    "KernelInfoGetAttribute_int64": 86,
    "KernelContext_GetInputCount": 88,
    "KernelContext_GetOutputCount": 89,
    "KernelContext_GetInput": 90,
    "KernelContext_GetOutput": 91,
    "ReleaseStatus": 93,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "KernelInfoGetConstantInput_tensor": 249,
    "KernelContext_ParallelFor": 274,
}
CUSTOM_OP = [
    "version",
    "CreateKernel",
    "GetName",
    "GetExecutionProviderType",
    "GetInputType",
    "GetInputTypeCount",
    "GetOutputType",
    "GetOutputTypeCount",
    "KernelCompute",
    "KernelDestroy",
    "GetInputCharacteristic",
    "GetOutputCharacteristic",
    "GetInputMemoryType",
    "GetVariadicInputMinArity",
    "GetVariadicInputHomogeneity",
    "GetVariadicOutputMinArity",
    "GetVariadicOutputHomogeneity",
    "CreateKernelV2",
    "KernelComputeV2",
    "InferOutputShapeFn",
    "GetStartVersion",
    "GetEndVersion",
]
OURS = (SOURCES / "onnxruntime_api.h").read_text()
HEADER = os.environ.get("ONNXRUNTIME_HEADER", "")


def fields(text: str, struct: str) -> list[str]:
    """The names of the fields of a struct, in order."""
    body = re.sub(r"/\*.*?\*/|//[^\n]*", "", text[re.search(rf"struct {struct} {{", text).end() :], flags=re.S)  # type: ignore[union-attr]
    body = body[: re.search(r"^};", body, flags=re.M).start()]  # type: ignore[union-attr]
    field = (
        r"ORT_API2_STATUS\(\s*(\w+)|ORT_CLASS_RELEASE2?\((\w+)\)|\(\s*ORT_(?:API_)?CALL\s*\*\s*(\w+)\s*\)"
        r"|(?:uint32_t|void \*)\s*(\w+);|ORT_API_T\([^,]*,\s*(\w+)"
    )
    return ["Release" + m[2] if m[2] else next(filter(None, m.groups())) for m in re.finditer(field, body)]


def test_the_indices_are_those_that_were_checked() -> None:
    declared = {name: int(index) for name, index in re.findall(r"ENTRY\((\w+), (\d+),", OURS)}
    declared |= {name: int(index) for name, index in re.findall(r"(\w+)_INDEX = (\d+)", OURS)}
    assert declared == INDICES


def test_the_operator_has_the_fields_of_its_version() -> None:
    assert fields(OURS, "OrtCustomOp") == CUSTOM_OP


@pytest.mark.skipif(not HEADER, reason="ONNXRUNTIME_HEADER names no onnxruntime_c_api.h")
def test_a_header_agrees() -> None:
    header = Path(HEADER).read_text()
    entries = fields(header, "OrtApi")
    assert {name: entries.index(name) for name in INDICES} == INDICES
    assert fields(header, "OrtCustomOp")[: len(CUSTOM_OP)] == CUSTOM_OP
