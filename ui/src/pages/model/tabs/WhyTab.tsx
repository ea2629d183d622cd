import { Skeleton } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { toProblem } from '../../../api/problem';
import { Empty, Failed, NotAllowed } from '../../../parts/Notices';
import { oneOf } from '../../../search';
import { inEnvironment, nameOf } from '../versions/words';
import { Ask } from '../why/Ask';
import { Answered } from '../why/Answered';
import { useWhy } from '../why/api';
import { METRICS } from '../why/words';
import type { TabProps } from './props';
import '../why/why.css';

const route = getRouteApi('/models/$project/$model');

/** Why a number changed: what accounts for how much of it, and what to do. */
export default function WhyTab({ project, model, environment }: TabProps) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const metric = oneOf(search.metric, METRICS);
  const { at } = search;
  const { data: why, error, isFetching, refetch, dataUpdatedAt } = useWhy(project, model, environment, at, metric);
  const problem = error ? toProblem(error) : null;
  const command = `decalog records ${nameOf(project, model)}${inEnvironment(environment)} --since 1h`;

  if (problem?.isForbidden) {
    return <NotAllowed says={problem.message} help={problem.help ?? 'It is answered from records, which hold what callers sent: it takes the role deployer, and for a token the scope `records`.'} />;
  }
  return (
    <div className="why">
      <Ask
        key={at} at={at} metric={metric} answeredAt={why && !isFetching ? dataUpdatedAt : undefined} isAsking={isFetching}
        onChange={(change) => void navigate({ search: (all) => ({ ...all, ...change }) })} onAgain={() => void refetch()}
      />
      {isFetching ? <Looking /> : problem?.code === 'no_records' ? (
        <Empty icon="table" title="No records are kept here" command="decalog up --help">
          What a change comes from is found by comparing requests, and this server keeps no records of them.
        </Empty>
      ) : problem ? (
        <Failed problem={problem} onRetry={() => void refetch()} />
      ) : why && <Answered why={why} command={command} />}
    </div>
  );
}

/** It takes up to two seconds, so it says what it does meanwhile. */
function Looking() {
  return (
    <div className="why-looking" role="status">
      <p>Looking at records, the ledger and the machine …</p>
      {[340, 520, 460].map((width) => <Skeleton key={width} height={16} maw={width} />)}
    </div>
  );
}
