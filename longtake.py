"""The public names of Longtake: `import longtake`, then the engine in this process or a client of a service.

Each name is imported when it is first used, so that a client does not wait for torch. Whatever is not listed here
may change without notice.
"""

from importlib import import_module, metadata
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.client import Session, connect
    from client.connection import ClientOptions
    from client.errors import ClientError
    from client.requests import Media, Place, PromptChange
    from client.video import VideoWriter
    from models.errors import EngineError
    from models.generator import Generator
    from models.journal import Journal, WeightedPrompt
    from models.load import load_generator
    from models.stream import Block, Stream

__version__: str

__all__ = [
    "Block",
    "ClientError",
    "ClientOptions",
    "EngineError",
    "Generator",
    "Journal",
    "Media",
    "Place",
    "PromptChange",
    "Session",
    "Stream",
    "VideoWriter",
    "WeightedPrompt",
    "__version__",
    "connect",
    "load_generator",
]

_HOMES = MappingProxyType(
    {
        "Block": "models.stream",
        "ClientError": "client.errors",
        "ClientOptions": "client.connection",
        "EngineError": "models.errors",
        "Generator": "models.generator",
        "Journal": "models.journal",
        "Media": "client.requests",
        "Place": "client.requests",
        "PromptChange": "client.requests",
        "Session": "client.client",
        "Stream": "models.stream",
        "VideoWriter": "client.video",
        "WeightedPrompt": "models.journal",
        "connect": "client.client",
        "load_generator": "models.load",
    }
)


def __getattr__(name: str) -> object:
    if name == "__version__":
        return metadata.version("longtake")
    if name not in _HOMES:
        raise AttributeError(f"longtake has no {name!r}; its names are {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
