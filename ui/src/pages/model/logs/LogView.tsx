import { useVirtualizer } from '@tanstack/react-virtual';
import { type KeyboardEvent, memo, type RefObject, useEffect, useRef } from 'react';
import { Icon } from '../../../parts/Icon';
import type { LogLine } from './lines';

const LINE = 19;
/** As near to the end as this, one looks at the end. */
const AT_END = 24;

/**
 * Lines of a log; only those in sight are drawn. While they are followed it stays at the end. Whoever scrolls up
 * stops that, and then nothing moves.
 */
export function LogView({ lines, label, follow, wrap, words, onLeave }: {
  lines: readonly LogLine[];
  label: string;
  follow: boolean;
  wrap: boolean;
  words: readonly string[];
  /** Somebody scrolls away from the end. */
  onLeave: () => void;
}) {
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: lines.length, getScrollElement: () => scroller.current, estimateSize: () => LINE, overscan: 30,
    getItemKey: (index) => lines[index]?.at ?? index,
  });
  useEnd(scroller, lines, follow, wrap);

  const leave = () => {
    const element = scroller.current;
    if (follow && element && element.scrollHeight - element.scrollTop - element.clientHeight > AT_END) onLeave();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (['ArrowUp', 'PageUp', 'Home'].includes(event.key)) onLeave();
  };
  return (
    <div
      ref={scroller} className="log" data-wrap={wrap || undefined} role="log" aria-label={label} aria-live="off" tabIndex={0}
      onWheel={(event) => event.deltaY < 0 && onLeave()} onTouchMove={leave} onPointerUp={leave} onKeyDown={onKeyDown}
    >
      <div className="log-body" style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map(({ index, start, key }) => {
          const line = lines[index];
          return line && (
            <div key={key} ref={wrap ? virtual.measureElement : undefined} data-index={index} className="log-line" data-level={line.level ?? undefined} style={{ transform: `translateY(${start}px)` }}>
              <Level line={line} />
              <Text text={line.text} words={words} />
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** Goes to the end when lines come; with wrapped lines their heights are known only after they were drawn. */
function useEnd(scroller: RefObject<HTMLDivElement | null>, lines: readonly LogLine[], follow: boolean, wrap: boolean) {
  useEffect(() => {
    if (!follow) return;
    const toEnd = () => scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
    toEnd();
    const frame = requestAnimationFrame(() => requestAnimationFrame(toEnd));
    return () => cancelAnimationFrame(frame);
  }, [scroller, lines, follow, wrap]);
}

const Level = memo(function Level({ line: { level, isFirst } }: { line: LogLine }) {
  const isBad = level === 'error' || level === 'warning';
  return (
    <span className="log-level">
      {isFirst && isBad && <Icon name={level === 'error' ? 'alert' : 'warning'} size={12} />}
      {isFirst && isBad && level}
    </span>
  );
});

function Text({ text, words }: { text: string; words: readonly string[] }) {
  if (words.length === 0) return <span className="log-text">{text}</span>;
  const pattern = new RegExp(`(${words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')})`, 'gi');
  return <span className="log-text">{text.split(pattern).map((part, index) => (index % 2 === 1 ? <mark key={index}>{part}</mark> : part))}</span>;
}
