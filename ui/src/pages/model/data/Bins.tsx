import type { Series } from './api';
import { percent } from './words';

/** Wide and pale is the reference, narrow and dark the last day: two marks that differ by shape and by colour. */
export function BinsSmall({ series }: { series: Series }) {
  const { bins } = series;
  const top = Math.max(0.0001, ...bins.flatMap((bin) => [bin.now, bin.reference]));
  const step = 100 / Math.max(1, bins.length);
  const height = (value: number) => (value === 0 ? 0 : Math.max(1, (value / top) * 44));
  return (
    <svg className="bins" viewBox="0 0 100 46" preserveAspectRatio="none" aria-hidden="true">
      {bins.map((bin, at) => (
        <g key={bin.bin}>
          <rect className="bins-reference" x={at * step + step * 0.08} width={step * 0.84} y={45 - height(bin.reference)} height={height(bin.reference)} />
          <rect className="bins-now" x={at * step + step * 0.36} width={step * 0.28} y={45 - height(bin.now)} height={height(bin.now)} />
        </g>
      ))}
      <line className="bins-floor" x1={0} x2={100} y1={45.5} y2={45.5} />
    </svg>
  );
}

/** All bins with their shares: a chart that is its own table. */
export function BinsLarge({ series, reference }: { series: Series; reference: string }) {
  const top = Math.max(0.0001, ...series.bins.flatMap((bin) => [bin.now, bin.reference]));
  return (
    <div className="bins-scroll" tabIndex={0} role="region" aria-label={`Distribution of ${series.name}`}>
      <table className="bins-table">
        <caption className="outside">{series.name}: the last day against {reference}</caption>
        <thead>
          <tr>
            <th scope="col">Values</th>
            <th scope="col"><BinsKey reference={reference} /></th>
            <th scope="col">Usual</th>
            <th scope="col">Last day</th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>
          {series.bins.map((bin) => (
            <tr key={bin.bin}>
              <th scope="row" title={bin.bin}>{bin.bin}</th>
              <td className="bins-bars">
                <span className="bins-bar-reference" style={{ width: `${(bin.reference / top) * 100}%` }} />
                <span className="bins-bar-now" style={{ width: `${(bin.now / top) * 100}%` }} />
              </td>
              <td className="num">{percent(bin.reference)}</td>
              <td className="num">{percent(bin.now)}</td>
              <td className="num">{points(bin.now - bin.reference)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function points(difference: number): string {
  const size = Math.abs(difference * 100);
  if (size < 0.5) return '·';
  return `${difference > 0 ? '+' : '−'}${Math.round(size)} pp`;
}

export function BinsKey({ reference }: { reference: string }) {
  return (
    <span className="bins-key">
      <span><span className="bins-swatch bins-swatch-reference" aria-hidden="true" /> {reference}</span>
      <span><span className="bins-swatch bins-swatch-now" aria-hidden="true" /> last day</span>
    </span>
  );
}
