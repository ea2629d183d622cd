/** What differs between two versions. Pure. */
import type { Schema } from '../../../api/client';
import { plain } from '../../../format';

type Version = Schema<'VersionView'>;
type Column = Schema<'Schema'>['inputs'][number];

export interface Difference {
  name: string;
  a: string | null;
  b: string | null;
}

/** How a column is written in a line: `FP64, or missing`, `one of "Utrecht", "Delft"`. */
export function columnWords(column: Column): string {
  const { datatype, shape, nullable, categories } = column;
  const type = Array.isArray(categories) && categories.length > 0 ? `one of ${categories.map((one) => JSON.stringify(one)).join(', ')}` : datatype;
  const of = Array.isArray(shape) && shape.length > 0 ? ` [${shape.map((one) => (one < 0 ? '?' : one)).join(' × ')}]` : '';
  const otherwise = column.default === undefined || column.default === null ? '' : `, else ${JSON.stringify(column.default)}`;
  return `${type}${of}${nullable ? ', or missing' : ''}${otherwise}`;
}

/** What both have, by name: all names, in the order of `a`, then those that only `b` has. */
function beside(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): Difference[] {
  return [...new Set([...a.keys(), ...b.keys()])].map((name) => ({ name, a: a.get(name) ?? null, b: b.get(name) ?? null }));
}

/** None where the columns of one are not known: they are read when a version is prepared for its first release. */
export function columnDifferences(a: Version, b: Version, side: 'inputs' | 'outputs'): Difference[] {
  if (!a.schema || !b.schema) return [];
  const map = (version: Version) => new Map((version.schema?.[side] ?? []).map((column) => [column.name, columnWords(column as Column)]));
  return beside(map(a), map(b));
}

/** Packages by name, whatever their version. */
export function packageDifferences(a: Version, b: Version): Difference[] {
  const map = (version: Version) =>
    new Map(version.packages.map((text) => {
      const [, name = text, rest = ''] = /^([\w.-]+(?:\[[^\]]*\])?)\s*(.*)$/.exec(text) ?? [];
      return [name, rest.replace(/^==\s*/, '') || 'any'] as const;
    }));
  return beside(map(a), map(b));
}

/** What they were trained with, by name. */
export function dataDifferences(a: Version, b: Version): Difference[] {
  const map = ({ provenance }: Version) => new Map((provenance.data ?? []).map(({ name, digest, rows }) => [name, `${digest.replace(/^sha256:/, '').slice(0, 12)}${rows ? `, ${rows.toLocaleString('en')} rows` : ''}`]));
  return beside(map(a), map(b));
}

/** The numbers of metrics.json. */
export function metricDifferences(a: Version, b: Version): Difference[] {
  const map = ({ provenance }: Version) => new Map(Object.entries(provenance.metrics ?? {}).map(([name, value]) => [name, plain(value)]));
  return beside(map(a), map(b));
}

export function factDifferences(a: Version, b: Version): Difference[] {
  const commit = ({ provenance: { git_commit, git_dirty } }: Version) => (git_commit ? `${git_commit.slice(0, 10)}${git_dirty ? ', with changes' : ''}` : null);
  return [
    { name: 'Runtime', a: a.runtime, b: b.runtime },
    { name: 'Pushed by', a: a.provenance.author || null, b: b.provenance.author || null },
    { name: 'Commit', a: commit(a), b: commit(b) },
    { name: 'Content', a: a.digest.slice(0, 12), b: b.digest.slice(0, 12) },
  ].filter((one) => one.a !== null || one.b !== null);
}

export function differs({ a, b }: Difference): boolean {
  return a !== b;
}
