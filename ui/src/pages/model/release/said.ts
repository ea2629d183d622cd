/** What the guards say, taken apart. The server says it in lines; one of another shape is shown as it is. Pure. */
export type Verdict = 'advance' | 'hold' | 'roll back';

export interface Said {
  /** The guard as it was written, if that is known. */
  guard: string | null;
  verdict: Verdict | null;
  /** Why it holds. */
  why: string | null;
  canary: string | null;
  baseline: string | null;
  /** What is tested, such as `0.5% slower than 11.9 ms`. */
  estimate: string | null;
  low: string | null;
  high: string | null;
  limit: string | null;
  n: string | null;
  line: string;
}

/** What the server takes if a canary names none. */
const USUAL_GUARDS = ['errors<baseline+0.5%', 'p95<1.2x'];

/** The guards of a plan, as they were written. */
export function guardsOf(plan: { guards?: readonly string[] } | null | undefined): readonly string[] {
  return plan?.guards && plan.guards.length > 0 ? plan.guards : USUAL_GUARDS;
}

const VERDICT = /: (advance|hold|roll back)(?:: (.*))?$/;

export function takeApart(said: string, guards: readonly string[]): { head: string; verdict: Verdict | null; guards: Said[] } {
  const [head = '', ...lines] = said.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  const names = guards.length === lines.length ? guards : [];
  return { head, verdict: verdictOf(head), guards: lines.map((line, at) => oneLine(line, names[at] ?? null)) };
}

function verdictOf(line: string): Verdict | null {
  return (VERDICT.exec(line)?.[1] as Verdict | undefined) ?? null;
}

function oneLine(line: string, guard: string | null): Said {
  const end = VERDICT.exec(line);
  const numbers = end ? line.slice(0, end.index) : line;
  const interval = /\[([^,\]]+), ([^\]]+)\]/.exec(numbers);
  const inner = /\(([^[(]*) \[/.exec(numbers);
  const before = interval ? numbers.slice(0, interval.index).trim() : '';
  const value = /^\S+ (-?[\d.]+(?:%| ?[a-zµ]+)?)/.exec(numbers)?.[1] ?? null;
  return {
    guard: guard ?? (/^[^\s:]+(?=:)/.exec(line)?.[0] ?? /^\S+/.exec(line)?.[0] ?? null),
    verdict: verdictOf(line),
    why: end?.[2] ?? null,
    canary: interval ? value : null,
    baseline: /against ([\d.]+ ?\S+) of the baseline/.exec(numbers)?.[1] ?? null,
    estimate: inner?.[1] ?? (interval ? before.replace(/^\S+ /, '') : null),
    low: interval?.[1] ?? null,
    high: interval?.[2] ?? null,
    limit: /against at most ([\d.]+(?:%| [a-zµ]+))/.exec(numbers)?.[1] ?? null,
    n: /n = ([\d]+(?: and [\d]+)?)/.exec(numbers)?.[1] ?? null,
    line,
  };
}

/** The number of `7.2 ms` or `1.5%`, in the unit of its own. */
export function amount(text: string | null): { value: number; unit: string } | null {
  const match = /^(-?[\d.]+) ?(%|[a-zµ]+)?$/.exec(text ?? '');
  return match ? { value: Number(match[1]), unit: match[2] ?? '' } : null;
}

/** Where estimate, bounds and limit lie on one axis from 0 to 1; null unless all have one unit. */
export function onAxis(said: Said): { at: number; low: number; high: number; limit: number } | null {
  const estimate = /^-?[\d.]+(?:%| [a-zµ]+)?/.exec(said.estimate ?? '')?.[0] ?? null;
  const all = [estimate, said.low, said.high, said.limit].map(amount);
  const [at, low, high, limit] = all;
  if (!at || !low || !high || !limit || all.some((one) => one?.unit !== limit.unit)) return null;
  // Of an interval that is far wider than the limit, the end is cut off.
  const top = Math.max(limit.value * 1.6, Math.min(high.value, limit.value * 4) * 1.05, at.value * 1.1, 1e-9);
  const place = (value: number) => Math.min(1, Math.max(0, value / top));
  return { at: place(at.value), low: place(low.value), high: place(high.value), limit: place(limit.value) };
}
