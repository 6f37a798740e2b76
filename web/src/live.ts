// The live stream of a tab: one EventSource; each event wakes the elements that it concerns, and htmx
// fetches them anew. While a dialog is open or the tab is hidden nothing is replaced.

import { setServerNow, span } from "./times";

const STALE_MS = 20_000;
const REST_MS = 700;
const KINDS = ["incident", "session", "audit"] as const;

interface Told { id?: string; incident?: string; subjects?: string; now_s?: number; store_ok?: boolean }

let source: EventSource | undefined;
let paused = sessionStorage.getItem("fm-paused") === "1";
let heardMs = 0;
const due = new Set<HTMLElement>();
let timer: number | undefined;

function wake(): void {
  timer = undefined;
  if (document.querySelector("dialog[open]")) return schedule();
  const elements = [...due].filter((el) => el.isConnected);
  due.clear();
  for (const el of elements) el.dispatchEvent(new CustomEvent("live"));
}

function schedule(): void {
  timer ??= window.setTimeout(wake, REST_MS);
}

function concern(kind: string, told: Told): void {
  const ids = new Set([told.id, told.incident, ...(told.subjects?.split(",") ?? [])]);
  for (const el of document.querySelectorAll<HTMLElement>("[data-live]")) {
    const wants = (el.dataset["live"] ?? "").split(" ");
    if (kind === "*" || wants.some((want) => want === `*${kind}` || ids.has(want))) due.add(el);
  }
  if (due.size) schedule();
  document.dispatchEvent(new CustomEvent("fm:changed", { detail: kind }));
}

function open(): void {
  // Where nobody may look without a token the page has no chip, and the stream would be refused.
  if (source || paused || document.hidden || !document.getElementById("live-chip")) return;
  source = new EventSource("/api/v1/stream");
  const hear = (event: MessageEvent<string>): Told => {
    heardMs = Date.now();
    show();
    return JSON.parse(event.data) as Told;
  };
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => concern(kind, hear(event)));
  }
  source.addEventListener("resync", (event) => { hear(event); concern("*", {}); });
  source.addEventListener("store", (event) => { hear(event); concern("*", {}); });
  source.addEventListener("beat", (event) => {
    const told = hear(event);
    if (told.now_s !== undefined) setServerNow(told.now_s);
  });
  source.addEventListener("error", show);
}

function close(): void {
  source?.close();
  source = undefined;
}

function show(): void {
  const chip = document.getElementById("live-chip");
  const word = document.getElementById("live-word");
  if (!chip || !word) return;
  const quietMs = Date.now() - heardMs;
  const state = paused ? "paused" : !heardMs || !source ? "off" : quietMs > STALE_MS ? "stale" : "live";
  const words = { paused: "Paused", off: "Connecting", live: "Live", stale: `Stale ${span(quietMs)}` };
  if (word.textContent !== words[state]) word.textContent = words[state];
  chip.dataset["state"] = state;
  chip.setAttribute("aria-pressed", String(paused));
}

/** Connect, show the state, pause on demand and in hidden tabs. */
export function startLive(): void {
  document.getElementById("live-chip")?.addEventListener("click", () => {
    paused = !paused;
    sessionStorage.setItem("fm-paused", paused ? "1" : "0");
    if (paused) close();
    else { open(); concern("*", {}); }
    show();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else { open(); concern("*", {}); }
  });
  addEventListener("pagehide", close);
  open();
  show();
  setInterval(show, 1000);
}
