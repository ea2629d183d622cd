import { Tooltip } from '@mantine/core';
import type { Schema } from '../../../api/client';
import { Icon, type IconName } from '../../../parts/Icon';

type Temperature = Schema<'Temperature'>;

const SAYS: Record<Temperature, string> = {
  warm: 'Forked from a process that has the model loaded',
  tepid: 'Forked from a process that has its libraries loaded',
  cold: 'Started as a fresh program',
};
const ICONS: Record<Temperature, IconName> = { warm: 'hot', tepid: 'hot', cold: 'cold' };

/** How a replica was started, as a word; what it means on hover. */
export function TemperatureState({ temperature }: { temperature: Temperature }) {
  return (
    <Tooltip label={SAYS[temperature]}>
      <span className="state state-plain" data-tone={temperature === 'warm' ? 'warning' : 'quiet'}>
        <Icon name={ICONS[temperature]} size={13} />
        <span>{temperature}</span>
      </span>
    </Tooltip>
  );
}
