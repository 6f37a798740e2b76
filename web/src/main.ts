// What every page loads: htmx, live updates, keys, theme, times.

import "htmx.org";
import { startKeys } from "./keys";
import { startLive } from "./live";
import { startTheme } from "./theme";
import { startTimes } from "./times";

startTimes();
startTheme();
startKeys();
startLive();
