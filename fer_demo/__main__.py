"""`python -m fer_demo`: list the commands."""

import re
from pathlib import Path

#: How the file of a command begins.
_FIRST_LINE = re.compile(r'"""`(python -m fer_demo[.\w]+)`: (.*)\."""')


def commands() -> dict[str, str]:
    """Return what each command does, as its file says it, by the command."""
    files = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py")]
    return {found[1]: found[2] for found in map(_FIRST_LINE.match, files) if found}


if __name__ == "__main__":
    listed = commands()
    width = max(map(len, listed))
    for command, what in sorted(listed.items()):
        print(f"{command:{width}}  {what}")
    print("\n--help after any of them lists its options.")
