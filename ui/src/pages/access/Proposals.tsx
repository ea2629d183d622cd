import { Button } from '@mantine/core';
import { Empty, Failed } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { useProposals } from './api';
import { ProposalLine } from './ProposalLine';

/** Changes that wait for somebody to agree, and how the last ones ended. */
export function Proposals({ chosen }: { chosen: string | undefined }) {
  const waiting = useProposals(true);
  const all = useProposals(false);
  if (waiting.error && !waiting.data) return <Failed problem={waiting.error} onRetry={() => void waiting.refetch()} />;
  if (!waiting.data) return <Skeletons />;
  const open = waiting.data.pages.flatMap((page) => page.proposals);
  const over = all.data?.pages.flatMap((page) => page.proposals).filter((one) => !one.open) ?? [];
  return (
    <div className="access">
      <section>
        <h2>Waiting <span className="dim num">{open.length}</span></h2>
        {open.length === 0
          ? <Empty icon="check" title="Nothing waits for anybody" command="decalog env protect production --approvals 1">Changes of a protected environment wait here until others agree.</Empty>
          : <ul className="rows">{open.map((one) => <ProposalLine key={one.id} of={one} isChosen={chosen === String(one.id)} />)}</ul>}
      </section>
      {over.length > 0 && (
        <section>
          <h2>Over <span className="dim num">{over.length}{all.hasNextPage && ' and more'}</span></h2>
          <ul className="rows">{over.map((one) => <ProposalLine key={one.id} of={one} isChosen={chosen === String(one.id)} />)}</ul>
          {all.hasNextPage && <Button variant="default" mt={8} loading={all.isFetchingNextPage} onClick={() => void all.fetchNextPage()}>Earlier</Button>}
        </section>
      )}
    </div>
  );
}
