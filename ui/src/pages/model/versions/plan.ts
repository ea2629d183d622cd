/** How a release goes, as one writes it: `5, 25, 50` percent, each for `2m`. Pure. */
import { lengthOf } from '../../../range';

export interface Wish {
  /** All at once, or step by step. */
  gradual: boolean;
  shares: string;
  every: string;
  guards: string;
}

export interface PlanWished {
  canary: number[];
  every_ms: number;
  guards: string[];
}

/** What the server takes if nothing else is said. */
export const USUAL: Wish = { gradual: false, shares: '5, 25, 50', every: '2m', guards: '' };

/** Shares in percent that rise, such as `5, 25, 50`; null if they are not. */
export function readShares(text: string): number[] | null {
  const shares = text.split(',').map((part) => Number(part.replace('%', '').trim() || NaN));
  const rises = shares.every((share, at) => Number.isInteger(share) && share > (shares[at - 1] ?? 0) && share <= 100);
  return rises ? shares : null;
}

/** The plan; null if it is to be all at once, or cannot be read. */
export function readPlan(wish: Wish): PlanWished | null {
  const canary = readShares(wish.shares);
  const every = lengthOf(wish.every.replaceAll(' ', ''));
  if (!wish.gradual || canary === null || every === null) return null;
  return { canary, every_ms: every, guards: readGuards(wish.guards) };
}

export function readGuards(text: string): string[] {
  return text.split(',').map((part) => part.trim()).filter((part) => part !== '');
}

/** What the command of a release has behind the version. */
export function planArguments(wish: Wish): string {
  const plan = readPlan(wish);
  if (!plan) return '';
  return ` --canary ${plan.canary.join(',')} --every ${wish.every.replaceAll(' ', '')}${plan.guards.map((guard) => ` --guard '${guard}'`).join('')}`;
}
