// Evidence charts: uPlot on one shared axis with one cursor; the expected range behind, marks through
// all of them. The points lie in the page as JSON.

import uPlot from "uplot";
import { color, faded } from "./colors";
import { clock } from "./times";
import { showCursor } from "./timeline";
import { axisWord, rounds, ticks, value } from "./units";

const FONT = "10.5px 'JetBrains Mono Variable', monospace";
const AXIS_PX = 46;
const TONES: Record<string, string> = { bad: "--bad", inf: "--inf", ok: "--ok", vi: "--vi", warn: "--warn" };

interface Mark { at: number; tone: string }
interface ChartData {
  x: number[]; y: (number | null)[]; peers: number[];
  low: number | null; high: number | null; unit: string;
}
interface Evidence { from: number; to: number; marks: Mark[]; charts: ChartData[] }

const drawn: { chart: uPlot; el: HTMLElement }[] = [];

function bounds(data: ChartData): [number, number] {
  const all = [...data.y.filter((v) => v !== null), ...data.peers];
  if (data.low !== null) all.push(data.low);
  if (data.high !== null) all.push(data.high);
  const low = Math.min(...all);
  const high = Math.max(...all);
  const pad = (high - low || Math.abs(high) || 1) * 0.12;
  return [low >= 0 && low < (high - low) * 0.6 ? 0 : low - pad, high + pad];
}

function backdrop(data: ChartData, marks: Mark[]): (u: uPlot) => void {
  return (u) => {
    const { ctx, bbox } = u;
    const [bottom, top] = [u.scales["y"]?.min ?? 0, u.scales["y"]?.max ?? 1];
    ctx.save();
    if (data.low !== null || data.high !== null) {
      const y0 = u.valToPos(data.high ?? top, "y", true);
      const y1 = u.valToPos(data.low ?? bottom, "y", true);
      ctx.fillStyle = faded("--s1", 0.17);
      ctx.fillRect(bbox.left, y0, bbox.width, Math.max(2, y1 - y0));
    }
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.globalAlpha = 0.75;
    for (const mark of marks) {
      const x = Math.round(u.valToPos(mark.at, "x", true)) + 0.5;
      ctx.strokeStyle = color(TONES[mark.tone] ?? "--t3");
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
}

/** The unit of the marks, in the corner above them. */
function corner(word: () => string): (u: uPlot) => void {
  return ({ ctx, bbox }) => {
    ctx.save();
    ctx.font = `${10 * devicePixelRatio}px Inter Variable, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    const [x, y] = [bbox.left + 4 * devicePixelRatio, bbox.top + 1 * devicePixelRatio];
    const width = ctx.measureText(word()).width;
    ctx.globalAlpha = 0.75; // lines pass below the word and stay visible
    ctx.fillStyle = color("--p");
    ctx.fillRect(x, y, width + 4 * devicePixelRatio, 12 * devicePixelRatio);
    ctx.globalAlpha = 1;
    ctx.fillStyle = color("--t3");
    ctx.fillText(word(), x + 2 * devicePixelRatio, y + 1 * devicePixelRatio);
    ctx.restore();
  };
}

function readout(el: HTMLElement, data: ChartData): (u: uPlot) => void {
  const val = el.closest(".strip")?.querySelector<HTMLElement>(".val");
  const still = val?.textContent ?? "";
  const calm = val?.className ?? "";
  return (u) => {
    const i = u.cursor.idx;
    const y = i === null || i === undefined ? undefined : data.y[i] ?? undefined;
    if (!val) return;
    const odd = y !== undefined && ((data.low !== null && y < data.low) || (data.high !== null && y > data.high));
    val.textContent = y === undefined ? still : value(y, data.unit);
    val.className = y === undefined ? calm : `num val ${odd ? "bad" : "ok"}`;
  };
}

function draw(el: HTMLElement, data: ChartData, all: Evidence, last: boolean, lanes: HTMLElement): uPlot {
  const grid = { stroke: color("--bd"), width: 1 };
  const read = readout(el, data);
  const cursorTime = document.getElementById("cursor-time");
  const axis = { stroke: color("--t3"), font: FONT, ticks: { show: false }, gap: 4, grid };
  const steps = rounds(data.unit);
  let word = "";
  const plot = new uPlot({
    width: el.clientWidth,
    height: el.clientHeight,
    padding: [6, 8, last ? 0 : 5, 0],
    legend: { show: false },
    cursor: { sync: { key: "evidence" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { time: false, range: [all.from, all.to] }, y: { range: bounds(data) } },
    series: [
      {},
      { stroke: color("--s2"), width: 2, fill: faded("--s2", 0.1), points: { show: false } },
      { stroke: color("--s1"), width: 1.25, points: { show: false } },
    ],
    axes: [
      {
        ...axis, size: last ? 24 : 0, space: 74, incrs: [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600],
        values: (_, at) => {
          const seconds = (at[1] ?? 60) - (at[0] ?? 0) < 60;
          // A time at the very end would be cut off by the edge of the card.
          const room = all.to - 0.035 * (all.to - all.from);
          return at.map((t) => (last && t < room ? clock(t * 1000, seconds) : ""));
        },
      },
      {
        ...axis, size: AXIS_PX, space: 22, ...(steps && { incrs: steps }),
        values: (_, at) => {
          word = axisWord(at, data.unit);
          return ticks(at, data.unit);
        },
      },
    ],
    hooks: {
      drawClear: [backdrop(data, all.marks)],
      draw: [corner(() => word)],
      setCursor: [(u) => {
        read(u);
        const left = u.cursor.left ?? -1;
        showCursor(lanes, left < 0 ? null : left);
        if (cursorTime) cursorTime.textContent = left < 0 ? "" : clock(u.posToVal(left, "x") * 1000);
      }],
    },
  }, [data.x, data.y, data.peers.length ? data.peers : data.x.map(() => null)], el);
  return plot;
}

/** Draw every chart of the page anew. */
export function drawCharts(lanes: HTMLElement): void {
  for (const { chart } of drawn.splice(0)) chart.destroy();
  const json = document.getElementById("charts-data")?.textContent;
  if (!json) return;
  const all = JSON.parse(json) as Evidence;
  const places = [...document.querySelectorAll<HTMLElement>(".pl[data-chart]")];
  places.forEach((el, i) => {
    const data = all.charts[Number(el.dataset["chart"])];
    const last = i === places.length - 1;
    el.classList.toggle("last", last);
    if (data) drawn.push({ chart: draw(el, data, all, last, lanes), el });
  });
}

/** Fit the charts to their places. */
export function resizeCharts(): void {
  for (const { chart, el } of drawn) chart.setSize({ width: el.clientWidth, height: el.clientHeight });
}
