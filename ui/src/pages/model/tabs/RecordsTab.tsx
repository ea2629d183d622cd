import { Button, Popover } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { toProblem } from '../../../api/problem';
import { countOf } from '../../../format';
import { Command } from '../../../parts/Command';
import { DataTable } from '../../../parts/DataTable';
import { Empty, Failed, NotAllowed } from '../../../parts/Notices';
import { RangePicker } from '../../../parts/RangePicker';
import { Time } from '../../../parts/Time';
import { expression, quoted, type RecordsFilter, useRecords } from '../records/api';
import { recordColumns } from '../records/columns';
import { Filters } from '../records/Filters';
import { RecordPanel } from '../records/RecordPanel';
import type { TabProps } from './props';
import '../records/records.css';

const route = getRouteApi('/models/$project/$model');
const PAGE = 100;

/** What was asked and answered, the newest first. */
export default function RecordsTab({ project, model, environment, view }: TabProps) {
  const { since, from, to, status, version, key, where, id } = route.useSearch();
  const navigate = route.useNavigate();
  const [limit, setLimit] = useState(PAGE);
  const filter: RecordsFilter = {
    environment, status, version, key, where,
    since: from === undefined ? (since ?? '1h') : new Date(from).toISOString(),
    until: to === undefined ? undefined : new Date(to).toISOString(),
  };
  const { data, error, isPending, isFetching, dataUpdatedAt, refetch } = useRecords(project, model, filter, limit);
  const rows = useMemo(() => data ?? [], [data]);
  const columns = useMemo(() => recordColumns(rows), [rows]);
  const set = (change: Partial<ReturnType<typeof route.useSearch>>) => {
    if (!('id' in change)) setLimit(PAGE);
    void navigate({ search: (all) => ({ ...all, ...change }) });
  };
  const problem = error ? toProblem(error) : null;
  const isFiltered = [status, version, key, where].some((one) => one !== undefined);
  const named = project === 'default' ? model : `${project}/${model}`;
  const condition = expression(filter);
  const command = `decalog records ${named} --since ${filter.since}${key ? ` --key ${key}` : ''} --where ${shell(condition)}`;
  const sql = `decalog sql ${shell(`select version, status, count(*) from records where model = ${quoted(model)} and ${condition} group by version, status`)}`;

  if (problem?.isForbidden) {
    return <NotAllowed says={problem.message} help={problem.help ?? 'Records hold what callers sent: it takes the role deployer, and for a token the scope `records`.'} />;
  }
  return (
    <div className="records">
      <div className="records-bar">
        <Filters value={{ status, version, key, where }} versions={view.versions.map((one) => one.version).toReversed()} onChange={set} />
        <div className="records-tools">
          <RangePicker value={{ since, from, to }} onChange={set} />
          <Button variant="default" loading={isFetching && !isPending} onClick={() => void refetch()}>Refresh</Button>
        </div>
      </div>
      {problem ? (
        <Failed problem={problem} onRetry={() => void refetch()} />
      ) : (
        <DataTable
          fill label={`Records of ${model}`} rows={rows} columns={columns} rowKey={(row) => `${row.id} ${row.row}`} loading={isPending}
          onOpen={(row) => set({ id: row.id })} selected={rows.find((row) => row.id === id) && `${id} 0`}
          empty={isFiltered ? <Empty icon="search" title="No record fits" command={command} /> : <Nothing model={named} environment={environment} />}
        />
      )}
      <div className="records-foot">
        {rows.length > 0 && (
          <span className="dim">
            {rows.length < limit ? countOf(rows.length, 'row') : `The newest ${countOf(rows.length, 'row')}`}, as of <Time at={dataUpdatedAt} as="moment" />
          </span>
        )}
        {rows.length >= limit && <Button variant="default" onClick={() => setLimit(limit + (limit < 500 ? PAGE : 500))}>More</Button>}
        <Popover position="top-end" withArrow width={460} trapFocus>
          <Popover.Target><button type="button" className="records-sql">Ask in SQL</button></Popover.Target>
          <Popover.Dropdown className="records-popover">
            <div className="dim small">These rows</div>
            <Command>{command}</Command>
            <div className="dim small">All of them, by SQL</div>
            <Command>{sql}</Command>
          </Popover.Dropdown>
        </Popover>
      </div>
      {id && <RecordPanel project={project} model={model} id={id} listed={rows.filter((row) => row.id === id)} onClose={() => set({ id: undefined })} />}
    </div>
  );
}

function Nothing({ model, environment }: { model: string; environment: string }) {
  const name = environment === 'production' ? model : `${model}@${environment}`;
  return (
    <Empty title="Nothing was asked in this time" command={`decalog predict ${name} '{…}'`}>
      A record is kept of each request, for as long as the server was told to. A longer range may have some.
    </Empty>
  );
}

/** A text as one word of a shell. */
function shell(text: string): string {
  return text.includes("'") && !/["$`\\!]/.test(text) ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`;
}
