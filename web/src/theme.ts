// Dark or light: follows the system until the reader chooses; the choice lies in a cookie, so that
// the server sends the next page in it and nothing flashes.

/** Let the button switch. */
export function startTheme(): void {
  const root = document.documentElement;
  document.getElementById("theme")?.addEventListener("click", () => {
    const dark = getComputedStyle(root).colorScheme === "dark" ||
      (!root.dataset["theme"] && matchMedia("(prefers-color-scheme: dark)").matches);
    const next = dark ? "light" : "dark";
    root.dataset["theme"] = next;
    document.cookie = `fleetmend_theme=${next}; path=/; max-age=31536000; samesite=strict`;
    document.dispatchEvent(new Event("fm:theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.dispatchEvent(new Event("fm:theme"));
  });
}
