"use strict";

// The cells of a column as numbers if all are, else as text; empty ones come last in either direction.
function sortBy(heading) {
  const body = heading.closest("table").tBodies[0];
  const key = (row) => {
    const cell = row.cells[heading.cellIndex];
    return cell.dataset.value ?? cell.textContent.trim();
  };
  const rows = [...body.rows];
  const numeric = rows.every((row) => !Number.isNaN(Number(key(row))));
  const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const sign = direction === "ascending" ? 1 : -1;
  const compare = numeric
    ? (a, b) => Math.sign(Number(a) - Number(b)) || 0
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
