import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { Schema } from '../../api/client';
import { bytes, countOf, ms } from '../../format';
import { type Column, DataTable, type Sort, sortRows } from '../../parts/DataTable';
import { Empty, Failed } from '../../parts/Notices';
import { State, type Tone } from '../../parts/State';
import { MODELS_MAX, useProcesses } from './api';

interface Process {
  key: string;
  model: string;
  version: string;
  environment: string;
  is: 'replica' | 'parked';
  state: string;
  pid: number;
  memory: number;
  note: string;
}

const MIB = 1_048_576;
const TONES: Readonly<Record<string, Tone>> = { ready: 'good', starting: 'busy', leaving: 'quiet', ended: 'quiet', spare: 'quiet', parent: 'quiet' };

function processesOf(view: Schema<'ModelView'>): Process[] {
  const model = `${view.project}/${view.name}`;
  return [
    ...view.replicas.map((one): Process => ({
      key: `${model} ${one.replica}`, model, version: one.version, environment: one.environment, is: 'replica', state: one.state, pid: one.pid, memory: (one.memory_mb ?? 0) * MIB,
      note: `started ${one.temperature} in ${ms(one.start_ms)}`,
    })),
    ...view.parked.map((one, at): Process => ({
      key: `${model} ${one.kind} ${one.environment} ${one.version} ${at}`, model, version: one.version, environment: one.environment, is: 'parked', state: one.kind, pid: one.pid, memory: (one.memory_mb ?? 0) * MIB,
      note: one.note ?? '',
    })),
  ];
}

const COLUMNS: readonly Column<Process>[] = [
  { id: 'model', title: 'Model', width: 120, grow: 1, sorts: 'up', by: (row) => row.model, cell: (row) => <ModelLink of={row} /> },
  { id: 'environment', title: 'Environment', width: 106, from: 620, sorts: 'up', by: (row) => row.environment, cell: (row) => row.environment },
  { id: 'version', title: 'Version', width: 64, from: 480, cell: (row) => <span className="num">{row.version}</span> },
  { id: 'state', title: 'State', width: 144, sorts: 'up', by: (row) => `${row.is} ${row.state}`, hint: 'Parked processes serve nobody: they are kept so that the next replica starts faster', cell: (row) => <State plain tone={TONES[row.state] ?? 'quiet'}>{row.is === 'parked' ? `parked ${row.state}` : row.state}</State> },
  { id: 'memory', title: 'Memory', width: 90, align: 'right', sorts: 'down', by: (row) => row.memory, hint: 'Its share: pages that it has in common with others count in part', cell: (row) => <span className="num">{bytes(row.memory)}</span> },
  { id: 'pid', title: 'Process', width: 76, align: 'right', from: 560, cell: (row) => <span className="num">{row.pid || '–'}</span> },
  { id: 'note', title: 'Note', width: 120, grow: 1, from: 820, cell: (row) => <span className="dim" title={row.note}>{row.note}</span> },
];

function ModelLink({ of }: { of: Process }) {
  const [project = '', model = ''] = of.model.split('/');
  return (
    <Link to="/models/$project/$model" params={{ project, model }} search={{ environment: of.environment }} className="row-link" title={of.model}>
      <span className="dim">{project}/</span>{model}
    </Link>
  );
}

/** What runs and what is parked, and how much memory it takes. */
export function Processes({ models, total, sort, onSort }: { models: readonly string[]; total: number; sort: Sort; onSort: (sort: Sort) => void }) {
  const { views, isPending, error } = useProcesses(models);
  const all = useMemo(() => views.flatMap(processesOf), [views]);
  const rows = useMemo(() => sortRows(all, COLUMNS, { by: sort.by, down: sort.down }), [all, sort.by, sort.down]);
  const sum = (is: Process['is']) => bytes(all.filter((row) => row.is === is).reduce((total, row) => total + row.memory, 0));
  return (
    <section>
      <h2>
        Processes{' '}
        {all.length > 0 && <span className="dim num">{[all.some((row) => row.is === 'replica') && `${sum('replica')} in replicas`, all.some((row) => row.is === 'parked') && `${sum('parked')} parked`].filter(Boolean).join(', ')}{total > MODELS_MAX && `, of the first ${MODELS_MAX} of ${countOf(total, 'model')}`}</span>}
      </h2>
      {error && views.length === 0 ? <Failed problem={error} /> : (
        <DataTable
          label="Processes of models" rows={rows} columns={COLUMNS} rowKey={(row) => row.key} loading={isPending && models.length > 0 && views.length === 0} sort={sort} onSort={onSort} maxHeight={300}
          empty={<Empty icon="cold" title="No model has a process">A request wakes those that are idle.</Empty>}
        />
      )}
    </section>
  );
}
