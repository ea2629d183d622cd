import { Button, type ButtonProps, Tooltip } from '@mantine/core';
import { useCan } from '../api/session';

/**
 * A button for what one may not be allowed to do. It asks `/v1/can`: if not, it is disabled and says what is missing;
 * if one may propose it, it says so and calls `onPropose`. It can be reached by keyboard either way.
 */
export function ActionButton({ action, object, children, onAct, onPropose, ...button }: ButtonProps & {
  action: string;
  object: string;
  children: string;
  onAct: () => void;
  onPropose?: () => void;
}) {
  const { data: verdict } = useCan(action, object);
  const proposes = verdict !== undefined && !verdict.allowed && verdict.may_propose && onPropose !== undefined;
  const act = proposes ? onPropose : verdict?.allowed ? onAct : undefined;
  const label = proposes ? `Propose: ${children.charAt(0).toLowerCase()}${children.slice(1)}` : children;
  return (
    <Tooltip label={verdict?.says} disabled={!verdict || verdict.allowed}>
      <Button {...button} aria-disabled={act === undefined} data-disabled={act === undefined || undefined} onClick={() => act?.()}>
        {label}
      </Button>
    </Tooltip>
  );
}
