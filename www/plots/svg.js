// Elements of a drawing.

/**
 * @param {string} tag
 * @param {Record<string, string|number|undefined>} [attributes]
 * @param {...(Node|string)} children
 * @returns {SVGElement}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * A picture with a text for whoever does not see it, redrawn as wide as its place.
 * @param {string} name of its class @param {number} height @param {number} [width] where nothing is laid out yet; else it is drawn once that is
 */
export function picture(name, height, width = 0) {
  const drawing = s("svg", { class: name, role: "img", height, width: "100%" });
  /** @type {(width: number) => void} */
  let draw = () => {};
  const again = () => { if (width > 0) draw(width); };
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.abs(contentRect.width - width) < 1) return;
    width = contentRect.width;
    again();
  }).observe(drawing);
  return {
    drawing,
    width: () => width,
    /** @param {(width: number) => (Node|string)[]} drawn @param {string} text what it shows */
    show(drawn, text) {
      draw = (now) => drawing.replaceChildren(...drawn(now));
      drawing.setAttribute("aria-label", text);
      again();
    },
  };
}
