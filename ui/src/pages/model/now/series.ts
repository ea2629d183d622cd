/** Makes lines of what a model's requests were like. Pure. */
import type { Schema } from '../../../api/client';

type Requests = Schema<'RequestMetrics'>;
export type Step = 'minute' | 'hour' | 'day';

export interface Line {
  label: string;
  values: (number | null)[];
  style: number;
  area?: boolean;
}

export interface Lines {
  times: number[];
  requests: Line[];
  latency: Line[];
  /** Where the time goes, in the mean; empty if no worker was asked. */
  parts: Line[];
  errors: Line[];
  /** Rows of a request on average; empty if all have one. */
  rows: Line[];
}

const HOUR = 3_600_000;
const LENGTHS: Record<Step, number> = { minute: 60_000, hour: HOUR, day: 24 * HOUR };
/** More codes than this are drawn as one line. */
const CODES_MAX = 5;
/** A version more than these is not drawn: a chart with ten lines tells nothing. */
const VERSIONS_MAX = 3;
/** What is not over says little about a rate; of an hour or a day, a minute says enough. */
const FRESH_MS = 60_000;

/** Minutes are kept for 48 hours and hours for 60 days; 6 hours of minutes are as many as a screen shows well. */
export function stepOf(from: number, to: number, now: number): Step {
  if (to - from <= 6 * HOUR + 60_000 && now - from < 47 * HOUR) return 'minute';
  return to - from <= 14 * 24 * HOUR && now - from < 59 * 24 * HOUR ? 'hour' : 'day';
}

/** Without an entry nothing was asked in that time, which is a rate of zero and no latency at all. */
export function toLines(requests: readonly Requests[], step: Step, from: number, to: number, now: number): Lines {
  const length = LENGTHS[step];
  const times: number[] = [];
  for (let at = Math.floor(from / length) * length; at < to; at += length) {
    if (now - at >= FRESH_MS) times.push(at);
  }
  const place = new Map(times.map((time, index) => [time, index]));
  const seconds = times.map((time) => Math.max(1, Math.min(length, now - time)) / 1000);
  const known = requests.flatMap((row) => {
    const at = place.get(Math.floor(row.start_ms / length) * length);
    return at === undefined ? [] : [{ row, at }];
  });

  const perSecond = (pick: (row: Requests) => number) => {
    const sums = times.map(() => 0);
    for (const { row, at } of known) sums[at] = (sums[at] ?? 0) + pick(row);
    return sums.map((sum, at) => (known.length === 0 ? null : sum / (seconds[at] ?? 1)));
  };
  return {
    times,
    requests: [{ label: 'requests', values: perSecond((row) => row.count), style: 0, area: true }],
    latency: latencyLines(known, times.length),
    parts: partLines(known, times.length),
    errors: errorLines(known.map(({ row }) => row), perSecond),
    rows: rowLines(known, times.length),
  };
}

interface Placed {
  row: Requests;
  at: number;
}

/** Quantiles of several versions cannot be added up, so that each version has its own lines. */
function latencyLines(known: readonly Placed[], size: number): Line[] {
  const versions = [...new Set(known.map(({ row }) => row.version))].sort(newestFirst).slice(0, VERSIONS_MAX);
  const lines = versions.flatMap((version, index) => {
    const p50: (number | null)[] = new Array<null>(size).fill(null);
    const p99: (number | null)[] = new Array<null>(size).fill(null);
    for (const { row, at } of known) {
      if (row.version !== version) continue;
      p50[at] = row.p50_ms ?? null;
      p99[at] = row.p99_ms ?? null;
    }
    const name = versions.length > 1 ? `${version} ` : '';
    return [
      { label: `${name}p50`, values: p50, style: index * 2 },
      { label: `${name}p99`, values: p99, style: index * 2 + 1 },
    ];
  });
  return lines.length > 0 ? lines : [{ label: 'p50', values: [], style: 0 }, { label: 'p99', values: [], style: 1 }];
}

/** Means can be added up, over versions too: what is neither waiting nor the model is Decalog's own. */
function partLines(known: readonly Placed[], size: number): Line[] {
  const mean = (pick: (row: Requests) => number | null | undefined) => {
    const sums = new Array<number>(size).fill(0);
    const counts = new Array<number>(size).fill(0);
    for (const { row, at } of known) {
      const value = pick(row);
      if (value === null || value === undefined) continue;
      sums[at] = (sums[at] ?? 0) + value * row.count;
      counts[at] = (counts[at] ?? 0) + row.count;
    }
    return sums.map((sum, at) => ((counts[at] ?? 0) > 0 ? sum / (counts[at] ?? 1) : null));
  };
  const isSplit = ({ worker_ms }: Requests) => worker_ms !== null && worker_ms !== undefined;
  if (!known.some(({ row }) => isSplit(row))) return [];
  const own = (row: Requests) => (isSplit(row) ? Math.max(0, (row.mean_ms ?? 0) - (row.worker_ms ?? 0) - (row.queue_ms ?? 0)) : null);
  return [
    { label: 'in the model', values: mean((row) => row.worker_ms), style: 0 },
    { label: 'waiting', values: mean((row) => row.queue_ms), style: 1 },
    { label: 'in Decalog', values: mean(own), style: 2 },
  ];
}

function errorLines(rows: readonly Requests[], perSecond: (pick: (row: Requests) => number) => (number | null)[]): Line[] {
  const totals = new Map<string, number>();
  for (const row of rows) for (const [code, count] of Object.entries(row.errors)) totals.set(code, (totals.get(code) ?? 0) + count);
  const codes = [...totals].sort(([, a], [, b]) => b - a).map(([code]) => code);
  const drawn = codes.slice(0, CODES_MAX);
  const rest = codes.slice(CODES_MAX);
  const lines = drawn.map((code, index): Line => ({ label: code, values: perSecond((row) => row.errors[code] ?? 0), style: index + 1 }));
  if (rest.length > 0) lines.push({ label: 'other', values: perSecond((row) => rest.reduce((sum, code) => sum + (row.errors[code] ?? 0), 0)), style: 6 });
  return lines.length > 0 ? lines : [{ label: 'errors', values: perSecond(() => 0), style: 1 }];
}

function rowLines(known: readonly Placed[], size: number): Line[] {
  const rows = new Array<number>(size).fill(0);
  const answered = new Array<number>(size).fill(0);
  for (const { row, at } of known) {
    const failed = Object.values(row.errors).reduce((sum, count) => sum + count, 0);
    rows[at] = (rows[at] ?? 0) + row.rows;
    answered[at] = (answered[at] ?? 0) + Math.max(0, row.count - failed);
  }
  const values = rows.map((sum, at) => ((answered[at] ?? 0) > 0 ? sum / (answered[at] ?? 1) : null));
  return values.some((value) => value !== null && value > 1.001) ? [{ label: 'rows', values, style: 2 }] : [];
}

function newestFirst(a: string, b: string): number {
  return Number(b.slice(1)) - Number(a.slice(1));
}
