import { Button, TextInput, Tooltip } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { Confirm } from '../../parts/Confirm';
import { Prose } from '../../parts/Notices';
import { State } from '../../parts/State';
import { Time } from '../../parts/Time';
import { useCan, useSession } from '../../api/session';
import { approve, type Proposal, reject } from './api';
import { would } from './would';
import { quoted } from './words';
import './proposal.css';

/** A change that waits for others, or did. Who proposed it takes it back; whoever could propose it themselves agrees to it. */
export function ProposalLine({ of, isChosen = false }: { of: Proposal; isChosen?: boolean }) {
  const [asked, setAsked] = useState<'approve' | 'reject' | null>(null);
  const { data: me } = useSession();
  const [why, setWhy] = useState('');
  const isMine = me?.name === of.proposer;
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
