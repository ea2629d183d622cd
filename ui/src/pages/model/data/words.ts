/** What a comparison says in words. Pure. */
import { share } from '../../../format';
import type { Drift, Series } from './api';

/** Whole percents are enough for a glance, but never 0% for something. */
export function percent(value: number): string {
  return value >= 0.01 || value === 0 ? `${Math.round(value * 100)}%` : share(value);
}

/** The largest change of a share: of a bin, or of what is missing or in no category. */
export function moved(series: Series): { what: string; was: number; is: number } | null {
  const changes = [
    ...series.bins.map((bin) => ({ what: bin.bin, was: bin.reference, is: bin.now })),
    { what: 'missing', was: series.reference_missing, is: series.missing },
  ];
  if (series.unseen) changes.push({ what: 'in no category', was: 0, is: series.unseen });
  const most = changes.toSorted((one, other) => Math.abs(other.is - other.was) - Math.abs(one.is - one.was))[0];
  return most && Math.abs(most.is - most.was) >= 0.005 ? most : null;
}

const KINDS: Readonly<Record<string, string>> = {
  inputs: 'distribution', outputs: 'distribution', slices: 'distribution', missing: 'missing values', unseen: 'unknown categories', out_of_range: 'out of range',
};

export function changedIn(series: Series): string {
  return [...new Set(series.changed.map((kind) => KINDS[kind] ?? kind))].join(', ');
}

export const METHODS: Readonly<Record<string, { name: string; short: string; hint: string }>> = {
  psi: { name: 'Population stability index', short: 'PSI', hint: 'Over the bins, less what chance adds. Below 0.1 is commonly called no shift, above 0.25 a large one. None below 500 values.' },
  jensen_shannon: { name: 'Jensen–Shannon distance', short: 'JS', hint: 'Over the bins, from 0 to 1.' },
  kolmogorov_smirnov: { name: 'Kolmogorov–Smirnov', short: 'KS', hint: 'The greatest distance between the two cumulative distributions, from 0 to 1.' },
  wasserstein: { name: 'Wasserstein distance', short: 'W', hint: 'How far values moved in the mean, in standard deviations of the reference.' },
};

/** How sure the bounds are by now. */
export function stageWords(stage: string): { title: string; explain: string } {
  if (stage === 'learning') return { title: 'first day: warnings only', explain: 'Until a day is over, only large changes are told.' };
  if (stage === 'envelope') return { title: 'bounds of any hour', explain: 'For two weeks, a share may be as large as it was in any hour so far.' };
  return { title: 'bounds of the same hour', explain: 'A share may be as large as it usually is at this hour of the day.' };
}

/** What is still being learned, for lack of anything to compare with. */
export function learned(drift: Drift): string | null {
  const has = (direction: string) => drift.series.some((series) => series.direction === direction);
  if (drift.learning_since_ms === null) return null;
  if (!has('in') && !has('out')) return 'Inputs and outputs';
  return !has('out') ? 'Outputs' : !has('in') ? 'Inputs' : 'Outputs by slice';
}

export interface Group {
  id: string;
  title: string;
  series: Series[];
  /** Folded until one opens it. */
  folded?: boolean;
}

/** Changed ones first, then inputs, outputs and slices; what a search leaves. */
export function grouped(drift: Drift, search: string | undefined): Group[] {
  const wanted = search?.toLowerCase() ?? '';
  const found = drift.series.filter((series) => series.name.toLowerCase().includes(wanted));
  const changed = found.filter((series) => series.changed.length > 0);
  const usual = found.filter((series) => series.changed.length === 0);
  const most = (list: Series[]) =>
    list.toSorted((one, other) => size(other) - size(one));
  return [
    { id: 'changed', title: 'Changed', series: most(changed) },
    { id: 'in', title: 'Inputs as usual', series: usual.filter((series) => series.direction === 'in' && !series.slice) },
    { id: 'out', title: 'Outputs as usual', series: usual.filter((series) => series.direction === 'out' && !series.slice) },
    { id: 'slices', title: 'Outputs by slice, as usual', series: usual.filter((series) => series.slice), folded: wanted === '' },
  ].filter((group) => group.series.length > 0);
}

function size(series: Series): number {
  const most = moved(series);
  return most ? Math.abs(most.is - most.was) : 0;
}
