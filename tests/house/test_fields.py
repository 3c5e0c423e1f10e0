"""An instance's fields are defined once: every other type with them inherits them, or is checked to be complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agent.settings.file import ServiceTable
from agent.settings.table import SERVICE_TABLE
from cli.commands.snapshot_file import SnapshotFileRecord
from registry_core.api import request_bodies
from registry_core.api.schemas import InstanceView, RegisterBody, RestoreBody
from registry_core.domain import digest
from registry_core.domain.records import Claimed, Instance, Registration
from registry_core.store.redis.rows import LINE
from tools.sources import ROOT

CLAIMED = set(Claimed.__struct_fields__)
# What an agent finds out by itself.
NOT_SET = {"addresses", "status"}
KINDS = (Registration, Instance, RegisterBody, RestoreBody, InstanceView, SnapshotFileRecord)


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_with_an_instances_fields_inherits_them(kind: type[msgspec.Struct]) -> None:
    assert issubclass(kind, Claimed)


def test_a_field_added_to_the_definition_is_everywhere() -> None:
    argv = [sys.executable, "-m", "tests.house.one_more_field"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", f"without the new field:\n{done.stdout}"


def test_everything_about_an_instance_is_saved_and_restored() -> None:
    assert set(RestoreBody.__struct_fields__) == set(Instance.__struct_fields__) - {"suspect"}


@pytest.mark.parametrize("kind", [RestoreBody, InstanceView, SnapshotFileRecord])
def test_every_field_is_written(kind: type[msgspec.Struct]) -> None:
    assert [field.name for field in msgspec.structs.fields(kind) if not field.required] == []


def test_an_invalid_field_is_answered_with_an_example() -> None:
    fields = {*RegisterBody.__struct_fields__, *RestoreBody.__struct_fields__}
    assert fields - request_bodies._EXAMPLES.keys() == set()


def test_each_field_that_an_owner_sets_has_a_setting_and_a_key() -> None:
    keys = {"service_name" if key == "name" else key for key in ServiceTable.__struct_fields__}
    assert CLAIMED - NOT_SET - keys == set()
    names = {setting.name for setting in SERVICE_TABLE}
    assert {
        "SERVICE_NAME" if f == "service_name" else f"SERVICE_{f.upper()}" for f in CLAIMED - NOT_SET
    } - names == set()


def test_the_scripts_read_and_write_the_words_of_the_line_in_their_order() -> None:
    text = Path(ROOT, "registry_core/store/redis/scripts/library.lua").read_text(encoding="utf-8")
    read = re.search(r"local ([\w, ]+) = string\.match\(value, LINE", text)
    assert read is not None
    assert read[1].split(", ") == [*LINE, "json"]
    written = text[text.index("local function content(") :].partition("end")[0]
    assert re.findall(r"record\.(\w+)", written) == [*LINE, "json"]


def test_the_digest_covers_fields_of_an_instance() -> None:
    kinds = {field.name: field.type for field in msgspec.structs.fields(Instance)}
    digested = {field.name: field.type for field in msgspec.structs.fields(digest._FieldsOfVersion1)}
    assert digested.items() <= kinds.items()
