import { SegmentedControl, TextInput } from '@mantine/core';
import { useState } from 'react';
import { Confirm } from '../../parts/Confirm';
import { lengthOf } from '../../range';
import { type OpenAlarm, silence } from './api';
import { quoted } from './words';

const LENGTHS = [{ value: '1h', label: '1 hour' }, { value: '2h', label: '2 hours' }, { value: '1d', label: '1 day' }];

/** Asks for how long nobody is told of an alarm, and why. */
export function SilenceDialog({ alarm, opened, onClose }: { alarm: OpenAlarm; opened: boolean; onClose: () => void }) {
  const [length, setLength] = useState('2h');
  const [reason, setReason] = useState('');
  const said = reason.trim();
  return (
    <Confirm
      opened={opened} onClose={onClose} title={`Silence this alarm of ${alarm.model ?? 'the platform'}?`} verb="Silence"
      command={`decalog silence ${alarm.id.slice(0, 6)} --for ${length}${said ? ` --reason ${quoted(said)}` : ''}`}
      onConfirm={() => silence(alarm.id, lengthOf(length) ?? 0, said)}
    >
      <div>{alarm.what}</div>
      <SegmentedControl aria-label="For how long" fullWidth data={LENGTHS} value={length} onChange={setLength} />
      <TextInput label="Why" placeholder="we are on it" value={reason} onChange={(event) => setReason(event.currentTarget.value)} maxLength={200} />
      <div className="dim">It stays listed, and no receiver is told of it meanwhile. If it is still so at the end, they are told then.</div>
    </Confirm>
  );
}
