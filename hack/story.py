"""Put a run's transcript into README.md: `quorate demo | tee story.txt && python hack/story.py < story.txt`."""

import html
import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- story: begin -->\n", "<!-- story: end -->"
OPEN_CHAPTERS = ("3.",)


def main() -> None:
    """Replace what is between the markers; the run's own folder and home get short names."""
    transcript = sys.stdin.read().replace(str(Path.home()), "~")
    folder = re.search(r"/\S*/quorate-demo-\w+", transcript)
    if folder is not None:
        transcript = transcript.replace(folder[0], "/tmp/quorate-demo")
    chapters = re.split(r"^(\d\. .*)\n─+\n", transcript, flags=re.M)
    parts = [_chapter(title, text) for title, text in zip(chapters[1::2], chapters[2::2], strict=True)]
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + "\n".join(parts) + END + rest.partition(END)[2])


def _chapter(title: str, text: str) -> str:
    shown = " open" if title.startswith(OPEN_CHAPTERS) else ""
    return f"<details{shown}><summary>{html.escape(title)}</summary>\n\n```console\n{text.strip()}\n```\n</details>\n"


if __name__ == "__main__":
    main()
