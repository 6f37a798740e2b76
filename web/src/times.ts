// Times in the reader's zone (or UTC), spans that keep counting, the server's clock.

const root = document.documentElement;
let offsetMs = Number(root.dataset["now"] ?? "0") * 1000 - Date.now();
let utc = localStorage.getItem("fm-utc") === "1";

/** The server's time in ms: what spans count against, however wrong this machine's clock is. */
export function serverNow(): number {
  return Date.now() + offsetMs;
}

/** Take the server's time from a heartbeat. */
export function setServerNow(seconds: number): void {
  offsetMs = seconds * 1000 - Date.now();
}

/** Hours, minutes and seconds of a moment in the chosen zone. */
export function clock(ms: number, seconds = true): string {
  return new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}),
    ...(utc ? { timeZone: "UTC" } : {}),
  }).format(ms);
}

function dated(ms: number): string {
  const zone = utc ? { timeZone: "UTC" } : {};
  const day = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", ...zone });
  const date = day.format(ms);
  return date === day.format(serverNow()) ? clock(ms) : `${date} ${clock(ms, false)}`;
}

/** A span in its two largest units: `6m 12s`. */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, "0");
  if (s >= 86400) return `${Math.floor(s / 86400)}d ${two(Math.floor((s % 86400) / 3600))}h`;
  if (s >= 3600) return `${Math.floor(s / 3600)}h ${two(Math.floor((s % 3600) / 60))}m`;
  return s >= 60 ? `${Math.floor(s / 60)}m ${two(s % 60)}s` : `${s}s`;
}

function zoneName(): string {
  if (utc) return "UTC";
  const minutes = -new Date(serverNow()).getTimezoneOffset();
  const sign = minutes < 0 ? "−" : "+";
  const two = (n: number): string => String(n).padStart(2, "0");
  const offset = `UTC${sign}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
  const city = Intl.DateTimeFormat().resolvedOptions().timeZone.split("/").pop() ?? "";
  return city === "UTC" ? "UTC" : `${offset} ${city.replaceAll("_", " ")}`;
}

/** Write every time below `scope` in the chosen zone. */
export function writeTimes(scope: ParentNode = document): void {
  for (const time of scope.querySelectorAll<HTMLTimeElement>("time[data-f]")) {
    const ms = Date.parse(time.dateTime);
    time.textContent = time.dataset["f"] === "date" ? dated(ms) : clock(ms);
    time.title = `${time.dateTime.replace("T", " ").replace("Z", " UTC")}, ${span(serverNow() - ms)} ago`;
  }
}

function tick(): void {
  for (const el of document.querySelectorAll<HTMLElement>("[data-since]")) {
    const text = span(serverNow() - Number(el.dataset["since"]) * 1000);
    if (el.textContent !== text) el.textContent = text;
  }
  for (const el of document.querySelectorAll<HTMLElement>("[data-until]")) {
    const text = span(Number(el.dataset["until"]) * 1000 - serverNow());
    if (el.textContent !== text) el.textContent = text;
  }
}

/** Start: write, count, and let the zone button switch. */
export function startTimes(): void {
  const word = document.getElementById("zone-word");
  const write = (): void => {
    if (word) word.textContent = zoneName();
    writeTimes();
    tick();
  };
  document.getElementById("zone")?.addEventListener("click", () => {
    utc = !utc;
    localStorage.setItem("fm-utc", utc ? "1" : "0");
    write();
    document.dispatchEvent(new Event("fm:zone"));
  });
  document.addEventListener("htmx:after:swap", write);
  setInterval(tick, 1000);
  write();
}
