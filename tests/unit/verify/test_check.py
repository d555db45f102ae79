"""Running checks: order, what needs what, and how a result reads."""

from openbalena.verify import Check, CheckError, Result, SkipCheckError, Suspect, Target, run_checks

TARGET = Target("open.test", ("192.0.2.1", "192.0.2.2"), "", {})


def passes(_: Target) -> str:
    return "fine"


def fails(_: Target) -> str:
    raise CheckError("it is not", "make it so", Suspect("api", "TOKEN"))


def skips(_: Target) -> str:
    raise SkipCheckError("not here")


def outcomes(*checks: Check) -> list[str]:
    told: list[Result] = []
    results = run_checks(checks, TARGET, told.append)
    assert told == results
    return [result.outcome for result in results]


def test_in_order_and_all() -> None:
    assert outcomes(Check("a", "", passes), Check("b", "", fails), Check("c", "", skips)) == ["ok", "FAIL", "skip"]


def test_what_needs_a_failed_check_is_skipped_down_the_line() -> None:
    chain = (Check("a", "", fails), Check("b", "", passes, ("a",)), Check("c", "", passes, ("b",)))
    assert outcomes(*chain) == ["FAIL", "skip", "skip"]


def test_what_needs_a_skipped_check_is_tried() -> None:
    assert outcomes(Check("a", "", skips), Check("b", "", passes, ("a",))) == ["skip", "ok"]


def test_line() -> None:
    result = Result(Check("login", "", fails), "FAIL", "it is not", "make it so", Suspect("api", "TOKEN"))
    assert result.line(8) == "FAIL  login     it is not [see TOKEN of api]; make it so"
    assert Result(Check("login", "", passes), "ok", "fine").line() == "ok    login  fine"


def test_record_names_service_and_variable() -> None:
    record = Result(Check("login", "", fails), "FAIL", "it is not", "make it so", Suspect("api", "TOKEN")).record()
    assert (record["service"], record["variable"], record["outcome"]) == ("api", "TOKEN", "FAIL")


def test_addresses_alternate() -> None:
    assert [TARGET.alternate(turn) for turn in range(3)] == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
