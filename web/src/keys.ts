// Keys: go to a page, walk rows, open (never confirm) a decision. They can be switched off
// (WCAG 2.1.4), and never fire while somebody types.

const GO: Record<string, string> = { f: "/fleet", i: "/incidents", a: "/actions", u: "/audit" };
let armed = false;

const dialog = (id: string): HTMLDialogElement | null => document.querySelector(`dialog#${id}`);

function walk(by: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("tr[data-href]")];
  const at = rows.findIndex((row) => row.classList.contains("cur"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  rows[at]?.classList.remove("cur");
  next?.classList.add("cur");
  next?.querySelector<HTMLElement>("a")?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
}

async function copyLink(button: HTMLElement | null): Promise<void> {
  await navigator.clipboard.writeText(location.href);
  const word = button?.querySelector("span");
  if (!word) return;
  const before = word.textContent;
  word.textContent = "Copied";
  setTimeout(() => { word.textContent = before; }, 1500);
}

const show = (id: string) => (): void => dialog(id)?.showModal();

const ACTS: Record<string, () => void> = {
  g: () => { armed = true; setTimeout(() => { armed = false; }, 1200); },
  j: () => walk(1),
  k: () => walk(-1),
  "?": show("keys"),
  a: show("dlg-approve"),
  d: show("dlg-deny"),
  u: show("dlg-undo"),
  h: show("dlg-halt"),
  l: () => void copyLink(document.querySelector("[data-copy-link]")),
};

function press(event: KeyboardEvent): void {
  const open = document.querySelector<HTMLDialogElement>("dialog[open]");
  if (open && event.key === "Enter" && event.ctrlKey) {
    open.querySelector("form")?.requestSubmit();
    return;
  }
  const on = document.querySelector<HTMLInputElement>("#keys-on")?.checked ?? true;
  const field = (event.target as HTMLElement).closest("input, textarea, select, [contenteditable]");
  // A field of a dialog that was just closed keeps the focus until the next frame.
  const typing = field !== null && !field.closest("dialog:not([open])");
  if (!on || open || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key;
  if (armed) {
    armed = false;
    const to = GO[key];
    if (to) location.assign(to);
    return;
  }
  const act = ACTS[key] ?? ACTS[key.toLowerCase()];
  if (!act) return;
  event.preventDefault(); // else the letter lands in the field that the dialog focuses
  act();
}

function click(event: MouseEvent): void {
  const target = event.target as HTMLElement;
  const copy = target.closest<HTMLElement>("[data-copy-link]");
  if (copy) void copyLink(copy);
  const row = target.closest<HTMLElement>("tr[data-href]");
  if (row && !target.closest("a, button") && !getSelection()?.toString()) {
    location.assign(row.dataset["href"] ?? "/");
  }
  // Browsers that do not know the command attribute yet.
  const button = target.closest<HTMLButtonElement>("button[commandfor]");
  if (button && !("commandForElement" in HTMLButtonElement.prototype)) {
    const meant = dialog(button.getAttribute("commandfor") ?? "");
    if (button.getAttribute("command") === "close") meant?.close();
    else meant?.showModal();
  }
}

/** Listen. */
export function startKeys(): void {
  const box = document.querySelector<HTMLInputElement>("#keys-on");
  if (box) {
    box.checked = localStorage.getItem("fm-keys") !== "0";
    box.addEventListener("change", () => localStorage.setItem("fm-keys", box.checked ? "1" : "0"));
  }
  document.addEventListener("keydown", press);
  document.addEventListener("click", click);
  document.addEventListener("htmx:after:request", (event) => {
    const form = event.target as HTMLElement;
    if (form instanceof HTMLFormElement && form.hasAttribute("data-clear")) form.reset();
  });
}
