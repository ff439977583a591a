"""The code blocks of a Markdown page, as they stand and as a test can run them.

Knows Markdown fences and nothing of what the code means, but for two things: a `make` verb is planned, not run (it
would install and serve), and the address of the service is replaced by that of a running one.
"""

import re
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVICE = "127.0.0.1:8000"
VERB = re.compile(r"^make (?!-)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One fenced block: its language, its text and the line on which it begins."""

    language: str
    text: str
    line: int

    @property
    def needs_service(self) -> bool:
        return SERVICE in self.text

    def script(self, address: str = SERVICE) -> str:
        """The block for a shell, with verbs planned only and another service's address."""
        return VERB.sub("make -n ", self.text).replace(SERVICE, address)


def code_blocks(page: str) -> list[CodeBlock]:
    return [CodeBlock(match[1], match[2], page.count("\n", 0, match.start()) + 1) for match in FENCE.finditer(page)]


def link_targets(page: str) -> set[str]:
    """Paths that links and pictures of the page point to, without those of other sites."""
    return {target for target in re.findall(r"\]\(([^)#]+)", page) if "://" not in target}
