import { Link, getRouteApi } from '@tanstack/react-router';
import { useModels } from '../../api/models';
import { count, countOf, span } from '../../format';
import { Command } from '../../parts/Command';
import { Copy } from '../../parts/Copy';
import { Failed, Prose } from '../../parts/Notices';
import { parseSort, sortText } from '../../parts/table';
import { PageHead } from '../../parts/PageHead';
import { Skeletons } from '../../parts/Skeletons';
import { State } from '../../parts/State';
import { Time } from '../../parts/Time';
import { type Status, useServer, useServerStatus } from './api';
import { Facts } from './Facts';
import { Keys } from './Keys';
import { Processes } from './Processes';
import { Variables } from './Variables';
import './system.css';

const route = getRouteApi('/system');

/** The server itself: what it is, whether it takes changes, what it holds, and how it is kept. */
export function SystemPage() {
  const { of, sort } = route.useSearch();
  const navigate = route.useNavigate();
  const { data: status, error, refetch } = useServerStatus();
  const { data: models } = useModels({});
  const rows = models?.pages.flatMap((page) => page.models) ?? [];
  return (
    <>
      <PageHead title="System" />
      {error && !status ? <Failed problem={error} onRetry={() => void refetch()} /> : !status ? <Skeletons /> : (
        <div className="system">
          <div className="system-pair">
            <ServerSection status={status} />
            <LedgerSection status={status} />
          </div>
          <Processes
            models={[...new Set(rows.map((row) => `${row.project}/${row.name}`))]} total={status.models} sort={parseSort(sort) ?? { by: 'memory', down: true }}
            onSort={(by) => void navigate({ search: (all) => ({ ...all, sort: sortText(by) }), replace: true })}
          />
          <div className="system-pair">
            <Variables
              places={[...new Set(rows.flatMap((row) => (row.environment ? [`${row.project}@${row.environment}`] : [])))].sort()} chosen={of}
              onChoose={(place) => void navigate({ search: (all) => ({ ...all, of: place }), replace: true })}
            />
            <Keys />
          </div>
          <Upkeep />
        </div>
      )}
    </>
  );
}

function ServerSection({ status }: { status: Status & { askedAt: number } }) {
  const { data: server } = useServer();
  const data = status.data ?? server?.data ?? null;
  return (
    <section>
      <h2>Server</h2>
      <Facts of={[
        ['Version', <b>{status.version}</b>],
        ['Address', <><span>{status.url}</span><Copy text={status.url} label="Copy the address" /></>],
        ['Up', <span>{span(status.uptime_s * 1_000)}, since <Time at={status.askedAt - status.uptime_s * 1_000} as="moment" /></span>],
        ['Data', data === null ? <span className="dim">not told to you</span> : <><code>{data}</code><Copy text={data} label="Copy the path" /></>],
        ['Process', <span className="num">{status.pid}</span>],
        ['Models', <span className="num">{count(status.models)}, with {countOf(status.replicas, 'replica')}</span>],
        ['Waiting', <span className="num">{countOf(status.queued_rows, 'row')}</span>],
        ['Route table', status.route_epoch === null ? <span className="dim">not told to you</span> : <span className="num">{status.route_epoch}</span>],
      ]} />
    </section>
  );
}

function LedgerSection({ status: { ledger } }: { status: Status }) {
  const stuck = ledger.read_only as { error: string; help?: string } | null;
  return (
    <section>
      <h2>Ledger</h2>
      <Facts of={[
        ['State', stuck ? <State tone="bad">read-only</State> : <State tone="good">takes changes</State>],
        ...(ledger.entries === null ? [] : [['Entries', <span className="num">{count(ledger.entries)}</span>] as const]),
        ['Head', ledger.head === null ? <span className="dim">told to whoever may see all projects</span> : <><code className="cut" title={String(ledger.head)}>{String(ledger.head)}</code><Copy text={String(ledger.head)} label="Copy the head" /></>],
      ]} />
      {stuck && (
        <div className="system-stuck" role="alert">
          <p><Prose text={stuck.error} /></p>
          {stuck.help && <p><Prose text={stuck.help} /></p>}
          <p>Predictions go on; nothing can be changed until then.</p>
        </div>
      )}
      <p><Link to="/events" search={{ tab: 'proof' }}>Verify it, and keep checkpoints</Link></p>
    </section>
  );
}

/** What keeps the server: all of it is done in a terminal on its machine. */
function Upkeep() {
  return (
    <section>
      <h2>Upkeep</h2>
      <Facts wide of={[
        ['Backup', <><Command>decalog backup decalog.tar</Command><span className="dim">while it runs; keys are not in it, keep them elsewhere</span></>],
        ['Upgrade', <><Command>decalog upgrade --binary ./decalog-new</Command><span className="dim">no request is lost, and the old one goes on if the new one fails</span></>],
        ['Tidy up', <><Command>decalog gc</Command><span className="dim">deletes stored files that no version refers to any more</span></>],
        ['Receivers', <Link to="/alarms" search={{ tab: 'receivers' }}>Where alarms go, and whether they arrive</Link>],
        ['Metrics', <a href="/metrics" target="_blank" rel="noreferrer">/metrics, for Prometheus</a>],
      ]} />
    </section>
  );
}
