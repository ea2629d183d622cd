import { TextInput } from '@mantine/core';
import { useState } from 'react';
import { ActionButton } from '../../../parts/ActionButton';
import { Confirm } from '../../../parts/Confirm';
import { Icon } from '../../../parts/Icon';
import { Prose } from '../../../parts/Notices';
import { Time } from '../../../parts/Time';
import type { Proposal, Steering } from './api';

/** What waits for somebody's approval. */
export function Proposals({ proposals, steering }: { proposals: readonly Proposal[]; steering: Steering }) {
  const [asked, setAsked] = useState<{ proposal: Proposal; verb: 'approve' | 'reject' } | null>(null);
  const [why, setWhy] = useState('');
  if (proposals.length === 0) return null;
  const close = () => {
    setAsked(null);
    setWhy('');
  };
  return (
    <section className="proposals" aria-label="Proposals">
      {proposals.map((proposal) => (
        <article key={proposal.id} className="proposal">
          <Icon name="lock" size={15} />
          <div className="proposal-text">
            <b>#{proposal.id} {titleOf(proposal)}</b>
            <div className="dim">
              by {proposal.proposer}, <Time at={proposal.at_ms} />; ends <Time at={proposal.expires_ms} />
              {proposal.approvers.length > 0 && <>; approved by {proposal.approvers.join(', ')}</>}
            </div>
            <div><Prose text={proposal.says} /></div>
          </div>
          <div className="proposal-tools">
            <ActionButton action={proposal.action} object={proposal.object} onAct={() => setAsked({ proposal, verb: 'approve' })}>Approve</ActionButton>
            <ActionButton action={proposal.action} object={proposal.object} variant="default" onAct={() => setAsked({ proposal, verb: 'reject' })}>Reject</ActionButton>
          </div>
        </article>
      ))}
      {asked && (
        <Confirm
          opened onClose={close} danger={asked.verb === 'reject'} verb={asked.verb === 'approve' ? 'Approve' : 'Reject'}
          title={`${asked.verb === 'approve' ? 'Approve' : 'Reject'} #${asked.proposal.id}: ${titleOf(asked.proposal)}?`}
          command={`decalog ${asked.verb} ${asked.proposal.id}`}
          onConfirm={() => (asked.verb === 'approve' ? steering.approve(asked.proposal.id) : steering.reject(asked.proposal.id, why.trim()))}
        >
          {asked.verb === 'approve' ? (
            `It is carried out with the last approval. ${asked.proposal.proposer} proposed it.`
          ) : (
            <TextInput label="Why" description="Stays in the ledger" maxLength={500} value={why} onChange={(event) => setWhy(event.currentTarget.value)} />
          )}
        </Confirm>
      )}
    </section>
  );
}

function titleOf({ action, object, change }: Proposal): string {
  const body = 'body' in change ? (change.body as { version?: number }) : {};
  return `${action} ${object}${typeof body.version === 'number' ? ` v${body.version}` : ''}`;
}
