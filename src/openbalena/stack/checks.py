"""Values that the Engine refuses only when the stack is deployed, or that never come to work."""

from typing import Any

from openbalena.stack.rules.deploy import CONDITIONS
from openbalena.stack.service import Service

MAXIMUM_SERVICE_NAME = 63  # swarmkit: api/validation, DNS label
MAXIMUM_OBJECT_NAME = 64


def check_service(service: Service) -> None:
    """Say what is wrong with the compiled `service`."""
    deploy: dict[str, Any] = service.target.get("deploy", {})
    _condition(service, deploy)
    _published(service, deploy)
    if len(service.name) > MAXIMUM_SERVICE_NAME:
        service.error("services", "a service has at most 63 characters", "choose a shorter one", service.position)


def _condition(service: Service, deploy: dict[str, Any]) -> None:
    policy = deploy.get("restart_policy", {})
    condition = policy.get("condition", "any")
    if condition not in CONDITIONS and "$" not in str(condition):
        service.error(
            "deploy.restart_policy.condition",
            f"the engine refuses {condition} at the deploy",
            "write any (for always and unless-stopped), on-failure or none",
            policy.at("condition"),
        )


def _published(service: Service, deploy: dict[str, Any]) -> None:
    seen: set[tuple[Any, Any]] = set()
    for port, place in service.target["ports"].located() if "ports" in service.target else ():
        host = port.get("mode") == "host"
        if host and port.get("published"):
            identity = (port["published"], port.get("protocol", "tcp"))
            if identity in seen:
                service.error("ports", f"{identity[0]} is published twice", "publish it once", place)
            seen.add(identity)
            if deploy.get("update_config", {}).get("order") == "start-first":
                service.error(
                    "ports", "with order: start-first the new task waits for ever for a port that the old one has",
                    "write deploy.update_config.order: stop-first", place,
                )  # fmt: skip
        if not host and deploy.get("endpoint_mode") == "dnsrr":
            service.error(
                "ports", "the engine refuses ports in ingress mode with endpoint_mode: dnsrr", "write mode: host", place
            )
