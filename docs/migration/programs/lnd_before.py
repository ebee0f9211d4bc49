"""An invoice of one lnd is paid by another, over lnd's REST interface."""

import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import requests


class Lnd:
    """One node."""

    def __init__(self, file: str) -> None:
        settings = tomllib.loads(Path(file).read_text())["lightning"]
        self._url = settings["rest_url"]
        self._session = requests.Session()
        self._session.trust_env = False  # REQUESTS_CA_BUNDLE would replace the node's certificate
        self._session.verify = settings["certificate_file"]
        macaroon = Path(settings["macaroon_file"]).read_bytes()
        self._session.headers["Grpc-Metadata-macaroon"] = macaroon.hex()

    def get(self, path: str) -> dict[str, Any]:
        answer = self._session.get(self._url + path, timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def invoice(self, satoshi: int, memo: str) -> dict[str, Any]:
        answer = self._session.post(self._url + "/v1/invoices", json={"value": satoshi, "memo": memo}, timeout=30)
        answer.raise_for_status()
        made: dict[str, Any] = answer.json()
        return made

    def pay(self, invoice: str) -> str:
        body: dict[str, Any] = {"payment_request": invoice, "timeout_seconds": 60, "fee_limit_sat": 10}
        with self._session.post(self._url + "/v2/router/send", json=body, stream=True, timeout=90) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                payment = json.loads(line)["result"]
                if payment["status"] in ("SUCCEEDED", "FAILED"):
                    return str(payment["status"])
        raise RuntimeError("the stream ended; the payment may have been made")


def main() -> None:
    mine, customer = Lnd("layer2.toml"), Lnd("customer.toml")
    made = customer.invoice(1_500, "order 7")
    print("paid" if mine.pay(made["payment_request"]) == "SUCCEEDED" else "failed")
    payment_hash = base64.b64decode(made["r_hash"]).hex()
    invoice = customer.get(f"/v1/invoice/{payment_hash}")
    print("received", int(invoice["amt_paid_sat"]))


if __name__ == "__main__":
    main()
