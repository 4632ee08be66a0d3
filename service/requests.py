"""What the front ends that speak JSON take alike: shapes, checked, with their descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.query import MAX_K, MAX_NAME_CHARACTERS, MAX_PHRASES, MAX_QUERY_CHARACTERS, Filters
from service.verify import MAX_CLAIMS


class Request(BaseModel):
    """Read strictly; what it does not know is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _whole(given: object) -> object:
    return int(given) if isinstance(given, float) and given.is_integer() else given


WHOLE = BeforeValidator(_whole)
"""Of an int, behind its bounds: of JSON's whole numbers, `5.0` is one too."""
_YEARS: dict[str, Any] = {"minimum": 0, "maximum": 9999}
"""As a schema says it. The library refuses others, in better words."""


class FiltersRequest(Request):
    """Which passages may answer; what is left out or empty does not filter."""

    paper_ids: Annotated[list[str], Field(description="Only these papers.", examples=[["PMC12898183"]])] = []
    section: Annotated[
        str,
        Field(description="Words of a section title anywhere on the path, or a section number.", examples=["methods"]),
    ] = ""
    year_from: Annotated[
        int,
        Field(description="The first year of publication; 0 for any.", examples=[2020], json_schema_extra=_YEARS),
        WHOLE,
    ] = 0
    year_to: Annotated[
        int,
        Field(description="The last year of publication; 0 for any.", examples=[2026], json_schema_extra=_YEARS),
        WHOLE,
    ] = 0
    include: Annotated[
        list[Literal["back_matter", "references"]],
        Field(description="What is searched beside the papers' bodies, by its words alone.", examples=[["references"]]),
    ] = []
    phrases: Annotated[
        list[str],
        Field(
            description="Only passages whose own text holds each of these: its words side by side, not stemmed. "
            f"At most {MAX_PHRASES}, of {MAX_NAME_CHARACTERS} characters each.",
            examples=[["bone mass"]],
        ),
    ] = []
    exclude: Annotated[
        list[str],
        Field(
            description="No passages whose own text holds any of these words or phrases. "
            f"At most {MAX_PHRASES}, of {MAX_NAME_CHARACTERS} characters each.",
            examples=[["mice", "in vitro"]],
        ),
    ] = []

    def checked(self) -> Filters:
        """The same, as the library takes it."""
        return Filters(
            tuple(self.paper_ids),
            self.section,
            self.year_from,
            self.year_to,
            tuple(self.include),
            tuple(self.phrases),
            tuple(self.exclude),
        )


Text = Annotated[
    str,
    Field(
        max_length=MAX_QUERY_CHARACTERS,
        description='Words or a question. In it, `"bone mass"` is required, `-mice` excluded, and `section:methods`, '
        "`year:2018..2020` and `paper:PMC12898183` filter.",
        json_schema_extra={"minLength": 1},
    ),
]
K = Annotated[int, Field(ge=1, le=MAX_K, description="The most passages to give."), WHOLE]
FiltersField = Annotated[FiltersRequest, Field(description="Which passages may be found.")]

Cited = Annotated[
    dict[str, object] | list[object],
    Field(
        description="Of a citation `paper_id`, `start`, `end` and `exact` are needed. Of an answer its quotes are "
        f"verified, or its hits where it has no quotes; {MAX_CLAIMS:,} citations at the most.",
    ),
]


def inlined(schema: Any, schemas: Mapping[str, Any]) -> Any:  # noqa: ANN401  any JSON
    """The schema with what it refers to in place; what stands beside a reference counts."""
    if isinstance(schema, list):
        return [inlined(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = {**schemas[schema["$ref"].rpartition("/")[2]], **schema}
        del schema["$ref"]
    return {key: inlined(value, schemas) for key, value in schema.items()}
