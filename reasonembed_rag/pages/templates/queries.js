"use strict";
// The list of queries: filtered, sorted and opened on demand. Every text enters the page as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("filters");
const list = document.getElementById("queries");
const count = document.getElementById("count");
const more = document.getElementById("more");
const STEP = 25;
const LEVEL = 1e-9;
let chosen = [];
let shown = 0;

function element(name, kind, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

function pair() {
  return data.systems.length > 1 ? [+form.first.value, +form.second.value] : [0, 0];
}

// Of a query under the two systems chosen: the second's score less the first's.
function difference(row) {
  const [first, second] = pair();
  return row.scores[second] - row.scores[first];
}

function outcome(row) {
  const by = difference(row);
  return by > LEVEL ? "won" : by < -LEVEL ? "lost" : "level";
}

function matches(row) {
  const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${row.question} ${row.id}`.toLowerCase();
  return words.every((word) => text.includes(word))
    && (!form.task || form.task.value === "" || row.task === +form.task.value)
    && (!form.slice || form.slice.value === "" || row.slices.includes(+form.slice.value))
    && (!form.outcome || form.outcome.value === "" || outcome(row) === form.outcome.value);
}

const ORDERS = {
  difference: (row) => -Math.abs(difference(row)),
  gain: (row) => -difference(row),
  loss: (row) => difference(row),
  lowest: (row) => row.scores[pair()[1]],
  given: (row) => row.place,
};

function choose() {
  const key = ORDERS[form.order.value];
  chosen = data.rows.filter(matches);
  chosen.sort((one, other) => key(one) - key(other) || one.place - other.place);
  list.replaceChildren();
  shown = 0;
  showMore();
  count.textContent = `${chosen.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} queries`;
}

function showMore() {
  const next = chosen.slice(shown, shown + STEP);
  list.append(...next.map(item));
  shown += next.length;
  more.hidden = shown >= chosen.length;
}

function item(row) {
  const scores = element("span", "scores");
  row.scores.forEach((score, system) => {
    const key = element("span", `key system${system}`);
    key.setAttribute("aria-hidden", "true");
    const one = element("span", "", key, score.toFixed(3));
    one.title = data.systems[system];
    one.setAttribute("aria-label", `${data.systems[system]}: ${score.toFixed(3)}`);
    one.setAttribute("role", "img");
    scores.append(one);
  });
  if (data.systems.length > 1) {
    const by = difference(row);
    const result = outcome(row);
    const mark = { won: "▲ +", lost: "▼ ", level: "= " }[result];
    const kind = { won: "up", lost: "down", level: "" }[result];
    scores.append(element("span", kind, `${mark}${by.toFixed(3).replace("-", "−")}`));
  }
  const where = [data.tasks.length > 1 ? data.tasks[row.task] : "", ...row.slices.map((number) => data.slices[number])];
  const summary = element("summary", "", element("span", "question", row.question), scores);
  summary.append(element("span", "where", where.filter(Boolean).join(" · ")));
  const details = element("details", "query", summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(...body(row));
  });
  return element("li", "", details);
}

function body(row) {
  const id = element("p", "id", `query ${row.id}`);
  const found = data.details[row.place];
  if (!found) return [id, element("p", "", data.absent)];
  const parts = [id, element("h3", "", `Gold documents: ${found.gold.length}`)];
  if (found.query[1] || found.query[0] !== row.question) parts.unshift(element("p", "text", ...beginning(found.query)));
  const gold = element("div", "columns");
  found.gold.slice(0, data.mostGold).forEach(([number, ...ranks]) => {
    const places = ranks.map((rank, system) => `${data.systems[system]}: ${place(rank)}`);
    gold.append(element("div", "gold", ...documentOf(number, places.join(" · "))));
  });
  parts.push(gold);
  if (found.gold.length > data.mostGold) {
    parts.push(element("p", "", `${found.gold.length - data.mostGold} more gold documents are not shown.`));
  }
  const golden = new Set(found.gold.map(([number]) => number));
  const columns = element("div", "columns");
  found.hits.forEach((hits, system) => {
    const key = element("span", `key system${system}`);
    const column = element("section", "", element("h3", "", key, data.systems[system]));
    column.append(hits === null ? element("p", "", data.noHits) : hits.length ? ranked(hits, golden) : element("p", "", "found nothing"));
    columns.append(column);
  });
  return [...parts, columns];
}

function ranked(hits, golden) {
  const made = element("ol", "");
  for (const [number, score] of hits) {
    const hit = element("li", golden.has(number) ? "gold" : "");
    if (golden.has(number)) hit.append(element("span", "badge", "gold"), " ");
    hit.append(...documentOf(number, `score ${score}`));
    made.append(hit);
  }
  return made;
}

function place(rank) {
  return rank === null ? "not found" : rank === 0 ? "rank not known" : `rank ${rank}`;
}

function documentOf(number, fact) {
  const [id, text, left] = data.documents[number];
  const dense = text.replace(/\n\s*\n/g, "\n");
  return [element("span", "id", `${id} · ${fact}`), element("p", "text", ...beginning([dense, left]))];
}

function beginning([text, left]) {
  if (text === "") return [element("span", "absent", "(its text is not known)")];
  return left ? [text, element("span", "absent", ` … (${left.toLocaleString("en")} more characters)`)] : [text];
}

form.addEventListener("input", choose);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(choose));
more.addEventListener("click", () => {
  const before = shown;
  showMore();
  list.children[before].querySelector("summary").focus();
});
form.hidden = false;
choose();
