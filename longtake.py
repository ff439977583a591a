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
    from client.library import Client
    from client.requests import Adapter, Delivery, Media, Model, Place, PromptChange
    from client.sync_library import Client as SyncClient
    from client.take import Frame, Take
    from client.video import VideoWriter
    from client.video_values import Video, VideoOptions
    from models.errors import EngineError
    from models.generator import Generator
    from models.journal import Journal, WeightedPrompt
    from models.load import load_generator
    from models.stream import Block, Stream

__version__: str

__all__ = [
    "Adapter",
    "Block",
    "Client",
    "ClientError",
    "ClientOptions",
    "Delivery",
    "EngineError",
    "Frame",
    "Generator",
    "Journal",
    "Media",
    "Model",
    "Place",
    "PromptChange",
    "Session",
    "Stream",
    "SyncClient",
    "Take",
    "Video",
    "VideoOptions",
    "VideoWriter",
    "WeightedPrompt",
    "__version__",
    "connect",
    "load_generator",
]

_HOMES = MappingProxyType(
    {
        "Adapter": "client.requests",
        "Block": "models.stream",
        "Client": "client.library",
        "ClientError": "client.errors",
        "ClientOptions": "client.connection",
        "Delivery": "client.requests",
        "EngineError": "models.errors",
        "Frame": "client.take",
        "Generator": "models.generator",
        "Journal": "models.journal",
        "Media": "client.requests",
        "Model": "client.requests",
        "Place": "client.requests",
        "PromptChange": "client.requests",
        "Session": "client.client",
        "Stream": "models.stream",
        "SyncClient": "client.sync_library:Client",
        "Take": "client.take",
        "Video": "client.video_values",
        "VideoOptions": "client.video_values",
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
    module, _, other = _HOMES[name].partition(":")
    return getattr(import_module(module), other or name)


def __dir__() -> list[str]:
    return list(__all__)
