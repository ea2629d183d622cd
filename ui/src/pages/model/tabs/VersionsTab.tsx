import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import { DataTable } from '../../../parts/DataTable';
import { Empty } from '../../../parts/Notices';
import { versionColumns } from '../versions/columns';
import { VersionDetails } from '../versions/VersionDetails';
import { nameOf } from '../versions/words';
import type { TabProps } from './props';
import '../versions/versions.css';

const route = getRouteApi('/models/$project/$model');

/** All versions, newest first, and everything about the one that is chosen: at first, what is live. */
export default function VersionsTab({ project, model, environment, view }: TabProps) {
  const { version: chosen } = route.useSearch();
  const navigate = route.useNavigate();
  const rows = useMemo(() => view.versions.toReversed(), [view.versions]);
  const columns = useMemo(() => versionColumns(view.live), [view.live]);
  const live = view.live.find(([name]) => name === environment)?.[1];
  const shown = rows.find((row) => row.version === (chosen ?? live)) ?? (chosen === undefined ? rows[0] : undefined);

  return (
    <div className="versions">
      <DataTable
        label={`Versions of ${nameOf(project, model)}`} rows={rows} columns={columns} rowKey={(row) => row.version} maxHeight={330}
        selected={shown?.version ?? ''} onOpen={(row) => void navigate({ search: (all) => ({ ...all, version: row.version }), replace: true })}
        empty={<Empty icon="model" title="It has no version" command={`decalog deploy . --name ${model}`} />}
      />
      {shown && (
        <VersionDetails
          key={shown.version} project={project} model={model} environment={environment} view={view} version={shown}
          onGone={() => void navigate({ search: (all) => ({ ...all, version: undefined }), replace: true })}
        />
      )}
      {!shown && chosen !== undefined && <Empty icon="search" title={`There is no ${chosen}`} command={`decalog show ${nameOf(project, model)}`} />}
    </div>
  );
}
