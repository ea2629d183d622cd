/** A range of time as the address of a page has it: up to now (`since=1h`), or between two times. Pure. */
export interface Range {
  since?: string | undefined;
  /** In milliseconds since 1970. */
  from?: number | undefined;
  to?: number | undefined;
}

export const RANGES = [
  { since: '15m', label: 'Last 15 min' },
  { since: '1h', label: 'Last hour' },
  { since: '6h', label: 'Last 6 h' },
  { since: '24h', label: 'Last 24 h' },
  { since: '7d', label: 'Last 7 d' },
  { since: '30d', label: 'Last 30 d' },
] as const;

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** How long `15m` or `7d` is, in milliseconds; null if it is no such text. */
export function lengthOf(since: string): number | null {
  const match = /^(\d{1,5})([smhd])$/.exec(since);
  const unit = UNITS[match?.[2] ?? ''];
  const number = Number(match?.[1]);
  return unit && number > 0 ? number * unit : null;
}

/** When a range begins and ends; `live` if it ends now and moves on. */
export function resolve(range: Range, now: number, otherwise = '1h'): { from: number; to: number; live: boolean } {
  const { from, to } = range;
  if (from !== undefined && to !== undefined && from < to) return { from, to, live: false };
  if (from !== undefined && from < now) return { from, to: now, live: true };
  const length = lengthOf(range.since ?? otherwise) ?? lengthOf(otherwise) ?? 3_600_000;
  return { from: now - length, to: now, live: true };
}
