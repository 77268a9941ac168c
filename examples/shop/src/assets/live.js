// Keeps the page up to date. The server renders; this script puts what has changed in place, so that what stays keeps
// its focus, and moves what moves. Without it the page is complete, and still.
"use strict";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** Writes times in the reader's own time zone. */
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = clock.format(new Date(time.dateTime));
  }
}

/** Makes `from` what `to` is, and keeps every element that both have. */
function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  if (from.isEqualNode(to)) return;
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  morphChildren(from, to);
}

function morphChildren(from, to) {
  const keyed = new Map();
  for (const child of from.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  const hadSome = keyed.size > 0;
  let place = from.firstChild;
  for (const next of [...to.childNodes]) {
    const key = next.dataset?.key;
    const known = key ? keyed.get(key) : place && !place.dataset?.key ? place : undefined;
    if (!known) {
      from.insertBefore(next, place);
      if (key && hadSome) enter(next);
      continue;
    }
    keyed.delete(key);
    if (known === place) place = place.nextSibling;
    else from.insertBefore(known, place);
    morph(known, next);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function enter(element) {
  if (calm.matches || !(element instanceof HTMLElement)) return;
  element.animate(
    [{ opacity: 0.3, transform: "translateY(-5px)" }, { opacity: 1, transform: "none" }],
    { duration: 180, easing: "ease-out" },
  );
}

/** Lets a drop run along the wire to every stage that has handled something. */
function flow(before) {
  if (calm.matches) return;
  for (const stage of document.querySelectorAll(".stage")) {
    if (before.get(stage.dataset.key) === stage.dataset.count) continue;
    const wire = document.querySelector(`.wire[data-to="${stage.dataset.key}"] i`);
    if (wire && wire.getAnimations().length === 0) {
      const end = matchMedia("(max-width: 60rem)").matches ? "translateY(1.1rem)" : "translateX(1.6rem)";
      wire.animate([{ opacity: 1, transform: "none" }, { opacity: 1, transform: end }], { duration: 420, easing: "ease-in-out" });
    }
  }
}

function show(parts) {
  const before = new Map([...document.querySelectorAll(".stage")].map((stage) => [stage.dataset.key, stage.dataset.count]));
  for (const [id, html] of Object.entries(parts)) {
    const target = document.getElementById(id);
    if (!target) continue;
    const next = document.createElement(target.nodeName);
    next.innerHTML = html; // rendered by the server, where every value is escaped
    localise(next);
    morphChildren(target, next);
  }
  flow(before);
}

function listen() {
  const link = document.getElementById("link");
  if (!link) return;
  const say = (state, text) => {
    link.dataset.state = state;
    link.lastElementChild.textContent = text;
  };
  const source = new EventSource("/live");
  source.onopen = () => say("live", "live");
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.onerror = () => {
    say("away", "reconnecting");
    // A browser gives up for good when the answer is an error, and the shop may only be restarting.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1500);
  };
  addEventListener("pagehide", () => source.close(), { once: true });
}

let hide;
function say(text, place, tone) {
  const said = document.getElementById("said");
  said.replaceChildren(text);
  if (place?.startsWith("/orders/")) {
    const link = Object.assign(document.createElement("a"), { href: place, textContent: "Its story" });
    said.append(" ", link);
  }
  said.dataset.tone = tone;
  said.hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => (said.hidden = true), 6000);
}

/** Sends forms without leaving the page. */
addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body, headers: { accept: "application/json" } });
    const told = await answer.json();
    if (answer.ok) say(told.said, told.place, "good");
    else say([told.detail, ...(told.errors ?? []).map((error) => error.detail)].join(" · "), undefined, "bad");
  } catch {
    say("The shop does not answer.", undefined, "bad");
  } finally {
    if (button) button.disabled = false;
  }
});

localise(document);
listen();
