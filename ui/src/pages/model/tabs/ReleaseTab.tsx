import { useStaleSince } from '../../../api/live';
import { clock } from '../../../format';
import { Empty, Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import { ProposalLine } from '../../access/ProposalLine';
import { type Release, type Steering, useProposals, useRelease, useSteering } from '../release/api';
import { Controls } from '../release/Controls';
import { Ended } from '../release/Ended';
import { Guards } from '../release/Guards';
import { guardsOf } from '../release/said';
import { History, outcomeState } from '../release/History';
import { Split, Steps } from '../release/Steps';
import type { TabProps } from './props';
import '../release/release.css';

/** The release on its way, or the last one; what waits for approval; and what was before. */
export default function ReleaseTab(props: TabProps) {
  const { project, model, environment } = props;
  const { data: release, error, isPending, refetch } = useRelease(project, model, environment);
  const { data: proposals } = useProposals(project, model);
  const steering = useSteering(project, model, environment);
  if (error && release === undefined) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (isPending) return <Skeletons lines={8} />;
  return (
    <div className="release">
      {proposals && proposals.length > 0 && (
        <section className="release-section" aria-label="Proposals">
          <h2>Waits for approval <span className="dim num">{proposals.length}</span></h2>
          <ul className="rows">{proposals.map((proposal) => <ProposalLine key={proposal.id} of={proposal} />)}</ul>
        </section>
      )}
      {release ? (
        <Current {...props} release={release} steering={steering} />
      ) : (
        <Empty title={`${model} was never released in ${environment}`} command={[`decalog deploy . --env ${environment}`, `decalog promote ${model} production ${environment}`]} />
      )}
      {release && <History {...props} />}
    </div>
  );
}

function Current({ release, steering, ...tab }: TabProps & { release: Release; steering: Steering }) {
  const stale = useStaleSince();
  const { progress, outcome, plan } = release;
  const isRunning = outcome === 'running';
  const isGradual = (plan.canary?.length ?? 0) > 0 || plan.shadow != null;
  const said = release.said !== '' ? release.said : (progress?.said ?? '');
  return (
    <section className="release-now" aria-label={isRunning ? 'The release on its way' : 'The last release'}>
      <header className="release-head">
        <h2>{isRunning ? `${release.version} to ${tab.environment}` : `The last release: ${release.version}`}</h2>
        {isRunning && progress?.paused ? <State tone="warning" icon="pause">paused</State> : outcomeState(outcome)}
        <span className="dim">by {release.actor}, <Time at={release.at_ms} /></span>
        {stale !== null && <span className="dim">stale since {clock(stale)}</span>}
        <Controls {...tab} release={release} steering={steering} />
      </header>
      {typeof outcome === 'object' && <Ended version={release.version} failed={outcome.failed} guards={guardsOf(plan)} />}
      {(isRunning || (isGradual && outcome === 'live')) && <Steps release={release} />}
      {isRunning && <Split release={release} />}
      {isRunning && isGradual && said !== '' && <Guards said={said} guards={guardsOf(plan)} />}
      {(progress?.segments ?? 1) > 1 && <p className="dim small">Evidence was collected anew {(progress?.segments ?? 1) - 1} times, as the server was restarted.</p>}
    </section>
  );
}
