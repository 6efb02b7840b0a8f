// The layer map: which layers carry what an adapter does, and a range that is enough.
import { h, signed } from "../dom.js";
import { bars } from "../plots/bars.js";
import { range, scale, ticks } from "../plots/scale.js";
import { picture, s } from "../plots/svg.js";
import { parts, say } from "../say.js";
import { current } from "../state/acting.js";
import { behaviourOf } from "../state/bench.js";
import { brush } from "./brush.js";
import { term } from "./glossary.js";
import { choose, field, hindrance, loaded, workRow } from "./work.js";

const HEIGHT = 170;
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 8, 22, 22];

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function layersPanel(store, actions) {
  let chosen = "";
  const subject = h("select", { id: "layers-subject", onchange: () => { chosen = subject.value; update(store.state); } });
  const go = h("button", { type: "button", id: "layers-go", onclick: () => actions.mapLayers(subject.value) }, say("dose.layers.go"));
  const why = h("span.hint");
  const on = h("p.hint");
  const work = workRow(["layers"], actions);
  const plot = picture("plot", HEIGHT);
  const sentence = h("p.says", { role: "status" });
  const suggested = h("p");
  const use = h("button", {
    type: "button", id: "layers-use",
    onclick: async () => {
      const { layers } = store.state.bench;
      if (!layers?.map.suggestion) return;
      await actions.useLayers(layers.key, layers.map.suggestion);
      used.textContent = say("dose.layers.used", { title: layers.title, layers: layers.map.suggestion.layers });
    },
  });
  const used = h("span.hint", { role: "status" });
  const rows = h("tbody");
  /** The adapter of the map, while it is listed. */
  const mapped = () => store.state.adapters.find(({ key, id }) => key === store.state.bench.layers?.key && id !== null);
  const brushed = brush(plot, { left: LEFT, right: RIGHT }, {
    blocks: () => store.state.bench.layers?.map.layers.map(({ layer }) => layer) ?? [],
    chosen: () => mapped()?.layers ?? "",
    choose: (layers) => { const adapter = mapped(); if (adapter) actions.setMask(adapter.key, { layers }); },
  });
  const result = h("div.result", { hidden: true }, sentence, brushed.element, h("div.row", {}, suggested, use, used),
    h("details.table", {}, h("summary", {}, say("dose.table")),
      h("div.scroll", { tabIndex: 0, role: "region", "aria-label": say("dose.layers.every") }, h("table", {},
        h("thead", {}, h("tr", {}, ...[say("dose.layers.layer"), say("dose.layers.c"), say("dose.layers.kl"), say("dose.layers.effect")].map((name) => h("th", { scope: "col" }, name)))), rows))));
  /** @type {import("../engine/protocol.js").LayerMap|null} */
  let drawn = null;

  /** @param {import("../state/store.js").State} state */
  function update(state) {
    const here = loaded(state);
    if (!here.some(({ key }) => key === chosen)) chosen = "";
    const first = here.find(({ key }) => key === current(state)?.key) ?? here[0];
    choose(subject, here.map(({ key, title }) => [key, title]), chosen || (first?.key ?? ""));
    why.textContent = hindrance(state);
    const { layers, source, one } = state.bench;
    const behaviour = behaviourOf(state.bench, here.find(({ key }) => key === subject.value)?.name);
    const alone = source === "one";
    on.textContent = alone ? say("dose.layers.on.one") : behaviour && say("dose.layers.on", { behaviour });
    go.disabled = Boolean(why.textContent) || state.work !== null || !(alone ? Object.values(one).every((text) => text.trim()) : behaviour);
    work.update(state, ["layers", "pairs"]);
    result.hidden = !layers;
    use.disabled = !layers || !here.some(({ key }) => key === layers.key);
    const acting = layers ? mapped() : undefined;
    brushed.update(acting?.title ?? null);
    if (layers && layers.map !== drawn) {
      drawn = layers.map;
      used.textContent = "";
      draw(layers);
    }
  }
  store.watch(["adapters", "active", "bench", "work", "model"], update);

  /** @param {NonNullable<import("../state/bench.js").Bench["layers"]>} layers */
  function draw({ title, map }) {
    const values = map.layers.map(({ layer, effect_nats: value }) => ({ layer, value }));
    const there = values.filter(({ value }) => value !== null);
    const best = there.reduce((most, one) => (Number(one.value) > Number(most.value) ? one : most), there[0]);
    const says = best && Number(best.value) > 0
      ? say("dose.layers.says", { title, best: String(best.layer), effect: Number(best.value).toFixed(2), nats: String(map.target_nats) })
      : say("dose.layers.says.none", { title });
    sentence.textContent = says;
    const within = inside(map.suggestion?.layers);
    const ends = range(values.map(({ value }) => value), [0, 0.1]);
    plot.show((width) => {
      const box = { left: LEFT, right: width - RIGHT, top: TOP, bottom: HEIGHT - BOTTOM };
      const { zero, bars: list } = bars(values, ends, box);
      const y = scale(ends, [box.bottom, box.top]);
      const every = Math.max(1, Math.ceil(list.length / Math.max(1, Math.floor((width - LEFT) / 30))));
      return [
        ...ticks(ends, 3).flatMap((value) => [s("line", { class: "grid", x1: LEFT, x2: box.right, y1: y.at(value), y2: y.at(value) }),
          s("text", { class: "up", x: LEFT - 8, y: y.at(value) + 4 }, String(value).replace("-", "−"))]),
        s("line", { class: "zero", x1: LEFT, x2: box.right, y1: zero, y2: zero }),
        ...list.map((bar) => s("rect", {
          class: "bar", x: bar.x, y: bar.y, width: bar.width, height: Math.max(bar.value === null ? 0 : 1, bar.height),
          "data-sign": (bar.value ?? 0) < 0 ? "minus" : "plus", "data-in": String(within(bar.layer)),
        }, s("title", {}, `${bar.layer}: ${bar.value === null ? say("dose.no-number") : bar.value.toFixed(3)}`))),
        ...list.filter(({ layer }, at) => within(layer) && !within(list[at - 1]?.layer ?? -1)).map((first) => {
          const last = list.filter(({ layer }) => within(layer)).at(-1) ?? first;
          return s("path", { class: "range", d: `M${first.x},${box.bottom + 3}H${last.x + last.width}` });
        }),
        ...list.filter((_, at) => at % every === 0).map((bar) => s("text", { class: "along", x: bar.middle, y: HEIGHT - 6 }, String(bar.layer))),
        s("text", { class: "name", x: 4, y: 12 }, say("dose.layers.axis")),
      ];
    }, says);
    const { suggestion } = map;
    suggested.hidden = use.hidden = !suggestion;
    if (suggestion) {
      const { layers, dose } = suggestion;
      suggested.textContent = dose.c === null
        ? say("dose.layers.suggestion.none", { layers, why: dose.note ?? "" }) : say("dose.layers.suggestion", { layers, c: signed(dose.c) });
      use.textContent = say("dose.layers.use", { layers });
    }
    const number = (/** @type {number|null} */ value) => (value === null ? say("dose.no-number") : value.toFixed(3));
    rows.replaceChildren(...map.layers.map(({ layer, c, kl_p95_nats: kl, effect_nats: effect }) => h("tr", {},
      h("th", { scope: "row" }, String(layer)), h("td", {}, number(c)), h("td", {}, number(kl)), h("td", {}, number(effect)))));
  }

  return {
    element: h("div.bench-body", {}, h("p.hint", {}, ...parts("dose.layers.hint", { kl: term("kl") })),
      h("div.row", {}, field(say("dose.subject"), subject), go, why), on, work.element, result),
    open: () => actions.listBehaviours(),
  };
}

/** Whether a layer is in a range such as 9-14. @param {string|undefined} layers @returns {(layer: number) => boolean} */
function inside(layers) {
  const [first, last] = (layers ?? "").split("-").map(Number);
  return (layer) => Boolean(layers) && layer >= first && layer <= (last ?? first);
}
