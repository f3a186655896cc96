"use strict";

const rows = () => [...document.querySelectorAll("#verdicts tbody tr")];

// Numbers by their value, else text; empty cells come last in either direction.
function sortBy(heading) {
  const key = (row) => {
    const cell = row.cells[heading.cellIndex];
    return cell.dataset.value ?? cell.textContent.trim();
  };
  const sorted = rows();
  const numeric = sorted.every((row) => !Number.isNaN(Number(key(row))));
  const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const sign = direction === "ascending" ? 1 : -1;
  sorted.sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === "" || b === "") {
      return (a === "") - (b === "");
    }
    return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true }));
  });
  heading.closest("table").tBodies[0].append(...sorted);
  // The clips below follow the table.
  document.getElementById("clips").append(...sorted.map((row) => document.getElementById(row.dataset.clip)));
  for (const other of heading.parentElement.cells) {
    other.removeAttribute("aria-sort");
  }
  heading.setAttribute("aria-sort", direction);
}

function show(verdict) {
  let count = 0;
  for (const row of rows()) {
    const hidden = verdict !== "" && row.dataset.verdict !== verdict;
    row.hidden = hidden;
    document.getElementById(row.dataset.clip).hidden = hidden;
    count += !hidden;
  }
  document.getElementById("count").textContent = verdict === "" ? "" : `${count} of ${rows().length} clips`;
}

for (const button of document.querySelectorAll("#verdicts thead button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}
const select = document.getElementById("show");
select.addEventListener("change", () => show(select.value));
show(select.value); // a browser may remember it

// A link leads to its clip even when this is not shown.
window.addEventListener("hashchange", () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.hidden) {
    select.value = "";
    show("");
    target.scrollIntoView();
  }
});
