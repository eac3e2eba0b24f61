// Shows a fresh version of a part of a page by changing what differs and nothing else: focus, selection, what is
// being typed and the place of a screen reader stay where they are.

/** Make `shown` what `fresh` is, which is used up by it; what scripts have changed stays as they left it. */
export function patch(shown, fresh) {
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    if (shown.nodeValue !== fresh.nodeValue) shown.nodeValue = fresh.nodeValue;
    return;
  }
  if ("scripted" in shown.dataset) return;
  for (const { name } of [...shown.attributes]) if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  let at = shown.firstChild;
  for (const child of [...fresh.childNodes]) {
    const twin = twinOf(child, at);
    if (!twin) {
      shown.insertBefore(document.adoptNode(child), at);
      continue;
    }
    at = removeUpTo(at, twin);
    patch(twin, child);
    at = twin.nextSibling;
  }
  removeUpTo(at, null);
}

/** Find what a fresh node was before: of the same id, or, where it has none, of the same kind in the same place. */
function twinOf(fresh, at) {
  if (!fresh.id) return at && !at.id && at.nodeName === fresh.nodeName ? at : null;
  for (let each = at; each; each = each.nextSibling) if (each.id === fresh.id && each.nodeName === fresh.nodeName) return each;
  return null;
}

function removeUpTo(from, end) {
  while (from !== end) {
    const gone = from;
    from = from.nextSibling;
    gone.remove();
  }
  return end;
}
