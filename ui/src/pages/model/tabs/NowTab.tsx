import { Button } from '@mantine/core';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { Icon } from '../../../parts/Icon';
import { Empty, Failed } from '../../../parts/Notices';
import { RangePicker } from '../../../parts/RangePicker';
import type { Range } from '../../../range';
import { NowCharts } from '../now/NowCharts';
import { alarmMarks, eventMarks, gather, releaseMarks } from '../now/marks';
import { useAlarmChanges, useHappened, useMeasured } from '../now/read';
import { OpenAlarms } from '../now/OpenAlarms';
import { Replicas } from '../now/Replicas';
import { readHistory } from '../versions/history';
import { inEnvironment, nameOf } from '../versions/words';
import type { Metric } from '../why/words';
import type { TabProps } from './props';
import '../now/now.css';

const route = getRouteApi('/models/$project/$model');

/** What requests are like in a range of time, and what may explain it; and what runs. */
export default function NowTab({ project, model, environment, view }: TabProps) {
  const { since, from, to, metric } = route.useSearch();
  const range = useMemo(() => ({ since, from, to }), [since, from, to]);
  const navigate = route.useNavigate();
  const measured = useMeasured(project, model, environment, range);
  const marks = useMarks(project, model, environment, measured.data?.from, measured.data?.to);
  const set = (change: Range & { metric?: Metric | undefined }) =>
    void navigate({ search: (all) => ({ ...all, since: undefined, from: undefined, to: undefined, metric: undefined, ...change }) });

  const isLive = view.live.some(([name]) => name === environment);
  if (!isLive && measured.data?.requests.length === 0 && since === undefined && from === undefined) {
    const newest = view.versions.at(-1)?.version ?? 'v1';
    return <Empty icon="model" title={`It is not live in ${environment}`} command={`decalog release ${nameOf(project, model)}@${newest}${inEnvironment(environment)}`} />;
  }

  return (
    <div className="now">
      <OpenAlarms project={project} model={model} environment={environment} />
      <div className="now-tools">
        <h2>Traffic</h2>
        <span className="dim">{measured.data ? `by ${measured.data.step}` : ''}<span className="now-hint">; drag in a chart to look closer, and to ask why</span></span>
        <div className="now-range">
          {from !== undefined && to !== undefined && (
            <Button
              leftSection={<Icon name="question" size={14} />} aria-label="Why? What this stretch of time comes from"
              onClick={() => void navigate({ search: { tab: 'why', environment, at: Math.round((from + to) / 2), metric } })}
            >
              Why?
            </Button>
          )}
          {(from !== undefined || to !== undefined) && <Button variant="subtle" onClick={() => set({})}>Back to now</Button>}
          <RangePicker value={range} onChange={set} />
        </div>
      </div>
      {measured.error && !measured.data
        ? <Failed problem={measured.error} onRetry={() => void measured.refetch()} />
        : <NowCharts measured={measured.data} marks={marks} onSelect={(start, end, of) => set({ from: start, to: end, metric: of })} />}
      <Replicas view={view} environment={environment} project={project} model={model} />
    </div>
  );
}

function useMarks(project: string, model: string, environment: string, from: number | undefined, to: number | undefined) {
  const { data: happened } = useHappened(project, model);
  const { data: alarms } = useAlarmChanges(project, model);
  const navigate = useNavigate();
  return useMemo(() => {
    if (from === undefined || to === undefined) return [];
    const openRelease = () => void navigate({ to: '/models/$project/$model', params: { project, model }, search: { tab: 'release', environment } });
    const openAlarm = () => void navigate({ to: '/alarms', search: { model: `${project}/${model}` } });
    const events = happened?.events ?? [];
    return gather([
      ...releaseMarks(readHistory(events).released, environment, openRelease),
      ...eventMarks(events, environment),
      ...alarmMarks(alarms?.changes ?? [], environment, openAlarm),
    ], from, to);
  }, [happened, alarms, project, model, environment, from, to, navigate]);
}
