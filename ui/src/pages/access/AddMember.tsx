import { Group, Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { Confirm } from '../../parts/Confirm';
import { addMember, type MemberKind, type Role } from './api';
import { kindOption, placeOptions, quoted, ROLES } from './words';

const KINDS = [{ value: 'person', label: 'A person' }, { value: 'service', label: 'A service: a program' }, { value: 'group', label: 'A group of the identity provider' }];

/** Gives somebody a role in a place. */
export function AddMember({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const [name, setName] = useState('');
  const [kind, setKind] = useState<string>('person');
  const [role, setRole] = useState<string>('viewer');
  const [project, setProject] = useState('');
  const [environment, setEnvironment] = useState('');
  const where = project.trim() === '' ? '*' : environment.trim() === '' ? project.trim() : `${project.trim()}@${environment.trim()}`;
  const who = name.trim() || 'NAME';
  return (
    <Confirm
      opened={opened} onClose={onClose} title="Give somebody a role" verb="Give the role"
      command={`decalog member add ${quoted(who)} --role ${role}${placeOptions(where)}${kind === 'person' ? '' : kindOption(kind)}`}
      onConfirm={() => addMember({ name: name.trim(), role: role as Role, in: where, kind: kind as MemberKind })}
    >
      <TextInput label="Name" placeholder="ann" value={name} onChange={(event) => setName(event.currentTarget.value)} autoComplete="off" />
      <Select label="Who that is" data={KINDS} value={kind} allowDeselect={false} onChange={(value) => setKind(value ?? 'person')} />
      <Select
        label="Role" data={Object.keys(ROLES)} value={role} allowDeselect={false} onChange={(value) => setRole(value ?? 'viewer')}
        description={`A ${role} ${ROLES[role] ?? ''}.`}
      />
      <Group grow>
        <TextInput label="Only in project" placeholder="all projects" value={project} onChange={(event) => setProject(event.currentTarget.value)} />
        <TextInput label="Only in environment" placeholder="all environments" value={environment} disabled={project.trim() === ''} onChange={(event) => setEnvironment(event.currentTarget.value)} />
      </Group>
    </Confirm>
  );
}
