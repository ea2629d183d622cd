import { Select, Switch, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { getRouteApi } from '@tanstack/react-router';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { type ModelListed, type ModelSort, useModels } from '../../api/models';
import { countOf } from '../../format';
import { DataTable } from '../../parts/DataTable';
import { Icon } from '../../parts/Icon';
import { Empty, Failed } from '../../parts/Notices';
import { PageHead } from '../../parts/PageHead';
import { Health } from './Health';
import { modelColumns, modelLink, rowTone } from './columns';

const route = getRouteApi('/');

function rowKey(row: ModelListed): string {
  return `${row.project}/${row.name}@${row.environment ?? ''}`;
}

/** Every model in every environment, with the numbers of this second. */
export function OverviewPage() {
  const { search, project, sort = 'name', flat } = route.useSearch();
  const navigate = route.useNavigate();
  const { data, error, isPending, isPlaceholderData, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useModels({ search, project, sort });

  const rows = useMemo(() => data?.pages.flatMap((page) => page.models) ?? [], [data]);
  const total = data?.pages.at(-1)?.total ?? rows.length;
  const grouped = sort === 'name' && !flat;
  const columns = useMemo(() => modelColumns(grouped), [grouped]);
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);

  const set = (change: { search?: string | undefined; project?: string | undefined; sort?: ModelSort | undefined; flat?: true | undefined }) =>
    void navigate({ search: (all) => ({ ...all, ...change }), replace: 'search' in change });

  return (
    <>
      <PageHead title="Models" shown={<>Models <span className="dim num">{data ? total.toLocaleString('en') : ''}</span></>} beside={<Health />}>
        <Search value={search ?? ''} onChange={(text) => set({ search: text === '' ? undefined : text })} />
        <Projects rows={rows} value={project} onChange={(name) => set({ project: name })} />
        <Switch size="xs" label="By project" checked={grouped} onChange={(event) => set(event.currentTarget.checked ? { flat: undefined, sort: undefined } : { flat: true })} />
      </PageHead>
      {error && !data ? (
        <Failed problem={error} onRetry={() => void refetch()} />
      ) : (
        <DataTable
          fill
          label={`${countOf(total, 'model')} with what is live`}
          rows={rows}
          columns={columns}
          rowKey={rowKey}
          loading={isPending || (isPlaceholderData && rows.length === 0)}
          onOpen={(row) => void navigate(modelLink(row))}
          sort={{ by: sort, down: sort !== 'name' }}
          onSort={({ by }) => set({ sort: by === sort || by === 'name' ? undefined : (by as ModelSort) })}
          group={grouped ? (row) => row.project : undefined}
          onEnd={onEnd}
          tone={rowTone}
          total={total}
          empty={<Nothing isFiltered={search !== undefined || project !== undefined} text={search ?? project ?? ''} />}
        />
      )}
    </>
  );
}

function Nothing({ isFiltered, text }: { isFiltered: boolean; text: string }) {
  if (isFiltered) return <Empty icon="search" title={`No model is called like “${text}”`} command="decalog ls" />;
  return (
    <Empty icon="model" title="No model yet" command={['decalog new hello && decalog deploy hello', 'decalog deploy examples/flights']}>
      A directory with a model.py, a scikit-learn pipeline or an ONNX graph is all that it takes.
    </Empty>
  );
}

/** Types at once, asks when one pauses. `/` leads here from anywhere. */
function Search({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const [text, setText] = useState(value);
  const told = useRef(value);
  const tell = useDebouncedCallback((next: string) => {
    told.current = next;
    onChange(next);
  }, 150);
  useEffect(() => {
    // Back and forward change the address, and with it what stands here.
    if (value !== told.current) {
      told.current = value;
      setText(value);
    }
  }, [value]);
  return (
    <TextInput
      type="search" aria-label="Search models" placeholder="Search" data-search value={text} w={180} leftSection={<Icon name="search" size={14} />}
      onChange={(event) => {
        setText(event.currentTarget.value);
        tell(event.currentTarget.value);
      }}
    />
  );
}

/** Only if there is more than one. */
function Projects({ rows, value, onChange }: { rows: readonly ModelListed[]; value: string | undefined; onChange: (name: string | undefined) => void }) {
  const names = useMemo(() => [...new Set([...rows.map((row) => row.project), ...(value ? [value] : [])])].sort(), [rows, value]);
  if (names.length < 2 && !value) return null;
  return (
    <Select
      aria-label="Project" placeholder="All projects" w={150} clearable searchable data={names} value={value ?? null}
      onChange={(name) => onChange(name ?? undefined)}
    />
  );
}
