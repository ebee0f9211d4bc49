/** The files that a reader chose or dropped. */

const MAX_LENGTH = 1_000_000;

export interface ProofFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * Reads files. What is longer than any proof is cut off after one more byte, which its check refuses. So is what cannot
 * be read, such as a folder: it has no bytes.
 */
export async function readFiles(files: Iterable<File>): Promise<ProofFile[]> {
  return Promise.all([...files].map(async (file) => ({ name: file.name, bytes: await readFile(file) })));
}

async function readFile(file: File): Promise<Uint8Array> {
  try {
    return new Uint8Array(await file.slice(0, MAX_LENGTH + 1).arrayBuffer());
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return new Uint8Array();
  }
}
