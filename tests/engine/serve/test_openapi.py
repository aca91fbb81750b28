"""The OpenAPI document: valid, complete, and true: what schemathesis makes of it is answered as it says."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import schemathesis
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.query import Query
from clipshelf.recommend.weights import Weights
from clipshelf.serve.app import handlers
from clipshelf.serve.openapi import document
from clipshelf.serve.operations import ALIASES, OPERATIONS
from clipshelf.serve.schemas import PersonProfile, QueryBody, QueryParameters, WeightsChange
from hypothesis import HealthCheck, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.specs.openapi import checks as openapi_checks
from support.service import RunningService

schema = schemathesis.openapi.from_dict(document())
# The schema cannot say that a text has words, that a filter names a column, or that an id is one of the catalogue's:
# what is well-formed and has no answer gets 422.
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
]


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_the_served_document_lists_every_operation(running: RunningService) -> None:
    served = running.client.get("/openapi.json").json()
    assert served == document()
    ids = [operation["operationId"] for methods in served["paths"].values() for operation in methods.values()]
    assert sorted(ids) == sorted([operation.id for operation in OPERATIONS] + [f"{id_}_v2" for id_ in ALIASES.values()])
    assert handlers(running.service).keys() == {operation.id for operation in OPERATIONS}


def test_every_reference_leads_to_a_schema() -> None:
    described: Any = document()
    names = set(re.findall(r"#/components/schemas/(\w+)", repr(described)))
    assert names == described["components"]["schemas"].keys()


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_what_is_made_of_the_document_is_answered_as_it_says(
    case: schemathesis.Case[Any], running: RunningService
) -> None:
    case.call_and_validate(base_url=running.url, checks=CHECKS)


def test_the_page_of_the_document_needs_no_script_and_shows_every_endpoint(running: RunningService) -> None:
    response = running.client.get("/docs")
    assert "<script" not in response.text and "style=" not in response.text
    for operation in OPERATIONS:
        assert f"<b>{operation.method}</b> <code>{operation.path}</code>" in response.text
    linked = set(re.findall(r'href="#([^"]+)"', response.text))
    assert linked <= set(re.findall(r'id="([^"]+)"', response.text))
    assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/static/docs.css", "/openapi.json", "/docs"])
def test_files_are_asked_after(running: RunningService, path: str) -> None:
    first = running.client.get(path)
    assert first.status_code == 200 and first.headers["x-content-type-options"] == "nosniff"
    assert running.client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    "name", ["index.html", "..%2f__init__.py", "%2e%2e", "nothing.js", "__pycache__", "docs.css%00"]
)
def test_only_files_of_the_page_are_served(running: RunningService, name: str) -> None:
    assert running.client.get(f"/static/{name}").status_code == 404


def test_the_service_takes_every_argument_of_a_query() -> None:
    arguments = {field.name for field in dataclasses.fields(Query) if field.init}
    assert set(QueryBody.__struct_fields__) == arguments | {"explain"}
    # what is no list of pairs can stand in an address, too; profiles and times travel in the body
    assert set(QueryParameters.__struct_fields__) == arguments - {"image", "history", "profile", "now"} | {"explain"}
    assert set(WeightsChange.__struct_fields__) == {field.name for field in dataclasses.fields(Weights)}
    assert set(PersonProfile.__struct_fields__) == {field.name for field in dataclasses.fields(Profile)}
