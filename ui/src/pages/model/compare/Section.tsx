import { useState } from 'react';
import { Icon } from '../../../parts/Icon';
import { type Difference, differs } from './differences';

/** One part of both versions: what differs, and what is the same on demand. */
export function Section({ title, a, b, rows, none }: { title: string; a: string; b: string; rows: readonly Difference[]; none: string }) {
  const [all, setAll] = useState(false);
  const changed = rows.filter(differs);
  const shown = all ? rows : changed;
  const same = rows.length - changed.length;
  return (
    <section className="compare-section">
      <h2>
        {title} <span className="dim">{rows.length === 0 ? none : changed.length === 0 ? 'the same' : changed.length === 1 ? '1 differs' : `${changed.length} differ`}</span>
        {same > 0 && (
          <button type="button" className="quiet-button" aria-expanded={all} onClick={() => setAll(!all)}>
            {all ? 'only what differs' : `show ${same === 1 ? 'the one that is' : `the ${same} that are`} the same`}
          </button>
        )}
      </h2>
      {shown.length > 0 && (
        <div className="compare-scroll">
          <table className="compare-table">
            <thead className="outside"><tr><th scope="col">{title}</th><th scope="col">{a}</th><th scope="col">{b}</th></tr></thead>
            <tbody>
              {shown.map((row) => (
                <tr key={row.name} data-differs={differs(row) || undefined}>
                  <th scope="row">{row.name}</th>
                  <td>{row.a ?? <span className="dim">not there</span>}</td>
                  <td>{row.b ?? <span className="dim">not there</span>}{mark(row)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function mark(row: Difference) {
  if (!differs(row)) return null;
  const word = row.a === null ? 'added' : row.b === null ? 'removed' : 'changed';
  return <span className="compare-mark" data-word={word}><Icon name={row.b === null ? 'dash' : row.a === null ? 'check' : 'right'} size={11} /> {word}</span>;
}
