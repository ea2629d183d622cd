import { Button, TextInput, Tooltip } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { Confirm } from '../../parts/Confirm';
import { Empty, Failed, Prose } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { State } from '../../parts/State';
import { Time } from '../../parts/Time';
import { useCan, useSession } from '../../api/session';
import { approve, type Proposal, reject, useProposals } from './api';
import { would } from './would';
import { quoted } from './words';

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
          : <ul className="rows">{open.map((one) => <Line key={one.id} of={one} isChosen={chosen === String(one.id)} />)}</ul>}
      </section>
      {over.length > 0 && (
        <section>
          <h2>Over <span className="dim num">{over.length}{all.hasNextPage && ' and more'}</span></h2>
          <ul className="rows">{over.map((one) => <Line key={one.id} of={one} isChosen={chosen === String(one.id)} />)}</ul>
          {all.hasNextPage && <Button variant="default" mt={8} loading={all.isFetchingNextPage} onClick={() => void all.fetchNextPage()}>Earlier</Button>}
        </section>
      )}
    </div>
  );
}

function Line({ of, isChosen }: { of: Proposal; isChosen: boolean }) {
  const [asked, setAsked] = useState<'approve' | 'reject' | null>(null);
  const { data: me } = useSession();
  const [why, setWhy] = useState('');
  const isMine = me?.name === of.proposer;
  // Whoever could propose it themselves may agree to it.
  const { data: verdict } = useCan(of.action, of.object, of.open && !isMine);
  const mayAgree = verdict?.allowed || verdict?.may_propose;
  return (
    <li data-chosen={isChosen || undefined}>
      <div className="proposal">
        <div className="proposal-title">
          <span className="num dim">{of.id}</span> <b>{of.action}</b> <Target of={of.object} />
        </div>
        <div>{would(of)}</div>
        <p className="proposal-facts">
          <span>asked by {of.proposer} <Time at={of.at_ms} /></span>
          {of.pusher !== null && of.pusher !== of.proposer && <span>pushed by {of.pusher}</span>}
          {of.approvers.length > 0 && <span>agreed: {of.approvers.join(', ')}</span>}
          {of.open && <span>ends <Time at={of.expires_ms} /></span>}
        </p>
        <State tone={of.open ? 'busy' : 'quiet'} plain><Prose text={of.says} /></State>
      </div>
      {of.open && (
        <div className="row-act">
          <Button variant="default" onClick={() => setAsked('reject')}>{isMine ? 'Take back' : 'Reject'}</Button>
          {!isMine && (
            <Tooltip label={verdict?.says} disabled={!verdict || mayAgree}>
              <Button aria-disabled={!mayAgree} data-disabled={!mayAgree || undefined} onClick={() => mayAgree && setAsked('approve')}>Approve</Button>
            </Tooltip>
          )}
        </div>
      )}
      <Confirm
        opened={asked === 'approve'} onClose={() => setAsked(null)} title={`Agree to ${of.action} of ${of.object}?`} verb="Approve" command={`decalog approve ${of.id}`}
        onConfirm={() => approve(of.id)}
      >
        <div>{of.proposer} asked for it. With the last approval it is carried out at once, exactly as it was proposed.</div>
      </Confirm>
      <Confirm
        opened={asked === 'reject'} onClose={() => setAsked(null)} title={`${isMine ? 'Take back' : 'Reject'} proposal ${of.id}, ${of.action} of ${of.object}?`} danger verb={isMine ? 'Take back' : 'Reject'}
        command={`decalog reject ${of.id}${why.trim() ? ` --why ${quoted(why.trim())}` : ''}`} onConfirm={() => reject(of.id, why.trim())}
      >
        <TextInput label="Why" placeholder="not before Monday" value={why} onChange={(event) => setWhy(event.currentTarget.value)} maxLength={500} />
        <div className="dim">It ends for good. Whoever still wants it proposes it again.</div>
      </Confirm>
    </li>
  );
}

function Target({ of }: { of: string }) {
  const [path = '', environment] = of.split('@');
  const [project, model] = path.split('/');
  if (!project || !model || model === '*') return <span>{of === '*' ? 'the platform' : of}</span>;
  return <Link to="/models/$project/$model" params={{ project, model }} search={{ environment, tab: 'release' }}>{of}</Link>;
}
