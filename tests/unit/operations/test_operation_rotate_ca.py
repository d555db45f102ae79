"""secrets rotate CA on the fake engine: what is asked and refused before a phase begins, and what begins it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import object_name
from openbalena.base.project import Project
from openbalena.cli.console import Console
from openbalena.operations import rotate_ca as rotation
from openbalena.operations.endpoints import Endpoints
from openbalena.operations.rotate_ca import RotateCaOptions, RotateCaOutcome, rotate_ca
from openbalena.operations.workspace import Workspace
from openbalena.pki import archive, ca_rotation
from openbalena.pki.phases import RotationPhase, current_phase
from openbalena.swarm import certificate_rollout, deployed_pki, settings_store

DOMAIN, STACK = "my.example.com", "openbalena"
SERVICES = {
    "api": ["ca-bundle", "api-certificate"],
    "vpn": ["ca-bundle", "vpn-certificate"],
    "balena-ca": ["ca-certificate", "server-ca-certificate", "ocsp-certificate"],
    "haproxy-certs": ["haproxy-chain"],
}
SECRETS = ("haproxy-chain",)


class Answers(Console):
    """Answers every question as `answer` does, and keeps the questions."""

    def __init__(self, answer: Callable[[], bool] = lambda: True) -> None:
        super().__init__()
        self.answer = answer
        self.questions: list[str] = []

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer()


def deploy(fake: FakeEngine, project: Project) -> None:
    """Services with the files that the project has now, in place of those before."""
    for service in list(fake.swarm.services.values()):
        fake.swarm.remove("services", service["ID"])
    with fake.engine.client() as client:
        for name, keys in SERVICES.items():
            used: dict[str, list[Any]] = {"configs": [], "secrets": []}
            for key in keys:
                kind = "secrets" if key in SECRETS else "configs"
                content = (project.pki / deployed_pki.FILES[key]).read_bytes()
                called = object_name(STACK, key, content)
                if not any(item["Spec"]["Name"] == called for item in getattr(fake.swarm, kind).values()):
                    getattr(client, kind).create(name=called, data=content)
                used[kind].append(fake.swarm.named(kind, called))
            fake.swarm.create("services", stack_service(name, STACK, secrets=used["secrets"], configs=used["configs"]))


def files(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in project.pki.iterdir()}


def rotate(project: Project, reporter: Answers | None = None, **options: Any) -> Any:
    return rotate_ca(RotateCaOptions(**options), Workspace(project, lab=False), reporter or Answers())


def test_a_phase_begins_when_the_user_agrees(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    answers = Answers()
    result = rotate(project, answers)
    assert (result.outcome, result.phase) == (RotateCaOutcome.ADVANCED, RotationPhase.TRUSTED)
    assert current_phase(project.pki) is RotationPhase.TRUSTED and len(answers.questions) == 1
    assert result.services == ("api", "vpn"), "those that trust the CA; no certificate is issued yet"


def test_nothing_changes_if_the_user_does_not_agree(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    before, requests = files(project), list(fake.swarm.asked)
    result = rotate(project, Answers(lambda: False))
    assert (result.outcome, result.phase) == (RotateCaOutcome.DECLINED, RotationPhase.NONE)
    assert files(project) == before and fake.swarm.asked == requests


def test_an_interrupted_step_is_completed_without_a_cluster(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(directory: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ca_rotation, "finish_step", killed)
        ca_rotation.advance_rotation(project.pki, DOMAIN)
    answers = Answers()
    result = rotate(project, answers)
    assert (result.outcome, result.phase, answers.questions) == (RotateCaOutcome.COMPLETED, RotationPhase.TRUSTED, [])


def test_the_cluster_must_have_the_present_phase(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    ca_rotation.advance_rotation(project.pki, DOMAIN)
    before, answers = files(project), Answers()
    with pytest.raises(OperationError, match=r"does not have this machine's ca-bundle\.pem yet.*swarm-up"):
        rotate(project, answers)
    assert files(project) == before and answers.questions == []


def test_every_task_must_run_as_deployed(project: Project, fake: FakeEngine) -> None:
    fake.swarm.fates[f"{STACK}_vpn"] = [[Row(0, "preparing")]]
    deploy(fake, project)
    before = files(project)
    with pytest.raises(OperationError, match="not all tasks of vpn run as they were deployed"):
        rotate(project)
    assert files(project) == before


@pytest.mark.parametrize(("least", "begins"), [(10**6, False), (-(10**6), True)])
def test_without_a_question_a_phase_must_have_lasted(
    project: Project, fake: FakeEngine, least: int, begins: bool
) -> None:
    ca_rotation.advance_rotation(project.pki, DOMAIN)
    deploy(fake, project)
    before = files(project)
    if begins:
        assert rotate(project, unattended=True, after_days=least).phase is RotationPhase.ISSUING
        return
    with pytest.raises(OperationError, match=r"nothing was changed: phase 1 has lasted .* --after-days"):
        rotate(project, unattended=True, after_days=least)
    assert files(project) == before


def test_only_the_last_phase_can_be_reverted(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    with pytest.raises(UsageError, match="only phase 3 can be reverted"):
        rotate(project, back=True)


def test_an_engine_without_the_stack_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match=f"not a manager of a swarm that runs {STACK}"):
        rotate(project)


def test_a_deploy_of_another_machine_during_the_question_is_noticed(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    before = files(project)

    def agree_later() -> bool:
        marks = {**archive.fingerprints(project.pki, {}), "tokens": "others", "later": ""}
        with fake.engine.client() as client:
            settings_store.save(client, STACK, b"others", marks, "anna@laptop")
        return True

    with pytest.raises(OperationError, match="anna@laptop deployed this stack"):
        rotate(project, Answers(agree_later))
    assert files(project) == before


def test_endpoints_tell_a_different_certificate_from_no_answer() -> None:
    names = {"10.0.0.1": "one", "10.0.0.2": "two", "10.0.0.3": "three"}
    endpoints = Endpoints(names, {"10.0.0.2": certificate_rollout.SERVES_OTHER_CERTIFICATE, "10.0.0.3": "timed out"})
    assert endpoints.serving() == ["one (10.0.0.1) serves it."]
    assert (endpoints.other, endpoints.unreachable) == (["10.0.0.2"], ["10.0.0.3"])


def reached(project: Project, fake: FakeEngine, phase: RotationPhase) -> None:
    """The cluster has this phase."""
    for _ in range(phase):
        ca_rotation.advance_rotation(project.pki, DOMAIN)
    deploy(fake, project)


@pytest.mark.parametrize("phase", [RotationPhase.NONE, RotationPhase.TRUSTED, RotationPhase.DROPPED])
def test_the_question_is_the_phase_s_and_says_how_long_it_has_lasted(
    phase: RotationPhase, project: Project, fake: FakeEngine
) -> None:
    reached(project, fake, phase)
    answers = Answers(answer=lambda: False)
    assert rotate(project, answers).phase is phase
    (question,) = answers.questions
    assert question.endswith(rotation._QUESTIONS[phase])
    lasted = re.match(rf"Phase {phase.value} has lasted -?\d+ days; {rotation.ADVISED_DAYS} are advised\. ", question)
    assert bool(lasted) is (phase is not RotationPhase.NONE)


def test_the_last_phase_is_reverted_at_once_even_unattended(project: Project, fake: FakeEngine) -> None:
    reached(project, fake, RotationPhase.DROPPED)
    answers = Answers()
    result = rotate(project, answers, back=True, unattended=True, after_days=10**6)
    assert (result.outcome, result.phase) == (RotateCaOutcome.ADVANCED, RotationPhase.ISSUING)
    assert answers.questions[0].endswith(rotation._BACK)


@pytest.mark.parametrize("other", [True, False])
def test_the_new_ca_s_certificate_must_be_served_before_the_old_ca_is_dropped(
    other: bool, project: Project, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached(project, fake, RotationPhase.ISSUING)
    asked: list[bytes] = []

    def serving(names: Any, host: str, chain: bytes, timeout: float) -> dict[str, str]:
        asked.append(chain)
        return dict.fromkeys(names, certificate_rollout.SERVES_OTHER_CERTIFICATE) if other else {}

    monkeypatch.setattr(certificate_rollout, "tasks_not_serving", serving)
    answers, before = Answers(), files(project)
    if other:
        with pytest.raises(OperationError):
            rotate(project, answers)
        assert files(project) == before and answers.questions == []
    else:
        assert rotate(project, answers).phase is RotationPhase.DROPPED
    assert asked == [before["chain.pem"]]


def test_without_a_question_as_many_days_are_enough_as_it_must_have_lasted() -> None:
    rotation.require_age(1, 7, 7)
    with pytest.raises(OperationError, match="phase 1 has lasted 6 days.* begins after 7.*--after-days 6 "):
        rotation.require_age(1, 6, 7)
    with pytest.raises(OperationError, match="--after-days 0 "):
        rotation.require_age(1, -1, 7)
