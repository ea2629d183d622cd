import { TextInput } from '@mantine/core';
import { useState } from 'react';
import { useSession } from '../../api/session';
import { ActionButton } from '../../parts/ActionButton';
import { Icon } from '../../parts/Icon';
import { Empty, Failed } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { AddMember } from './AddMember';
import { type Member, useMembers } from './api';
import { RemoveMember, type Removal } from './RemoveMember';
import { KIND_ORDER, KINDS, objectOf, place } from './words';

/** Who has which role, and where. */
export function Members({ search, onSearch }: { search: string; onSearch: (text: string) => void }) {
  const { data, error, refetch } = useMembers();
  const where = useWhere();
  const [isAdding, setAdding] = useState(false);
  const [removal, setRemoval] = useState<Removal | null>(null);
  if (error && !data) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeletons />;
  const found = data.members.filter((member) => member.name.toLowerCase().includes(search.toLowerCase()));
  return (
    <div className="access">
      <div className="access-tools">
        <TextInput
          type="search" aria-label="Search members" placeholder="Search" data-search w={180} leftSection={<Icon name="search" size={14} />} value={search}
          onChange={(event) => onSearch(event.currentTarget.value)}
        />
        <ActionButton action="member" object={where} onAct={() => setAdding(true)} onPropose={() => setAdding(true)}>Give a role</ActionButton>
      </div>
      {data.members.length === 0 && (
        <Empty icon="access" title="Nobody has a role yet" command="decalog member add ann --role deployer">Whoever owns the data directory may do everything, and needs none.</Empty>
      )}
      {data.members.length > 0 && found.length === 0 && <Empty icon="search" title={`Nobody is called like “${search}”`} />}
      {KIND_ORDER.map((kind) => {
        const members = found.filter((member) => member.kind === kind);
        return members.length > 0 && (
          <section key={kind}>
            <h2>{KINDS[kind]} <span className="dim num">{members.length}</span></h2>
            <ul className="rows">{members.map((member) => <Line key={`${member.kind} ${member.name}`} member={member} onRemove={setRemoval} />)}</ul>
          </section>
        );
      })}
      <AddMember opened={isAdding} onClose={() => setAdding(false)} />
      <RemoveMember removal={removal} onClose={() => setRemoval(null)} />
    </div>
  );
}

function Line({ member, onRemove }: { member: Member; onRemove: (removal: Removal) => void }) {
  const { name, kind, grants, principal, credential } = member;
  return (
    <li>
      <div className="row-who">
        <b title={principal ?? undefined}>{name}</b>
        {credential && <Credential of={credential} />}
      </div>
      <ul className="grants">
        {grants.length === 0 && <li className="dim">no role of their own</li>}
        {grants.map((grant) => (
          <li key={`${grant.role} ${grant.in}`}>
            <span className="grant"><b>{grant.role}</b> {place(grant.in)}</span>
            <ActionButton
              action="expel" object={objectOf(grant.in)} variant="subtle" color="gray" size="compact-xs" fw={500}
              onAct={() => onRemove({ name, kind, role: grant.role, where: grant.in })}
            >
              Take away
            </ActionButton>
          </li>
        ))}
      </ul>
      <ActionButton action="expel" object={grants.length === 1 && grants[0] ? objectOf(grants[0].in) : '*'} variant="default" onAct={() => onRemove({ name, kind })}>Remove</ActionButton>
    </li>
  );
}

/** Where one gives roles: everywhere, or where one owns something. */
function useWhere(): string {
  const { data: me } = useSession();
  const owned = me?.grants.filter((grant) => grant.role === 'owner') ?? [];
  return owned[0] && !owned.some((grant) => grant.in === '*') ? objectOf(owned[0].in) : '*';
}

/** By what somebody is known who has no token of this server. */
function Credential({ of }: { of: NonNullable<Member['credential']> }) {
  if ('certificate' in of) return <div className="dim">certificate {of.certificate}</div>;
  const { issuer, claims } = of.job_token;
  return <div className="dim">tokens of {issuer}: {Object.entries(claims).map(([name, value]) => `${name}=${value}`).join(', ')}</div>;
}
