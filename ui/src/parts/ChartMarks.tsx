import { Tooltip } from '@mantine/core';
import { exact } from '../format';
import { Icon, type IconName } from './Icon';

/** Something that happened, on the axis of time of a chart. */
export interface Mark {
  /** In milliseconds since 1970. */
  at: number;
  /** In a few words: `v4 live`. */
  label: string;
  /** Who or what did it, and why. */
  explain?: string;
  icon?: IconName;
  onClick?: () => void;
}

/** Buttons above the plot, where a mark is; each says on hover or focus what happened. */
export function Marks({ marks, left, width, min, max }: { marks: readonly Mark[]; left: number; width: number; min: number; max: number }) {
  if (width === 0) return null;
  return marks.map((mark) => {
    const share = (mark.at - min) / (max - min);
    if (!(share >= 0 && share <= 1)) return null;
    return (
      <Tooltip key={`${mark.at} ${mark.label}`} label={<MarkText mark={mark} />}>
        <button type="button" className="chart-mark" style={{ left: left + share * width }} aria-label={`${mark.label}, ${exact(mark.at)}`} onClick={mark.onClick}>
          <Icon name={mark.icon ?? 'info'} size={11} />
        </button>
      </Tooltip>
    );
  });
}

function MarkText({ mark }: { mark: Mark }) {
  return (
    <>
      <b>{mark.label}</b>
      {mark.explain && <div>{mark.explain}</div>}
      <div>{exact(mark.at)}</div>
    </>
  );
}
