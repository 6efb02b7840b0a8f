// <steering-playground>: this page in a page of somebody else, who writes
//
//   <script src="https://…/element.js"></script>
//   <steering-playground adapter="tone-lora" c="0.75" prompt="Tell me about your garden."></steering-playground>
//
// It is a frame with a link in it, and messages between the two: docs/embedding.md. A classic script without
// imports, since a module from elsewhere needs the consent of its host.
(() => {
  /** The version of the messages. */
  const VERSION = 1;
  const own = document.currentScript ?? document.querySelector("script[src*='element.js']");
  /** Where the page is, unless `src` says otherwise: beside this script. */
  const beside = own instanceof HTMLScriptElement && own.src ? new URL(".", own.src).href : document.baseURI;

  /** What an attribute is in the page's link. */
  const LINK = /** @type {const} */ ({ model: "m", adapters: "a", prompt: "p", seed: "seed", lesson: "lesson", hide: "hide", lock: "lock", lang: "lang" });
  /** What the page takes while it runs; anything else opens it anew. */
  const LIVE = ["prompt", "c"];
  /** What the page tells, and the event that is made of it. */
  const TOLD = ["ready", "change", "step", "run-end", "error"];

  /** What the page accepts of a coefficient. @param {string|null} text */
  const number = (text) => (text !== null && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

  class SteeringPlayground extends HTMLElement {
    static observedAttributes = ["src", "adapter", "c", "link", "height", "title", ...Object.keys(LINK)];

    #frame = document.createElement("iframe");
    #ready = false;
    #planned = false;
    #opened = "";

    constructor() {
      super();
      const root = this.attachShadow({ mode: "closed" });
      this.#frame.allow = "clipboard-write";
      root.append(this.#frame);
      // A style that needs no consent of the page around: it is set by script.
      Object.assign(this.#frame.style, { display: "block", width: "100%", height: "100%", border: "0", colorScheme: "normal" });
    }

    connectedCallback() {
      this.style.display ||= "block";
      addEventListener("message", this.#hear);
      this.#open();
    }

    disconnectedCallback() {
      removeEventListener("message", this.#hear);
      this.#ready = false;
      this.#opened = "";
    }

    attributeChangedCallback(/** @type {string} */ name) {
      this.#show();
      if (!this.isConnected || name === "height" || name === "title" || this.#planned) return;
      // Several attributes that are set together are one change.
      this.#planned = true;
      queueMicrotask(() => {
        this.#planned = false;
        if (this.isConnected) this.#open();
      });
    }

    /** Begins a run: of the live model, else the recording from its start. */
    run() { this.#tell({ type: "run" }); }
    stop() { this.#tell({ type: "stop" }); }
    /** Begins to load the model, which the visitor's browser may have to download. */
    load() { this.#tell({ type: "load" }); }

    #show() {
      const height = this.getAttribute("height") ?? "640";
      this.#frame.style.height = /^\d+$/.test(height) ? `${height}px` : height;
      this.#frame.title = this.getAttribute("title") ?? "Steering playground";
    }

    /** The page's address with all that only a new one takes. */
    #address() {
      const url = new URL(this.getAttribute("src") ?? beside, document.baseURI);
      if (!/^https?:$/.test(url.protocol)) throw new Error(`<steering-playground>: src is no address of a page: ${url.href}`);
      url.search = "?embed";
      const hash = new URLSearchParams(this.getAttribute("link") ?? "");
      for (const [name, key] of Object.entries(LINK)) {
        const value = this.getAttribute(name);
        if (value !== null) hash.set(key, value);
      }
      const adapter = this.getAttribute("adapter");
      if (adapter !== null) hash.set("a", `${encodeURIComponent(adapter).replaceAll("%2F", "/")}:${number(this.getAttribute("c")) ?? 1}`);
      if (!hash.has("v")) hash.set("v", "2");
      url.hash = String(hash);
      return url;
    }

    /** Opens the page, or tells the one that is open what changed. */
    #open() {
      this.#show();
      const url = this.#address();
      // What it takes while it runs is no reason to open it again.
      const lasting = JSON.stringify([url.origin, url.pathname, ...SteeringPlayground.observedAttributes
        .filter((name) => ![...LIVE, "height", "title", "src"].includes(name)).map((name) => this.getAttribute(name))]);
      if (lasting === this.#opened) return this.#set();
      this.#opened = lasting;
      this.#ready = false;
      this.#frame.src = url.href;
    }

    #set() {
      const prompt = this.getAttribute("prompt");
      const c = number(this.getAttribute("c"));
      this.#tell({ type: "set", ...(prompt === null ? {} : { prompt }), ...(c === null ? {} : { c, adapter: this.getAttribute("adapter") ?? undefined }) });
    }

    /** @param {{type: string} & Record<string, unknown>} message */
    #tell(message) {
      if (this.#ready || message.type === "hello") this.#frame.contentWindow?.postMessage({ steering: VERSION, ...message }, this.#address().origin);
    }

    /** Only of our frame, and only while our page is in it. */
    #hear = (/** @type {MessageEvent} */ { source, origin, data }) => {
      if (source === null || source !== this.#frame.contentWindow || origin !== this.#address().origin || data?.steering !== VERSION) return;
      const { type, steering: _version, ...detail } = data;
      if (type === "hello") return this.#tell({ type: "hello" });
      if (!TOLD.includes(type)) return;
      if (type === "ready" && !this.#ready) {
        this.#ready = true;
        // What was set since it was opened, and a coefficient without an adapter, which no link has.
        this.#set();
      }
      this.dispatchEvent(new CustomEvent(type, { detail }));
    };
  }

  if (!customElements.get("steering-playground")) customElements.define("steering-playground", SteeringPlayground);
})();
