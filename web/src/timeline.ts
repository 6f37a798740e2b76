// Places the items of the lanes at their times, in the same plot area as the charts below, and keeps
// their words from running into each other: inside a long bar, else to the right, else to the left, else on hover.

const GAP_PX = 10;

interface Span { from: number; to: number }

const free = (taken: Span[], want: Span, width: number): boolean =>
  want.from >= -40 && want.to <= width + 6 && taken.every((t) => want.to < t.from || want.from > t.to);

/** Lay out the lanes below `root`; called on start, on resize and after each live update. */
export function placeLanes(root: HTMLElement): void {
  const from = Number(root.dataset["from"]);
  const length = Number(root.dataset["to"]) - from;
  root.classList.add("on");
  for (const lane of root.querySelectorAll<HTMLElement>("ol")) {
    const width = lane.clientWidth;
    const items = [...lane.querySelectorAll<HTMLElement>("li")];
    const at = (el: HTMLElement, name: string): number =>
      ((Number(el.dataset[name] ?? el.dataset["at"]) - from) / length) * width;
    const taken: Span[] = items.map((el) => ({ from: at(el, "at") - 5, to: at(el, "end") + 5 }));
    items.forEach((el, i) => {
      el.classList.remove("left", "quiet", "bar", "inside");
      el.style.left = `${at(el, "at")}px`;
      el.style.width = `${Math.max(0, at(el, "end") - at(el, "at"))}px`;
      if (el.dataset["end"]) el.classList.add("bar");
      const words = el.querySelector<HTMLElement>(".tx")?.offsetWidth ?? 0;
      const right = { from: at(el, "end") + 6, to: at(el, "end") + GAP_PX + words };
      const left = { from: at(el, "at") - GAP_PX - words, to: at(el, "at") - 6 };
      const others = taken.filter((_, j) => j !== i);
      if (at(el, "end") - at(el, "at") > words + 16) el.classList.add("inside");
      else if (free(others, right, width)) taken.push(right);
      else if (free(others, left, width)) { el.classList.add("left"); taken.push(left); }
      else { el.classList.add("quiet"); el.tabIndex = 0; }
    });
  }
}

/** Show the cursor of the charts in the lanes: `x` in px of the plot area, or null. */
export function showCursor(root: HTMLElement, x: number | null): void {
  const cursor = root.querySelector<HTMLElement>(".cursor");
  const lane = root.querySelector<HTMLElement>("ol, .none");
  if (!cursor || !lane) return;
  cursor.hidden = x === null;
  if (x !== null) {
    const left = lane.getBoundingClientRect().left - root.getBoundingClientRect().left;
    cursor.style.left = `${left + x}px`;
  }
}
