import type { Schema } from '../../../api/client';
import { bytes, ms, NOTHING } from '../../../format';
import { Copy } from '../../../parts/Copy';
import type { Column } from '../../../parts/DataTable';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';

type Version = Schema<'VersionView'>;

export const RUNTIMES: Readonly<Record<Schema<'Runtime'>, string>> = { python: 'Python', onnx: 'ONNX', command: 'command' };

/** A commit short enough to read, and whether the directory differed from it. */
export function Commit({ provenance }: { provenance: Schema<'Provenance'> }) {
  const { git_commit: commit, git_dirty: isDirty } = provenance;
  if (!commit) return <span className="dim" title="The directory was in no commit of Git">{NOTHING}</span>;
  return (
    <span title={isDirty ? `${commit}, and changes beyond it` : commit}>
      <code>{commit.slice(0, 7)}</code>
      {isDirty && <span className="dim"> + changes</span>}
    </span>
  );
}

export function versionColumns(live: readonly (readonly [string, string])[]): Column<Version>[] {
  const places = (version: string) => live.filter(([, one]) => one === version).map(([environment]) => environment);
  return [
    { id: 'version', title: 'Version', width: 66, cell: (row) => <b className="num">{row.version}</b> },
    {
      id: 'live', title: 'Live in', width: 118, grow: 1,
      cell: (row) => {
        const where = places(row.version);
        return where.length > 0 ? <State plain tone="good">{where.join(', ')}</State> : <span className="dim">{NOTHING}</span>;
      },
    },
    { id: 'pushed', title: 'Pushed', width: 96, cell: (row) => <Time at={row.at_ms} /> },
    { id: 'author', title: 'By', width: 100, grow: 1, from: 520, cell: (row) => <span title={row.provenance.author}>{row.provenance.author || NOTHING}</span> },
    { id: 'commit', title: 'Commit', width: 128, from: 640, cell: (row) => <Commit provenance={row.provenance} /> },
    { id: 'runtime', title: 'Runtime', width: 78, from: 780, cell: (row) => RUNTIMES[row.runtime] },
    { id: 'packages', title: 'Packages', width: 74, align: 'right', from: 880, cell: (row) => row.packages.length },
    { id: 'p99', title: 'p99', width: 70, align: 'right', from: 430, hint: 'Of the short benchmark before it went live', cell: (row) => ms(row.measured?.p99_ms) },
    { id: 'memory', title: 'Memory', width: 82, align: 'right', from: 700, hint: 'Of one replica after that benchmark', cell: (row) => (row.measured ? bytes(row.measured.memory_mb * 1_048_576) : NOTHING) },
    {
      id: 'digest', title: 'Digest', width: 124, from: 560, hint: 'Its identity: over its files, manifest and packages',
      cell: (row) => <span className="versions-digest"><code>{row.digest.slice(0, 8)}</code><Copy text={row.digest} label={`Copy the digest of ${row.version}`} /></span>,
    },
  ];
}
