"""Takes the snippets out of README.md, so that what the page shows is what the tests run.

A snippet is a fenced block after the line `<!-- snippet: NAME -->`. A block that cannot run here stands after
`<!-- not run: REASON -->`. A block of code with neither is a fault: nothing on the page goes untested in silence.
"""

import re
import sys
from pathlib import Path

PROSE = {"", "json"}  # languages of blocks that show something instead of doing it
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (snippet|not run): (.+?) -->\n\Z")


def extract(page: str) -> dict[str, str]:
    """The snippets of the page by their names."""
    snippets = {}
    for fence in FENCE.finditer(page):
        language, code = fence.groups()
        mark = MARK.search(page[: fence.start()])
        if mark is None:
            if language not in PROSE:
                raise SystemExit(f"README.md: this {language} block is neither a snippet nor marked as not run:\n{code}")
        elif mark[1] == "snippet":
            if mark[2] in snippets:
                raise SystemExit(f"README.md: two snippets are called {mark[2]}")
            snippets[mark[2]] = code
    return snippets


def main() -> None:
    page, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in extract(page.read_text()).items():
        (folder / name).write_text(code)


if __name__ == "__main__":
    main()
