// The fleet page: draws the map, says what lies under the pointer, fetches it anew when something
// changes and every few seconds for the load.

import { palette, PoolMap, type Hit, type Pool } from "./fleetmap";

const REFRESH_MS = 5000;

interface Fleet { states: string[]; pools: Pool[] }

const maps = new Map<number, PoolMap>();
let fleet: Fleet | undefined;

function drawAll(): void {
  const place = document.getElementById("map");
  if (!fleet || !place) return;
  const colors = palette();
  const style = getComputedStyle(place);
  const width = place.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  fleet.pools.forEach((pool, i) => {
    const canvas = document.querySelector<HTMLCanvasElement>(`[data-pool="${i}"] canvas`);
    if (!canvas) return;
    let map = maps.get(i);
    if (!map) {
      map = new PoolMap(canvas, pool);
      maps.set(i, map);
      canvas.addEventListener("pointermove", (event) => point(i, event));
      canvas.addEventListener("click", (event) => open(i, event));
    }
    map.draw(pool, width, colors);
  });
}

function at(i: number, event: MouseEvent): Hit | null {
  return maps.get(i)?.hit(event.offsetX, event.offsetY) ?? null;
}

function point(i: number, event: MouseEvent): void {
  const found = at(i, event);
  const tip = document.getElementById("tip");
  const pool = fleet?.pools[i];
  if (!found || !tip || !pool) return;
  const [label, state, busy, incident] = found.gpu;
  const name = document.createElement("b");
  name.className = "mono";
  name.textContent = `${found.node.name} / ${label}`;
  const chip = document.createElement("span");
  chip.className = `chip c-${["ok", "warn", "bad", "mut"][state] ?? "mut"}`;
  chip.textContent = fleet?.states[state] ?? "";
  const rest = document.createElement("span");
  rest.className = "t2";
  const load = busy === null ? "" : ` · ${Math.round(busy * 100)}% busy`;
  rest.textContent = `pool ${pool.name}${found.node.rack ? ` · rack ${found.node.rack}` : ""}${load}`;
  tip.replaceChildren(name, chip, rest);
  if (incident) {
    const link = document.createElement("a");
    link.href = `/incidents/${encodeURIComponent(incident)}`;
    link.textContent = `${incident} →`;
    tip.append(link);
  }
  (event.target as HTMLElement).style.cursor = incident ? "pointer" : "default";
}

function open(i: number, event: MouseEvent): void {
  const incident = at(i, event)?.gpu[3];
  if (incident) location.assign(`/incidents/${encodeURIComponent(incident)}`);
}

async function refresh(): Promise<void> {
  if (document.hidden) return;
  const answer = await fetch("/api/v1/fleet");
  if (!answer.ok) return;
  fleet = (await answer.json()) as Fleet;
  drawAll();
}

addEventListener("resize", drawAll);
document.addEventListener("fm:theme", drawAll);
document.addEventListener("fm:changed", () => void refresh());
setInterval(() => void refresh(), REFRESH_MS);
void document.fonts.ready.then(refresh);
