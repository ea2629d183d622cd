import { Select, Tabs } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useModelsNamed } from '../../api/models';
import { PageHead } from '../../parts/PageHead';
import { Proof } from './Proof';
import type { EventsSearch } from './search';
import { KINDS, kindTitle } from './sentences';
import { Timeline } from './Timeline';
import './events.css';

const route = getRouteApi('/events');
const KIND_OPTIONS = KINDS.map((value) => ({ value, label: kindTitle(value) }));

/** What happened, by whom; and what proves that nothing of it was changed. */
export function EventsPage() {
  const search = route.useSearch();
  const { tab = 'timeline' } = search;
  const navigate = route.useNavigate();
  const [actors, setActors] = useState<readonly string[]>([]);
  const set = (change: EventsSearch) => void navigate({ search: (all) => ({ ...all, ...change }), replace: true });

  return (
    <>
      <PageHead title="Events">
        {tab === 'timeline' && (
          <>
            <ModelFilter value={search.model} onChange={(model) => set({ model, at: undefined })} />
            <Select
              aria-label="Kind" placeholder="All kinds" w={160} clearable searchable data={KIND_OPTIONS} value={search.kind ?? null}
              onChange={(kind) => set({ kind: kind ?? undefined, at: undefined })}
            />
            <Select
              aria-label="Actor" placeholder="Anybody" w={150} clearable searchable data={[...new Set([...actors, ...(search.actor ? [search.actor] : [])])].sort()}
              value={search.actor ?? null} onChange={(actor) => set({ actor: actor ?? undefined, at: undefined })}
            />
          </>
        )}
      </PageHead>
      <Tabs value={tab} onChange={(to) => void navigate({ search: { tab: to === 'proof' ? 'proof' : undefined } })} className="page-tabs">
        <Tabs.List aria-label="Events, and their proof">
          <Tabs.Tab value="timeline">Timeline</Tabs.Tab>
          <Tabs.Tab value="proof">Proof</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="timeline" className="page-panel"><Timeline search={search} onChange={set} onActors={setActors} /></Tabs.Panel>
        <Tabs.Panel value="proof" className="page-panel"><Proof /></Tabs.Panel>
      </Tabs>
    </>
  );
}

/** Models are many: the ones whose name is being typed are asked for. */
function ModelFilter({ value, onChange }: { value: string | undefined; onChange: (model: string | undefined) => void }) {
  const [typed, setTyped] = useState('');
  const [name] = useDebouncedValue(typed === value ? '' : typed, 150);
  const { data } = useModelsNamed(name, true);
  const names = useMemo(() => [...new Set([...(data?.models ?? []).map((row) => `${row.project}/${row.name}`), ...(value ? [value] : [])])].sort(), [data, value]);
  return (
    <Select
      aria-label="Model" placeholder="All models" w={170} clearable searchable data={names} value={value ?? null} searchValue={typed} onSearchChange={setTyped}
      onChange={(model) => onChange(model ?? undefined)}
    />
  );
}
