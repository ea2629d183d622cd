import { TextInput } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import { toProblem } from '../../../api/problem';
import { useStaleSince } from '../../../api/live';
import { clock } from '../../../format';
import { Icon } from '../../../parts/Icon';
import { Empty, Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import { type Drift, useDrift } from '../data/api';
import { BinsKey } from '../data/Bins';
import { SeriesCard } from '../data/SeriesCard';
import { SeriesView } from '../data/SeriesView';
import { type Group, grouped, learned, stageWords } from '../data/words';
import type { TabProps } from './props';
import '../data/data.css';

const route = getRouteApi('/models/$project/$model');

/** How the values of the last day compare with what is usual. */
export default function DataTab(props: TabProps) {
  const { project, model, environment } = props;
  const { column } = route.useSearch();
  const { data: drift, error, refetch } = useDrift(project, model, environment);
  if (error && !drift) return <Nothing {...props} problem={error} onRetry={() => void refetch()} />;
  if (!drift) return <Skeletons lines={8} />;
  const reference = drift.reference?.split('/').at(-1) ?? 'its first days';
  return column ? <SeriesView {...props} drift={drift} name={column} reference={reference} /> : <All {...props} drift={drift} reference={reference} />;
}

function Nothing({ model, environment, problem, onRetry }: TabProps & { problem: unknown; onRetry: () => void }) {
  const { code, message, help } = toProblem(problem);
  if (code !== 'nothing_watched') return <Failed problem={problem} onRetry={onRetry} />;
  const name = environment === 'production' ? model : `${model}@${environment}`;
  return (
    <Empty icon="chart" title="No values to compare yet" command={`decalog predict ${name} '{…}'`}>
      {message.charAt(0).toUpperCase() + message.slice(1)}. {help && `${help.charAt(0).toUpperCase()}${help.slice(1)}.`}
    </Empty>
  );
}

function All({ model, drift, reference }: TabProps & { drift: Drift; reference: string }) {
  const { search } = route.useSearch();
  const navigate = route.useNavigate();
  const stale = useStaleSince();
  const groups = grouped(drift, search);
  const changed = drift.series.filter((series) => series.changed.length > 0).length;
  const learning = learned(drift);
  const stage = stageWords(drift.stage);
  return (
    <div className="data">
      <div className="data-bar">
        <State tone={changed > 0 ? 'warning' : drift.series.length > 0 ? 'good' : 'busy'}>
          {changed > 0 ? `${changed} of ${drift.series.length} changed` : drift.series.length > 0 ? 'All as usual' : 'Learning'}
        </State>
        <span className="dim">
          The last day of v{drift.version} against <span title={drift.reference ?? undefined}>{reference}</span>
        </span>
        {stale !== null && <span className="dim">stale since {clock(stale)}</span>}
        <State tone="quiet" icon="info" explain={stage.explain}>{stage.title}</State>
        <div className="data-tools">
          <BinsKey reference="usual" />
          <TextInput
            type="search" aria-label="Search columns" placeholder="Search columns" data-search w={170} leftSection={<Icon name="search" size={14} />}
            value={search ?? ''} onChange={(event) => {
              const text = event.currentTarget.value || undefined;
              void navigate({ replace: true, search: (all) => ({ ...all, search: text }) });
            }}
          />
        </div>
      </div>
      {learning && (
        <p className="data-note">
          <Icon name="learning" size={14} />
          <span>{learning} are being learned since <Time at={drift.learning_since_ms} as="moment" />: nothing says yet what is usual. It takes a day and 1,000 rows, or a week and 100.</span>
        </p>
      )}
      {groups.map((group) => <Series key={group.id} group={group} />)}
      {groups.length === 0 && search && <Empty icon="search" title={`No column is called like “${search}”`} command={`decalog drift ${model}`} />}
    </div>
  );
}

function Series({ group }: { group: Group }) {
  const [open, setOpen] = useState(!group.folded);
  const shown = open || !group.folded;
  return (
    <section className="series-group">
      <h2>
        {group.folded === undefined ? group.title : (
          <button type="button" className="fold" aria-expanded={shown} onClick={() => setOpen(!open)}>
            <Icon name={shown ? 'down' : 'right'} size={13} /> {group.title}
          </button>
        )}{' '}
        <span className="dim num">{group.series.length}</span>
      </h2>
      {shown && <div className="series-grid">{group.series.map((series) => <SeriesCard key={series.name} series={series} />)}</div>}
    </section>
  );
}
