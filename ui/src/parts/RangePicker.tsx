import { Button, Group, Menu, Modal, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { day, clock } from '../format';
import { RANGES, type Range, resolve } from '../range';
import { Icon } from './Icon';

function local(at: number): string {
  return `${day(at)}T${clock(at).slice(0, 5)}`;
}

function told({ since, from, to }: Range, otherwise: string): string {
  if (from !== undefined && to !== undefined) return `${local(from).replace('T', ' ')} – ${local(to).replace('T', ' ')}`;
  if (from !== undefined) return `Since ${local(from).replace('T', ' ')}`;
  return RANGES.find((range) => range.since === (since ?? otherwise))?.label ?? `Last ${since}`;
}

/** Chooses a range of time. Keep it in the address: `onChange={(range) => navigate({ search: (all) => ({ ...all, ...range }) })}`. */
export function RangePicker({ value, onChange, otherwise = '1h' }: { value: Range; onChange: (range: Range) => void; otherwise?: string }) {
  const [custom, setCustom] = useState(false);
  const choose = (since: string) => onChange({ since: since === otherwise ? undefined : since, from: undefined, to: undefined });
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <Button variant="default" leftSection={<Icon name="events" size={14} />} aria-label={`Range of time: ${told(value, otherwise)}`}>
            {told(value, otherwise)}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {RANGES.map((range) => (
            <Menu.Item key={range.since} onClick={() => choose(range.since)}>{range.label}</Menu.Item>
          ))}
          <Menu.Divider />
          <Menu.Item onClick={() => setCustom(true)}>From … to …</Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Modal opened={custom} onClose={() => setCustom(false)} title="Range of time" size="xs">
        <Custom value={value} otherwise={otherwise} onChange={(range) => { setCustom(false); onChange(range); }} />
      </Modal>
    </>
  );
}

function Custom({ value, otherwise, onChange }: { value: Range; otherwise: string; onChange: (range: Range) => void }) {
  const [now] = useState(() => resolve(value, Date.now(), otherwise));
  const [from, setFrom] = useState(local(now.from));
  const [to, setTo] = useState(local(now.to));
  const start = new Date(from).getTime();
  const end = new Date(to).getTime();
  const wrong = !(start < end);
  return (
    <form onSubmit={(event) => { event.preventDefault(); if (!wrong) onChange({ since: undefined, from: start, to: end }); }}>
      <Stack gap="xs">
        <TextInput type="datetime-local" label="From" value={from} onChange={(event) => setFrom(event.currentTarget.value)} />
        <TextInput
          type="datetime-local" label="To" value={to} error={wrong ? 'It ends before it begins' : undefined}
          onChange={(event) => setTo(event.currentTarget.value)}
        />
        <Group justify="flex-end"><Button type="submit" disabled={wrong}>Show</Button></Group>
      </Stack>
    </form>
  );
}
