"""Templates with what they all share: filters, tests, the style, and a script that alone may run."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from counterpoint.evaluate.metrics import LOWER_IS_BETTER
from counterpoint.report.tables import gain
from counterpoint.report.wording import score_text, share_text, size_text, words


def template(name: str, scripts: Sequence[str] = ()) -> Template:
    """A template of the package, ready to render.

    Args:
        name: of the file.
        scripts: files that together make the script of the page; its digest is what the page's policy allows.
    """
    environment = Environment(
        loader=PackageLoader("counterpoint.report"),
        autoescape=not name.endswith(".md.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": score_text, "size": size_text, "words": words, "share": share_text}
    environment.tests["known"] = math.isfinite
    environment.tests["lower"] = LOWER_IS_BETTER.__contains__
    # Written by this package and never by a run, so they go in as they are; no other script may run.
    script = '"use strict";\n(() => {\n' + "".join(asset(one) for one in scripts) + "})();\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = Markup(asset("report.css"))
    environment.globals |= {"script": Markup(script), "style": style, "digest": digest, "gain": gain}
    environment.globals["picture"] = Markup(asset("picture.css"))
    return environment.get_template(name)


def asset(name: str) -> str:
    """The text of a file beside the templates."""
    return files("counterpoint.report").joinpath("templates", name).read_text(encoding="utf-8")
