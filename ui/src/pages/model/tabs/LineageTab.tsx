import { Select } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import { ChartFrame } from '../../../parts/ChartFrame';
import { Command } from '../../../parts/Command';
import { Empty, Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { type Lineage, useLineage } from '../lineage/api';
import { Details } from '../lineage/Details';
import { EdgeTable } from '../lineage/EdgeTable';
import { focusOf, neighbourhood } from '../lineage/graph';
import { Picture } from '../lineage/Picture';
import { nameOf } from '../versions/words';
import type { TabProps } from './props';
import '../lineage/lineage.css';

const route = getRouteApi('/models/$project/$model');

/** What a version comes from and what came of it: data, code, packages, releases, requests. The live version first. */
export default function LineageTab({ project, model, environment }: TabProps) {
  const { version } = route.useSearch();
  const { data: lineage, error, refetch } = useLineage(project, model);
  if (error && !lineage) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (!lineage) return <Skeletons lines={8} />;
  const focus = focusOf(lineage, version, environment);
  if (!focus) return <Empty icon="model" title="It has no versions" command="decalog deploy ." />;
  return <Around lineage={lineage} focus={focus} name={nameOf(project, model)} />;
}

function Around({ lineage, focus, name }: { lineage: Lineage; focus: string; name: string }) {
  const { id } = route.useSearch();
  const navigate = route.useNavigate();
  const near = useMemo(() => neighbourhood(lineage, focus), [lineage, focus]);
  const chosen = id ?? `version:${focus}`;
  const look = (version: string) => void navigate({ search: (all) => ({ ...all, version, id: undefined }) });
  const more = [near.more.from > 0 && `${near.more.from} more that it comes from`, near.more.to > 0 && `${near.more.to} more that came of it`].filter(Boolean);
  return (
    <div className="lineage">
      <div className="lineage-bar">
        <Select
          aria-label="Version" w={130} searchable allowDeselect={false} value={focus} onChange={(version) => version && look(version)}
          data={lineage.versions.map((one) => one.version)}
        />
        <Command>{`decalog lineage ${name}`}</Command>
      </div>
      <ChartFrame title={`Where ${focus} comes from, and what came of it`} table={() => <EdgeTable lineage={lineage} />}>
        <Picture of={near} chosen={chosen} onChoose={(next) => void navigate({ search: (all) => ({ ...all, id: next }), replace: true })} />
        {more.length > 0 && <p className="dim small">{more.join('; ')}: the table has all.</p>}
      </ChartFrame>
      <Details lineage={lineage} id={chosen} focus={focus} onFocus={look} />
    </div>
  );
}
