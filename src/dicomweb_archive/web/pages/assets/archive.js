// Makes pages quicker that already work without it: nothing here is needed to read, search or open a study.

import { patch } from "./patch.js";

const TYPING_MS = 350;

/** A form whose answer replaces one region of the page: `data-region` names it. */
class LiveForm {
  constructor(form) {
    this.form = form;
    this.running = null;
    this.timer = 0;
    form.addEventListener("submit", (event) => this.submit(event));
    form.addEventListener("input", (event) => this.typed(event));
    form.addEventListener("change", () => this.show(this.address()));
  }

  /** Where the form as it stands leads to, without its empty fields. */
  address() {
    const target = new URL(this.form.action);
    target.hash = "";
    target.search = "";
    const fields = [...new FormData(this.form)];
    const keep = ([name, value], index) => {
      if (name === "limit") return value !== this.form.querySelector("#limit option").value;
      // A condition keeps its place by attribute and value both, even if one of them is empty.
      if (name === "tag") return value || fields[index + 1]?.[1];
      if (name === "value") return value || fields[index - 1]?.[1];
      return value;
    };
    for (const [name, value] of fields.filter(keep)) target.searchParams.append(name, value);
    return target;
  }

  submit(event) {
    // A button with a name of its own asks for another form, which the server writes.
    if (event.submitter?.name) return;
    event.preventDefault();
    this.show(this.address());
  }

  typed(event) {
    clearTimeout(this.timer);
    // Half a keyword is no attribute yet: conditions are asked for when the field is left.
    if (event.target.type !== "search") return;
    this.timer = setTimeout(() => this.show(this.address()), TYPING_MS);
  }

  /** Ask for the page at an address and show its region; a later call makes an earlier one void. */
  async show(address, { remember = true } = {}) {
    clearTimeout(this.timer);
    if (remember && address.href === location.href.split("#")[0]) return;
    this.running?.abort();
    const asked = (this.running = new AbortController());
    const region = document.getElementById(this.form.dataset.region);
    region.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" }, signal: asked.signal });
      // Signing in, or a problem, is a page of its own.
      if (!answer.ok || answer.redirected) return location.assign(address);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (asked.signal.aborted) return;
      if (remember) history.pushState({ region: region.id }, "", address);
      this.replace(region, page);
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address);
    } finally {
      if (this.running === asked) region.removeAttribute("aria-busy");
    }
  }

  replace(region, page) {
    document.title = page.title;
    const fresh = page.getElementById(region.id);
    region.replaceChildren(...(fresh ? document.adoptNode(fresh).childNodes : []));
    // The counts are live regions: new text in them is what a screen reader says.
    for (const message of document.querySelectorAll("[role=status], [data-message]")) {
      const text = page.getElementById(message.id)?.textContent ?? "";
      if (message.textContent !== text) message.textContent = text;
    }
    for (const field of this.form.querySelectorAll("input[aria-describedby]")) {
      const wrong = page.getElementById(field.id)?.getAttribute("aria-invalid");
      if (wrong) field.setAttribute("aria-invalid", wrong);
      else field.removeAttribute("aria-invalid");
    }
    const heading = page.getElementById("results-title");
    if (heading) document.getElementById("results-title").textContent = heading.textContent;
  }
}

function makeLive(form) {
  const live = new LiveForm(form);
  const region = document.getElementById(form.dataset.region);
  region.addEventListener("click", (event) => {
    const link = event.target.closest("nav a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    live.show(new URL(link.href)).then(() => form.closest("main").querySelector("[role=status]").scrollIntoView({ block: "nearest" }));
  });
  if (form.id === "search") addRows(form);
}

/** Going back or forward between searches loads the page, so that form and results agree. */
function followHistory() {
  history.replaceState({ region: "" }, "");
  addEventListener("popstate", () => location.reload());
}

/** Add a further condition in place; without this the button asks the server for one. */
function addRows(form) {
  const button = form.querySelector("[data-add-row]");
  button?.addEventListener("click", (event) => {
    event.preventDefault();
    const rows = form.querySelector("[data-rows]");
    const number = rows.children.length + 1;
    const row = rows.lastElementChild.cloneNode(true);
    for (const element of row.querySelectorAll("[id], [for], [aria-describedby]")) {
      for (const name of ["id", "for", "aria-describedby"]) {
        const text = element.getAttribute(name);
        if (text) element.setAttribute(name, text.replace(/-\d+/, `-${number}`));
      }
    }
    for (const label of row.querySelectorAll("label")) label.textContent = label.textContent.replace(/\d+/, number);
    for (const input of row.querySelectorAll("input")) {
      input.value = "";
      input.removeAttribute("aria-invalid");
    }
    row.querySelector("[data-message]").textContent = "";
    rows.append(row);
    row.querySelector("input").focus();
    if (number >= Number(rows.dataset.rows)) button.remove();
  });
}

/** Put a button beside what one copies. */
function addCopyButton(place) {
  const text = place.querySelector("code").textContent;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  place.append(button);
}

/** Keep a page of figures fresh while somebody looks at it, and show all of it anew when they change no more. */
function keepFresh(region) {
  const seconds = Number(region.dataset.refresh);
  const timer = setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(region.id);
    if (!fresh) return;
    if ("refresh" in fresh.dataset) return patch(region, fresh);
    clearInterval(timer);
    // What can be done when it is over stands elsewhere on the page.
    patch(document.getElementById("main"), page.getElementById("main"));
  }, seconds * 1000);
}

const forms = document.querySelectorAll("form[data-region]");
forms.forEach(makeLive);
if (forms.length) followHistory();
if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach(addCopyButton);
document.querySelectorAll("[data-refresh]").forEach(keepFresh);
