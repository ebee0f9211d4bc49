/** The fields of one JSON object of a proof. Every violation is malformed. */

import { fromHex, isHex, type Hex } from "./bytes.js";
import { isList, type JsonObject, type JsonValue } from "./canonical-json.js";
import { expect, Malformed } from "./error.js";

const AMOUNT = /^(?:0|[1-9][0-9]{0,77})$/;

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !isList(value);
}

export class Fields {
  private readonly values: JsonObject;

  /** Accepts only an object of exactly these fields. */
  constructor(value: JsonValue, names: readonly string[]) {
    expect(isObject(value), "not an object");
    const unknown = Object.keys(value).filter((name) => !names.includes(name));
    expect(unknown.length === 0, "unknown fields");
    for (const name of names) expect(Object.hasOwn(value, name), `no field ${name}`);
    this.values = value;
  }

  value(name: string): JsonValue {
    return this.values[name]!;
  }

  private string(name: string): string {
    const value = this.value(name);
    expect(typeof value === "string", `${name} is not a text`);
    return value;
  }

  /** At most `max` Unicode code points. */
  text(name: string, max: number): string {
    const value = this.string(name);
    expect(value.length <= 2 * max && [...value].length <= max, `${name} is too long`);
    return value;
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const value = this.string(name);
    const choice = choices.find((each) => each === value);
    expect(choice !== undefined, `${name} is unknown`);
    return choice;
  }

  number(name: string, max: number = Number.MAX_SAFE_INTEGER, min = 0): number {
    const value = this.value(name);
    expect(Number.isSafeInteger(value), `${name} is not an integer`);
    const number = value as number;
    expect(number >= min && number <= max, `${name} is not from ${min} to ${max}`);
    return number;
  }

  version(name: string, known: number): void {
    const value = this.value(name);
    if (value !== known) throw new Malformed(`${name} ${JSON.stringify(value).slice(0, 20)} is unknown; this verifier knows ${known}`);
  }

  amount(name: string): bigint {
    const value = this.string(name);
    expect(AMOUNT.test(value), `${name} is not an amount`);
    return BigInt(value);
  }

  /** Bytes that stay in their written form: keys, addresses and hashes. */
  hex(name: string, ...lengths: readonly number[]): Hex {
    const value = this.string(name);
    expect(lengths.includes(value.length / 2) && isHex(value), `${name} does not have ${lengths.join(" or ")} bytes`);
    return value;
  }

  bytes(name: string, max: number): Uint8Array {
    return bytesOf(this.value(name), max, name);
  }

  list(name: string, max: number): readonly JsonValue[] {
    const value = this.value(name);
    expect(isList(value), `${name} is not a list`);
    expect(value.length <= max, `${name} has more than ${max} items`);
    return value;
  }

  listOfBytes(name: string, maxItems: number, maxBytes: number): readonly Uint8Array[] {
    return this.list(name, maxItems).map((item) => bytesOf(item, maxBytes, name));
  }
}

function bytesOf(value: JsonValue, max: number, name: string): Uint8Array {
  expect(typeof value === "string", `${name} is not bytes`);
  expect(value.length <= 2 * max, `${name} has more than ${max} bytes`);
  return fromHex(value);
}

/** The text in a field that selects the other fields of an object. */
export function selector(value: JsonValue, name: string): string {
  expect(isObject(value) && Object.hasOwn(value, name), `no field ${name}`);
  const text = value[name]!;
  expect(typeof text === "string", `${name} is not a text`);
  return text;
}
