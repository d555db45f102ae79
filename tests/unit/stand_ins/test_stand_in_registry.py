"""What the registry's stand-in tells docker-registry."""

import importlib.util
from typing import Any

import pytest

from openbalena.base.project import ROOT

_NAMES = ("REGISTRY2_S3_REGION_ENDPOINT", "REGISTRY2_S3_KEY", "REGISTRY2_S3_SECRET", "REGISTRY2_S3_BUCKET")
_MORE = ("COMMON_REGION", "REGISTRY2_STORAGEPATH", "REGISTRY2_HOST", "REGISTRY2_SECRETKEY")
_TOKENS = ("REGISTRY2_TOKEN_AUTH_REALM", "REGISTRY2_TOKEN_AUTH_ISSUER")


def settings(**variables: str) -> Any:
    spec = importlib.util.spec_from_file_location("registry_entry", ROOT / "lab" / "registry" / "entry.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.settings(dict.fromkeys((*_NAMES, *_MORE, *_TOKENS), "x") | variables)


@pytest.mark.parametrize(("said", "disabled"), [("", False), ("false", False), ("true", True)])
def test_blobs_are_redirected_unless_that_is_disabled(said: str, disabled: bool) -> None:
    assert settings(REGISTRY2_DISABLE_REDIRECT=said)["storage"]["redirect"] == {"disable": disabled}


def test_each_request_is_logged_and_nothing_waits_for_a_drain() -> None:
    found = settings()
    assert found["log"] == {"level": "error"}
    assert "draintimeout" not in found["http"]
