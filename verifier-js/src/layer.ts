export const LAYERS = [
  "BOB",
  "LIGHTNING",
  "ROOTSTOCK",
  "BITCOIN",
  "LIQUID",
  "STACKS",
  "TAPROOT_ASSETS",
  "RGB",
  "DLC",
  "STATE_CHANNELS",
] as const;
export type Layer = (typeof LAYERS)[number];

/** From the weakest to the strongest: a node that has a block at one finality has it at each weaker one. */
export const FINALITIES = ["latest", "safe", "finalized"] as const;
export type Finality = (typeof FINALITIES)[number];

export function isAtLeast(finality: Finality, required: Finality): boolean {
  return FINALITIES.indexOf(finality) >= FINALITIES.indexOf(required);
}
