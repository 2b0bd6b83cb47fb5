"""For whom backups are encrypted, and what opens them for the daemon's own proofs. Pure."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    GetJsonSchemaHandler,
    SecretStr,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from backupd.age_keys import check_recipient, identities_of
from backupd.policy.section import Section

Recipient = Annotated[str, AfterValidator(check_recipient)]


class Encryption(Section):
    """Public keys of age or ssh, each of which opens the backups alone; or none of them."""

    recipients: tuple[Recipient, ...]
    """age1…, ssh-ed25519 … or ssh-rsa …; nobody else can read archives and records."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, raw: Any) -> Any:
        """`none` as no recipients at all. Raises ValueError."""
        if raw == "none":
            return {"recipients": ()}
        if isinstance(raw, str):
            raise ValueError("must be {recipients: [age1…]}, or none")
        if isinstance(raw, dict) and raw.get("recipients") == []:
            raise ValueError("names no recipient; write none to store in the clear")
        return raw

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        whole = handler.resolve_ref_schema(handler(core_schema))
        whole["properties"]["recipients"]["minItems"] = 1
        described = {"title": "Encryption", "description": whole["description"]}
        return {**described, "anyOf": [{"const": "none"}, whole]}


def check_identity(secret: SecretStr) -> SecretStr:
    """`secret`, if it holds identities that open without a person. Raises ValueError."""
    identities_of(secret.get_secret_value().encode())
    return secret


Identity = Annotated[SecretStr, AfterValidator(check_identity)]
