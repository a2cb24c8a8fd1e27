"""A gate's verdicts as Markdown for a pull request and as JUnit XML for a test reporter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

from bench.gate import Verdict


def markdown(verdicts: Sequence[Verdict], baseline: str, current: str) -> str:
    """Verdict in one line, then a table, red rows first."""
    red = [v for v in verdicts if not v.ok]
    head = (
        f"**Gate: green.** {len(verdicts)} means are within their margins."
        if not red
        else f"**Gate: RED.** {len(red)} of {len(verdicts)} means regress: "
        + ", ".join(dict.fromkeys(f"{v.metric} of {v.run_id}" for v in red))
        + "."
    )
    lines = ["## Comparison with the baseline", "", head, "", f"Baseline: `{baseline}`. Now: `{current}`.", ""]
    lines += ["| | Run | Metric | n | Before | Now | Worse by (upper limit) | Margin | What |", "|" + " :-- |" * 9]
    for v in [*red, *(v for v in verdicts if v.ok)]:
        cells = [
            "ok" if v.ok else "**RED**",
            f"`{v.run_id}`",
            v.metric,
            f"{v.n:,}",
            _number(v.before),
            _number(v.after),
        ]
        cells += [f"{_number(v.worse)} ({_number(v.upper)})", _number(v.margin), v.reason or "–"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = (
        "Paired differences on the images both have. A mean passes when the one-sided upper limit (BCa bootstrap) "
        "of its worsening is within the margin. Metrics of whole sets (FID and its kin) and ratios of seconds have no "
        "pairs: their estimates are compared with the margin as they are."
    )
    return "\n".join([*lines, "", notes, ""])


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def junit(verdicts: Sequence[Verdict]) -> str:
    """One suite per run, one case per metric."""
    top = ET.Element("testsuites", name="bench gate", tests=str(len(verdicts)))
    top.set("failures", str(sum(not v.ok for v in verdicts)))
    for run_id, group in groupby(verdicts, key=lambda v: v.run_id):
        cases = list(group)
        suite = ET.SubElement(top, "testsuite", name=run_id, tests=str(len(cases)))
        suite.set("failures", str(sum(not v.ok for v in cases)))
        for v in cases:
            case = ET.SubElement(suite, "testcase", classname=run_id, name=v.metric)
            if not v.ok:
                ET.SubElement(case, "failure", message=v.reason).text = (
                    f"before {v.before:.6g}, now {v.after:.6g}, worse by {v.worse:.6g}, upper limit {v.upper:.6g}, "
                    f"margin {v.margin:.6g}, n {v.n}"
                )
    ET.indent(top)
    return ET.tostring(top, encoding="unicode", xml_declaration=True) + "\n"
