// The GPU map of one pool: every GPU is a square of whole pixels, written into one image and put on
// the canvas in one call, so that 100,000 of them cost a few milliseconds and no GPU.
// Nodes are rows of GPUs side by side; racks follow each other with a gap.

import { color, rgb } from "./colors";

export type Gpu = [label: string, state: number, busy: number | null, incident: string];
export interface Node { name: string; rack: string; out: boolean; gpus: Gpu[] }
export interface Pool { name: string; nodes: Node[] }
export interface Hit { node: Node; gpu: Gpu }

type Rgb = [number, number, number];
interface Palette { idle: Rgb; busy: Rgb; states: (Rgb | null)[] }

const LABEL_FROM_PX = 9;
const LABEL_H = 13;

interface Layout {
  cell: number; gap: number; nodeGap: number; rowGap: number; labels: boolean;
  columns: number; nodeW: number; nodeH: number; width: number; height: number;
}

/** Reads the colours of the theme. */
export function palette(): Palette {
  return {
    idle: rgb("--map-0"), busy: rgb("--map-1"),
    states: [null, rgb("--map-degraded"), rgb("--map-faulty"), rgb("--map-out")],
  };
}

function shade({ idle, busy, states }: Palette, [, state, load]: Gpu): Rgb {
  const own = states[state];
  if (own) return own;
  const t = load ?? 0.5;
  return [0, 1, 2].map((i) => Math.round((idle[i] ?? 0) + ((busy[i] ?? 0) - (idle[i] ?? 0)) * t)) as Rgb;
}

/** The largest cell with which the pool fits `width` px without growing taller than 260 px. */
function layout(pool: Pool, width: number): Layout {
  const perNode = Math.max(1, ...pool.nodes.map((node) => node.gpus.length));
  const across = Math.min(8, perNode);
  const down = Math.ceil(perNode / across);
  for (let cell = 16; ; cell--) {
    const gap = cell >= 6 ? 2 : cell >= 3 ? 1 : 0;
    const labels = cell >= LABEL_FROM_PX;
    const nodeGap = cell >= 6 ? 10 : 2;
    const nodeW = across * (cell + gap) - gap;
    const nodeH = down * (cell + gap) - gap + (labels ? LABEL_H : 0);
    const columns = Math.max(1, Math.min(pool.nodes.length, Math.floor((width + nodeGap) / (nodeW + nodeGap))));
    const rows = Math.ceil(pool.nodes.length / columns);
    const height = rows * (nodeH + nodeGap) - nodeGap;
    if (height > 260 && cell > 1) continue;
    // Full rows reach from edge to edge: what is left over widens the gaps between nodes.
    const spare = rows > 1 && columns > 1 ? Math.floor((width - columns * nodeW) / (columns - 1)) : nodeGap;
    const gapAcross = Math.max(nodeGap, Math.min(spare, nodeGap * 3));
    return {
      cell, gap, nodeGap: gapAcross, rowGap: nodeGap, labels, columns, nodeW, nodeH,
      width: columns * (nodeW + gapAcross) - gapAcross, height,
    };
  }
}

/** One pool on one canvas. */
export class PoolMap {
  private plan: Layout | undefined;

  constructor(private readonly canvas: HTMLCanvasElement, private pool: Pool) {}

  /** Draw the pool into at most `width` CSS px. */
  draw(pool: Pool, width: number, colors: Palette): void {
    this.pool = pool;
    const plan = (this.plan = layout(pool, width));
    const ratio = Math.max(1, Math.round(devicePixelRatio));
    this.canvas.width = plan.width * ratio;
    this.canvas.height = plan.height * ratio;
    this.canvas.style.width = `${plan.width}px`;
    this.canvas.style.height = `${plan.height}px`;
    const ctx = this.canvas.getContext("2d");
    if (!ctx) return;
    const image = ctx.createImageData(this.canvas.width, this.canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    pool.nodes.forEach((node, n) => {
      const [x0, y0] = this.corner(plan, n);
      node.gpus.forEach((gpu, g) => {
        const [r, gr, b] = shade(colors, gpu);
        const word = (255 << 24) | (b << 16) | (gr << 8) | r;
        const x = (x0 + (g % 8) * (plan.cell + plan.gap)) * ratio;
        const y = (y0 + Math.floor(g / 8) * (plan.cell + plan.gap)) * ratio;
        for (let row = 0; row < plan.cell * ratio; row++) {
          const start = (y + row) * image.width + x;
          pixels.fill(word, start, start + plan.cell * ratio);
        }
      });
    });
    ctx.putImageData(image, 0, 0);
    if (plan.labels) this.label(ctx, plan, ratio);
  }

  /** The GPU at a point in CSS px of the canvas. */
  hit(x: number, y: number): Hit | null {
    const plan = this.plan;
    if (!plan) return null;
    const column = Math.floor(x / (plan.nodeW + plan.nodeGap));
    const row = Math.floor(y / (plan.nodeH + plan.rowGap));
    const node = column < plan.columns ? this.pool.nodes[row * plan.columns + column] : undefined;
    if (!node) return null;
    const [x0, y0] = this.corner(plan, row * plan.columns + column);
    const step = plan.cell + plan.gap;
    const across = Math.floor((x - x0) / step);
    const gpu = across < 8 ? node.gpus[Math.floor((y - y0) / step) * 8 + across] : undefined;
    return gpu ? { node, gpu } : null;
  }

  private corner(plan: Layout, n: number): [number, number] {
    const top = Math.floor(n / plan.columns) * (plan.nodeH + plan.rowGap) + (plan.labels ? LABEL_H : 0);
    return [(n % plan.columns) * (plan.nodeW + plan.nodeGap), top];
  }

  private label(ctx: CanvasRenderingContext2D, plan: Layout, ratio: number): void {
    ctx.scale(ratio, ratio);
    ctx.font = "10px 'JetBrains Mono Variable', monospace";
    ctx.textBaseline = "top";
    this.pool.nodes.forEach((node, n) => {
      const [x, y] = this.corner(plan, n);
      ctx.fillStyle = color(node.out ? "--warn" : "--t3");
      ctx.fillText(node.out ? `${node.name} out` : node.name, x, y - LABEL_H, plan.nodeW);
    });
  }
}
