/** Why a number changed, as it is said and ordered. Pure. */
import { clock, count, day, plain, share, span } from '../../../format';
import type { Cause, Chart, Told, Why } from './api';

export const METRICS = ['errors', 'latency', 'accuracy', 'drift'] as const;
export type Metric = (typeof METRICS)[number];

export const METRIC_TITLES: Readonly<Record<Metric, string>> = { errors: 'Errors', latency: 'Latency', accuracy: 'Accuracy', drift: 'Drift' };

/** What an alarm is about; as the server has it. Those about the disk, records or an own rule are about no requests. */
const OF_ALARM: Readonly<Record<string, Metric>> = {
  latency: 'latency', tail_latency: 'latency', slo_latency: 'latency', queue_growth: 'latency',
  errors: 'errors', crash_loop: 'errors', slo_availability: 'errors',
  quality: 'accuracy', estimated_quality: 'accuracy',
  inputs: 'drift', outputs: 'drift', missing: 'drift', unseen: 'drift', out_of_range: 'drift', slices: 'drift',
};

export function metricOf(alarmKind: string): Metric | undefined {
  return OF_ALARM[alarmKind];
}

/** A sentence begins with a capital, unless its first word is a name such as `v2` or `p99`. */
export function sentence(text: string): string {
  return /^\S*\d/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** How sure it is that something changed at all. */
export function sure(p: number | null | undefined): { word: string; explain: string } {
  if (p === null || p === undefined) return { word: 'an alarm says so', explain: 'An alarm of the model about this number is open, and that is proof of its own.' };
  const explain = 'How often a change as large is found if nothing changed, by the same minutes in another order.';
  return { word: p < 0.001 ? 'beyond noise, p < 0.001' : `beyond noise, p = ${plain(p)}`, explain };
}

/** Since when, with 95% confidence: two times of a day, and the day if it is not that of `now`. */
export function between(from: number, to: number, now: number): string {
  const date = day(from) === day(now) ? '' : `${day(from)} `;
  return clock(from) === clock(to) ? `${date}${clock(from)}` : `${date}between ${clock(from)} and ${clock(to)}`;
}

/** How many records an answer rests on: `n = 360 against 2,040`. */
export function basis({ before, after }: Pick<Why, 'before' | 'after'>): string | null {
  return before && after ? `n = ${count(after.records)} against ${count(before.records)}` : null;
}

/** The smallest change that would have been seen. */
export function smallest({ smallest_visible: visible }: Pick<Why, 'smallest_visible'>): string | null {
  if (!visible) return null;
  return `The smallest change that would have been seen: ${visible.measure} from ${share(visible.from)} to ${share(visible.to)} of requests, for ${span(visible.for_ms)}.`;
}

/** What was looked at. */
export function looked({ from_ms: from, to_ms: to, records, sampled }: Pick<Why, 'from_ms' | 'to_ms' | 'records' | 'sampled'>, now: number): string {
  const time = (at: number) => (day(at) === day(now) ? clock(at) : `${day(at)} ${clock(at).slice(0, 5)}`);
  const values = records > 0 && sampled < 0.995 ? `; the values of ${share(sampled)} of their rows` : '';
  return `${count(records)} ${records === 1 ? 'record' : 'records'} from ${time(from)} to ${time(to)}${values}`;
}

/** A cause with what is said of it, and what would not be without it. */
export interface Branch {
  /** From 1. */
  number: number;
  cause: Cause;
  told: Told;
  follow: Branch[];
}

/** Causes as a tree: what follows from one stands below it. */
export function branches(causes: readonly Cause[], told: readonly Told[]): Branch[] {
  const all = causes.flatMap((cause, index): Branch[] => {
    const words = told[index];
    return words ? [{ number: index + 1, cause, told: words, follow: [] }] : [];
  });
  const roots: Branch[] = [];
  for (const branch of all) {
    // What follows stands after what it follows from; so that nothing is ever below itself.
    const parent = all.find((one) => one.number === branch.cause.follows_from && one.number < branch.number);
    (parent?.follow ?? roots).push(branch);
  }
  return roots;
}

/** The times of the points of a chart. */
export function timesOf({ from_ms: from, step_ms: step, lines }: Chart): number[] {
  const length = Math.max(0, ...lines.map((line) => line.values.length));
  return Array.from({ length }, (_, index) => from + index * step);
}

/** What the chart's numbers are of. `failed` and `slower than 64 ms` are of requests; the mean loss and outputs are not. */
export function measureTitle(measure: string): string {
  return /^(slower|wait|longer|failed)/.test(measure) ? `Share of requests: ${measure}` : `Share: ${measure}`;
}

/** Where the dashboard does what comes next, if it does. Going back to an older version is a button of its own. */
export type Place =
  | { to: 'tab'; title: string; tab: 'logs' | 'records' | 'data' | 'truth' | 'versions'; column?: string; version?: string }
  | { to: 'events'; title: string; at: string };

export function placeOf(next: Cause['next']): Place | null {
  switch (next.do) {
    case 'roll_back':
      return { to: 'tab', title: `See ${next.to}`, tab: 'versions', version: next.to };
    case 'look_at_replica':
    case 'keep_replicas_ready':
    case 'look_at_dependencies':
      return { to: 'tab', title: 'See the logs', tab: 'logs' };
    case 'look_at_caller':
    case 'look_at_records':
      return { to: 'tab', title: 'See the records', tab: 'records' };
    case 'look_at_column':
      return { to: 'tab', title: 'See the column', tab: 'data', column: next.column };
    case 'train_again':
      return { to: 'tab', title: 'See the truth', tab: 'truth' };
    case 'take_back':
      return /^\d+(\.\d+)?$/.test(next.event) ? { to: 'events', title: 'See the event', at: next.event } : null;
    default:
      return null;
  }
}
