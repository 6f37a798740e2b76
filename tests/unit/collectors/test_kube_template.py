"""Two pod templates compared in words: what may be shown is, what may be a secret is not."""

import pytest

from collectors.kube_json import Writers
from collectors.kube_template import HIDDEN, paths, settings
from tests.unit.collectors.kube_world import Json, managed, template


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["--a", "1"], {"--a": "1"}),
        (["--a=1"], {"--a": "1"}),
        (["--a"], {"--a": ""}),
        (["--a", "1", "2"], {"--a": "1 2"}),
        (["serve", "m", "--a", "-1.5"], {"command": "serve m", "--a": "-1.5"}),
        (["-c", "vllm serve --a 1"], {"-c": "vllm serve", "--a": "1"}),
        (["--max-num-batched-tokens", "8192"], {"--max-num-batched-tokens": "8192"}),
        (["--tokenizer-mode", "auto"], {"--tokenizer-mode": "auto"}),
    ],
)
def test_arguments_are_found_by_their_flags(args: list[str], found: dict[str, str]) -> None:
    told = settings(template(args=args))
    shown = {key.partition(" ")[2]: value for key, value in told.items() if value[:1] != HIDDEN}
    assert shown == found


@pytest.mark.parametrize(
    "args",
    [
        ["--api-key", "sesame"],
        ["--api-key=sesame"],
        ["--hf-token", "sesame"],
        ["--password", "sesame"],
        ["--store", "postgres://me:sesame@db/x"],
        ["--x", "hf_sesame1234"],
        ["-c", "export TOKEN=sesame; vllm serve m"],
        ["--x", "#sesame"],
    ],
)
def test_what_looks_like_a_secret_is_a_digest(args: list[str]) -> None:
    assert "sesame" not in repr(settings(template(args=args)))


def test_variables_are_told_by_name_alone() -> None:
    one, other = (settings(template(env={"LEVEL": value})) for value in ("a", "b"))
    assert one.keys() == other.keys()
    assert [key for key in one if one[key] != other[key]] == ["engine env LEVEL"]
    assert all(found["engine env LEVEL"].startswith(HIDDEN) for found in (one, other))


def test_a_template_without_end_is_one_digest() -> None:
    found = settings(template(args=[f"--a{i}" for i in range(2000)]))
    assert list(found) == ["template"]


def test_who_wrote_a_field_is_the_newest_that_owns_it() -> None:
    fields: Json = {"f:spec": {"f:replicas": {}}}
    writers = Writers.of(
        {
            "metadata": {
                "managedFields": [
                    managed("first", 1, fields),
                    managed("newest", 9, fields),
                    managed("middle", 5, fields),
                    managed("elsewhere", 10, {"f:status": {}}),
                    "odd",
                ]
            }
        }
    )
    assert writers.last("spec", "replicas") == "newest"
    assert writers.last("spec") == "newest"
    assert writers.last("spec", "template") == ""


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("volumes", ("spec", "volumes")),
        ("labels app", ("metadata", "labels", "app")),
        ("engine --a", ("spec", "containers", 'k:{"name":"engine"}', "args")),
        ("engine command", ("spec", "containers", 'k:{"name":"engine"}', "command")),
        ("engine env A", ("spec", "containers", 'k:{"name":"engine"}', "env", 'k:{"name":"A"}')),
        (
            "engine limits nvidia.com/gpu",
            (
                "spec",
                "initContainers",
                'k:{"name":"engine"}',
                "resources",
                "limits",
                "nvidia.com/gpu",
            ),
        ),
        ("engine envFrom", ("spec", "containers", 'k:{"name":"engine"}', "envFrom")),
    ],
)
def test_who_wrote_a_place_is_asked_where_the_api_says_it(
    place: str, path: tuple[str, ...]
) -> None:
    assert path in paths(place)
