"use strict";
// Sorts a table by the column whose head is pressed; cells without a number stay below.
for (const table of document.querySelectorAll("table.values")) {
  const heads = [...table.querySelectorAll("th[data-column]")];
  for (const head of heads) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "Sort by this column";
    head.append(button);
    const named = head.classList.contains("name");
    button.addEventListener("click", () => {
      const [first, second] = named ? ["ascending", "descending"] : ["descending", "ascending"];
      const order = head.getAttribute("aria-sort") === first ? second : first;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => row.cells[Number(head.dataset.column)].dataset.value;
      const number = (row) => (value(row) === "" ? Infinity : sign * Number(value(row)));
      const rows = [...table.tBodies[0].rows];
      rows.sort(named ? (a, b) => sign * value(a).localeCompare(value(b)) : (a, b) => number(a) - number(b) || 0);
      table.tBodies[0].append(...rows);
    });
  }
}
