"""The compose reader: every form that Compose knows, the position of each part, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.compose.errors import ComposeError, Place
from cli.compose.model import ComposeService, Project
from cli.compose.reader import MAX_FILE_BYTES, project_of, read_project


def project(text: str, **variables: str) -> Project:
    return project_of([("compose.yml", text.encode())], variables)


def web(body: str, **variables: str) -> ComposeService:
    text = f"services:\n  web:\n    {body}\nnetworks: {{n: , m: }}\n"
    return project(text, **variables).checked().services["web"]


def environment(service: ComposeService) -> dict[str, str | None]:
    return {entry.name: entry.value for entry in service.environment}


def folder(path: Path, **files: str) -> Path:
    """Write files (`a__yml` is a.yml, `dotenv` is .env) and return the first of them."""
    names = {name: name.replace("__", ".").replace("dotenv", ".env") for name in files}
    for name, text in files.items():
        (path / names[name]).write_text(text, encoding="utf-8")
    return path / names[next(iter(files))]


# -- environments


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[A=1, B=, C=x=y, D]", {"A": "1", "B": "", "C": "x=y", "D": "from outside"}),
        ("{A: 1, B: '', C: x=y, D: }", {"A": "1", "B": "", "C": "x=y", "D": "from outside"}),
        ("[E]", {"E": None}),
        ("[A=1, A=2]", {"A": "2"}),
        ("{A: true, B: 010, C: 1e3, D: no, E: '010'}", {"A": "true", "B": "8", "C": "1000", "D": "no", "E": "010"}),
        ("['A=${D}', 'B=$$D', 'C=${E:-e}']", {"A": "from outside", "B": "$D", "C": "e"}),
    ],
)
def test_an_environment_is_read_from_a_list_and_from_a_map(written: str, read: dict[str, str | None]) -> None:
    assert environment(web(f"environment: {written}", D="from outside")) == read


def test_every_service_variable_and_port_has_its_line() -> None:
    ports, variables = "    ports:\n    - 1:2\n    - target: 3\n", "    environment:\n      A: x\n      B: y\n"
    text = f"services:\n  web:\n{ports}{variables}  db: {{}}\n"
    services = project(text).services
    assert [s.place for s in services.values()] == [Place("compose.yml", 2), Place("compose.yml", 9)]
    assert [p.place.line for p in services["web"].ports] == [4, 5]
    assert [e.place.line for e in services["web"].environment] == [7, 8]
    assert {key: place.line for key, place in services["web"].places.items()} == {"ports": 3, "environment": 6}


def test_a_value_is_kept_both_as_written_and_expanded() -> None:
    (entry,) = web("environment: ['A=http://${HOST:-db}:${PORT}']").environment
    assert (entry.value, entry.raw, entry.unset) == ("http://db:", "http://${HOST:-db}:${PORT}", ("PORT",))


# -- env files and .env


def test_env_files_come_first_and_the_environment_wins(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        c__yml="services:\n  web:\n    env_file: [a.env, {path: b.env}, {path: none.env, required: false}]\n"
        "    environment: [OWN=own]\n",
        a__env="A=a\nB=a\nOWN=a\n",
        b__env="# comment\nexport B='b # no comment'\nC=\"two\\nlines\" # comment\nD=${A}-${B:-x}\nE\n",
    )
    service = read_project([path], {"E": "outside"}).checked().services["web"]
    assert environment(service) == {
        "A": "a",
        "B": "b # no comment",
        "OWN": "own",
        "C": "two\nlines",
        "D": "a-b # no comment",
        "E": "outside",
    }
    places = {e.name: (Path(e.place.file).name, e.place.line, e.from_env_file) for e in service.environment}
    assert places["B"] == ("b.env", 2, True)
    assert places["OWN"] == ("c.yml", 4, False)


def test_labels_come_from_files_too_and_a_missing_one_is_named(tmp_path: Path) -> None:
    text = "services: {web: {label_file: [a.labels, b.labels], labels: {own: yes}}}\n"
    path = folder(tmp_path, c__yml=text, a__labels="own=no\nvertice.name=shop\n")
    found = read_project([path])
    labels = found.services["web"].labels
    assert {name: label.value for name, label in labels.items()} == {"own": "yes", "vertice.name": "shop"}
    assert labels["vertice.name"].place.line == 2
    (problem,) = found.problems
    assert (problem.code, problem.field, problem.hint) == (
        "env-file",
        "services.web.label_file",
        "label_file: [web.env]",
    )


def test_a_missing_env_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = folder(tmp_path, c__yml="services:\n  web:\n    env_file: none.env\n  db: {image: x}\n")
    found = read_project([path])
    assert list(found.services) == ["web", "db"]
    (problem,) = found.problems
    assert (problem.code, problem.place, problem.service) == ("env-file", Place(str(path), 3), "web")
    assert str(tmp_path / "none.env") in problem.message
    with pytest.raises(ComposeError, match=r"none\.env"):
        found.checked()


def test_the_dot_env_next_to_the_file_is_used_and_the_environment_overrides_it(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        c__yml="services: {web: {image: '${A}-${B}', environment: [B]}}\n",
        dotenv="A=a\nB=weak\n",
    )
    service = read_project([path], {"B": "strong"}).checked().services["web"]
    assert service.image == "a-strong"
    assert environment(service) == {"B": "strong"}


# -- YAML features


def test_anchors_merges_and_extensions_are_followed() -> None:
    service = project(
        """
x-base: &base {image: base, environment: &env {A: "1", B: "1"}}
x-other: &other {image: other, hostname: far}
services:
  web:
    <<: [*base, *other]
    environment: {<<: *env, B: "2"}
"""
    ).services["web"]
    assert (service.image, service.hostname) == ("base", "far")
    assert environment(service) == {"A": "1", "B": "2"}


def test_a_duplicate_key_is_reported_with_both_lines_and_the_last_counts() -> None:
    found = project("services:\n  web:\n    image: a\n    image: b\n")
    assert found.services["web"].image == "b"
    (problem,) = found.problems
    assert str(problem) == "compose.yml:4: 'image' is defined twice, first in line 3; Compose refuses that"
    assert (problem.code, problem.field, problem.service) == ("duplicate-key", "services.web.image", "web")


def test_two_merge_keys_are_a_key_that_stands_twice() -> None:
    text = "x-a: &a {image: a}\nx-b: &b {image: b}\nservices:\n  web:\n    <<: *a\n    <<: *b\n"
    (problem,) = project(text).problems
    assert (problem.code, problem.place.line) == ("duplicate-key", 6)
    assert "'<<' is defined twice, first in line 5" in problem.message


# -- the rest of a service


def test_the_parts_of_a_service_are_read_in_both_forms() -> None:
    long = web(
        "{container_name: c, hostname: h, domainname: d, image: i, build: {context: ./b}, "
        "networks: {n: {aliases: [x, y]}, m: }, depends_on: {db: {condition: service_healthy, required: false}}, "
        "profiles: [p], labels: {a: b}, scale: 2, command: [run, '--port=80'], extra_hosts: {e: 1.2.3.4}, links: [l:m]}"
    )
    short = web(
        "{build: ./b, networks: [n], depends_on: [db], labels: [a=b], deploy: {replicas: 3}, "
        "command: \"run '--to=a b'\", extra_hosts: ['e:1.2.3.4', 'f=::1']}"
    )
    assert (long.container_name, long.hostname, long.domainname, long.image, long.build) == ("c", "h", "d", "i", "b")
    assert [(a.network, a.aliases) for a in long.networks] == [("n", ("x", "y")), ("m", ())]
    assert [(a.network, a.aliases) for a in short.networks] == [("n", ())]
    assert [(d.name, d.condition, d.required) for d in long.depends_on] == [("db", "service_healthy", False)]
    assert [(d.name, d.condition, d.required) for d in short.depends_on] == [("db", "service_started", True)]
    assert long.labels["a"].value == short.labels["a"].value == "b"
    assert (long.replicas, short.replicas, short.build) == ("2", "3", "b")
    assert (long.command, short.command) == (("run", "--port=80"), ("run", "--to=a b"))
    assert long.extra_hosts == (("e", "1.2.3.4"),)
    assert short.extra_hosts == (("e", "1.2.3.4"), ("f", "::1"))
    assert (long.profiles, long.links) == (("p",), ("l:m",))


def test_a_service_without_networks_is_in_the_default_one_and_on_the_host_in_none() -> None:
    assert web("image: x").network_names == {"default"}
    assert web("networks: {}").network_names == {"default"}
    for mode in ("host", "bridge", "none", "default", "service:db", "container:db", "acme_default"):
        assert web(f"network_mode: {mode}").network_names == frozenset()


@pytest.mark.parametrize(
    ("check", "url", "path", "port", "disabled"),
    [
        ('{test: ["CMD", "curl", "http://localhost:80/ok"]}', "http://localhost:80/ok", "/ok", 80, False),
        ("{test: curl http://localhost || exit 1}", "http://localhost", "/", None, False),
        ('{test: ["CMD-SHELL", "nc -z localhost 2181"]}', None, None, 2181, False),
        ('{test: ["CMD", "kafka", "--server=localhost:9092"]}', None, None, 9092, False),
        ('{test: ["NONE"]}', None, None, None, True),
        ("{disable: true}", None, None, None, True),
    ],
)
def test_a_health_check_is_read_with_its_target(
    check: str, url: str | None, path: str | None, port: int | None, disabled: bool
) -> None:
    found = web(f"healthcheck: {check}").healthcheck
    assert found is not None
    assert (found.url, found.path, found.port, found.disabled) == (url, path, port, disabled)


# -- extends


def test_extends_reads_the_same_file_and_others_and_follows_chains(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    folder(
        tmp_path / "sub",
        base__yml="services:\n  root: {image: r, ports: ['1'], environment: [A=r, B=r], env_file: r.env}\n"
        "  mid: {extends: {service: root}, environment: {B: m, C: m}}\n",
        r__env="R=r\n",
    )
    path = folder(
        tmp_path,
        c__yml="services:\n  web:\n    extends: {service: mid, file: sub/base.yml}\n    ports: ['2', '1']\n"
        "    environment: [C=w]\n  twin: {extends: web, command: x}\n",
    )
    services = read_project([path]).checked().services
    assert environment(services["web"]) == {"R": "r", "A": "r", "B": "m", "C": "w"}
    assert [p.targets[0] for p in services["web"].ports] == [1, 2]
    assert (services["twin"].image, services["twin"].command) == ("r", ("x",))
    places = {e.name: (Path(e.place.file).name, e.place.line) for e in services["web"].environment}
    assert places == {"R": ("r.env", 1), "A": ("base.yml", 2), "B": ("base.yml", 3), "C": ("c.yml", 5)}


@pytest.mark.parametrize(
    ("services", "code", "message"),
    [
        ("{a: {extends: b}, b: {extends: a}}", "extends-cycle", "`extends` goes in a circle: a -> b -> a"),
        ("{a: {extends: a}}", "extends-cycle", "`extends` goes in a circle: a -> a"),
        (
            "{a: {extends: none}}",
            "extends-missing",
            "it extends 'none', which does not exist in compose.yml",
        ),
        ("{a: {extends: {file: b.yml}}}", "extends-missing", "`extends` does not name its base"),
        (
            "{a: {extends: {file: b.yml, service: b}}}",
            "extends-missing",
            "its base cannot be read: b.yml: No such file or directory",
        ),
    ],
)
def test_an_invalid_base_affects_only_its_service(services: str, code: str, message: str) -> None:
    def missing(path: str) -> bytes:
        raise FileNotFoundError(2, os.strerror(2), path)

    text = f"services: {services}\n".encode()
    found = project_of([("compose.yml", text)], {}, missing)
    problem = found.problems[0]
    assert (problem.code, problem.message, problem.place) == (code, message, Place("compose.yml", 1))
    assert "a" in found.services


def test_a_long_chain_of_extends_is_followed() -> None:
    chain = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(3000))
    assert project(f"services:\n{chain}  s3000: {{image: last}}\n").checked().services["s0"].image == "last"


# -- include and several files


def test_included_files_are_part_of_the_fleet_and_the_including_file_may_add_to_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    folder(
        tmp_path / "sub",
        inner__yml="include: [../c.yml]\nservices: {inner: {image: '${TAG}'}, web: {image: x, expose: ['80']}}\n",
        dotenv="TAG=t\n",
    )
    path = folder(tmp_path, c__yml="include: [{path: [sub/inner.yml]}, none.yml]\nservices: {web: {image: w}}\n")
    found = read_project([path])
    assert {name: s.image for name, s in found.services.items()} == {"web": "w", "inner": "t"}
    assert [p.targets[0] for p in found.services["web"].expose] == [80]
    assert [p.code for p in found.problems] == ["include", "include"]
    circle, missing = (str(p) for p in found.problems)
    assert "goes in a circle" in circle
    assert "No such file" in missing


def test_an_include_of_several_paths_is_one_project_and_its_env_file_stands_for_dot_env(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    folder(
        tmp_path / "sub",
        a__yml="services: {web: {image: '${TAG}-${OTHER-}', ports: ['1'], env_file: v.env}}\n"
        "networks: {n: {external: true}}\n",
        b__yml="services: {web: {environment: {B: '2'}}}\n",
        dotenv="TAG=dot\nOTHER=dot\n",
    )
    folder(tmp_path, t__env="TAG=${BASE}-named\n", v__env="V=project\n")
    include = "{path: [sub/a.yml, sub/b.yml], env_file: t.env, project_directory: .}"
    path = folder(tmp_path, c__yml=f"include: [{include}]\nservices: {{own: {{networks: [n]}}}}\n")
    found = read_project([path], {"BASE": "base"}).checked()
    web = found.services["web"]
    assert (web.image, [p.targets[0] for p in web.ports]) == ("base-named-", [1])
    assert environment(web) == {"V": "project", "B": "2"}
    assert found.networks["n"].external


def test_an_env_file_of_an_include_must_exist(tmp_path: Path) -> None:
    path = folder(tmp_path, c__yml="services: {own: {}}\ninclude: [{path: i.yml, env_file: none.env}]\n", i__yml="{}")
    (problem,) = read_project([path]).problems
    assert (problem.code, problem.place.line) == ("include", 2)
    assert "its env file cannot be read" in problem.message


def test_two_includes_of_one_file_are_one(tmp_path: Path) -> None:
    folder(tmp_path, l__yml="include: [d.yml]", r__yml="include: [d.yml]", d__yml="services: {d: {ports: ['1']}}")
    path = folder(tmp_path, c__yml="include: [l.yml, r.yml]\nservices: {d: {ports: ['2']}}\n")
    ports = read_project([path]).checked().services["d"].ports
    assert sorted(p.targets[0] for p in ports) == [1, 2]


# -- documents, anchors, resets


def test_a_later_document_is_laid_over_the_earlier_one_of_the_same_file() -> None:
    first = "services: {web: {image: a, ports: ['1', '2']}}\n"
    text = f"{first}---\nservices: {{web: {{image: b, ports: !override ['3']}}, db: {{}}}}\n"
    services = project(text).checked().services
    assert (services["web"].image, [p.targets[0] for p in services["web"].ports]) == ("b", [3])
    assert services["db"].place.line == 3


def test_a_file_of_comments_adds_nothing_to_another() -> None:
    files = [("a.yml", b"services: {web: {image: a}}\n"), ("b.yml", b"# none\n")]
    assert project_of(files).checked().services["web"].image == "a"
    with pytest.raises(ComposeError, match="it is empty"):
        project_of(files[1:])


def test_an_anchor_may_be_defined_anew() -> None:
    text = "services:\n  a: {image: &i one}\n  b: {image: *i}\n  c: {image: &i two}\n  d: {image: *i}\n"
    assert [s.image for s in project(text).checked().services.values()] == ["one", "one", "two", "two"]


def test_what_is_under_reset_is_nothing_also_in_the_first_file() -> None:
    text = "services: {web: {image: a, hostname: !reset h, command: [x, !reset y]}, gone: !reset {image: g}}\n"
    services = project(text).checked().services
    assert list(services) == ["web"]
    assert (services["web"].hostname, services["web"].command) == (None, ("x",))


def test_a_reset_takes_away_what_a_base_an_include_and_an_earlier_file_say(tmp_path: Path) -> None:
    folder(tmp_path, i__yml="services: {in: {image: i, expose: ['1']}}\n")
    first = folder(tmp_path, c__yml="services: {base: {image: b, expose: ['2']}, web: {image: w, expose: ['3']}}\n")
    second = folder(
        tmp_path,
        d__yml="include: [i.yml]\nservices:\n  base: {image: b, expose: ['4']}\n"
        "  web: {extends: base, expose: !reset []}\n  in: {expose: !override ['5']}\n",
    )
    services = read_project([first, second]).checked().services
    assert {name: [p.targets[0] for p in s.expose] for name, s in services.items()} == {
        "base": [2, 4],
        "web": [],
        "in": [5],
    }


# -- the project's name


@pytest.mark.parametrize(
    ("text", "variables", "name"),
    [
        ("name: acme\n", {}, "acme"),
        ("name: Acme Shop!\n", {}, "acmeshop"),
        ("name: ${WHO:-x}-y\n", {"WHO": "acme"}, "acme-y"),
        ("name: acme\n", {"COMPOSE_PROJECT_NAME": "given"}, "given"),
        ("name: acme\n", {"COMPOSE_PROJECT_NAME": ""}, "acme"),
        ("name: acme\n---\nname: later\n---\n", {}, "later"),
    ],
)
def test_the_projects_name_is_always_a_variable(text: str, variables: dict[str, str], name: str) -> None:
    services = "services: {web: {container_name: '${COMPOSE_PROJECT_NAME}_web', environment: [COMPOSE_PROJECT_NAME]}}\n"
    found = project(text + services, **variables).checked()
    web = found.services["web"]
    assert (found.name, web.container_name, environment(web)) == (name, f"{name}_web", {"COMPOSE_PROJECT_NAME": name})


def test_a_project_without_a_name_is_called_like_its_folder(tmp_path: Path) -> None:
    (tmp_path / "_My.Shop").mkdir()
    path = folder(tmp_path / "_My.Shop", c__yml="services: {web: {image: '${COMPOSE_PROJECT_NAME}'}}\n")
    assert read_project([path]).checked().services["web"].image == "myshop"


def test_a_name_in_the_environment_that_compose_refuses_is_told() -> None:
    (problem,) = project("services: {web: {}}", COMPOSE_PROJECT_NAME="My Shop").problems
    assert (problem.code, problem.field, problem.hint) == ("project-name", "COMPOSE_PROJECT_NAME", "myshop")
    (problem,) = project("name: '...'\nservices: {web: {}}").problems
    assert (problem.code, problem.field, problem.hint) == ("project-name", "name", "acme")


# -- several files


def test_a_later_file_overrides_earlier_ones() -> None:
    files = [
        (
            "a.yml",
            b"""services:
  web: {image: a, command: [a], ports: ['1:1', '2:2'], environment: [A=a, B=a],
        depends_on: [x], networks: [n], labels: [l=a], expose: ['9'], hostname: h}
  db: {image: d}
networks: {n: }
""",
        ),
        (
            "b.yml",
            b"""services:
  web: {image: b, command: [b], ports: ['2:2', '3:3'], environment: {B: b, C: b},
        depends_on: {y: }, networks: {n: {aliases: [z]}}, labels: {m: b}, expose: ['8']}
  new: {image: n}
""",
        ),
        ("c.yml", b"services:\n  web: {environment: !override {X: c}, hostname: !reset null, ports: !reset []}\n"),
    ]
    two = project_of(files[:2]).checked().services
    assert list(two) == ["web", "db", "new"]
    service = two["web"]
    assert (service.image, service.command, service.hostname) == ("b", ("b",), "h")
    assert [p.raw for p in service.ports] == ["1:1", "2:2", "3:3"]
    assert environment(service) == {"A": "a", "B": "b", "C": "b"}
    assert [d.name for d in service.depends_on] == ["x", "y"]
    assert [(a.network, a.aliases) for a in service.networks] == [("n", ("z",))]
    assert {name: label.value for name, label in service.labels.items()} == {"l": "a", "m": "b"}
    assert [p.targets[0] for p in service.expose] == [9, 8]
    assert {e.name: e.place.file for e in service.environment} == {"A": "a.yml", "B": "b.yml", "C": "b.yml"}
    three = project_of(files).checked().services["web"]
    assert (environment(three), three.hostname, three.ports) == ({"X": "c"}, None, ())


# -- what is refused


@pytest.mark.untraced
def test_a_fleet_of_five_thousand_is_read_completely() -> None:
    services = "".join(f"  svc{n}: {{ports: ['8000'], environment: [A=http://svc{n}:8000]}}\n" for n in range(5000))
    assert len(project(f"services:\n{services}").services) == 5000


@pytest.mark.untraced
def test_aliases_that_expand_without_bound_are_refused() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 10))
    with pytest.raises(ComposeError, match="with its aliases expanded") as error:
        project(f"l0: &l0 [x, x]\n{levels}services: {{web: {{command: *l9}}}}\n")
    assert error.value.code == "too-large"


def test_bases_that_grow_without_bound_are_refused() -> None:
    chain = "".join(f"  s{n}: {{extends: s{n + 1}, environment: [A{n}=]}}\n" for n in range(3000))
    with pytest.raises(ComposeError, match="values in total"):
        project(f"services:\n{chain}  s3000: {{image: x}}\n")


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("services:\n  web: [\n", "not-yaml", 3),
        ("- web\n", "not-compose", 1),
        ("version: '3'\n", "not-compose", 0),
        ("services:\n  web: {<<: 1}\n", "not-yaml", 2),
        ("services: &s\n  web: *s\n", "too-large", 1),
    ],
)
def test_an_invalid_compose_file_is_refused_with_the_position(text: str, code: str, line: int) -> None:
    with pytest.raises(ComposeError) as error:
        project(text)
    assert (error.value.code, error.value.place) == (code, Place("compose.yml", line))
    assert "\n" not in str(error.value)


def test_missing_and_oversized_files_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.yml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    for path, message in (
        (large, "too large"),
        (tmp_path, "directory"),
        (Path("/dev/null"), "not a file"),
        (tmp_path / "none.yml", "No such file"),
    ):
        with pytest.raises(ComposeError, match=message) as error:
            read_project([path])
        assert str(path) in str(error.value)
    with pytest.raises(ComposeError, match="required"):
        read_project([])


def test_text_of_a_file_cannot_control_the_terminal() -> None:
    found = project('services: {web: {ports: ["\\e[31mred"]}}\n')
    assert "\x1b" not in str(found.problems[0])


def test_reading_changes_no_file(tmp_path: Path) -> None:
    path = folder(tmp_path, c__yml="services: {web: {image: x, env_file: a.env}}\n", a__env="A=1\n")
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    read_project([path])
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()} == before
