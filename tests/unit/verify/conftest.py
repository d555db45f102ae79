"""The small deployment, served."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_deployment as local

from openbalena.verify import Target

ADDRESS = local.STORE


@pytest.fixture
def deployment() -> local.Deployment:
    return local.Deployment()


@pytest.fixture
def target(deployment: local.Deployment, tmp_path: Path) -> Iterator[Target]:
    values = {
        "SUPERUSER_EMAIL": "admin@open.test",
        "SUPERUSER_PASSWORD": local.PASSWORD,
        "TOKEN_AUTH_BUILDER_TOKEN": local.BUILDER,
    }
    served = local.serve(deployment, ADDRESS, tmp_path)
    try:
        authority = next(served)
    except PermissionError as error:
        pytest.skip(f"port 443 of {ADDRESS} is for root: {error}")
    yield Target(local.TLD, (ADDRESS, ADDRESS), authority, values)
    served.close()
