import type { Schema } from '../../../api/client';
import { count, ms, plain, share } from '../../../format';
import { Empty, Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { useMetrics } from '../data/api';

interface Row {
  name: string;
  a: number | null | undefined;
  b: number | null | undefined;
  words: (value: number | null | undefined) => string;
  /** Whether the difference is worth a number. */
  compares: boolean;
  hint?: string;
}

/** What both were like while they served, in the same time. */
export function Metrics({ project, model, environment, a, b, range }: {
  project: string;
  model: string;
  environment: string;
  a: Schema<'VersionView'>;
  b: Schema<'VersionView'>;
  range: { from: number; to: number };
}) {
  const { data, error, isPending, refetch } = useMetrics(project, model, { environment, by: 'all', from_ms: range.from, to_ms: range.to });
  if (error && !data) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (isPending) return <Skeletons lines={4} />;
  const requests = [a, b].map(({ version }) => data?.requests.find((row) => row.version === version));
  if (requests.every((one) => one === undefined)) {
    return <Empty icon="chart" title={`Neither served in ${environment} in this time`} command={`decalog release ${model}@${b.version} --canary 5,25,50`} />;
  }
  const [left, right] = requests;
  const both = <T,>(of: (row: Schema<'RequestMetrics'>) => T) => ({ a: left && of(left), b: right && of(right) });
  const rows: Row[] = [
    { name: 'Requests', ...both((row) => row.count), words: count, compares: false },
    { name: 'Failed', ...both((row) => (row.count > 0 ? row.failed / row.count : null)), words: share, compares: false, hint: 'By the fault of the model or the server' },
    { name: 'p50', ...both((row) => row.p50_ms), words: ms, compares: true },
    { name: 'p99', ...both((row) => row.p99_ms), words: ms, compares: true },
    ...outputs(data?.columns ?? [], a.version, b.version),
  ];
  return (
    <div className="compare-scroll">
      <table className="compare-table">
        <thead className="outside"><tr><th scope="col">Metric</th><th scope="col">{a.version}</th><th scope="col">{b.version}</th></tr></thead>
        <tbody>
          {rows.map(({ name, hint, words, compares, a: one, b: other }) => (
            <tr key={name}>
              <th scope="row" title={hint}>{name}</th>
              <td className="num">{words(one)}</td>
              <td className="num">{words(other)}{compares && <Change a={one} b={other} />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function outputs(columns: readonly Schema<'ColumnMetrics'>[], a: string, b: string): Row[] {
  const out = columns.filter((row) => row.direction === 'out' && row.mean !== null);
  return [...new Set(out.map((row) => row.column))].slice(0, 10).map((column) => {
    const of = (version: string) => out.find((row) => row.column === column && row.version === version)?.mean;
    return { name: `Mean of ${column}`, a: of(a), b: of(b), words: plain, compares: true };
  });
}

function Change({ a, b }: { a: number | null | undefined; b: number | null | undefined }) {
  if (typeof a !== 'number' || typeof b !== 'number' || a === 0) return null;
  const by = b / a - 1;
  return <span className="compare-change dim">{Math.abs(by) < 0.005 ? 'as much' : `${by > 0 ? '+' : '−'}${share(Math.abs(by))}`}</span>;
}
