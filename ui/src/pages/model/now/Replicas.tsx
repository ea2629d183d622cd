import { useMemo } from 'react';
import type { Schema } from '../../../api/client';
import { bytes, ms, NOTHING } from '../../../format';
import { type Column, DataTable } from '../../../parts/DataTable';
import { Empty } from '../../../parts/Notices';
import { State, type Tone } from '../../../parts/State';
import { nameOf } from '../versions/words';
import { TemperatureState } from './Temperature';

interface Row {
  id: string;
  version: string;
  state: string;
  temperature: Schema<'Temperature'> | null;
  note: string;
  inFlight: number | null;
  memoryMb: number | null;
  startMs: number | null;
  pid: number;
}

const STATES: Readonly<Record<string, Tone>> = { ready: 'good', starting: 'busy', leaving: 'quiet', ended: 'quiet', parked: 'quiet' };
const KINDS: Readonly<Record<string, string>> = { parent: 'Replicas are forked from it, with the model loaded', spare: 'Waits to take requests at once' };

const KEPT = 'Kept for a while, so that a rollback need not wait for a start';

function rowsOf(view: Schema<'ModelView'>, environment: string, live: string | undefined): Row[] {
  const isMoving = view.deployments.some((one) => one.environment === environment && one.outcome === 'running');
  const serving = view.replicas.filter((one) => one.environment === environment).map((one): Row => ({
    id: one.replica, version: one.version, state: one.state, temperature: one.temperature, note: one.version === live || isMoving ? (one.colder_because ?? '') : KEPT,
    inFlight: one.in_flight, memoryMb: one.memory_mb ?? null, startMs: one.start_ms ?? null, pid: one.pid,
  }));
  const parked = view.parked.filter((one) => one.environment === environment).map((one): Row => ({
    id: one.kind, version: one.version, state: 'parked', temperature: null, note: one.note || (KINDS[one.kind] ?? ''),
    inFlight: null, memoryMb: one.memory_mb ?? null, startMs: null, pid: one.pid,
  }));
  return [...serving, ...parked];
}

const TEMPERATURES = 'Warm: forked with the model loaded. Tepid: forked with its libraries loaded. Cold: as a fresh program.';

const columns: Column<Row>[] = [
  { id: 'replica', title: 'Replica', width: 84, cell: (row) => row.id },
  { id: 'state', title: 'State', width: 92, cell: (row) => <State plain tone={STATES[row.state] ?? 'quiet'}>{row.state}</State> },
  { id: 'version', title: 'Version', width: 70, cell: (row) => row.version },
  { id: 'in-flight', title: 'In flight', width: 74, align: 'right', from: 620, hint: 'Batches that it runs at this moment', cell: (row) => row.inFlight ?? NOTHING },
  { id: 'memory', title: 'Memory', width: 84, align: 'right', hint: 'What it shares with its parent counts in part', cell: (row) => (row.memoryMb === null ? NOTHING : bytes(row.memoryMb * 1_048_576)) },
  { id: 'start', title: 'Start took', width: 88, align: 'right', from: 560, hint: 'From its start to being ready', cell: (row) => ms(row.startMs) },
  { id: 'pid', title: 'Process', width: 78, align: 'right', from: 900, hint: 'Its process id on the server’s machine', cell: (row) => (row.pid === 0 ? NOTHING : row.pid) },
  { id: 'temperature', title: 'Started', width: 92, from: 480, hint: TEMPERATURES, cell: (row) => (row.temperature ? <TemperatureState temperature={row.temperature} /> : <span className="dim">{NOTHING}</span>) },
  { id: 'note', title: 'Why, and why not warmer', width: 120, grow: 1, from: 700, cell: (row) => <span className="dim" title={row.note}>{row.note}</span> },
];

/** What runs of a model in an environment: what answers, and what is kept so that more starts faster. */
export function Replicas({ view, environment, project, model }: { view: Schema<'ModelView'>; environment: string; project: string; model: string }) {
  const live = view.live.find(([name]) => name === environment)?.[1];
  const rows = useMemo(() => rowsOf(view, environment, live), [view, environment, live]);
  const ready = rows.filter((row) => row.state === 'ready' && row.version === live).length;
  const wanted = view.targets.find(([name]) => name === environment)?.[1];
  return (
    <>
      <div className="now-section">
        <h2>Replicas</h2>
        <span className="dim num">{typeof wanted === 'number' ? `${ready} of ${wanted} ready` : `${ready} ready`}</span>
      </div>
      <DataTable
        label={`Replicas in ${environment}`} rows={rows} columns={columns} rowKey={(row) => `${row.state} ${row.id} ${row.pid}`} maxHeight={360}
        empty={(
          <Empty icon="cold" title={`Nothing of it runs in ${environment}`} command={`decalog predict ${nameOf(project, model)} '{…}'`}>
            A model without requests takes no memory. The next request starts a replica.
          </Empty>
        )}
      />
    </>
  );
}
