// Filters: a table marked data-filter gets a selector for each column named there. Without this
// script everything is shown.
for (const table of document.querySelectorAll("table[data-filter]")) {
  const bar = document.createElement("div");
  bar.className = "filters";
  const rows = [...table.tBodies[0].rows];
  const count = document.createElement("span");
  const chosen = {};
  const apply = () => {
    let shown = 0;
    for (const row of rows) {
      const fits = Object.entries(chosen).every(([k, v]) => !v || row.dataset[k] === v);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  for (const key of table.dataset.filter.split(" ")) {
    const values = [...new Set(rows.map((row) => row.dataset[key]))].filter(Boolean);
    if (values.length < 2) continue;
    const label = document.createElement("label");
    label.textContent = key + " ";
    const select = document.createElement("select");
    select.name = key;
    select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
    select.addEventListener("change", () => { chosen[key] = select.value; apply(); });
    label.append(select);
    bar.append(label);
  }
  if (!bar.children.length) continue;
  bar.append(count);
  table.before(bar);
  apply();
}
