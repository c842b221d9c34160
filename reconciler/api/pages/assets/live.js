// Keeps the page current where scripts run: fetches it again and swaps what changed, without moving what is being read.
"use strict";

const INTERVAL = 2000;

async function refresh() {
  const main = document.getElementById("main");
  const busy = main.contains(document.activeElement) && document.activeElement.matches("input, select");
  if (document.hidden || busy || String(getSelection())) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  swap(main, fresh.getElementById("main"));
  swap(document.querySelector("footer"), fresh.querySelector("footer"));
  document.title = fresh.title;
}

function swap(old, fresh) {
  if (!fresh || old.innerHTML === fresh.innerHTML) return;
  const focused = document.activeElement && document.activeElement.getAttribute("href");
  const log = old.querySelector(".log");
  const end = log && log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const top = log ? log.scrollTop : 0;
  old.replaceChildren(...fresh.childNodes);
  const after = old.querySelector(".log");
  if (after) after.scrollTop = end ? after.scrollHeight : top;
  if (focused) old.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function again() {
  refresh().catch(() => undefined).finally(() => setTimeout(again, INTERVAL));
}

setTimeout(again, INTERVAL);
