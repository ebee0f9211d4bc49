/** What each leg owes, according to the terms. */

import { toHex } from "./bytes.js";
import { check, within } from "./error.js";
import { GENUINE_CONTRACT } from "./evm.js";
import { AMP_FEATURES, readInvoice } from "./invoice.js";
import type { Policy } from "./policy.js";
import { isRootstockCoin } from "./report.js";
import type { BitcoinLeg, EvmLeg, Leg, LightningLeg, Terms } from "./terms.js";

const SATOSHI_DECIMALS = 8;
const COIN_DECIMALS = 18;
const MSAT_PER_SATOSHI = 1000n;
const CLOCK_DIFFERENCE = 60;

export function checkOwed(leg: Leg, satoshi: bigint, terms: Terms, policy: Policy): void {
  switch (leg.kind) {
    case "evm":
      return checkEvmLeg(leg, satoshi, policy);
    case "lightning":
      return checkLightningLeg(leg, satoshi, terms);
    case "bitcoin":
      return checkBitcoinLeg(leg, satoshi, terms);
  }
}

function checkEvmLeg(leg: EvmLeg, satoshi: bigint, policy: Policy): void {
  const isExact = leg.amount * 10n ** BigInt(SATOSHI_DECIMALS) === satoshi * 10n ** BigInt(leg.tokenDecimals);
  check(isExact, "amount", "the lock holds another amount than the terms");
  const isAccepted = leg.contract === GENUINE_CONTRACT || (policy.contracts?.get(leg.chainId)?.has(leg.contract) ?? false);
  check(isAccepted, "contract", `${leg.contract} is not the genuine contract`);
  if (isRootstockCoin(leg)) {
    check(leg.tokenDecimals === COIN_DECIMALS, "token", "Rootstock's coin has 18 decimals");
  } else if (policy.tokens !== undefined) {
    const decimals = policy.tokens.get(leg.chainId)?.get(leg.token);
    check(decimals === leg.tokenDecimals, "token", "the token is not accepted with these decimals");
  }
}

function checkLightningLeg(leg: LightningLeg, satoshi: bigint, terms: Terms): void {
  const invoice = within("invoice", () => readInvoice(leg.invoice));
  check(invoice.network === leg.prefix, "invoice_network", "the invoice is of another network");
  check(!invoice.isAmbiguous, "invoice_ambiguous", "a field occurs twice");
  check(invoice.amountMsat === satoshi * MSAT_PER_SATOSHI, "invoice_amount", "the invoice is over another amount");
  check(toHex(invoice.paymentHash) === terms.paymentHash, "invoice_hash", "the invoice has another payment hash");
  const isPlain = !invoice.hasBlindedPaths && !AMP_FEATURES.some((bit) => invoice.features.has(bit));
  check(isPlain, "invoice_kind", "blinded paths or AMP");
  check(leg.amountMsat === satoshi * MSAT_PER_SATOSHI, "invoice_amount", "the leg is over another amount");
  check(toHex(invoice.payee) === leg.payee, "invoice_payee", "another node signed the invoice");
  const first = invoice.timestamp - CLOCK_DIFFERENCE;
  const last = invoice.timestamp + invoice.expiry;
  check(first <= terms.issuedAt && terms.issuedAt <= last, "invoice_time", "the invoice was not valid when the terms were issued");
}

function checkBitcoinLeg(leg: BitcoinLeg, satoshi: bigint, terms: Terms): void {
  check(leg.amount === satoshi, "amount", "the output holds another amount than the terms");
  check(leg.paymentHash === terms.paymentHash, "payment_hash", "the output is for another payment hash");
}
