import { useElementSize } from '@mantine/hooks';
import { useMemo } from 'react';
import { Icon, type IconName } from '../../../parts/Icon';
import { type Kind, layout, type Neighbourhood } from './graph';

const ICONS: Record<Kind, IconName> = { data: 'table', code: 'link', packages: 'system', version: 'model', release: 'play', requests: 'chart' };

/** Names of kinds, for whoever cannot see the icons. */
export const KINDS: Record<Kind, string> = { data: 'Data', code: 'Code', packages: 'Packages', version: 'Version', release: 'Release', requests: 'Requests' };

/** What a version comes from, the version, and what came of it. Each is a button, in that order. */
export function Picture({ of, chosen, onChoose }: { of: Neighbourhood; chosen: string | undefined; onChoose: (id: string) => void }) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const drawn = useMemo(() => layout(of, width), [of, width]);
  return (
    <div ref={ref}>
      {width > 0 && (
        <div className="lineage-picture" style={{ width: drawn.width, height: drawn.height }}>
          <svg width={drawn.width} height={drawn.height} aria-hidden="true">
            {drawn.lines.map((line) => <path key={line} d={line} />)}
          </svg>
          {of.nodes.map((node, at) => {
            const box = drawn.boxes[at];
            return box && (
              <button
                key={node.id} type="button" className="lineage-node" data-kind={node.kind} data-layer={node.layer} aria-pressed={node.id === chosen}
                style={{ left: box.x, top: box.y, width: box.width, height: box.height }} onClick={() => onChoose(node.id)}
              >
                <Icon name={ICONS[node.kind]} size={15} />
                <span className="lineage-text">
                  <span className="outside">{KINDS[node.kind]} </span>
                  <b className="cut" title={node.title}>{node.title}</b>
                  <span className="cut dim small" title={node.about}>{node.about}</span>
                </span>
              </button>
            );
          })}
        </div>
      )}
    </div>
  );
}
