// Values with units, as console/figures.py writes them: a chart and its table say the same.

const IEC: [number, string][] = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
const SI: [number, string][] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

function plain(v: number): string {
  const size = Math.abs(v);
  if (size >= 1e15) return v.toPrecision(3);
  if (size >= 100 || Number.isInteger(v)) return Math.round(v).toLocaleString("en-GB");
  if (size >= 10) return v.toFixed(1);
  return size >= 0.01 ? v.toFixed(2) : String(Number(v.toPrecision(2)));
}

/** `{token}/s` -> `tokens/s`, `Cel` -> `°C`, `{request}` -> nothing. */
function unitWord(unit: string): string {
  if (unit === "Cel") return "°C";
  if (unit === "1") return "";
  const found = /^\{(\w+)\}(.*)$/.exec(unit);
  if (found) return found[2] ? `${found[1] ?? ""}s${found[2]}` : "";
  return unit;
}

/** A value as people read it. */
export function value(v: number, unit: string): string {
  if (unit === "ratio") return `${plain(v * 100)} %`;
  if (unit === "By" || unit === "By/s") {
    const step = IEC.find(([size]) => Math.abs(v) >= size);
    return (step ? `${plain(v / step[0])} ${step[1]}` : `${plain(v)} B`) + unit.slice(2);
  }
  if (unit === "s" && Math.abs(v) < 1) {
    return v !== 0 && Math.abs(v) < 1e-3 ? `${plain(v * 1e6)} µs` : `${plain(v * 1e3)} ms`;
  }
  return `${plain(v)} ${unitWord(unit)}`.trim();
}

/** What the marks of an axis are counted in: how much one is, and the word for it. */
function scale(top: number, unit: string): [number, string] {
  if (unit === "ratio") return [0.01, "%"];
  if (unit === "s" && top < 1) return [1e-3, "ms"];
  if (unit === "By" || unit === "By/s") {
    const step = IEC.find(([size]) => top >= size);
    return step ? [step[0], step[1] + unit.slice(2)] : [1, `B${unit.slice(2)}`];
  }
  const step = top >= 1e4 ? SI.find(([size]) => top >= size) : undefined;
  return step ? [step[0], step[1] + unitWord(unit)] : [1, unitWord(unit)];
}

/** Marks of an axis: plain numbers, all of one size; `axisWord` says of what. */
export function ticks(at: number[], unit: string): string[] {
  const [size] = scale(Math.max(...at.map(Math.abs)), unit);
  return at.map((v) => String(Number((v / size).toPrecision(4))));
}

/** The unit of the marks of an axis. */
export function axisWord(at: number[], unit: string): string {
  return scale(Math.max(...at.map(Math.abs)), unit)[1];
}

/** Distances between marks that give round numbers, where tens do not: bytes. */
export function rounds(unit: string): number[] | undefined {
  return unit.startsWith("By") ? Array.from({ length: 60 }, (_, power) => 2 ** power) : undefined;
}
