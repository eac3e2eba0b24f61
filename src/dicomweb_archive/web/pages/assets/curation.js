// Keys for pages of submissions, and pages that follow a job. Everything works without this, by links and forms.
// What a key does is written beside what it does it with: `aria-keyshortcuts`, which screen readers tell too.

import { patch } from "./patch.js";

const OFF = "submissions-without-keys";

function isOn() {
  try {
    return localStorage.getItem(OFF) === null;
  } catch {
    return true;
  }
}

function turn(on) {
  try {
    if (on) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // Where nothing may be kept, it holds for this page alone.
  }
}

/** Move between the items of the page: links and boxes, which the browser's own keys work on. */
function move(step) {
  const items = [...document.querySelectorAll("[data-items] [data-item]")];
  if (!items.length) return;
  const at = items.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(Math.max(at + step, 0), items.length - 1);
  items[next].focus();
  items[next].scrollIntoView({ block: "nearest" });
}

/** Use what a key belongs to. A key decides nothing: it chooses, and leads to where Enter does it. */
function use(element) {
  if (element.matches("input[type=radio]")) {
    element.checked = true;
    element.dispatchEvent(new Event("change", { bubbles: true }));
    const next = element.matches("[data-needs-reason]") ? "reason" : "decide-button";
    document.getElementById(next).focus();
  } else if (element.matches("input, select, textarea")) {
    element.focus();
    element.select?.();
  } else {
    element.click();
  }
}

function isTyping(target) {
  return target.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable], dialog") !== null;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (event.key === "Escape" && isTyping(event.target)) return event.target.blur();
  if (isTyping(event.target)) return;
  if (event.key === "?") return showKeys(event);
  if (!isOn()) return;
  if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else {
    const found = document.querySelector(`[aria-keyshortcuts="${CSS.escape(event.key)}"]`);
    if (!found) return;
    use(found);
  }
  event.preventDefault();
}

function nameOf(element) {
  const label = element.labels?.[0] ?? element;
  const shown = label.cloneNode(true);
  for (const left of shown.querySelectorAll(".small, .count")) left.remove();
  return shown.textContent.trim();
}

function showKeys(event) {
  event?.preventDefault();
  const list = document.getElementById("keys-list");
  const told = [...document.querySelectorAll("[aria-keyshortcuts]")].map((each) => [each.getAttribute("aria-keyshortcuts"), nameOf(each)]);
  if (document.querySelector("[data-item]")) told.unshift(["j", "Next one"], ["k", "One before"]);
  list.replaceChildren(...told.map(([key, name]) => {
    const line = document.createElement("div");
    const term = document.createElement("dt");
    const what = document.createElement("dd");
    term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    what.textContent = name;
    line.append(term, what);
    return line;
  }));
  document.getElementById("keys-on").checked = isOn();
  document.getElementById("keys").showModal();
}

/** Where saying no needs a reason, the browser asks for it before the archive does, and for none that would be lost. */
function askForReason({ target }) {
  const form = target.closest("#decide form, form[data-decisions]");
  const reason = form?.querySelector("#reason");
  if (!reason) return;
  const chosen = form.querySelector("[name=action]:checked, [name=action] option:checked");
  reason.required = chosen?.matches("[data-needs-reason]") ?? false;
  reason.disabled = chosen?.matches("[data-no-reason]") ?? false;
}

/** Tell whether somebody has begun to fill in a form, which a fresh page would empty. */
function isBusy() {
  return [...document.querySelectorAll("main form :is(input, select, textarea)")].some((each) => {
    if (each.matches("[type=radio], [type=checkbox]")) return each.checked !== each.defaultChecked;
    if (each.matches("select")) return [...each.options].some((option) => option.selected !== option.defaultSelected && !option.matches(":first-child"));
    return each.value !== each.defaultValue;
  });
}

/** Show how far the archive has come, less and less often, and the page anew when the submission has changed. */
async function follow(region, seconds = 1) {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const later = Math.min(seconds * 1.3, 15);
  const address = new URL(location.href);
  address.hash = "";
  // What a form has done is no news any more.
  address.searchParams.delete("done");
  const answer = document.hidden ? null : await fetch(address, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return follow(region, later);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById(region.id);
  if (!fresh) return;
  if (fresh.dataset.follow !== region.dataset.follow) {
    if (!isBusy()) return renew(page, address);
    document.getElementById("stale").hidden = false;
  }
  // What the page was written for stays known, until it is written anew.
  fresh.dataset.follow = region.dataset.follow;
  patch(region, fresh);
  if ("running" in fresh.dataset) follow(region, later);
}

function renew(page, address) {
  history.replaceState(history.state, "", address);
  document.title = page.title;
  patch(document.getElementById("main"), page.getElementById("main"));
  followProgress();
}

function followProgress() {
  const progress = document.querySelector("#progress[data-running]");
  if (progress) follow(progress);
}

addEventListener("keydown", onKey);
addEventListener("change", askForReason);
const open = document.getElementById("keys-open");
if (open) {
  open.hidden = false;
  open.addEventListener("click", showKeys);
  document.getElementById("keys-on").addEventListener("change", (event) => turn(event.target.checked));
}
const tickAll = document.querySelector("[data-tick-all]");
if (tickAll) {
  tickAll.hidden = false;
  tickAll.addEventListener("click", () => {
    const boxes = [...document.querySelectorAll(`[name=${tickAll.dataset.tickAll}]`)];
    const all = boxes.every((each) => each.checked);
    for (const each of boxes) each.checked = !all;
  });
}
followProgress();
