import { MultiSelect, Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { Confirm } from '../../parts/Confirm';
import { ifMade, makeToken, type NewToken } from './api';
import { SessionEnd } from './SessionEnd';
import { quoted, SCOPES } from './words';

const DAY_MS = 86_400_000;
const ENDS = [{ value: '1', label: 'after 1 day' }, { value: '30', label: 'after 30 days' }, { value: '90', label: 'after 90 days' }, { value: '365', label: 'after 1 year' }, { value: '', label: 'never' }];

/** Makes a token, for oneself or for somebody else. */
export function MakeToken({ opened, onClose, onMade }: { opened: boolean; onClose: () => void; onMade: (made: NewToken) => void }) {
  const [owner, setOwner] = useState('');
  const [scopes, setScopes] = useState<string[]>(['predict']);
  const [models, setModels] = useState('');
  const [days, setDays] = useState<string>('90');
  const named = models.split(/[\s,]+/).filter(Boolean);
  const asksModels = scopes.includes('predict');
  const all = scopes.flatMap((scope) => (scope === 'predict' && named.length > 0 ? named.map((model) => `predict:${model}`) : [scope]));
  const options = all.map((scope) => (scope.startsWith('predict:') ? `--predict ${quoted(scope.slice('predict:'.length))}` : `--scope ${scope}`));
  const who = owner.trim();
  return (
    <Confirm
      opened={opened} onClose={onClose} title="Make a token" verb="Make it"
      command={['decalog token create', who && quoted(who), ...options, days && `--expires ${days}d`].filter(Boolean).join(' ')}
      onConfirm={async () => ifMade(await makeToken({ owner: who === '' ? null : who, scopes: all, valid_ms: days === '' ? null : Number(days) * DAY_MS }), onMade)}
    >
      <TextInput
        label="For whom" placeholder="myself" value={owner} onChange={(event) => setOwner(event.currentTarget.value)} autoComplete="off"
        description="A name that nobody has becomes a service, which may ask the models that are named here."
      />
      <MultiSelect size="xs" label="What for" data={SCOPES} value={scopes} onChange={setScopes} error={scopes.length === 0 ? 'A token for nothing is of no use' : undefined} />
      {asksModels && (
        <TextInput
          label="Which models it may ask" placeholder="all of them" value={models} onChange={(event) => setModels(event.currentTarget.value)}
          description="As project/model or project/model@environment, with spaces between; * stands for any."
        />
      )}
      <Select label="It ends" data={ENDS} value={days} allowDeselect={false} onChange={(value) => setDays(value ?? '')} />
      <SessionEnd verb="made" />
    </Confirm>
  );
}
