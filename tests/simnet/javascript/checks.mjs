// Runs the checks of one client and prints a JSON object: by name, null or the error of the check.

export const network = JSON.parse(process.argv[2]);

export const tokenAbi = [
  "function balanceOf(address owner) view returns (uint256)",
  "function decimals() view returns (uint8)",
  "function transfer(address to, uint256 amount) returns (bool)",
  "function mint(address to, uint256 amount)",
  "event Transfer(address indexed sender, address indexed receiver, uint256 amount)",
];

// Creation code that reverts with Error("no").
export const revertingCode =
  "0x6064600c60003960646000fd08c379a0" +
  (32).toString(16).padStart(64, "0") +
  (2).toString(16).padStart(64, "0") +
  "6e6f".padEnd(64, "0");

// The storage slot is the position of the variable in the test token, which Vyper hashes before the key.
export const balancesSlot = 2n;

const deadline = 30_000;

// Repeats an action until the condition holds. A subscription begins some time after its client asks for it.
export async function until(condition, act) {
  for (let attempt = 0; attempt < 500 && !condition(); attempt += 1) await act();
  if (!condition()) throw new Error(`not within 500 attempts: ${condition}`);
}

export const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

async function soon(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${deadline} ms`)), deadline);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function run(checks) {
  const results = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await soon(check());
      results[name] = null;
    } catch (error) {
      results[name] = String(error.stack ?? error);
    }
  }
  process.stdout.write(JSON.stringify(results) + "\n", () => process.exit(0));
}
