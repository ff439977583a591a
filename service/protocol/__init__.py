"""The wire: what a client and the server say to each other, version `longtake.v1`. No I/O.

Message models are in `service.protocol.client` (client to server) and `service.protocol.server`
(server to client); this front has what turns text into them and back.
"""

from service.protocol.client import SUBPROTOCOL, ClientMessage
from service.protocol.parse import Limits, encode_message, parse_client_message, parse_server_message
from service.protocol.server import ServerMessage, UnknownMessage

__all__ = [
    "SUBPROTOCOL",
    "ClientMessage",
    "Limits",
    "ServerMessage",
    "UnknownMessage",
    "encode_message",
    "parse_client_message",
    "parse_server_message",
]
