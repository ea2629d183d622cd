import { ActionIcon, Tooltip } from '@mantine/core';
import { type ReactNode, useId, useState } from 'react';
import { Icon } from './Icon';

/** A chart with its title, and a button that shows the values behind it as a table instead. `about` stands beside the title of the chart. */
export function ChartFrame({ title, about, table, children }: { title: string; about?: ReactNode; table: () => ReactNode; children: ReactNode }) {
  const [asTable, setAsTable] = useState(false);
  const id = useId();
  return (
    <figure className="chart" aria-labelledby={id}>
      <figcaption className="chart-head">
        <span id={id} className="chart-title">{title}</span>
        {!asTable && about}
        <Tooltip label={asTable ? 'As a chart' : 'As a table'}>
          <ActionIcon size="sm" aria-label={asTable ? `${title} as a chart` : `${title} as a table`} aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
            <Icon name={asTable ? 'chart' : 'table'} size={14} />
          </ActionIcon>
        </Tooltip>
      </figcaption>
      {asTable ? table() : children}
    </figure>
  );
}
