"""The stand-in api's reading of OData: what balena-cli 25 sent, and what is refused."""

import pytest

from lab.api.standin import odata

FIELDS = ("id", "uuid", "slug", "handle", "app_name")


@pytest.mark.parametrize(
    ("filtered", "sql", "values"),
    [
        ("", "true", []),
        ("is_directly_accessible_by__user/any(dau:1 eq 1)", "true", []),
        ("app_name eq 'a b'", "app_name::text = %s", ["a b"]),
        (
            "is_directly_accessible_by__user/any(dau:1 eq 1) and (slug eq 'admin/a' or uuid eq 'admin/a')",
            "slug::text = %s OR uuid::text = %s",
            ["admin/a", "admin/a"],
        ),
        (
            "device_type_alias/any(dta:dta/is_referenced_by__alias eq 'generic-amd64')",
            "slug::text = %s",
            ["generic-amd64"],
        ),
        ("startswith(uuid,'abc')", "starts_with(uuid::text, %s)", ["abc"]),
        ("id eq 5", "id::text = %s", ["5"]),
        ("id in (5)", "id::text = %s", ["5"]),
    ],
)
def test_a_filter(filtered: str, sql: str, values: list[str]) -> None:
    assert odata.condition(filtered, FIELDS) == (sql, values)


@pytest.mark.parametrize("filtered", ["password eq 'x'", "id gt 5", "slug eq 'a' and uuid eq 'b'", "1=1; DROP TABLE a"])
def test_what_is_not_understood_is_refused(filtered: str) -> None:
    with pytest.raises(ValueError, match="this stand-in supports"):
        odata.condition(filtered, FIELDS)


@pytest.mark.parametrize(
    ("written", "values"),
    [("5", ["5"]), ("uuid='abc'", ["abc"]), ("uuid=%27abc%27", ["abc"]), ("handle='admin'", ["admin"])],
)
def test_a_key(written: str, values: list[str]) -> None:
    assert odata.key(written, FIELDS)[1] == values


def test_what_is_expanded() -> None:
    query = {"$expand": ["owns__device($select=id;$expand=is_of__device_type($select=slug))"]}
    assert odata.expanded(query, "owns__device") and odata.expanded(query, "is_of__device_type")
    assert not odata.expanded(query, "is_of__device") and not odata.expanded({}, "owns__device")
