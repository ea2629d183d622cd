/** How alarms are said and ordered. Pure. */
import type { Schema } from '../../api/client';
import type { Alarm, Silence } from './api';

/** Stands in the filter for alarms that are of no model. */
export const PLATFORM = '*';

const KINDS: Readonly<Record<string, string>> = {
  inputs: 'Inputs changed', outputs: 'Outputs changed', missing: 'Values missing', unseen: 'Unseen categories', out_of_range: 'Out of range',
  slices: 'A slice changed', errors: 'Errors', latency: 'Latency', tail_latency: 'Tail latency', crash_loop: 'Crash loop', queue_growth: 'Queue grows',
  disk: 'Disk', records_lost: 'Records lost', estimated_quality: 'Estimated quality', quality: 'Quality', slo_availability: 'Error budget',
  slo_latency: 'Latency budget', slo_records: 'Budget of records', rule: 'Own rule',
};

export function kindTitle(kind: string): string {
  return KINDS[kind] ?? kind;
}

const RANKS: Readonly<Record<string, number>> = { alert: 0, warning: 1, notice: 2 };

export function rank(severity: string): number {
  return RANKS[severity] ?? 3;
}

/** Whose alarm it is, as the filter has it. */
export function modelOf(alarm: Alarm): string {
  return alarm.model ?? PLATFORM;
}

export interface Group<Row> {
  model: string;
  environment: string | null;
  alarms: Row[];
}

/** Alarms by model and environment; whoever has the most severe one comes first, then who has it for the longest time. */
export function groups<Row extends Alarm>(alarms: readonly Row[]): Group<Row>[] {
  const found = new Map<string, Group<Row>>();
  for (const alarm of alarms.toSorted((a, b) => rank(a.severity) - rank(b.severity) || a.since_ms - b.since_ms)) {
    const key = `${modelOf(alarm)}@${alarm.environment ?? ''}`;
    const group = found.get(key) ?? { model: modelOf(alarm), environment: alarm.environment ?? null, alarms: [] };
    group.alarms.push(alarm);
    found.set(key, group);
  }
  return [...found.values()];
}

/** How sure an alarm is: in two or three words, and in a sentence. */
export function sure(confidence: Schema<'Confidence'>): { word: string; sentence: string } {
  switch (confidence.by) {
    case 'evidence': {
      const times = (confidence.value / Math.max(confidence.threshold, Number.MIN_VALUE)).toLocaleString('en', { maximumSignificantDigits: 2 });
      return {
        word: `evidence ${times}× its threshold`,
        sentence: `It alarms from ${Math.round(confidence.threshold).toLocaleString('en')} on, which chance alone is expected to reach once in so many looks, and is at ${Math.round(confidence.value).toLocaleString('en')}.`,
      };
    }
    case 'e_value':
      return { word: `by chance once in ${Math.round(confidence.value).toLocaleString('en')}`, sentence: 'If nothing had changed, evidence as strong as this would ever come so rarely.' };
    case 'p_value':
      return { word: `p = ${confidence.p.toExponential(1)}`, sentence: 'So likely is it by chance if nothing had changed.' };
    case 'measured':
      return { word: 'measured', sentence: 'A level that was measured, not estimated: it is so.' };
    case 'warns_only':
      return { word: 'not sure yet', sentence: 'What it is compared with is still too young to promise anything.' };
  }
}

/** What a silence covers, in words. */
export function silenced(one: Silence): string {
  const of = one.alarm ? `Alarm ${one.alarm}` : `All of ${one.model ?? 'the platform'}`;
  return [of, one.environment && `in ${one.environment}`, one.kind && `of kind ${kindTitle(one.kind).toLowerCase()}`, one.subject].filter(Boolean).join(' ');
}

/** An argument as a shell takes it. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
