"""The conversations recorded with real lnd and replayed with the simulated nodes, in order."""

from __future__ import annotations

from simnet.lightning_conversation import Conversation
from simnet.lightning_conversation_away import AwayConversation
from simnet.lightning_conversation_requests import RequestConversation
from simnet.lightning_conversation_sends import SendConversation
from simnet.lightning_conversation_streams import StreamConversation

__all__ = ["CONVERSATIONS"]

CONVERSATIONS = (Conversation, StreamConversation, SendConversation, RequestConversation, AwayConversation)
