// Colours of the tokens as the canvas needs them. Custom properties hold light-dark(), which only a
// real property resolves, so a probe element takes the colour on and tells it.

const probe = document.createElement("i");
probe.hidden = true;
document.documentElement.append(probe);

/** The colour of a token now, as `rgb(r, g, b)`. */
export function color(token: string): string {
  probe.style.color = `var(${token})`;
  return getComputedStyle(probe).color;
}

/** The same with an opacity from 0 to 1. */
export function faded(token: string, alpha: number): string {
  const [r, g, b] = rgb(token);
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}

/** Red, green and blue, 0 to 255. */
export function rgb(token: string): [number, number, number] {
  const found = color(token).match(/[\d.]+/g)?.map(Number) ?? [];
  return [found[0] ?? 0, found[1] ?? 0, found[2] ?? 0];
}
