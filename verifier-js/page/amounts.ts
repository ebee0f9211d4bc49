/** Amounts and times as a reader sees them. */

const GROUPS = /\B(?=(?:[0-9]{3})+$)/g;
const SATOSHI_DECIMALS = 8;

/** A whole number with commas between its thousands. */
export function grouped(value: bigint | number): string {
  return value.toString().replace(GROUPS, ",");
}

export function satoshi(value: bigint): string {
  return `${grouped(value)} sat (${decimal(value, SATOSHI_DECIMALS)} BTC)`;
}

/** An amount in its smallest unit as a decimal fraction, exactly. */
export function decimal(value: bigint, decimals: number): string {
  const digits = value.toString().padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return fraction === "" ? grouped(BigInt(whole)) : `${grouped(BigInt(whole))}.${fraction}`;
}

const LAST_DATE = 8_640_000_000_000n;

/** Unix seconds in UTC, and as they are where the calendar ends. */
export function time(seconds: bigint | number): string {
  const value = BigInt(seconds);
  if (value > LAST_DATE) return `${value} s`;
  return new Date(Number(value) * 1000).toISOString().replace("T", " ").replace(".000Z", " UTC");
}
