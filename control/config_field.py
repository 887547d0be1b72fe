"""How one setting is declared: its default, its bounds, and what people are told about it.

Knows no setting. The model is `config.py`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic_settings import NoDecode

# A list is written as a list in TOML; in an environment variable its parts are separated by blanks
# or commas, those of `route` by line ends.
TextList = Annotated[list[str], NoDecode]


def setting(
    default: Any,
    group: str,
    explained: str,
    *,
    unit: str = "",
    metavar: str = "",
    ge: int | None = None,
    le: int | None = None,
) -> Any:
    """Declare a field of the model. Integers have both bounds and a unit."""
    return Field(
        default,
        description=explained,
        ge=ge,
        le=le,
        json_schema_extra={"group": group, "unit": unit, "metavar": metavar},
    )
