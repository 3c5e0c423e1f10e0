"""Any text for any setting is read, or refused in one line of ours that shows no secret."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from agent.settings.table import TABLE
from registry_core.errors import SettingsError
from registry_core.replica_settings import SETTINGS
from registry_core.setting_sources import read_settings
from registry_core.settings import Setting

LIBRARY_TEXT = re.compile(r"\[Errno|`|Error\b|Exception\b|does not appear|invalid literal|Invalid IPv6|codec|_ssl")
EVERY = (*TABLE, *SETTINGS)
# What readers take apart, so that many texts come close to being valid.
PIECES = ["http://", "redis://", "redis+sentinel://", "srv:_a._tcp.", ":", ",", "=", "/", "[", "]", "@", "#zone=", "?"]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from([*PIECES, "a", "1", "10.0.0.1", "::1", "\u0661", "%", "pa55word", "masters", "8", "s"]))
    .map("".join)
    .filter(str.strip),
)


@given(setting=st.sampled_from(EVERY), text=TEXTS)
@example(setting=TABLE[0], text="\0")
@example(setting=next(s for s in TABLE if s.name == "REGISTRY_URL"), text="http://[")
@example(setting=next(s for s in TABLE if s.name == "SERVICE_METADATA"), text="[" * 5000)
@example(setting=next(s for s in TABLE if s.name == "AGENT_DNS_ALLOW"), text="10.0.0.1/8")
@example(setting=next(s for s in SETTINGS if s.name == "REGISTRY_STORE"), text="redis://u:pa55word@[::1:6379")
def test_a_text_is_read_or_refused_in_one_line_of_ours(setting: Setting[Any], text: str) -> None:
    try:
        read_settings((setting,), {setting.name: text})
    except SettingsError as error:
        line = str(error)
        assert line.startswith(f"{setting.name}: ")
        assert "\n" not in line
        if "`" not in text and LIBRARY_TEXT.search(text) is None:
            assert LIBRARY_TEXT.search(line) is None, line
        if setting.secret and len(text.strip()) > 3:
            assert text.strip() not in line
