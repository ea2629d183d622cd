/** Numbers of quality, and how sure they are. Pure. */
import { NOTHING, plain } from '../../../format';
import type { Metric, Window } from './api';

export const METRICS: Readonly<Record<Metric, { title: string; hint: string; down?: boolean }>> = {
  accuracy: { title: 'Accuracy', hint: 'The share of predictions that are right.' },
  precision: { title: 'Precision', hint: 'Of those predicted to be positive, the share that is.' },
  recall: { title: 'Recall', hint: 'Of those that are positive, the share that was predicted.' },
  f1: { title: 'F1', hint: 'The harmonic mean of precision and recall.' },
  auc: { title: 'AUC', hint: 'How often a positive has a higher score than a negative.' },
  log_loss: { title: 'Log loss', hint: 'Less is better.', down: true },
  brier: { title: 'Brier score', hint: 'The mean squared error of the probability. Less is better.', down: true },
  mae: { title: 'MAE', hint: 'The mean absolute error. Less is better.', down: true },
  rmse: { title: 'RMSE', hint: 'The root of the mean squared error. Less is better.', down: true },
  r2: { title: 'R²', hint: 'The share of the variance that is explained.' },
  bias: { title: 'Bias', hint: 'The mean of prediction less truth; 0 is best.' },
};

export type Shown = Window['numbers'][number] & { estimated: boolean };

/** A number of a window: estimated while less than half of the truth is known and the estimates are trusted. */
export function shown(window: Window, metric: Metric): Shown | null {
  const known = main(window.numbers, metric);
  const estimate = isEstimated(window) ? main(window.estimates, metric) : undefined;
  if (estimate) return { ...estimate, estimated: true };
  return known ? { ...known, estimated: false } : null;
}

export function isEstimated(window: Window): boolean {
  return window.coverage < 0.5 && window.is_estimate_trusted !== false && window.estimates.length > 0;
}

/** Of all classes, if there is such a number, else of the first one. */
export function main<T extends { metric: Metric; class?: string | null }>(numbers: readonly T[], metric: Metric): T | undefined {
  const all = numbers.filter((number) => number.metric === metric);
  return all.find((number) => !number.class) ?? all[0];
}

/** The metrics that the windows have, in their usual order. */
export function metricsOf(windows: readonly Window[]): Metric[] {
  const has = new Set(windows.flatMap((window) => [...window.numbers, ...window.estimates].map((number) => number.metric)));
  return (Object.keys(METRICS) as Metric[]).filter((metric) => has.has(metric));
}

/** A number in two digits of its error: 0.883, 0.88, 12.4. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined) return NOTHING;
  return Math.abs(value) < 10 ? value.toFixed(Math.abs(value) < 0.1 ? 3 : 2) : plain(value);
}

/** `0.88 ± 0.01`; an interval that is not the same to both sides is told by its wider one. */
export function plusMinus(number: Shown): string {
  const wide = Math.max(number.value - number.low, number.high - number.value);
  return `± ${wide < 0.005 ? wide.toFixed(3) : wide < 1 ? wide.toFixed(2) : plain(wide)}`;
}

export const MATURITIES: Readonly<Record<Window['maturity'], { word: string; tone: 'good' | 'busy' | 'quiet'; explain: string }>> = {
  final: { word: 'final', tone: 'good', explain: 'As much of the truth as will come is known.' },
  partial: { word: 'partial', tone: 'busy', explain: 'Some of the truth is known. What comes early is no random sample.' },
  estimated: { word: 'estimated', tone: 'quiet', explain: 'Nothing of the truth is known yet: this is by the probabilities of the model itself.' },
};
