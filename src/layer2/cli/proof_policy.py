"""The policy of ``layer2 proof``: from a TOML file, from options, or from both. Imports no network library."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from cyclopts import Parameter

from layer2.cli.output import Result
from layer2.cli.session import InSession
from layer2.errors import ConfigurationError, FormatError, InvalidRequest
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.formats.printable import printable
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.policy import ProofPolicy, Requirement

__all__ = ["NOTHING_DECLARED", "PolicyOptions", "by_layer", "key_of", "policy_data", "template", "written_tokens"]

_Network: TypeAlias = Literal["mainnet", "testnet", "regtest"]
_Required: TypeAlias = Literal["stated", "as_agreed", "finalized"]
_NETWORKS: Final[tuple[str, ...]] = get_args(_Network)
_REQUIREMENTS: Final = {each: Requirement(each) for each in get_args(_Required)}
_HEAD: Final = (
    "A policy for layer2 proof verify and layer2 proof audit: what you accept as true.",
    "What no key declares is not accepted, except mainnet. An option of the command replaces its key.",
)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy file. Each value of a list has the form of the option's value."""

    networks: tuple[str, ...] = ("mainnet",)
    """networks whose money counts: mainnet, testnet, regtest (--network)"""
    tokens: tuple[str, ...] = ()
    """tokens that are bitcoin for you, CHAIN_ID:ADDRESS:DECIMALS. Rootstock's own coin needs no entry (--token)"""
    providers: tuple[str, ...] = ()
    """keys whose signed terms you accept, 64 or 66 hex digits (--provider)"""
    own_preimage_payees: tuple[str, ...] = ()
    """Lightning nodes, 66 hex digits, that create their own preimages and issue no hold invoices. With this key, only
    payments to these nodes are accepted (--payee)"""
    contracts: tuple[str, ...] = ()
    """more HTLC contracts than the genuine one, CHAIN_ID:ADDRESS: you declare that the code is the same (--contract)"""
    work: tuple[str, ...] = ()
    """work with which headers are accepted, LAYER:HASHES, on BITCOIN and ROOTSTOCK (--work)"""
    trusted_headers: tuple[str, ...] = ()
    """blocks that you know are on their chains, LAYER:HASH (--trusted-header)"""
    requires: str = Requirement.AS_AGREED.value
    """what must be known of each leg's end: as_agreed (its block is on your node, or has the work of this policy) or
    finalized, which both accept a trusted header; or stated, by a provider of this policy (--requires)"""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """The options that declare what a verifier accepts."""

    policy: Path | None = None
    """A policy file, as layer2 proof policy writes it. Each of the next options replaces its key in the file."""
    network: tuple[_Network, ...] = ()
    """Accept this network; can be repeated. Default: mainnet."""
    token: tuple[str, ...] = ()
    """CHAIN_ID:ADDRESS:DECIMALS. Accept this token as bitcoin; can be repeated. Rootstock's own coin needs none."""
    provider: tuple[str, ...] = ()
    """Accept only terms signed by this key (64 or 66 hex digits); can be repeated."""
    payee: tuple[str, ...] = ()
    """Accept only payments to this Lightning node (66 hex digits). You declare that it creates its own preimages and
    issues no hold invoices; can be repeated."""
    contract: tuple[str, ...] = ()
    """CHAIN_ID:ADDRESS. Accept this HTLC contract too. You declare that its code is the contract's, which only the
    genuine contract's address shows; can be repeated."""
    work: tuple[str, ...] = ()
    """LAYER:HASHES. Accept the headers of a proof on BITCOIN or ROOTSTOCK if inventing them takes so many hashes or
    more; can be repeated."""
    requires: _Required | None = None
    """What must be known of each leg's end. as_agreed: your node has its block with the finality of the terms, or the
    block has the work that you accept. finalized: it is final at your node. Both accept a trusted header. stated: a
    provider that you name states it, and you trust that provider. Default: as_agreed."""

    def declared(self, trusted_header: Sequence[str] = ()) -> ProofPolicy:
        """What the file and the options declare. What they do not declare is None, and ``judged`` reports it.

        Args:
            trusted_header: the values of an option that only some commands have in this form: LAYER:HASH.

        Raises:
            ConfigurationError: the file cannot be read, or a key is unknown or has a wrong value.
            InvalidRequest: an option has a wrong value.
        """
        file = {} if self.policy is None else _read_file(self.policy)
        given = {"trusted_headers": tuple(trusted_header)}
        options = {
            key: _parsed(key, texts, form.option)
            for key, form in _FORMS.items()
            if (texts := given.get(key) or _texts_of(getattr(self, form.option.removeprefix("--"), None)))
        }
        try:
            return _policy(file | options)
        except InvalidRequest as error:
            # Nothing else refuses a request here, and nothing could have been sent.
            raise InvalidRequest(error.message, code="usage") from error


def policy_data(policy: ProofPolicy) -> dict[str, object]:
    """A policy in the form of a policy file. A key that declares nothing is left out, but for the network."""
    given: dict[str, Sequence[str]] = {
        "networks": sorted(policy.networks or {"mainnet"}),
        "tokens": written_tokens(policy),
        "providers": sorted(key.hex() for key in policy.providers or ()),
        "own_preimage_payees": sorted(key.hex() for key in policy.own_preimage_payees or ()),
        "contracts": [
            f"{chain}:{to_checksum(each, chain)}"
            for chain, addresses in sorted(policy.contracts.items())
            for each in sorted(addresses)
        ],
        "work": sorted(f"{layer.value}:{hashes}" for layer, hashes in policy.work.items()),
        "trusted_headers": sorted(f"{layer.value}:{each.hex()}" for layer, each in policy.trusted_headers.items()),
    }
    return {**{key: list(texts) for key, texts in given.items() if texts}, "requires": policy.requires.value}


def written_tokens(policy: ProofPolicy) -> list[str]:
    """The tokens of a policy, each as the value of ``--token``."""
    return [
        f"{chain}:{to_checksum(token, chain)}:{decimals}"
        for chain, tokens in sorted((policy.tokens or {}).items())
        for token, decimals in sorted(tokens.items())
    ]


def template(*, session: InSession) -> Result:
    """Print a commented policy file, for proof verify and proof audit.

    If there is a configuration, the policy accepts its network, its tokens, its contracts and its providers.
    """
    from layer2.cli.config_file import file_text

    values: dict[str, object] = {}
    if session.config_file is not None or session.file.exists():
        from layer2.manager.verification import configured_policy

        values = policy_data(configured_policy(session.config(), None))
    text = file_text(PolicyFile, values, head=_HEAD)
    return Result({"policy": values, "text": text}, text.splitlines())


def by_layer(texts: Sequence[str], option: str, form: str) -> dict[Layer2ProtocolType, str]:
    """The values of an option that has one for each layer.

    Raises:
        InvalidRequest: one names no layer.
    """
    try:
        return dict(map(_by_layer, texts))
    except (KeyError, ValueError) as error:
        raise InvalidRequest(f"{option} takes {form}", code="usage") from error


def key_of(text: str, lengths: tuple[int, ...]) -> bytes:
    """A key or a hash from hex digits.

    Raises:
        ValueError: it has another length, or is not hex.
    """
    key = bytes.fromhex(text.removeprefix("0x"))
    if len(key) not in lengths or len(text.removeprefix("0x")) != 2 * len(key):
        raise ValueError("another length")
    return key


def _read_file(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            values = tomllib.load(stream)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: not TOML: {error}", code="not_toml") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"{file} cannot be read: {reason}", code="unreadable_file") from error
    known = [each.name for each in fields(PolicyFile)]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            raise ConfigurationError(
                f'{file}: has no key "{printable(key)}"; {hint}known keys: {", ".join(known)}', code="unknown_key"
            )
    try:
        declared = {key: _parsed(key, _texts(key, value), key) for key, value in values.items() if value != []}
        _policy(declared)
    except InvalidRequest as error:
        raise ConfigurationError(f"{file}: {error.message}", code="wrong_value") from error
    return declared


def _policy(declared: Mapping[str, Any]) -> ProofPolicy:
    return replace(ProofPolicy(Requirement.AS_AGREED), **declared)


def _texts_of(value: object) -> Sequence[str]:
    """The values of an option, which can be repeated or not."""
    return value if isinstance(value, tuple) else () if value is None else (str(value),)


def _texts(key: str, value: object) -> Sequence[str]:
    given: list[object] = [value] if key == "requires" else value if isinstance(value, list) else [None]
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) != len(given):
        form = '"..."' if key == "requires" else '["...", "..."]'
        raise InvalidRequest(f"{key} has a value of another type; write {key} = {form}")
    return texts


def _parsed(key: str, texts: Sequence[str], where: str) -> Any:
    form = _FORMS[key]
    for text in texts:
        try:
            form.read((text,))
        except (ValueError, KeyError, FormatError) as error:
            raise InvalidRequest(f"{where} takes {form.meaning}, not {printable(text)}", code="usage") from error
    try:
        return form.read(texts)
    except ValueError as error:
        raise InvalidRequest(f"{where}: {error}", code="usage") from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not a number")
    return int(text)


def _networks(texts: Sequence[str]) -> frozenset[str]:
    if not set(texts) <= set(_NETWORKS):
        raise ValueError("an unknown network")
    return frozenset(texts)


def _tokens(texts: Sequence[str]) -> Mapping[int, Mapping[bytes, int]]:
    tokens: dict[int, dict[bytes, int]] = {}
    for text in texts:
        chain, address, decimals = text.split(":")
        of_chain = tokens.setdefault(_number(chain), {})
        token = parse_address(address, _number(chain))
        if of_chain.setdefault(token, _number(decimals)) != _number(decimals):
            raise ValueError(f"{address} is given with two numbers of decimals")
    return tokens


def _contracts(texts: Sequence[str]) -> Mapping[int, frozenset[bytes]]:
    contracts: dict[int, frozenset[bytes]] = {}
    for text in texts:
        chain, address = text.split(":")
        chain_id = _number(chain)
        contracts[chain_id] = contracts.get(chain_id, frozenset()) | {parse_address(address, chain_id)}
    return contracts


def _by_layer(text: str) -> tuple[Layer2ProtocolType, str]:
    layer, value = text.split(":", 1)
    return Layer2ProtocolType[layer.upper()], value


def _works(texts: Sequence[str]) -> Mapping[Layer2ProtocolType, int]:
    return {layer: _number(hashes) for layer, hashes in map(_by_layer, texts)}


def _trusted(texts: Sequence[str]) -> Mapping[Layer2ProtocolType, bytes]:
    return {layer: key_of(each, (32,)) for layer, each in map(_by_layer, texts)}


NOTHING_DECLARED: Final = PolicyOptions()
"""Accept mainnet alone, no token, no signer and no header."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How the values of a key are written, in the file and after the option."""

    option: str
    meaning: str
    read: Callable[[Sequence[str]], object]


_FORMS: Final = {
    "networks": _Form("--network", " or ".join(_NETWORKS), _networks),
    "tokens": _Form("--token", "CHAIN_ID:ADDRESS:DECIMALS", _tokens),
    "providers": _Form(
        "--provider", "64 or 66 hex digits", lambda each: frozenset(key_of(one, (32, 33)) for one in each)
    ),
    "own_preimage_payees": _Form(
        "--payee", "66 hex digits", lambda each: frozenset(key_of(one, (33,)) for one in each)
    ),
    "contracts": _Form("--contract", "CHAIN_ID:ADDRESS", _contracts),
    "work": _Form("--work", "LAYER:HASHES", _works),
    "trusted_headers": _Form("--trusted-header", "LAYER:HASH", _trusted),
    "requires": _Form("--requires", " or ".join(_REQUIREMENTS), lambda each: _REQUIREMENTS[each[0]]),
}
"""By key of the file, which is the field of ``ProofPolicy``."""
