"""``layer2 config``: creates, checks and shows the configuration file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from layer2.cli.bitcoin_seed import SEED_NAMES, WALLET_NAMES, missing_seed, write_seed
from layer2.cli.config_file import file_text
from layer2.cli.local_config import READY_FILE, default_directory, remedies_in
from layer2.cli.output import Result, table
from layer2.cli.secret_files import check_files
from layer2.cli.session import InSession, RoleName, Session, settings_class
from layer2.config import EvmSection, Layer2Config, LayerSettings
from layer2.config.definitions import settings_of
from layer2.errors import ConfigurationError
from layer2.local.network import LocalNetwork
from layer2.local.parties import party_values, read_provider, write_new, write_secret
from layer2.model.layers import LAYERS

__all__ = ["check", "init", "show"]

_SECRETS: Final = {
    "taker": (
        "swap_seed_file",
        "swap-seed.hex",
        "Back it up before the first transfer: without it an open transfer cannot be completed",
    ),
    "provider": ("identity_key_file", "identity.hex", "Back it up: takers recognise you by this key"),
}
_NEXT: Final = {"taker": ("doctor",), "provider": ("provider", "serve")}


def init(
    *,
    network: Literal["simnet", "devnet", "mainnet", "testnet"] = "simnet",
    role: RoleName = "taker",
    directory: Path = Path(),
    network_directory: Path | None = None,
    provider_file: Path | None = None,
    session: InSession,
) -> Result:
    """Write a commented configuration file and its secret. It never overwrites a file.

    For a running local network the file is complete, and names the provider that serves there. For mainnet and
    testnet you fill in the keys that only you know: 'layer2 config check' names them. Delete the tables of layers that
    you do not use. With the extra layer2[bitcoin] it also creates the seed of a new Bitcoin wallet there. If you
    install the extra later, run the command again: it keeps the file, and creates the seed.

    Args:
        network: The network. Default: simnet.
        role: taker (default): layer2.toml and the swap seed. provider: provider.toml and the identity key.
        directory: The directory for the files. Default: the current directory.
        network_directory: The directory of the local network. Default: the default directory of simnet and devnet.
        provider_file: The file that a provider writes when it serves. Default: provider-ready.json in the directory.
    """
    settings = settings_class(role)
    target = directory / settings.default_file_name
    if target.exists():
        return _completed(target, settings, Session(session.terminal, target, session.verbose))
    values: dict[str, object]
    if network == "simnet" or network == "devnet":
        with remedies_in(network, network_directory):
            local = LocalNetwork.load(network_directory or default_directory(network))
        values = party_values(local, local.provider if role == "provider" else local.taker)
    else:
        values = {"network": network, **_tables_for(network, role)}
    key, secret_name, about = _SECRETS[role]
    values[key] = secret_name
    provider, without = _provider(directory, provider_file) if role == "taker" else (None, ())
    if provider is not None:
        values["providers"] = [provider]
    directory.mkdir(parents=True, exist_ok=True)
    secret_file = directory / secret_name
    is_new = write_secret(secret_file)
    write_new(target, file_text(settings, values, head=_head(target)))
    seed_lines = [] if network in ("simnet", "devnet") else [_seed_line(directory / SEED_NAMES[role])]
    here = Session(session.terminal, target, session.verbose)
    following = here.hint(*(_NEXT[role] if network in ("simnet", "devnet") else ("config", "check")))
    return Result(
        {"config_file": str(target), "secret_file": str(secret_file), "secret_is_new": is_new, "provider": provider},
        [
            f"{target}: written",
            f"{secret_file}: {'created, mode 0600' if is_new else 'kept'}. {about}",
            *seed_lines,
            f"next: {following}",
        ],
        without,
    )


def _completed(target: Path, settings: type[LayerSettings], here: Session) -> Result:
    """Create the seed that an earlier run could not create. Nothing else is written.

    Raises:
        ConfigurationError: code ``exists``: no seed is missing, or the extra is not installed.
    """
    seed = missing_seed(target, settings)
    line = None if seed is None else write_seed(seed)
    if line is None:
        remedy = "use another directory: --directory"
        if seed is not None:
            remedy = f"to create {seed}, install layer2[bitcoin] and run this command again; or {remedy}"
        raise ConfigurationError(f"{target} exists; nothing was changed", code="exists", remedy=remedy)
    lines = [f"{target}: kept", line, f"next: {here.hint('config', 'check')}"]
    return Result({"config_file": str(target), "seed_file": str(seed)}, lines)


def _seed_line(file: Path) -> str:
    missing = f"{file}: not created, because layer2[bitcoin] is not installed"
    return write_seed(file) or f"{missing}. Install it and run this command again, or delete the table [bitcoin]"


def _tables_for(network: str, role: RoleName) -> Mapping[str, object]:
    """A table for each layer that has a client on a public network, with what is known of it."""
    tables: dict[str, object] = {}
    for layer, facts in LAYERS.items():
        if network in facts.clients_on:
            (network_id, *_) = sorted(facts.network_ids[network])
            tables[layer.value.lower()] = (
                {"chain_id": int(network_id)}
                if facts.kind == "evm"
                else {"seed_file": SEED_NAMES[role], "wallet_file": WALLET_NAMES[role]}
                if facts.kind == "bitcoin"
                else {}
            )
    return tables


def _provider(directory: Path, provider_file: Path | None) -> tuple[dict[str, str] | None, tuple[str, ...]]:
    """The provider that announces itself in a file; or None, and a warning.

    Raises:
        ConfigurationError: the file that the user named does not exist, or is not a provider's.
    """
    file = provider_file or directory / READY_FILE
    provider = read_provider(file)
    if provider is not None:
        return provider, ()
    if provider_file is not None:
        raise ConfigurationError(
            f"there is no file {provider_file}",
            code="missing_file",
            remedy="'layer2 provider serve' writes it when it serves; check its output",
        )
    return None, (f"no provider is configured, because {file} does not exist: add a [[providers]] table",)


def _head(target: Path) -> tuple[str, ...]:
    return (
        "The environment overrides every key: LAYER2_BOB__RPC_URL is [bob] rpc_url.",
        f"Paths are relative to this file. Check it with: layer2 config check --config {target.name}",
    )


def check(*, session: InSession) -> Result:
    """Check the configuration of a taker or of a provider. No node is asked.

    It checks every key, every value, every file that the configuration names, and the mode of key files.
    """
    settings, file = session.settings(), session.file
    check_files(settings)
    for section in settings.layers.values():
        if isinstance(section, EvmSection):
            # The key may also be in the file itself, or in the environment.
            section.signer()
    warnings = []
    if len(settings.layers) < 2:
        warnings.append("fewer than two layers are configured; transfers need two")
    if isinstance(settings, Layer2Config):
        _check_providers(settings)
        if settings.swap_seed_file is None:
            warnings.append("swap_seed_file is not set; transfers need it")
        if not settings.providers:
            warnings.append("there is no [[providers]] table; transfers need a provider")
    layers = [layer.value for layer in settings.layers]
    return Result(
        {"config_file": str(file), "role": session.role, "network": settings.network, "layers": layers},
        [f"{file}: valid, for a {session.role} on {settings.network}; layers: {', '.join(layers) or 'none'}"],
        tuple(warnings),
    )


def _check_providers(config: Layer2Config) -> None:
    """Check the address and the key of every provider.

    Raises:
        ConfigurationError: an address uses plain http and is not on this machine; or a key is not valid.
    """
    from layer2.provider_client import ProviderEndpoint

    for each in config.providers:
        ProviderEndpoint(each.name, each.url, bytes.fromhex(each.identity_key))


def show(*, origin: bool = False, session: InSession) -> Result:
    """Show the effective settings of a taker or of a provider. Secrets are masked, including those in addresses.

    Args:
        origin: Also show the origin of each value: the file, the environment or the default.
    """
    settings = session.settings()
    values = dict(_shown(settings))
    if not origin:
        return Result({"settings": values}, [f"{name} = {value}" for name, value in values.items()])
    origins = type(settings).origins(session.config_file)
    known = {name: _origin(name, origins) for name in values}
    rows = tuple((name, str(value), known[name]) for name, value in values.items())
    return Result({"settings": values, "origins": known}, [table(("key", "value", "from"), rows)])


def _shown(section: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    for setting in settings_of(type(section)):
        name, value = f"{prefix}{setting.name}", getattr(section, setting.name)
        if setting.table is None or not value:
            yield name, _masked(value)
        elif setting.is_list:
            for position, item in enumerate(value):
                yield from _shown(item, f"{name}[{position}].")
        else:
            yield from _shown(value, f"{name}.")


def _masked(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple):
        return [_masked(item) for item in value]
    if isinstance(value, Enum):
        return _masked(value.value)
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
