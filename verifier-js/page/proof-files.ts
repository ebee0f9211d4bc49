/** The files that a reader chose or dropped. */

const MAX_LENGTH = 1_000_000;

export interface ProofFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Reads files. What is longer than any proof is cut off after one more byte, which its check refuses. */
export async function readFiles(files: Iterable<File>): Promise<ProofFile[]> {
  const reads = [...files].map(async (file) => {
    const bytes = new Uint8Array(await file.slice(0, MAX_LENGTH + 1).arrayBuffer());
    return { name: file.name, bytes };
  });
  return Promise.all(reads);
}
