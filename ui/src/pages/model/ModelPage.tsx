import { Tabs } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { lazy, Suspense, useEffect, useRef } from 'react';
import { useModel } from '../../api/models';
import { Failed } from '../../parts/Notices';
import { PageHead } from '../../parts/PageHead';
import { Skeletons } from '../../parts/Skeletons';
import { useFresh } from './now/fresh';
import { ModelHead } from './now/ModelHead';
import { TABS, type Tab } from './search';

const route = getRouteApi('/models/$project/$model');

const TITLES: Record<Tab, string> = {
  now: 'Now', why: 'Why', versions: 'Versions', try: 'Try', logs: 'Logs', data: 'Data', truth: 'Truth', release: 'Release', records: 'Records', lineage: 'Lineage', compare: 'Compare',
};

/** Each tab is loaded when it is opened. */
const CONTENT = {
  now: lazy(() => import('./tabs/NowTab')),
  why: lazy(() => import('./tabs/WhyTab')),
  versions: lazy(() => import('./tabs/VersionsTab')),
  try: lazy(() => import('./tabs/TryTab')),
  logs: lazy(() => import('./tabs/LogsTab')),
  data: lazy(() => import('./tabs/DataTab')),
  truth: lazy(() => import('./tabs/TruthTab')),
  release: lazy(() => import('./tabs/ReleaseTab')),
  records: lazy(() => import('./tabs/RecordsTab')),
  lineage: lazy(() => import('./tabs/LineageTab')),
  compare: lazy(() => import('./tabs/CompareTab')),
} satisfies Record<Tab, unknown>;

/** A model: its head, and the tab that the address says. */
export function ModelPage() {
  const { project, model } = route.useParams();
  const { tab = 'now', environment: chosen } = route.useSearch();
  const navigate = route.useNavigate();
  const { data: view, error, refetch } = useModel(project, model);
  useFresh(project, model, view);
  const environments = view?.live.map(([name]) => name) ?? [];
  const environment = chosen ?? environments.find((name) => name === 'production') ?? environments[0] ?? 'production';
  const Content = CONTENT[tab];

  // On a phone there is no room for all tabs: the chosen one is moved to where it is seen.
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // Newer browsers give a promise of it, which is nothing to clean up by.
    void list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ inline: 'center', block: 'nearest' });
  }, [tab, view === undefined]);

  // Of another tab nothing is kept but the environment: its columns and filters mean nothing there.
  const open = (to: string | null) => navigate({ search: { tab: to === 'now' ? undefined : (to as Tab), environment: chosen } });

  if (error && !view) {
    return (
      <>
        <PageHead title={model} shown={<><span className="dim">{project} / </span>{model}</>} />
        <Failed problem={error} onRetry={() => void refetch()} />
      </>
    );
  }
  return (
    <>
      <ModelHead
        project={project} model={model} environment={environment} environments={environments} view={view}
        onEnvironment={(name) => void navigate({ search: (all) => ({ ...all, environment: name }) })}
      />
      <Tabs value={tab} onChange={(to) => void open(to)} className="page-tabs">
        <Tabs.List ref={list} aria-label="About this model">
          {TABS.map((name) => <Tabs.Tab key={name} value={name}>{TITLES[name]}</Tabs.Tab>)}
        </Tabs.List>
        <Tabs.Panel value={tab} className="page-panel">
          {view ? (
            <Suspense fallback={<Skeletons />}>
              <Content key={`${project}/${model}`} project={project} model={model} environment={environment} view={view} />
            </Suspense>
          ) : (
            <Skeletons />
          )}
        </Tabs.Panel>
      </Tabs>
    </>
  );
}
