"""Commands of the operating guide, as they stand there."""

import pathlib
import re

GUIDE = pathlib.Path(__file__).parents[2] / "OPERATING.md"


def blocks(heading, language="sh"):
    """The blocks of code of one language below a heading, up to the next heading."""
    found, here, block = [], False, None
    for line in GUIDE.read_text().splitlines():
        if block is not None:
            if line.startswith("```"):
                if here and block[0] == language:
                    found.append("\n".join(block[1:]))
                block = None
            else:
                block.append(line)
        elif line.startswith("```"):
            block = [line.removeprefix("```").strip()]
        elif title := re.match(r"#+ (.*)", line):
            here = title[1] == heading
    assert found, f"{GUIDE.name} has no {language} below {heading!r}"
    return found
