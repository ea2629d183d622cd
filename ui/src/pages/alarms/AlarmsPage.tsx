import { Select, Tabs } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import { countOf } from '../../format';
import { Icon } from '../../parts/Icon';
import { Empty, Failed, Prose } from '../../parts/Notices';
import { PageHead } from '../../parts/PageHead';
import { Skeletons } from '../../parts/Skeletons';
import { AlarmCard } from './AlarmCard';
import { type Alarm, type Alarms, useAlarms } from './api';
import { Over } from './Over';
import { Receivers } from './Receivers';
import { type AlarmsSearch, SEVERITIES, type Severity } from './search';
import { Silences } from './Silences';
import { ModelName } from './where';
import { groups, kindTitle, modelOf, PLATFORM } from './words';
import './alarms.css';

const route = getRouteApi('/alarms');

/** What is wrong, of which model, since when, how sure that is, and what to do next. */
export function AlarmsPage() {
  const search = route.useSearch();
  const { tab = 'alarms' } = search;
  const navigate = route.useNavigate();
  const { data, error, refetch } = useAlarms();
  const set = (change: AlarmsSearch) => void navigate({ search: (all) => ({ ...all, ...change }), replace: true });

  return (
    <>
      <PageHead title="Alarms" shown={<>Alarms {data && <span className="dim num">{data.open.length} open</span>}</>}>
        {data && tab === 'alarms' && <Filters of={data} search={search} onChange={(change) => set({ ...change, page: undefined })} />}
      </PageHead>
      <Tabs value={tab} onChange={(to) => void navigate({ search: { tab: to === 'receivers' ? 'receivers' : undefined } })} className="page-tabs">
        <Tabs.List aria-label="Alarms, and where they go">
          <Tabs.Tab value="alarms">Alarms</Tabs.Tab>
          <Tabs.Tab value="receivers">Receivers</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="alarms" className="page-panel">
          {error && !data ? <Failed problem={error} onRetry={() => void refetch()} /> : data ? <Listed of={data} search={search} onPage={(page) => set({ page: page > 1 ? page : undefined })} /> : <Skeletons />}
        </Tabs.Panel>
        <Tabs.Panel value="receivers" className="page-panel"><Receivers /></Tabs.Panel>
      </Tabs>
    </>
  );
}

function Listed({ of, search, onPage }: { of: Alarms; search: AlarmsSearch; onPage: (page: number) => void }) {
  const { model, severity, kind } = search;
  const isMeant = (alarm: Alarm) =>
    (model === undefined || modelOf(alarm) === model) && (severity === undefined || alarm.severity === severity) && (kind === undefined || alarm.kind === kind);
  const open = groups(of.open.filter(isMeant));
  const over = of.resolved.filter(isMeant);
  const isFiltered = model !== undefined || severity !== undefined || kind !== undefined;

  return (
    <div className="alarms">
      <Trouble of={of} />
      {open.length === 0 && (isFiltered && of.open.length > 0
        ? <Empty icon="search" title="No open alarm is like that">{countOf(of.open.length, 'other alarm is', 'other alarms are')} open.</Empty>
        : <Empty icon="check" title="All is quiet" command="decalog alarms --all">No alarm is open. Each model is watched from its first request on, without being asked.</Empty>)}
      {open.map((group) => (
        <section key={`${group.model}@${group.environment}`} className="alarm-group" aria-label={group.model === PLATFORM ? 'Alarms of the platform' : `Alarms of ${group.model}`}>
          <h2><ModelName model={group.model} environment={group.environment} /></h2>
          <ul>{group.alarms.map((alarm) => <AlarmCard key={alarm.id} alarm={alarm} />)}</ul>
        </section>
      ))}
      <Silences />
      <Over alarms={over} page={search.page ?? 1} onPage={onPage} />
    </div>
  );
}

/** What is wrong with alarms themselves: that they cannot be kept, or that somebody is not told of them. */
function Trouble({ of: { trouble, undelivered } }: { of: Alarms }) {
  const all = [...(trouble ? [trouble] : []), ...undelivered];
  if (all.length === 0) return null;
  return (
    <div className="alarm-trouble" role="status">
      <Icon name="warning" />
      <ul>{all.map((sentence) => <li key={sentence}><Prose text={sentence} /></li>)}</ul>
    </div>
  );
}

function Filters({ of, search, onChange }: { of: Alarms; search: AlarmsSearch; onChange: (change: AlarmsSearch) => void }) {
  const { models, kinds } = useMemo(() => {
    const all: Alarm[] = [...of.open, ...of.resolved];
    return { models: names(all.map(modelOf), search.model), kinds: names(all.map((alarm) => alarm.kind), search.kind) };
  }, [of, search.model, search.kind]);
  return (
    <>
      <Select
        aria-label="Model" placeholder="All models" w={170} clearable searchable value={search.model ?? null}
        data={models.map((value) => ({ value, label: value === PLATFORM ? 'The platform' : value }))}
        onChange={(model) => onChange({ model: model ?? undefined })}
      />
      <Select
        aria-label="Severity" placeholder="All severities" w={130} clearable value={search.severity ?? null} data={SEVERITIES}
        onChange={(severity) => onChange({ severity: (severity as Severity | null) ?? undefined })}
      />
      <Select
        aria-label="Kind" placeholder="All kinds" w={150} clearable searchable value={search.kind ?? null}
        data={kinds.map((value) => ({ value, label: kindTitle(value) }))} onChange={(kind) => onChange({ kind: kind ?? undefined })}
      />
    </>
  );
}

function names(all: readonly string[], chosen: string | undefined): string[] {
  return [...new Set([...all, ...(chosen ? [chosen] : [])])].sort();
}
