"""``layer2 config``: make, check and show the configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel

from layer2.cli.config_file import file_text
from layer2.cli.envelope import Result, Table
from layer2.cli.local_config import READY_FILE, default_directory
from layer2.cli.session import InSession
from layer2.config import FileSettings, Layer2Config
from layer2.errors import ConfigurationError
from layer2.local_network import LocalNetwork
from layer2.local_parties import party_values, read_provider, write_new, write_secret

__all__ = ["check", "init", "missing_files", "show"]

_SECRETS = {
    "taker": (
        "swap_seed_file",
        "swap-seed.hex",
        "Back it up before the first transfer: without it an open transfer cannot be finished",
    ),
    "provider": ("identity_key_file", "identity.hex", "Back it up: takers know you by this key"),
}
_HEAD = (
    "Every key can also come from the environment: LAYER2_BOB__RPC_URL is [bob] rpc_url.",
    "Paths are relative to this file. Check it with: layer2 config check",
)
_CHAINS = {"mainnet": 60808, "testnet": 808813}


def init(
    *,
    network: Literal["simnet", "devnet", "mainnet", "testnet"] = "simnet",
    role: Literal["taker", "provider"] = "taker",
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
        provider_file: The file in which a provider says that it serves; else provider-ready.json in the directory.
    """
    # Whoever only takes does not need what providers need, so it may not be installed.
    settings: type[FileSettings] = Layer2Config
    if role == "provider":
        from layer2.provider.settings import ProviderSettings

        settings = ProviderSettings
    target = directory / settings.default_file_name
    if target.exists():
        raise ConfigurationError(
            f"{target} exists and is not touched", code="exists", remedy="name another place: --directory"
        )
    key, secret_name, about = _SECRETS[role]
    values: dict[str, Any]
    if network == "simnet" or network == "devnet":
        local = LocalNetwork.load(network_directory or default_directory(network))
        values = party_values(local, local.provider if role == "provider" else local.taker)
    else:
        values = {"network": network, "bob": {"chain_id": _CHAINS[network]}, "lightning": {}}
    values[key] = secret_name
    provider = read_provider(provider_file or directory / READY_FILE) if role == "taker" else None
    if provider is not None:
        values["providers"] = [provider]
    directory.mkdir(parents=True, exist_ok=True)
    secret_file = directory / secret_name
    is_new = write_secret(secret_file)
    write_new(target, file_text(settings, values, head=_HEAD))
    following = {"taker": "doctor", "provider": "provider serve"}[role] if network in ("simnet", "devnet") else None
    return Result(
        {"config_file": str(target), "secret_file": str(secret_file), "secret_is_new": is_new, "provider": provider},
        [
            f"{target}: written",
            f"{secret_file}: {'made, mode 0600' if is_new else 'kept as it was'}. {about}",
            *([] if following is None else [f"next: layer2 {following} --config {target}"]),
        ],
    )


def check(*, session: InSession) -> Result:
    """Check the configuration: every key, every value, every file that it names. No node is asked."""
    config = session.config()
    file = Layer2Config.find(session.config_file)
    for name, path in missing_files(config):
        raise ConfigurationError(f"{file}: {name}: there is no file {path}", code="missing_file")
    warnings = [
        f"{what}, so there are no transfers"
        for what, is_missing in (
            ("swap_seed_file is not set", config.swap_seed_file is None),
            ("no [bob] is configured", config.bob is None),
            ("no [lightning] is configured", config.lightning is None),
            ("no [[providers]] is configured", not config.providers),
        )
        if is_missing
    ]
    return Result(
        {"config_file": str(file), "network": config.network, "providers": len(config.providers)},
        [f"{file}: good, for {config.network}"],
        tuple(warnings),
    )


def show(
    *,
    origin: bool = False,
    session: InSession,
) -> Result:
    """Show the settings in force. Secrets are masked, and so is what an address may hold of them.

    Args:
        origin: Say for each where it comes from: the file, the environment, or a default.
    """
    values = dict(_shown(session.config()))
    if not origin:
        return Result({"settings": values}, [f"{name} = {value}" for name, value in values.items()])
    origins = Layer2Config.origins(session.config_file)
    known = {name: _origin(name, origins) for name in values}
    rows = tuple((name, str(value), known[name]) for name, value in values.items())
    return Result({"settings": values, "origins": known}, [Table(("key", "value", "from"), rows)])


def missing_files(config: Layer2Config) -> list[tuple[str, Path]]:
    """The keys whose files are not there."""
    named = [
        ("swap_seed_file", config.swap_seed_file),
        ("[bob] key_file", config.bob.key_file if config.bob else None),
        ("[lightning] certificate_file", config.lightning.certificate_file if config.lightning else None),
        ("[lightning] macaroon_file", config.lightning.macaroon_file if config.lightning else None),
    ]
    return [(name, path) for name, path in named if path is not None and not path.is_file()]


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
