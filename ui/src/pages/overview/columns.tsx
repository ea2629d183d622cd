import { Link } from '@tanstack/react-router';
import { useLiveModel } from '../../api/live';
import type { ModelListed } from '../../api/models';
import { count, countOf, inUnit, NOTHING, type Unit } from '../../format';
import type { Column } from '../../parts/DataTable';
import { Sparkline } from '../../parts/Sparkline';
import { SeverityState, State, type Tone } from '../../parts/State';

/** A number that is of this second if there is a stream, and of the last minute else. */
function Live({ row, pick }: { row: ModelListed; pick: 'requests' | 'p50' | 'p99' | 'errors' }) {
  const live = useLiveModel(row.project, row.name, row.environment);
  const listed = row.last_minute;
  const [value, unit]: [number | null | undefined, Unit] = {
    requests: [live ? live.requests_per_s : listed?.requests_per_s, 'rate'] as [number | undefined, Unit],
    p50: [live ? live.p50_ms : listed?.p50_ms, 'ms'] as [number | null | undefined, Unit],
    p99: [live ? live.p99_ms : listed?.p99_ms, 'ms'] as [number | null | undefined, Unit],
    errors: [live ? live.errors_share : listed?.errors_share, 'share'] as [number | null | undefined, Unit],
  }[pick];
  const isBad = pick === 'errors' && (value ?? 0) >= 0.01;
  // Where nothing was asked, nothing failed, and nothing went well.
  const isIdle = pick === 'errors' && (live?.requests_per_s ?? listed?.requests_per_s ?? 0) === 0;
  const text = isIdle ? NOTHING : inUnit(value, unit);
  if (isBad && !isIdle) return <State plain tone="bad">{text}</State>;
  return <span className={text === NOTHING || value === 0 ? 'num dim' : 'num'}>{text}</span>;
}

const TEMPERATURES = {
  warm: 'Its last replica was forked from a process that had the model loaded',
  tepid: 'Its last replica was forked from a process that had the libraries loaded',
  cold: 'Its last replica started as a fresh program',
} as const;

function LastHour({ requests }: { requests: readonly (number | null)[] }) {
  const known = requests.filter((one) => one !== null);
  const sum = known.reduce((all, one) => all + one, 0);
  if (sum === 0) return <span className="dim">{NOTHING}</span>;
  const most = count(Math.max(...known));
  return <Sparkline values={requests} width={76} label={`${count(sum)} requests in the last hour, at most ${most} a minute`} />;
}

function Replicas({ row }: { row: ModelListed }) {
  const live = useLiveModel(row.project, row.name, row.environment);
  const ready = live?.replicas ?? row.replicas;
  const isShort = typeof row.wanted === 'number' && ready < row.wanted;
  return (
    <span className="num" title={row.temperature ? TEMPERATURES[row.temperature] : undefined}>
      {isShort ? <State plain tone="warning">{`${ready}/${row.wanted}`}</State> : typeof row.wanted === 'number' ? `${ready}/${row.wanted}` : ready}
      {row.temperature && <span className="dim"> {row.temperature}</span>}
    </span>
  );
}

const DRIFTS: Record<NonNullable<ModelListed['drift']>, Tone> = { usual: 'good', changed: 'warning', learning: 'busy' };
const TRUTHS: Record<NonNullable<ModelListed['truth']>, Tone> = { final: 'good', partial: 'busy', estimated: 'quiet' };

const SEVERITY_TONES: Readonly<Record<string, 'bad' | 'warning' | 'busy'>> = { alert: 'bad', warning: 'warning', notice: 'busy' };

/** What a row is marked by: the most severe of its alarms. */
export function rowTone(row: ModelListed): 'bad' | 'warning' | 'busy' | undefined {
  return row.alarms > 0 ? (SEVERITY_TONES[row.alarm?.severity ?? 'notice'] ?? 'busy') : undefined;
}

/** What somebody has to know of a model first: what its worst alarm says, or how it is. */
function Condition({ row }: { row: ModelListed }) {
  const live = useLiveModel(row.project, row.name, row.environment);
  const open = live?.alarms ?? row.alarms;
  const state = live?.state || row.state || (row.live ? 'live' : '');
  if (open > 0) {
    const more = open > 1 && row.alarm ? ` and ${open - 1} more` : '';
    return (
      <SeverityState plain severity={row.alarm?.severity ?? 'notice'} explain={row.alarm?.what ?? null}>
        {row.alarm ? `${row.alarm.what.replaceAll('`', '')}${more}` : countOf(open, 'alarm')}
      </SeverityState>
    );
  }
  // A state may go on after a colon, for which there is no room here.
  const words = state.split(':')[0] ?? '';
  if (words === 'live') return <State plain tone="good">live</State>;
  if (/^(canary|shadow|build|test|start|prepar|push|queued)/.test(words)) return <State plain tone="busy">{words}</State>;
  if (/fail/.test(words)) return <State plain tone="warning">{words}</State>;
  return <span className="dim" title={state}>{words || NOTHING}</span>;
}

export function modelLink(row: ModelListed) {
  return {
    to: '/models/$project/$model',
    params: { project: row.project, model: row.name },
    search: { environment: row.environment ?? undefined },
  } as const;
}

/** The columns of the overview. `grouped`: the project stands above the rows, and not in them. */
export function modelColumns(grouped: boolean): Column<ModelListed>[] {
  return [
    {
      id: 'name', title: 'Model', width: 126, grow: 2, sorts: 'up',
      cell: (row) => (
        <Link {...modelLink(row)} className="row-link" title={`${row.project}/${row.name}`} tabIndex={-1}>
          {!grouped && <span className="dim">{row.project}/</span>}
          {row.name}
        </Link>
      ),
    },
    { id: 'environment', title: 'Environment', width: 98, from: 560, cell: (row) => row.environment ?? <span className="dim">nowhere</span> },
    { id: 'live', title: 'Live', width: 50, cell: (row) => <span className="num">{row.live ?? NOTHING}</span> },
    { id: 'alarms', title: 'State', width: 150, grow: 5, sorts: 'down', hint: 'What is wrong, the most severe first; else how it is', cell: (row) => <Condition row={row} /> },
    { id: 'replicas', title: 'Replicas', width: 98, from: 700, hint: 'Ready, of those that are wanted', cell: (row) => <Replicas row={row} /> },
    { id: 'requests', title: 'Requests', width: 80, align: 'right', from: 440, sorts: 'down', hint: 'Requests per second', cell: (row) => <Live row={row} pick="requests" /> },
    { id: 'p50', title: 'p50', width: 68, align: 'right', from: 1100, hint: 'Half of the requests are answered within it', cell: (row) => <Live row={row} pick="p50" /> },
    { id: 'p99', title: 'p99', width: 74, align: 'right', sorts: 'down', from: 480, hint: '99 of 100 requests are answered within it', cell: (row) => <Live row={row} pick="p99" /> },
    { id: 'errors', title: 'Errors', width: 84, align: 'right', sorts: 'down', from: 620, hint: 'Requests that got a 5xx, of all', cell: (row) => <Live row={row} pick="errors" /> },
    {
      id: 'hour', title: 'Last hour', width: 92, from: 900, hint: 'Requests of each of the last 60 minutes',
      cell: (row) => <LastHour requests={row.requests ?? []} />,
    },
    {
      id: 'drift', title: 'Data', width: 92, from: 950, hint: 'How inputs and outputs compare with what is usual',
      cell: (row) => row.drift ? <State plain tone={DRIFTS[row.drift]}>{row.drift}</State> : <span className="dim">{NOTHING}</span>,
    },
    {
      id: 'truth', title: 'Truth', width: 92, from: 1160, hint: 'Whether it is known how good its predictions were',
      cell: (row) => row.truth ? <State plain tone={TRUTHS[row.truth]}>{row.truth}</State> : <span className="dim">{NOTHING}</span>,
    },
  ];
}
