// The incident page: charts and lanes on one axis.

import { drawCharts, resizeCharts } from "./charts";
import { placeLanes } from "./timeline";

function draw(): void {
  const lanes = document.getElementById("lanes");
  if (!lanes) return;
  placeLanes(lanes);
  drawCharts(lanes);
}

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  const lanes = document.getElementById("lanes");
  if (lanes) placeLanes(lanes);
  resizeCharts();
});
for (const name of ["fm:theme", "fm:zone"]) document.addEventListener(name, draw);
document.addEventListener("htmx:after:swap", () => {
  // A swapped evidence card has empty places; any other swap leaves the charts alone.
  if (document.querySelector(".pl[data-chart]:empty")) draw();
});
void document.fonts.ready.then(draw);
