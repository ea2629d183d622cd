import { Tooltip } from '@mantine/core';
import type { ReactNode } from 'react';
import { Icon, type IconName } from './Icon';

/** What a state means for whoever looks: it chooses colour and icon, and the word says which state it is. */
export type Tone = 'good' | 'warning' | 'bad' | 'busy' | 'quiet';

const ICONS: Record<Tone, IconName> = { good: 'check', warning: 'warning', bad: 'alert', busy: 'learning', quiet: 'dash' };

/** A state as an icon and a word. `plain` leaves out the box, for tables; `explain` is read on hover or focus. */
export function State({ tone, children, icon, plain, explain }: {
  tone: Tone;
  children: ReactNode;
  icon?: IconName;
  plain?: boolean;
  explain?: string | null | undefined;
}) {
  const badge = (
    <span className={plain ? 'state state-plain' : 'state'} data-tone={tone} tabIndex={explain && !plain ? 0 : undefined}>
      <Icon name={icon ?? ICONS[tone]} size={13} />
      <span className="cut">{children}</span>
    </span>
  );
  return explain ? <Tooltip label={explain}>{badge}</Tooltip> : badge;
}

const SEVERITY_TONES: Readonly<Record<string, Tone>> = { alert: 'bad', warning: 'warning', notice: 'busy' };
const SEVERITY_ICONS: Readonly<Record<string, IconName>> = { alert: 'alert', warning: 'warning', notice: 'info' };

/** How soon somebody should look at an alarm. */
export function SeverityState({ severity, plain, explain, children }: {
  severity: string;
  plain?: boolean;
  explain?: string | null;
  children?: ReactNode;
}) {
  return (
    <State tone={SEVERITY_TONES[severity] ?? 'quiet'} icon={SEVERITY_ICONS[severity] ?? 'info'} plain={plain ?? false} explain={explain}>
      {children ?? severity}
    </State>
  );
}
