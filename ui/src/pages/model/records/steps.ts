/** The way of a request: what its version was made of, by which release it was asked, what happened to it, and what was true. Pure. */
import type { Schema } from '../../../api/client';
import { count, countOf, ms, share } from '../../../format';
import type { IconName } from '../../../parts/Icon';
import type { Lineage } from '../lineage/api';
import type { RecordRow } from './api';

export type Truth = Schema<'TruthKnown'>;
type Release = Lineage['releases'][number];

export interface Step {
  id: 'data' | 'code' | 'version' | 'release' | 'asked' | 'batch' | 'answer' | 'truth';
  icon: IconName;
  title: string;
  text: string;
  /** In milliseconds since 1970. */
  at?: number | undefined;
  /** Nobody said it, or it is not known yet. */
  isOpen?: boolean;
}

/** By which release a version answered at a time; null if it had no traffic by then, so that it was asked for by its number. */
export type InForce = { how: 'live'; release: Release } | { how: 'part'; release: Release; percent: number; isShadow: boolean } | { how: 'replaced'; release: Release; at: number } | null;

/** As the server's own `in_force` has it. */
export function inForce(releases: readonly Release[], environment: string, version: string, at: number): InForce {
  const here = releases.filter((one) => one.environment === environment);
  const wentLive = here.filter((one) => one.live_ms != null && one.live_ms <= at).toSorted((a, b) => (a.live_ms ?? 0) - (b.live_ms ?? 0));
  const live = wentLive.at(-1);
  if (live?.version === version) return { how: 'live', release: live };
  for (const release of here.filter((one) => one.version === version)) {
    const over = Math.min(release.live_ms ?? Infinity, release.ended_ms ?? Infinity);
    const part = over <= at ? undefined : release.parts.findLast((one) => one.at_ms <= at);
    if (part) return { how: 'part', release, percent: part.percent, isShadow: part.is_shadow };
  }
  const last = wentLive.findLast((one) => one.version === version);
  const next = wentLive.find((one) => (one.live_ms ?? 0) > (last?.live_ms ?? Infinity));
  return last && next ? { how: 'replaced', release: last, at: next.live_ms ?? at } : null;
}

/** All steps, from what it comes from to what was true. What is not read yet, or cannot be, is left out. */
export function wayOf(row: RecordRow, lineage: Lineage | undefined, truth: Truth | undefined): Step[] {
  return [...(lineage ? origin(row, lineage) : []), ...happened(row), ...(truth ? [turnedOut(row, truth)] : [])];
}

function origin(row: RecordRow, lineage: Lineage): Step[] {
  // Where the number was given anew after a removal, the digest tells which one it was.
  const version = lineage.versions.find((one) => (row.digest ? one.digest === row.digest : one.version === row.version));
  const at = Date.parse(row.time);
  const steps: Step[] = [];
  if (version) {
    const { data, git_commit: commit, git_dirty: dirty, git_branch: branch, author } = version.provenance;
    steps.push(data && data.length > 0
      ? { id: 'data', icon: 'table', title: 'Trained with', text: data.map((set) => `${set.name}${set.rows == null ? '' : ` (${countOf(set.rows, 'row')})`}`).join(', ') }
      : { id: 'data', icon: 'table', title: 'Trained with', text: 'nobody said', isOpen: true });
    steps.push(commit
      ? { id: 'code', icon: 'link', title: 'Made from', text: `commit ${commit.slice(0, 10)}${dirty ? ' and changes since' : ''}${branch ? ` on ${branch}` : ''}${author ? `, by ${author}` : ''}` }
      : { id: 'code', icon: 'link', title: 'Made from', text: `no commit${author ? `, by ${author}` : ''}`, isOpen: true });
    steps.push({ id: 'version', icon: 'model', title: `Version ${version.version}`, text: `pushed by ${version.by}${version.is_removed ? '; removed since' : ''}`, at: version.at_ms });
  }
  steps.push(released(inForce(lineage.releases, row.environment, row.version, at), row));
  return steps;
}

function released(force: InForce, row: RecordRow): Step {
  if (!force) return { id: 'release', icon: 'play', title: 'Not released', text: 'it was asked for by its number, or had no traffic by then', isOpen: true };
  const { release } = force;
  const by = `asked for by ${release.by}`;
  const text = force.how === 'live' ? `it had all of ${row.environment}, ${by}`
    : force.how === 'part' ? `it had ${force.isShadow ? 'copies of ' : ''}${force.percent}% of ${row.environment}, ${by}`
      : `it had just been replaced in ${row.environment}, ${by}`;
  return { id: 'release', icon: 'play', title: 'Released', text, at: release.live_ms ?? release.at_ms };
}

function happened(row: RecordRow): Step[] {
  const at = Date.parse(row.time);
  const failed = row.status >= 400;
  const place = row.batch_rows > 0 ? `place ${count(row.batch_offset + row.row + 1)} of a batch of ${count(row.batch_rows)}` : 'in no batch';
  const part = row.total_us > 0 ? `, ${share(row.worker_us / row.total_us)} of its time` : '';
  return [
    { id: 'asked', icon: 'up', title: row.copy ? 'Copied for a shadow' : 'Asked', text: `${row.principal ? `by ${row.principal}` : 'by somebody without a name'}${row.key ? `, of ${row.key}` : ''}`, at },
    { id: 'batch', icon: 'system', title: row.replica ? `Replica ${row.replica}` : 'No replica', text: `waited ${ms(row.queue_us / 1000)}; ${place}; ${ms(row.worker_us / 1000)} in the model${part}` },
    { id: 'answer', icon: failed ? 'alert' : 'check', title: `Answered ${row.status}`, text: `after ${ms(row.total_us / 1000)}${row.code ? `, ${row.code}` : ''}` },
  ];
}

/** What is said of a row itself comes before what is said of its key. */
function turnedOut(row: RecordRow, truth: Truth): Step {
  const own = truth.rows.find((one) => one.row === row.row);
  const known = own ?? truth.key;
  if (!known) return { id: 'truth', icon: 'learning', title: 'What was true', text: 'not known yet', isOpen: true };
  return { id: 'truth', icon: 'check', title: 'What was true', text: `${String(known.truth)}${own ? '' : ', said of its key'}`, at: known.at_ms };
}
