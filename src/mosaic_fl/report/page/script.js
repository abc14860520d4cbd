const tip = document.getElementById("tip");
const place = (mark) => {
  const box = mark.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left + box.width / 2 - own.width / 2, innerWidth - own.width - 8));
  tip.style.left = `${left}px`;
  tip.style.top = `${box.top - own.height - 8 > 0 ? box.top - own.height - 8 : box.bottom + 8}px`;
};
let current = null;
const show = (mark) => {
  current = mark;
  tip.textContent = mark ? mark.getAttribute("aria-label") : "";
  if (mark) place(mark);
};
const tell = (event) => show(event.target.closest(".mark"));
const hush = () => show(null);
for (const name of ["mouseover", "focusin"]) document.addEventListener(name, tell);
document.addEventListener("focusout", hush);
addEventListener("scroll", () => { if (current) place(current); }, true);  // focus scrolls, too
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hush();
  const mark = event.target.closest(".mark");
  if (!mark) return;
  const drawing = mark.closest("svg");
  const columns = Number(drawing.dataset.columns);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (!step) return;
  const marks = [...drawing.querySelectorAll(".mark")];
  const next = marks[marks.indexOf(mark) + step];
  event.preventDefault();
  if (!next) return;
  mark.tabIndex = -1;  // one stop for each drawing: the mark where the reader was
  next.tabIndex = 0;
  next.focus();
});
for (const drawing of document.querySelectorAll("svg"))
  drawing.querySelectorAll(".mark").forEach((mark, place) => { mark.tabIndex = place ? -1 : 0; });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
