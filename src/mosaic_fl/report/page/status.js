"use strict";
// Fetches this page again and puts in what has changed. The server has escaped every name; scripts in it never run.
const PARTS = ["headline", "figures", "clients", "more", "left", "done", "notes", "events", "time"];
const MILLISECONDS = 2000;
const trouble = document.getElementById("trouble");
const pause = document.getElementById("pause");
let paused = false;
let timer = 0;

const tell = (words) => {
  if (trouble.textContent !== words) trouble.textContent = words;
  trouble.hidden = words === "";
};

const update = (fresh) => {
  for (const id of PARTS) {
    const part = document.getElementById(id);
    const other = fresh.getElementById(id);
    part.className = other.className;
    if (part.innerHTML !== other.innerHTML) part.replaceChildren(...other.childNodes);
  }
  document.title = fresh.title;
};

const refresh = async () => {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  try {
    const answer = await fetch("./", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    const text = await answer.text();
    if (answer.ok) update(new DOMParser().parseFromString(text, "text/html"));
    tell(answer.ok ? "" : `The figures below are old. ${text.trim()}`);
  } catch {
    tell("The figures below are old: `mosaic status --web` does not answer. It may have ended.");
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, MILLISECONDS);
};

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  refresh();
});
document.addEventListener("visibilitychange", refresh);
timer = setTimeout(refresh, MILLISECONDS);
