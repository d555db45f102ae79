"""Whether the api to be deployed runs on the schema that the database has, and recording what its version knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.operations.reporter import Reporter
from openbalena.storage.migrations import read_executed
from openbalena.swarm import releases, state
from openbalena.swarm.api_schema import API, Answer, Verdict, is_older, judge, same_image
from openbalena.swarm.releases import Release
from openbalena.swarm.service_update import find_service
from openbalena.swarm.state import Cluster


@dataclass(frozen=True)
class SchemaCheck:
    """The cluster whose database is asked, by a job: only under the lock. `settings` have the database's login."""

    engine: Engine
    client: Any
    settings: Mapping[str, str]
    reporter: Reporter

    def verdict(
        self, document: Mapping[str, Any], known: Sequence[Release], *, may_be_new: bool = False
    ) -> Verdict | None:
        """On the api of the stack `document`; None if there is nothing to decide: no api, or the one that ran last.

        `known` are all releases, the newest first. With `may_be_new` an image that no release has recorded counts as a
        newer version, unless the tags say that it is older.
        """
        image = str((document["services"].get(API) or {}).get("image", ""))
        cluster = state.read_cluster(self.client, self.settings["STACK_NAME"])
        last = _last_image(cluster, known)
        if not image or same_image(last, image):
            return None
        knows = releases.known_migrations(known, image)
        if knows is None and may_be_new and not is_older(image, last):
            return None
        return judge(self._executed(cluster) if knows is not None else (), knows)

    def require(self, verdict: Verdict | None, what: str) -> None:
        """Raise OperationError if `what` ("release 3") must not be deployed; warn of what the api cannot do then."""
        if verdict is None:
            return
        if verdict.answer is Answer.REFUSED:
            raise OperationError(
                f"{what} cannot be deployed:\n  {API}: {verdict.reason}: deploy a version that knows "
                "it, or restore an earlier backup of the database. Other services can be rolled back one at a time "
                "(swarm-rollback RELEASE SERVICE)"
            )
        for limit in verdict.limits:
            self.reporter.warn(f"{API}: it is older than the database's schema: {limit}")

    def migrations_of(self, image: str) -> Sequence[str] | None:
        """The migrations that the api's `image` knows, which now runs; None if that is not known.

        It has executed all of them, and the database has no others, unless a newer version ran on it.
        """
        stack = self.settings["STACK_NAME"]
        known = releases.read_releases(self.client, stack)
        recorded = releases.known_migrations(known, image)
        if not image or recorded is not None:
            return recorded
        if any(is_older(image, each.image(API)) for each in known):
            return None
        return self._executed(state.read_cluster(self.client, stack))

    def _executed(self, cluster: Cluster) -> Sequence[str] | None:
        from docker.errors import DockerException

        try:
            return read_executed(self.engine, self.client, self.settings, cluster)
        except (OperationError, DockerException) as error:
            self.reporter.warn(f"cannot read which migrations of the {API} the database has executed: {error}")
            return None


def _last_image(cluster: Cluster, known: Sequence[Release]) -> str:
    """The api's image that runs, or, if the stack is removed, the one that was deployed last, even if that failed."""
    running = find_service(cluster, API)
    if running:
        return running.image
    return known[0].image(API) if known else ""
