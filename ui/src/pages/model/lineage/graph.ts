/** The neighbourhood of a version in the graph of its model, and where it is drawn. Pure. */
import { count, countOf } from '../../../format';
import type { Lineage } from './api';

export type Kind = 'data' | 'code' | 'packages' | 'version' | 'release' | 'requests';

export interface Node {
  id: string;
  kind: Kind;
  title: string;
  about: string;
  /** 0 is what the version comes from, 1 the version itself, 2 what came of it. */
  layer: 0 | 1 | 2;
}

export interface Neighbourhood {
  nodes: Node[];
  /** By the places of nodes. */
  edges: [from: number, to: number][];
  /** Neighbours that are not drawn: a picture of a hundred says nothing. */
  more: { from: number; to: number };
}

/** More neighbours than these on one side are only in the table. */
const SIDE_MAX = 8;

const CAUSES: Readonly<Record<string, string>> = { deploy: 'deployed', release: 'released', rollback: 'rolled back', promote: 'promoted' };
const RELATIONS: Readonly<Record<string, string>> = { trained: 'trained with', compared: 'compared with', made: 'made from', runs: 'runs with', before: 'came after' };
/** What stands first on each side. */
const ORDER: Readonly<Record<Kind, number>> = { data: 0, code: 1, packages: 2, version: 3, release: 4, requests: 5 };

/** The version that is looked at: the one that is asked for, else the live one, else the newest. */
export function focusOf(lineage: Lineage, wanted: string | undefined, environment: string): string | undefined {
  const { versions } = lineage;
  const found = versions.find((one) => one.version === wanted) ?? versions.find((one) => one.live.includes(environment)) ?? versions[0];
  return found?.version;
}

/** What a node is, in a word and a few more. Edges may name what is too old to be here. */
export function describe(lineage: Lineage, id: string): Omit<Node, 'layer'> {
  const version = lineage.versions.find((one) => one.id === id);
  if (version) {
    const where = version.live.length > 0 ? `live in ${version.live.join(', ')}` : version.is_removed ? 'removed' : `by ${version.by}`;
    return { id, kind: 'version', title: version.version, about: where };
  }
  const data = lineage.data.find((one) => one.id === id);
  if (data) return { id, kind: 'data', title: data.names[0] ?? data.digest.slice(0, 10), about: data.rows == null ? countOf(data.files, 'file') : countOf(data.rows, 'row') };
  const code = lineage.code.find((one) => one.id === id);
  if (code) return { id, kind: 'code', title: code.commit.slice(0, 10), about: code.is_dirty ? 'commit, and changes' : 'commit' };
  const packages = lineage.packages.find((one) => one.id === id);
  if (packages) return { id, kind: 'packages', title: packages.packages.length === 0 ? 'No packages' : countOf(packages.packages.length, 'package'), about: `Python ${packages.python}` };
  const release = lineage.releases.find((one) => one.id === id);
  if (release) {
    const end = release.live_ms != null ? 'went live' : release.ended_ms != null ? 'ended' : 'on its way';
    return { id, kind: 'release', title: release.environment, about: `${CAUSES[release.cause] ?? release.cause} by ${release.by}, ${end}` };
  }
  const requests = lineage.requests.find((one) => one.id === id);
  if (requests) return { id, kind: 'requests', title: countOf(requests.count, 'request'), about: `in ${requests.environment}${requests.failed > 0 ? `, ${count(requests.failed)} failed` : ''}` };
  const kind = id.split(':')[0] as Kind;
  return { id, kind: kind in ORDER ? kind : 'data', title: id.slice(id.indexOf(':') + 1).slice(0, 16), about: 'too old to be here' };
}

/** What a version comes from, and what came of it. */
export function neighbourhood(lineage: Lineage, version: string): Neighbourhood {
  const focus = `version:${version}`;
  const sources = new Map<string, string[]>();
  for (const { from, to, is } of lineage.edges) if (to === focus) sources.set(from, [...(sources.get(from) ?? []), RELATIONS[is] ?? is]);
  const results = [...new Set(lineage.edges.filter((edge) => edge.from === focus).map((edge) => edge.to))];
  const before = [...sources].map(([id, how]): Node => {
    const node = describe(lineage, id);
    return { ...node, about: `${how.join(', ')}; ${node.about}`, layer: 0 };
  });
  const after = results.map((id): Node => {
    const node = describe(lineage, id);
    return { ...node, about: node.kind === 'version' ? `came after it; ${node.about}` : node.about, layer: 2 };
  });
  const byKind = (a: Node, b: Node) => ORDER[a.kind] - ORDER[b.kind];
  // Requests are few and say most: they are drawn whatever else there is.
  const requests = after.filter((node) => node.kind === 'requests');
  const others = after.filter((node) => node.kind !== 'requests').sort(byKind);
  const left = before.sort(byKind).slice(0, SIDE_MAX);
  const right = [...others.slice(0, Math.max(1, SIDE_MAX - requests.length)), ...requests];
  const nodes: Node[] = [...left, { ...describe(lineage, focus), layer: 1 }, ...right];
  const middle = left.length;
  const edges = nodes.flatMap((node, at): [number, number][] => (node.layer === 0 ? [[at, middle]] : node.layer === 2 ? [[middle, at]] : []));
  return { nodes, edges, more: { from: before.length - left.length, to: after.length - right.length } };
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  boxes: Box[];
  /** As paths of SVG. */
  lines: string[];
  width: number;
  height: number;
}

const BOX = { height: 46, between: 12, most: 290 };
const GAP = 64;
/** Narrower than this there is no room for three columns. */
const COLUMNS_MIN = 700;
const INDENT = 30;
const STEM = 14;

/** Three columns, or one below the other where there is no room. */
export function layout({ nodes, edges }: Neighbourhood, width: number): Layout {
  return width >= COLUMNS_MIN ? columns(nodes, edges, width) : stacked(nodes, width);
}

function columns(nodes: readonly Node[], edges: Neighbourhood['edges'], width: number): Layout {
  const wide = Math.min(BOX.most, (width - 2 * GAP) / 3);
  const sizes = [0, 1, 2].map((layer) => nodes.filter((node) => node.layer === layer).length);
  const tall = (size: number) => Math.max(0, size * (BOX.height + BOX.between) - BOX.between);
  const height = Math.max(...sizes.map(tall));
  const next = sizes.map((size) => (height - tall(size)) / 2);
  const boxes = nodes.map(({ layer }): Box => {
    const y = next[layer] ?? 0;
    next[layer] = y + BOX.height + BOX.between;
    return { x: layer * (wide + GAP), y, width: wide, height: BOX.height };
  });
  const lines = edges.flatMap(([from, to]) => {
    const [a, b] = [boxes[from], boxes[to]];
    if (!a || !b) return [];
    const [x1, y1, x2, y2] = [a.x + a.width, a.y + a.height / 2, b.x, b.y + b.height / 2];
    const bend = (x2 - x1) / 2;
    return [`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`];
  });
  return { boxes, lines, width: 3 * wide + 2 * GAP, height };
}

/** What it comes from above, what came of it below; a stem at the left joins them. */
function stacked(nodes: readonly Node[], width: number): Layout {
  const boxes = nodes.map(({ layer }, at): Box => {
    const x = layer === 1 ? 0 : INDENT;
    return { x, y: at * (BOX.height + BOX.between), width: Math.max(0, width - x), height: BOX.height };
  });
  const middle = boxes[nodes.findIndex((node) => node.layer === 1)];
  const lines = nodes.flatMap((node, at) => {
    const box = boxes[at];
    if (!box || !middle || node.layer === 1) return [];
    const y = box.y + box.height / 2;
    return [node.layer === 0 ? `M${box.x} ${y}H${STEM}V${middle.y}` : `M${STEM} ${middle.y + middle.height}V${y}H${box.x}`];
  });
  const last = boxes.at(-1);
  return { boxes, lines, width, height: last ? last.y + last.height : 0 };
}
