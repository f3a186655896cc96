"use strict";

// Columns of numbers are sorted by the first number of a cell, others as text; empty cells come last either way.
function sortBy(heading) {
  const body = heading.closest("table").tBodies[0];
  const numeric = heading.classList.contains("number");
  const key = (row) => {
    const text = row.cells[heading.cellIndex].textContent.trim();
    if (!numeric) {
      return text;
    }
    const found = text.replaceAll(",", "").match(/[+-]?(\d+(\.\d+)?|∞)/);
    return found ? found[0].replace("∞", "Infinity") : "";
  };
  const rows = [...body.rows];
  const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const sign = direction === "ascending" ? 1 : -1;
  const compare = numeric
    ? (a, b) => (Number(a) > Number(b)) - (Number(a) < Number(b))
    : (a, b) => a.localeCompare(b, undefined, { numeric: true });
  rows.sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === "" || b === "") {
      return (a === "") - (b === "");
    }
    return sign * compare(a, b);
  });
  body.append(...rows);
  for (const other of heading.parentElement.cells) {
    other.removeAttribute("aria-sort");
  }
  heading.setAttribute("aria-sort", direction);
}

for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}

// What is folded in is printed too.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) {
    details.open = true;
  }
});
