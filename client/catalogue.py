"""What a server says of its model over HTTP: the prompts that it suggests.

Knows one path and one answer; nothing of sessions. Invariant: what comes back is checked, so a server that answers
otherwise than expected is a ClientError that says so.
"""

import json

from client.errors import ProtocolViolation
from client.http import Ask, Server

MODELS = "/v1/models"


async def suggested_prompts(server: Server) -> tuple[str, ...]:
    """The prompts that the model's makers suggest, at least one.

    Raises:
        ConnectFailed: there is no such server, or its model is not ready. ProtocolViolation: it suggests none.
        RequestRefused: it says why not.
    """
    return parse_prompts(await server.ask(Ask(MODELS)))


def parse_prompts(text: bytes) -> tuple[str, ...]:
    """Raises ProtocolViolation."""
    try:
        prompts = json.loads(text)["data"][0]["suggested_prompts"]
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected a list of models with suggested prompts, got {text[:80]!r}") from error
    if not isinstance(prompts, list) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise ProtocolViolation(f"expected a model with suggested prompts, got {prompts!r}")
    return tuple(prompts)
