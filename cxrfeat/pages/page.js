"use strict";
// Draws the charts into the width there is, shows radiographs.

const data = JSON.parse(document.getElementById("page-data").textContent);
const options = { ast: true, renderer: "svg", config: data.config,
  actions: { export: true, source: false, compiled: false, editor: false } };

// ---- Charts -----------------------------------------------------------------------------------

// `usermeta.panels` says how wide a panel may be and what stands beside it.
function fitted(spec, width) {
  const copy = structuredClone(spec);
  const { least, most, beside, count } = copy.usermeta.panels;
  const columns = Math.max(1, Math.min(copy.columns || 1, count, Math.floor(width / (least + beside))));
  const panel = Math.max(120, Math.min(most, Math.floor(width / columns) - beside));
  const inner = copy.spec || copy;
  if (copy.columns) copy.columns = columns;
  if (inner.width === inner.height) inner.height = panel;
  else if (typeof inner.height === "number") inner.height = Math.min(inner.height, Math.round(panel * 0.9));
  inner.width = panel;
  return copy;
}

async function draw(place) {
  const isMap = place.hasAttribute("data-map");
  const spec = fitted(isMap ? mapSpec() : data.charts[place.dataset.chart].spec, place.clientWidth);
  spec.description = data.charts[place.dataset.chart].alt;
  const drawn = await window.drawChart(place, spec,
    isMap ? { ...options, tooltip: showPicture } : options);
  place.dataset.drawnWidth = place.clientWidth;
  if (isMap) {
    mapView = drawn.view;
    mapView.addEventListener("click", (event, item) => {
      if (item && item.datum && item.datum.i !== undefined) choose(item.datum.i);
    });
    if (chosen >= 0) mapView.signal("chosen", chosen).run();
  }
}

const places = [...document.querySelectorAll("[data-chart]")];
async function drawAll() {
  for (const place of places) await draw(place);
  document.documentElement.dataset.drawn = "yes";
}

let waiting;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    for (const place of places) {
      if (Math.abs(place.clientWidth - place.dataset.drawnWidth) > 20) draw(place);
    }
  }, 200);
});

// ---- The map and its radiographs --------------------------------------------------------------

let mapView = null;
let chosen = -1;
const extractorChoice = document.getElementById("map-extractor");
const colourChoice = document.getElementById("map-colour");

function plane() { return data.planes[extractorChoice ? extractorChoice.value : 0]; }

function points(of) {
  const { label, source } = data.groups;
  return of.i.map((i, place) => ({ i, x: of.x[place], y: of.y[place],
    label: data.texts[label[i]], source: data.texts[source[i]], error: data.texts[of.error[place]] }));
}

function mapSpec() {
  const spec = structuredClone(data.charts["map-class"].spec);
  const { positions, colourings } = plane();
  spec.data.values = points(plane());
  Object.assign(spec.layer[0].encoding, positions, colourings[colourChoice.value]);
  Object.assign(spec.layer[1].encoding, positions);
  return spec;
}

function source(number) {
  const jpeg = data.pictures[number].jpeg;
  return jpeg ? "data:image/jpeg;base64," + jpeg : null;
}

// What is known of an image, as elements: text is set as text, never as markup.
function description(number) {
  const picture = data.pictures[number];
  const box = document.createDocumentFragment();
  if (source(number)) {
    const image = document.createElement("img");
    image.src = source(number);
    image.alt = `Radiograph ${picture.name}, ${picture.label}`;
    box.append(image);
  }
  const lines = [picture.name, `${data.classWord}: ${picture.label}`];
  if (picture.source) lines.push(`${data.sourceWord}: ${picture.source}`);
  for (const of of data.planes.length ? [plane()] : []) {
    const place = of.i.indexOf(number);
    const predicted = place < 0 ? "" : data.texts[of.predicted[place]];
    if (predicted) {
      const agreement = of.agreement[place];
      lines.push(`${of.name} predicts ${predicted}` +
        (agreement === null ? "" : `; truth given ${agreement.toFixed(3)}`));
    }
  }
  for (const line of lines) {
    const paragraph = document.createElement("p");
    paragraph.textContent = line;
    box.append(paragraph);
  }
  return box;
}

const float = document.createElement("div");
float.className = "float";
float.hidden = true;
document.body.append(float);

function showPicture(handler, event, item, value) {
  if (value === null || value === undefined || value === "" || !item || item.datum.i === undefined) {
    float.hidden = true;
    return;
  }
  float.replaceChildren(description(item.datum.i));
  float.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = float;
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 16 : event.clientX + 16;
  float.style.left = `${Math.max(4, left)}px`;
  float.style.top = `${Math.max(4, Math.min(event.clientY - 40, innerHeight - height - 8))}px`;
}

function choose(number) {
  chosen = number;
  document.getElementById("chosen").replaceChildren(description(number));
  if (mapView) mapView.signal("chosen", number).run();
}

// Images from the worst answer to the best, to walk through them without a mouse.
function step(by) {
  const of = plane();
  const order = of.agreement.map((value, place) => [value === null ? 2 : value, of.i[place]])
    .sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
  const at = order.indexOf(chosen);
  const next = at < 0 ? 0 : Math.max(0, Math.min(order.length - 1, at + by));
  choose(order[next]);
}

if (extractorChoice) {
  const place = document.querySelector("[data-map]");
  extractorChoice.addEventListener("change", () => draw(place));
  colourChoice.addEventListener("change", () => draw(place));
  document.getElementById("map-next").addEventListener("click", () => step(-1));
  document.getElementById("map-previous").addEventListener("click", () => step(1));
  document.getElementById("map-controls").addEventListener("submit", (event) => event.preventDefault());
}

for (const image of document.querySelectorAll("img[data-jpeg]")) image.src = source(image.dataset.jpeg);

const enlarged = document.getElementById("enlarged");
for (const button of document.querySelectorAll("button.picture")) {
  button.addEventListener("click", () => {
    const content = document.getElementById("enlarged-content");
    content.replaceChildren(description(Number(button.dataset.picture)));
    content.querySelector("p").id = "enlarged-name";
    enlarged.showModal();
  });
}

drawAll();
