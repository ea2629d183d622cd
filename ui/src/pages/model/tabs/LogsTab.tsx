import { Button, SegmentedControl, Select, Switch, TextInput } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { count, countOf } from '../../../format';
import { copyText } from '../../../parts/Copy';
import { Icon } from '../../../parts/Icon';
import { Empty, Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { filterLines, readLines } from '../logs/lines';
import { LogView } from '../logs/LogView';
import { LINES, useLog } from '../logs/read';
import { nameOf } from '../versions/words';
import type { TabProps } from './props';
import '../logs/logs.css';

const route = getRouteApi('/models/$project/$model');
const LEVELS = ['all', 'warning', 'error'] as const;
type Shown = (typeof LEVELS)[number];

/** What the processes of a version printed. */
export default function LogsTab({ project, model, environment, view }: TabProps) {
  const { version: chosen, search = '', by } = route.useSearch();
  const navigate = route.useNavigate();
  const [follow, setFollow] = useState(true);
  const [wrap, setWrap] = useState(false);
  const [copied, setCopied] = useState(false);
  const live = view.live.find(([name]) => name === environment)?.[1];
  const version = chosen ?? live ?? view.versions.at(-1)?.version;
  const level: Shown = LEVELS.find((one) => one === by) ?? 'all';
  const { data, error, refetch } = useLog(project, model, version, follow);
  const all = useMemo(() => readLines(data ?? ''), [data]);
  const lines = useMemo(() => filterLines(all, search, level), [all, search, level]);
  const words = useMemo(() => search.split(/\s+/).filter((word) => word !== ''), [search]);
  const set = (change: { version?: string | undefined; search?: string | undefined; by?: string | undefined }) =>
    void navigate({ search: (old) => ({ ...old, ...change }), replace: true });
  const copy = async () => {
    await copyText(lines.map((line) => line.text).join('\n'));
    setCopied(true);
    setTimeout(() => setCopied(false), 1_500);
  };
  const name = `${nameOf(project, model)}@${version ?? 'v1'}`;

  return (
    <div className="logs">
      <div className="logs-tools">
        <Select
          aria-label="Version" w={148} value={version ?? null} allowDeselect={false}
          data={view.versions.toReversed().map((one) => ({ value: one.version, label: one.version === live ? `${one.version}, live` : one.version }))}
          onChange={(one) => set({ version: one === live ? undefined : (one ?? undefined) })}
        />
        <TextInput
          type="search" aria-label="Show lines with" placeholder="Filter" data-search w={180} value={search} leftSection={<Icon name="search" size={14} />}
          onChange={(event) => set({ search: event.currentTarget.value || undefined })}
        />
        <SegmentedControl
          aria-label="Level" value={level} onChange={(one) => set({ by: one === 'all' ? undefined : one })}
          data={[{ value: 'all', label: 'All' }, { value: 'warning', label: 'Warnings' }, { value: 'error', label: 'Errors' }]}
        />
        <Switch size="xs" label="Wrap" checked={wrap} onChange={(event) => setWrap(event.currentTarget.checked)} />
        <div className="logs-right">
          <Button variant="default" leftSection={<Icon name={copied ? 'check' : 'copy'} size={14} />} disabled={lines.length === 0} onClick={() => void copy()}>{copied ? 'Copied' : 'Copy'}</Button>
          <Button variant={follow ? 'light' : 'default'} aria-pressed={follow} leftSection={<Icon name={follow ? 'pause' : 'down'} size={14} />} onClick={() => setFollow(!follow)}>
            {follow ? 'Following' : 'Follow'}
          </Button>
        </div>
      </div>
      {error && data === undefined ? <Failed problem={error} onRetry={() => void refetch()} />
        : data === undefined ? <Skeletons lines={12} height={12} />
        : lines.length === 0 ? <Nothing isFiltered={all.length > 0} name={name} />
        : (
          <LogView lines={lines} label={`Log of ${name}`} follow={follow} wrap={wrap} words={words} onLeave={() => setFollow(false)} />
        )}
      <div className="logs-foot dim small">
        <span className="num">
          {data === undefined ? '' : all.length >= LINES ? `The last ${count(LINES)} lines` : countOf(all.length, 'line')}
          {lines.length !== all.length && `, ${count(lines.length)} shown`}
        </span>
        {error && data !== undefined && <span>not read again: {error.message}</span>}
        {!follow && <span>Nothing moves until you follow again</span>}
      </div>
    </div>
  );
}

function Nothing({ isFiltered, name }: { isFiltered: boolean; name: string }) {
  if (isFiltered) return <Empty icon="search" title="No line is like that" command={`decalog logs ${name} --lines 100000`}>Only the last lines are looked through here.</Empty>;
  return <Empty icon="events" title="It printed nothing yet" command={`decalog logs ${name} -f`}>What the model prints, to either stream, stands here.</Empty>;
}
