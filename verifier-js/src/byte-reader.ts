import { bigEndian, littleEndian } from "./bytes.js";
import { expect } from "./error.js";

/** Reads bytes from the front; it is malformed if too few are left. */
export class ByteReader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get position(): number {
    return this.at;
  }

  take(count: number): Uint8Array {
    expect(count <= this.bytes.length - this.at, "too few bytes");
    const part = this.bytes.subarray(this.at, this.at + count);
    this.at += count;
    return part;
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  littleEndian(size: number): bigint {
    return littleEndian(this.take(size));
  }

  bigEndian(size: number): bigint {
    return bigEndian(this.take(size));
  }

  /** A number in Bitcoin's compact size, in its shortest form. */
  compactSize(): bigint {
    const first = this.byte();
    if (first < 0xfd) return BigInt(first);
    const size = first === 0xfd ? 2 : first === 0xfe ? 4 : 8;
    const value = this.littleEndian(size);
    const least = size === 2 ? 0xfdn : 1n << BigInt(4 * size);
    expect(value >= least, "a size that is not in its shortest form");
    return value;
  }

  /** Bytes after their length in compact size. */
  sizedBytes(): Uint8Array {
    const length = this.compactSize();
    expect(length <= BigInt(this.bytes.length), "too few bytes");
    return this.take(Number(length));
  }

  rest(): Uint8Array {
    return this.take(this.bytes.length - this.at);
  }

  expectEnd(): void {
    expect(this.at === this.bytes.length, "superfluous bytes");
  }
}
