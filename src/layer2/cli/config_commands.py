"""``layer2 config``: make, check and show the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel

from layer2.cli.config_file import file_text
from layer2.cli.envelope import Result, Table
from layer2.cli.local_config import READY_FILE, default_directory
from layer2.cli.secret_files import check_files
from layer2.cli.session import InSession, RoleName, Session, settings_class
from layer2.config import EvmSection, Layer2Config
from layer2.errors import ConfigurationError
from layer2.local.network import LocalNetwork
from layer2.local.parties import party_values, read_provider, write_new, write_secret
from layer2.model.layers import LAYERS

__all__ = ["check", "init", "show"]

_SECRETS: Final = {
    "taker": (
        "swap_seed_file",
        "swap-seed.hex",
        "Back it up before the first transfer: without it an open transfer cannot be finished",
    ),
    "provider": ("identity_key_file", "identity.hex", "Back it up: takers know you by this key"),
}
_NEXT: Final = {"taker": ("doctor",), "provider": ("provider", "serve")}
_CHAIN_KINDS: Final = MappingProxyType({"evm": "chain_id"})
"""The kinds of layers whose table names a chain, and the key that does."""


def init(
    *,
    network: Literal["simnet", "devnet", "mainnet", "testnet"] = "simnet",
    role: RoleName = "taker",
    directory: Path = Path(),
    network_directory: Path | None = None,
    provider_file: Path | None = None,
    session: InSession,
) -> Result:
    """Write a commented configuration file, and the secret beside it. Nothing is ever overwritten.

    For a local network that runs everything is filled in, with the provider that serves there. For mainnet and
    testnet the keys that only you know are left for you: config check names them.

    Args:
        network: Which network it is for.
        role: taker: layer2.toml and the swap seed. provider: provider.toml and the identity key.
        directory: Where the files go.
        network_directory: Where the local network was started; else its usual place.
        provider_file: The file in which a provider writes that it serves; else provider-ready.json in the directory.
    """
    settings = settings_class(role)
    target = directory / settings.default_file_name
    if target.exists():
        raise ConfigurationError(
            f"{target} exists and is not touched", code="exists", remedy="name another place: --directory"
        )
    values: dict[str, Any]
    if network == "simnet" or network == "devnet":
        local = LocalNetwork.load(network_directory or default_directory(network))
        values = party_values(local, local.provider if role == "provider" else local.taker)
    else:
        values = {"network": network, **_tables_for(network)}
    key, secret_name, about = _SECRETS[role]
    values[key] = secret_name
    provider, without = _provider(directory, provider_file) if role == "taker" else (None, ())
    if provider is not None:
        values["providers"] = [provider]
    directory.mkdir(parents=True, exist_ok=True)
    secret_file = directory / secret_name
    is_new = write_secret(secret_file)
    write_new(target, file_text(settings, values, head=_head(role, target)))
    here = Session(session.terminal, target, session.verbose)
    following = here.hint(*(_NEXT[role] if network in ("simnet", "devnet") else _check_words(role)))
    return Result(
        {"config_file": str(target), "secret_file": str(secret_file), "secret_is_new": is_new, "provider": provider},
        [
            f"{target}: written",
            f"{secret_file}: {'made, mode 0600' if is_new else 'kept as it was'}. {about}",
            f"next: {following}",
        ],
        without,
    )


def _tables_for(network: str) -> Mapping[str, Mapping[str, Any]]:
    """A table for each layer that has a client on a public network, with the chain that it names."""
    tables: dict[str, Mapping[str, Any]] = {}
    for layer, facts in LAYERS.items():
        if network in facts.clients_on:
            (network_id, *_) = sorted(facts.network_ids[network])
            chain_key = _CHAIN_KINDS.get(facts.kind)
            tables[layer.value.lower()] = {} if chain_key is None else {chain_key: int(network_id)}
    return tables


def _provider(directory: Path, provider_file: Path | None) -> tuple[dict[str, str] | None, tuple[str, ...]]:
    """The provider that announces itself, and a warning where none does.

    Raises:
        ConfigurationError: the file that was named is not there, or is not a provider's.
    """
    file = provider_file or directory / READY_FILE
    provider = read_provider(file)
    if provider is not None:
        return provider, ()
    if provider_file is not None:
        raise ConfigurationError(
            f"there is no file {provider_file}",
            code="missing_file",
            remedy="'layer2 provider serve' writes it once it serves; look at its output",
        )
    return None, (f"no provider is configured, since there is no {file}: add a [[providers]] table",)


def _check_words(role: RoleName) -> tuple[str, ...]:
    return ("config", "check") if role == "taker" else ("config", "check", "--role", role)


def _head(role: RoleName, target: Path) -> tuple[str, ...]:
    words = " ".join(("layer2", *_check_words(role), "--config", target.name))
    return (
        "Every key can also come from the environment: LAYER2_BOB__RPC_URL is [bob] rpc_url.",
        f"Paths are relative to this file. Check it with: {words}",
    )


def check(*, role: RoleName = "taker", session: InSession) -> Result:
    """Check the configuration: every key, value and file that it names, and that keys are safe. No node is asked.

    Args:
        role: taker: layer2.toml. provider: provider.toml.
    """
    settings, file = session.settings(role)
    check_files(settings)
    for section in settings.layers.values():
        if isinstance(section, EvmSection):
            # The key may also stand in the file itself, or in the environment.
            section.signer()
    warnings = []
    if len(settings.layers) < 2:
        warnings.append("fewer than two layers are configured, so there are no transfers")
    if isinstance(settings, Layer2Config):
        _check_providers(settings)
        if settings.swap_seed_file is None:
            warnings.append("swap_seed_file is not set, so there are no transfers")
        if not settings.providers:
            warnings.append("no [[providers]] is configured, so there are no transfers")
    layers = [layer.value for layer in settings.layers]
    return Result(
        {"config_file": str(file), "network": settings.network, "layers": layers},
        [f"{file}: good, for {settings.network}, with {' and '.join(layers) or 'no layer'}"],
        tuple(warnings),
    )


def _check_providers(config: Layer2Config) -> None:
    """Check that every provider can be asked safely.

    Raises:
        ConfigurationError: its address is not https, or not on this machine; or its key cannot be one.
    """
    from layer2.provider_client import ProviderEndpoint

    for each in config.providers:
        ProviderEndpoint(each.name, each.url, bytes.fromhex(each.identity_key))


def show(*, origin: bool = False, role: RoleName = "taker", session: InSession) -> Result:
    """Show the settings in force. Secrets are masked, and so is what an address may hold of them.

    Args:
        origin: Show for each where it comes from: the file, the environment, or a default.
        role: taker: layer2.toml. provider: provider.toml.
    """
    settings, _ = session.settings(role)
    values = dict(_shown(settings))
    if not origin:
        return Result({"settings": values}, [f"{name} = {value}" for name, value in values.items()])
    origins = type(settings).origins(session.config_file)
    known = {name: _origin(name, origins) for name in values}
    rows = tuple((name, str(value), known[name]) for name, value in values.items())
    return Result({"settings": values, "origins": known}, [Table(("key", "value", "from"), rows)])


def _shown(section: BaseModel, prefix: str = "") -> list[tuple[str, Any]]:
    shown: list[tuple[str, Any]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        match value:
            case BaseModel():
                shown += _shown(value, f"{prefix}{name}.")
            case tuple() if value and isinstance(value[0], BaseModel):
                for position, item in enumerate(value):
                    shown += _shown(item, f"{prefix}{name}[{position}].")
            case _:
                shown.append((f"{prefix}{name}", _masked(value)))
    return shown


def _masked(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple):
        return list(value)
    # A SecretStr writes itself as asterisks.
    text = str(value)
    if "://" not in text:
        return text
    parts = urlsplit(text)
    secret_path = "/***" if parts.path.strip("/") or parts.query else ""
    user = "***@" if parts.username or parts.password else ""
    return f"{parts.scheme}://{user}{parts.hostname}{f':{parts.port}' if parts.port else ''}{secret_path}"


def _origin(name: str, origins: dict[str, str]) -> str:
    # A list of tables has one origin, that of the whole list.
    return origins.get(name) or origins.get(name.partition("[")[0]) or "default"
