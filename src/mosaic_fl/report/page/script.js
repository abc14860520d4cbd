const tip = document.getElementById("tip");
const tell = (event) => {
  const mark = event.target.closest(".mark");
  tip.textContent = mark ? mark.getAttribute("aria-label") : "";
};
for (const name of ["mouseover", "focusin"]) document.addEventListener(name, tell);
document.addEventListener("focusout", () => { tip.textContent = ""; });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.textContent = "";
  const mark = event.target.closest(".mark");
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!mark || !step) return;
  const marks = [...mark.closest("svg").querySelectorAll(".mark")];
  const next = marks[marks.indexOf(mark) + step];
  if (next) { next.focus(); event.preventDefault(); }
});
for (const drawing of document.querySelectorAll("svg"))  // one stop for each drawing: arrows go on inside
  drawing.querySelectorAll(".mark").forEach((mark, place) => { mark.tabIndex = place ? -1 : 0; });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
