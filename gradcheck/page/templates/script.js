"use strict";
document.documentElement.classList.add("js");
const collator = new Intl.Collator("en", {numeric: true});
function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = text === "∞" ? Infinity : Number(text.replaceAll(",", ""));
  return text === "" ? null : Number.isNaN(number) ? text : number;
}
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return collator.compare(String(a), String(b));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    const empty = (a, b) => (a[0] === null) - (b[0] === null);
    rows.sort((a, b) => empty(a, b) || (down ? compare(b[0], a[0]) : compare(a[0], b[0])));
    body.append(...rows.map((pair) => pair[1]));
  }));
  const find = document.getElementById(table.dataset.find);
  if (!find) continue;
  const told = find.parentElement.querySelector("output");
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    told.textContent = `${shown} of ${body.rows.length} rows`;
  });
}
const details = document.getElementById("details");
for (const node of document.querySelectorAll(".node")) {
  const tell = () => { details.textContent = node.getAttribute("aria-label"); };
  node.addEventListener("focus", tell);
  node.addEventListener("mouseenter", tell);
}
