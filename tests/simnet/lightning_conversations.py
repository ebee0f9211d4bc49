"""The conversations that real lnd was recorded in and that the simulated nodes are compared with, in their order."""

from __future__ import annotations

from simnet.lightning_conversation import Conversation
from simnet.lightning_conversation_away import AwayConversation
from simnet.lightning_conversation_sends import SendConversation
from simnet.lightning_conversation_streams import StreamConversation

__all__ = ["CONVERSATIONS"]

CONVERSATIONS = (Conversation, StreamConversation, SendConversation, AwayConversation)
