"""Compose files as people write them: every style, comments everywhere, any line ending (a hypothesis strategy)."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = ("web_shop", "ip-intel", "orders", "mail_relay", '"quoted"', "'single'", "a-rather-long-name_of_a_service")
COMMENTS = ("# plain", "#no blank", "# tab\tin it", "# : - { [ & * ! |", "# ação ✓ 😀", "#")
BLOCK_LINES = (
    "image: example/web:1.0",
    "image:   'quoted: \"both\"'   ",
    'command: "tab\\tand \t tab"',
    "restart: always # said",
    "labels: {a: 1, 'b': [x, y],}",
    "labels:\n  - a=b\n  - c=#d",
    "labels:\n- unindented=1\n- two",
    "entrypoint: |\n  line one\n\n    deeper\n  # no comment\n",
    "entrypoint: >-\n  folded\n  text\n",
    "entrypoint: |+\n  kept\n\n\n",
    "command: plain text\n  over two lines",
    "environment:\n  A: http://orders:8000/x\n  B:\n  C: ~",
    "environment:\n  - A=1\n  # between\n  - B=http://web_shop:80",
    "user:",
    "<<: *base",
    "extra: *base",
    "deploy: &inner\n  replicas: 1",
    "? asked\n: answered",
    "hostname: ação-😀",
)
FLOW_BODIES = (
    'image: x, ports: ["8000:80"]',
    " image: x , restart: always,",
    "image: x,\n      # inside\n      ports: [80,\n 81 ]\n    ",
    '"image": "x", <<: *base',
)
HEADS = ("", "---\n", "%YAML 1.1\n---\n", "\n\n", "# first line\n\n", "--- # said\n", "version: '3'\n", "name: x\n\n")
TAILS = (
    "",
    "networks:\n  net: {}\n",
    "volumes:\n",
    "...\n",
    "# last\n",
    "\n\n\n",
    "x-last: |\n  text\n",
    "...\n# after\n",
)


def _indented(text: str, blanks: int) -> str:
    return "".join(f"{' ' * blanks}{line}\n" if line else "\n" for line in text.removesuffix("\n").split("\n"))


@st.composite
def bodies(draw: st.DrawFn, step: int, extra: str) -> str:
    """Return the value of a service's key: a block or a flow mapping that includes `extra`."""
    if draw(st.integers(0, 4)) == 0:
        flow = draw(st.sampled_from(FLOW_BODIES))
        return f" {draw(st.sampled_from(('', '&anchored ')))}{{{flow}}}{draw(st.sampled_from(('', '  # after')))}\n"
    lines = draw(st.lists(st.sampled_from(BLOCK_LINES), min_size=1, max_size=5, unique_by=lambda b: b.split(":")[0]))
    if extra:
        lines = [line for line in lines if not line.startswith("environment")]
        lines.insert(draw(st.integers(0, len(lines))), extra)
    text = draw(st.sampled_from(("\n", "  # said\n", " &anchored\n", "\n\n")))
    for line in lines:
        if draw(st.integers(0, 3)) == 0:
            # A comment in the column of the block, or deeper, or at the start of the line.
            text += " " * draw(st.sampled_from((0, 2 * step, 2 * step + 3))) + draw(st.sampled_from(COMMENTS)) + "\n"
        text += _indented(line, 2 * step)
    return text


@st.composite
def compose_texts(draw: st.DrawFn, extra: str = "") -> str:
    """Return a compose file's text; each service in block style also has `extra`."""
    step = draw(st.integers(1, 5))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    text = draw(st.sampled_from(HEADS)) + "x-base: &base {labels: {base: yes}}\n"
    text += f"services:{draw(st.sampled_from(('', '  # said', ' &services')))}\n"
    for number, name in enumerate(names):
        body = draw(bodies(step, extra))
        for anchor in ("&anchored", "&inner"):  # PyYAML refuses a second anchor of the same name
            body = body.replace(anchor, f"{anchor}{number}")
        text += f"{' ' * step}{name}:{body}"
        if draw(st.integers(0, 3)) == 0:
            text += draw(
                st.sampled_from(("\n", f"{' ' * (step + 2)}# deeper\n", "# outer\n", f"{' ' * step}# beside\n"))
            )
    text += draw(st.sampled_from(TAILS))
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return text.replace("\n", draw(st.sampled_from(("\n", "\r\n"))))
