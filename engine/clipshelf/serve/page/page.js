// @ts-check
/**
 * The page of the service: a query of words, a picture, likes and dislikes, its answer, and the reasons for it.
 *
 * One module, so that the page is loaded by three requests and its source read in one place: the query and its link,
 * the server, looking, the products, the session, the filters and weights, the picture, the code to copy, the events.
 * What a catalogue holds is written as text (`textContent`) and never as HTML; the Content-Security-Policy forbids
 * anything else.
 */

/**
 * What a product is to the query; "similar" is a like that counts twice.
 * @typedef {"liked" | "disliked" | "similar"} Role
 */
/**
 * What is chosen in one column: a range, some of the values, or a part of the text.
 * @typedef {{min?: string, max?: string, is?: string[], has?: string}} Choice
 */
/**
 * The query without its picture.
 * @typedef {object} State
 * @property {string} words
 * @property {Map<string, Role>} taste by id
 * @property {Map<string, Choice>} choices by column
 * @property {Map<string, number>} weights by signal
 * @property {number} diversity
 * @property {boolean} fitting whether products are left out that do not fit
 * @property {number} k
 */
/**
 * The edges of a part of a picture, in percent.
 * @typedef {{left: number, top: number, right: number, bottom: number}} Crop
 */
/**
 * A picture of the query.
 * @typedef {object} Photo
 * @property {Blob} original
 * @property {Crop | null} crop
 * @property {Blob} sent what the server gets
 * @property {string} url the address of `sent` in this tab
 * @property {number | null} ratio the original's width by its height, null where this browser cannot read it
 */
/** @typedef {Record<string, any> & {id: string}} Product */
/** @typedef {{index: number, path: string | null, value: number}} Share One of several pictures or texts. */
/** @typedef {{signal: string, id: string | null, side: string | null, value: number, parts?: Share[]}} Part */
/**
 * What one signal adds to a score; `rounded` is `value` in such hundredths that those of a score sum to it.
 * @typedef {{label: string, value: number, rounded: number, sides: string[]}} Reason
 */
/** @typedef {{least: number, most: number}} Scale */
/**
 * A product, rated where it answers a query.
 * @typedef {object} Item
 * @property {string} id
 * @property {Product} product
 * @property {string | null} image_url
 * @property {number} [score]
 * @property {number} [relevance]
 * @property {number} [probability]
 * @property {Part[]} [contributions]
 */
/**
 * @typedef {object} Answer
 * @property {Item[]} recommendations
 * @property {Record<string, number>} took_ms
 * @property {string} [note]
 * @property {string[]} [unknown_ids]
 * @property {number[]} [missing_shards] parts of the catalogue that did not answer
 */
/**
 * @typedef {object} Column
 * @property {string} name
 * @property {string} kind
 * @property {number} products
 * @property {any} [min]
 * @property {any} [max]
 * @property {number} [distinct]
 * @property {{value: any, products: number}[]} [values]
 */
/**
 * @typedef {object} Catalogue
 * @property {number} products
 * @property {number} generation
 * @property {Column[]} columns
 * @property {{name: string, default: number}[]} weights
 * @property {number} relevance_cut
 * @property {{k: number, text_characters: number}} limits
 */

const PAGE_OF_PRODUCTS = 12;
const MOST_PRODUCTS = 240;
const PICTURE_EDGE = 768; // pixels of the longer edge of the picture that is sent; towers take 224 to 512
const SHOWN_SIGNALS = 5; // bars of a card; smaller ones are summed
const NAME_WIDTH = 60; // characters of a product's name in the reasons
const MOST_OPTIONS = 40; // values of a column that can be shown as buttons
const SHOWN_OPTIONS = 8;
const OPTION_WIDTH = 40; // characters
const SHOWN_FILTERS = 6;
const TYPING_PAUSE = 220; // ms
const LEAST_STAGE = 0.2; // ms, below which a stage is not shown
const RETRIES = 3;
const WEIGHTS = new Map([
  ["text", "Words"],
  ["image", "Picture"],
  ["liked", "Likes"],
  ["disliked", "Dislikes"],
]);
const STAGES = new Map([
  ["queue", "waiting"],
  ["decode", "decoding"],
  ["embed_text", "words"],
  ["embed_image", "picture"],
  ["rank", "ranking"],
]);

/**
 * The element of an id.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`expected an element ${id}`);
  return element;
}

/**
 * A new element with attributes and children; strings become text.
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** @param {string} name @returns {SVGSVGElement} */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const words = byId("words", HTMLTextAreaElement);
const cards = byId("cards", HTMLElement);
const chips = byId("chips", HTMLElement);
const notices = byId("notices", HTMLElement);
const panel = byId("panel", HTMLDetailsElement);
const wide = matchMedia("(min-width: 901px)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

// ---------------------------------------------------------------------------------------------------------------------
// The query and its link

/** @type {Catalogue} */
let catalogue;
/** @type {State} */
let state = emptyState();
/** @type {Photo | null} */
let photo = null;
/** @type {Photo[]} The pictures of this tab, which a link cannot hold; entries of the history have positions in it. */
const photos = [];

/** @returns {State} */
function emptyState() {
  return {
    words: "",
    taste: new Map(),
    choices: new Map(),
    weights: new Map(),
    diversity: 0,
    fitting: false,
    k: PAGE_OF_PRODUCTS,
  };
}

/** Whether there is anything to look for. */
function asks() {
  return Boolean(state.words.trim() || photo || state.taste.size);
}

/** @param {State} query @returns {string} The state as the fragment of an address, without the picture. */
function toFragment(query) {
  const fields = new URLSearchParams();
  if (query.words.trim()) fields.append("q", query.words.trim());
  for (const [id, role] of query.taste) fields.append(role, id);
  for (const [column, choice] of query.choices) {
    if (choice.min !== undefined) fields.append(`min.${column}`, choice.min);
    if (choice.max !== undefined) fields.append(`max.${column}`, choice.max);
    for (const value of choice.is ?? []) fields.append(`is.${column}`, value);
    if (choice.has) fields.append(`has.${column}`, choice.has);
  }
  for (const [name, weight] of query.weights) fields.append(`weight.${name}`, String(weight));
  if (query.diversity) fields.append("diversity", String(query.diversity));
  if (query.fitting) fields.append("fitting", "only");
  if (query.k !== PAGE_OF_PRODUCTS) fields.append("k", String(query.k));
  return fields.toString();
}

/** @param {string} fragment @returns {State} What a fragment says; what it cannot mean is left out. */
function fromFragment(fragment) {
  const query = emptyState();
  for (const [key, value] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    const [head, name] = [key.split(".", 1)[0], key.slice(key.indexOf(".") + 1)];
    if (key === "q") query.words = value;
    else if (key === "liked" || key === "disliked" || key === "similar") query.taste.set(value, key);
    else if (key === "diversity") query.diversity = bounded(value, 0, 1, 0);
    else if (key === "fitting") query.fitting = value === "only";
    else if (key === "k") query.k = Math.round(bounded(value, 1, mostProducts(), PAGE_OF_PRODUCTS));
    else if (head === "weight" && WEIGHTS.has(name)) query.weights.set(name, bounded(value, 0, 2, defaultWeight(name)));
    else if (["min", "max", "is", "has"].includes(head) && filterable().some((column) => column.name === name)) {
      const choice = query.choices.get(name) ?? {};
      if (head === "is") choice.is = [...(choice.is ?? []), value];
      else choice[/** @type {"min" | "max" | "has"} */ (head)] = value;
      query.choices.set(name, choice);
    }
  }
  return query;
}

/** @param {string} text @param {number} least @param {number} most @param {number} otherwise */
function bounded(text, least, most, otherwise) {
  const number = Number(text);
  return text.trim() && Number.isFinite(number) ? Math.min(most, Math.max(least, number)) : otherwise;
}

function mostProducts() {
  return Math.min(MOST_PRODUCTS, catalogue.limits.k);
}

/** @param {string} name */
function defaultWeight(name) {
  return catalogue.weights.find((weight) => weight.name === name)?.default ?? 1;
}

/** @returns {Record<string, any>} The query as the service takes it (docs/json.md), without its picture. */
function toQuery() {
  /** @type {Record<string, any>} */
  const query = {};
  const ids = (/** @type {Role} */ role) => [...state.taste].filter((entry) => entry[1] === role).map(([id]) => id);
  const liked = [...ids("similar").map((id) => [id, 2]), ...ids("liked")];
  if (state.words.trim()) query.text = state.words.trim();
  if (liked.length) query.liked = liked;
  if (ids("disliked").length) query.disliked = ids("disliked");
  const where = conditions();
  const names = where.flatMap(Object.keys);
  if (where.length)
    query.where =
      new Set(names).size === names.length ? Object.fromEntries(where.flatMap(Object.entries)) : { and: where };
  if (state.weights.size) query.weights = Object.fromEntries(state.weights);
  if (state.diversity) query.diversity = state.diversity;
  if (state.fitting) query.min_relevance = catalogue.relevance_cut;
  if (state.taste.size) query.unknown = "ignore";
  query.k = state.k;
  return query;
}

/** @returns {Record<string, any>[]} What must hold of a product, as objects of docs/filters.md. */
function conditions() {
  return filterable().flatMap((column) => {
    const choice = state.choices.get(column.name);
    return choice ? columnConditions(column, choice) : [];
  });
}

/** @param {Record<string, any>} condition @returns {string} The same in words. */
function inWords(condition) {
  const [[name, value]] = Object.entries(condition);
  const quoted = (/** @type {any} */ text) =>
    typeof text === "string" ? `"${text.replaceAll('"', '""')}"` : String(text);
  if (name === "or") return `(${value.map(inWords).join(" or ")})`;
  if (typeof value !== "object") return `${quoted(name)}=${quoted(value)}`;
  const terms = Object.entries(value).map(([operator, operand]) => {
    const list = Array.isArray(operand) ? `(${operand.map(quoted).join(", ")})` : quoted(operand);
    return `${quoted(name)} ${operator} ${list}`;
  });
  return terms.join(" and ");
}

/** @param {Column} column @param {Choice} choice @returns {Record<string, any>[]} */
function columnConditions({ name, kind }, choice) {
  const values = choice.is ?? [];
  if (kind === "number" || kind === "date") {
    const typed = (/** @type {string} */ value) => (kind === "number" ? Number(value) : value);
    /** @type {Record<string, any>} */
    const range = {};
    if (choice.min !== undefined && usable(kind, choice.min)) range[">="] = typed(choice.min);
    if (choice.max !== undefined && usable(kind, choice.max)) range["<="] = typed(choice.max);
    return Object.keys(range).length ? [{ [name]: range }] : [];
  }
  if (kind === "bool") return values.length === 1 ? [{ [name]: values[0] === "true" }] : [];
  if (choice.has) return [{ [name]: { contains: choice.has } }];
  if (!values.length) return [];
  return kind === "texts"
    ? [{ or: values.map((value) => ({ [name]: { contains: value } })) }]
    : [{ [name]: { in: values } }];
}

/** @param {string} kind @param {string} value */
function usable(kind, value) {
  return kind === "number" ? value.trim() !== "" && Number.isFinite(Number(value)) : /^\d{4}-\d\d-\d\d/.test(value);
}

/** @returns {Column[]} The columns that the page can filter; "and", "or" and "not" cannot be named in an object. */
function filterable() {
  const known = ["number", "date", "bool", "text", "texts"];
  return catalogue.columns.filter(
    (column) => known.includes(column.kind) && column.products > 0 && !["and", "or", "not"].includes(column.name),
  );
}

// ---------------------------------------------------------------------------------------------------------------------
// The server

/** What the server refused, or that it could not be reached (`status` 0). */
class ServerError extends Error {
  /** @param {string} message @param {number} status @param {number} [retryAfter] seconds */
  constructor(message, status, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let generation = ""; // of the catalogue that gave the last answer
let key = storedKey();

/** @returns {string} The key of this tab; a browser that keeps no data has none. */
function storedKey() {
  try {
    return sessionStorage.getItem("clipshelf-key") ?? "";
  } catch {
    return "";
  }
}

/** @param {string} given */
function setKey(given) {
  key = given;
  try {
    sessionStorage.setItem("clipshelf-key", given);
  } catch {
    // The key lasts as long as the page then.
  }
}

/** @returns {Record<string, string>} */
function authorization() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/**
 * The answer of the server to a GET, or to a POST where there is a body.
 * @param {string} path
 * @param {{body?: object, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
async function call(path, { body, signal } = {}) {
  const posted = body ? { method: "POST", body: JSON.stringify(body) } : {};
  const headers = { ...authorization(), ...(body ? { "Content-Type": "application/json" } : {}) };
  const response = await fetch(path, { ...posted, headers, signal }).catch((error) => {
    throw signal?.aborted ? error : new ServerError("The server cannot be reached.", 0);
  });
  const answer = await response.json().catch((error) => {
    if (signal?.aborted) throw error;
    return null;
  });
  if (response.status === 401 && (await askKey(answer?.detail ?? ""))) return call(path, { body, signal });
  generation = response.headers.get("Clipshelf-Generation") ?? generation;
  if (response.ok && answer) return answer;
  const reason = answer?.detail ?? answer?.title ?? `The server answered ${response.status}.`;
  throw new ServerError(
    String(reason),
    response.ok ? 0 : response.status,
    Number(response.headers.get("Retry-After")) || 0,
  );
}

/** @type {Promise<boolean> | null} */
let asking = null;

/**
 * Ask for the key of the server, once for all requests that wait for it.
 * @param {string} reason
 * @returns {Promise<boolean>} Whether there is one.
 */
function askKey(reason) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog", HTMLDialogElement);
    const field = byId("key", HTMLInputElement);
    if (key) byId("key-note", HTMLElement).textContent = `${reason} The key stays in this tab.`;
    field.value = "";
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener(
      "close",
      () => {
        setKey(dialog.returnValue === "given" ? field.value.trim() : "");
        asking = null;
        resolve(key !== "");
      },
      { once: true },
    );
  });
  return asking;
}

/** @type {Map<string, Item>} What is known of products, by id. */
const known = new Map();

/** @param {string} id @returns {Promise<Item | null>} A product, null for an id that the catalogue does not have. */
async function product(id) {
  if (!known.has(id)) {
    const item = await call(`/v1/products/${encodeURIComponent(id)}`).catch(() => null);
    if (item) known.set(id, item);
  }
  return known.get(id) ?? null;
}

/**
 * An answer; a busy server is asked again when it says.
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
async function recommend(signal) {
  const body = { ...toQuery(), explain: true, ...(photo ? { image: await dataUri(photo.sent) } : {}) };
  for (let attempt = 0; ; attempt++) {
    try {
      return await call("/v1/recommend", { body, signal });
    } catch (error) {
      const busy = error instanceof ServerError && (error.status === 503 || error.status === 429);
      if (!busy || attempt === RETRIES) throw error;
      const seconds = Math.min(30, Math.max(1, error.retryAfter));
      notify("slow", `The server is busy. Trying again in ${seconds} s.`);
      await pause(1000 * seconds, signal);
    }
  }
}

/** @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** @param {Blob} blob @returns {Promise<string>} */
function dataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Looking

/** @type {AbortController | null} */
let pending = null;
/** @type {number[]} */
let timers = [];

/** Look for what the state says, and show it; a later call ends an earlier one. */
async function look() {
  pending?.abort();
  const request = new AbortController();
  pending = request;
  const start = performance.now();
  setBusy(true);
  try {
    const named = [...state.taste.keys()].map(product); // the reasons call them by their names
    const [answer] = await Promise.all([asks() ? recommend(request.signal) : beginning(request.signal), ...named]);
    const elapsed = performance.now() - start;
    if (generation !== String(catalogue.generation)) await renewCatalogue();
    if (!request.signal.aborted) show(answer, elapsed);
  } catch (error) {
    if (!request.signal.aborted) showFault(error);
  } finally {
    if (pending === request) setBusy(false);
  }
}

/** The catalogue has changed: its facts are asked for again, and no card is used again. */
async function renewCatalogue() {
  catalogue = await call("/v1/catalogue");
  known.clear();
  shown.clear();
  showCatalogue();
  showControls();
}

/** @param {AbortSignal} signal @returns {Promise<Answer>} Products to begin with, from all over the catalogue. */
async function beginning(signal) {
  const where = conditions().map(inWords).join(" and ");
  const filter = where ? `&where=${encodeURIComponent(where)}` : "";
  const { products, total } = await call(`/v1/products?limit=${state.k}${filter}`, { signal });
  const note = where ? "No product passes the filter" : "The catalogue is empty";
  return { recommendations: products, took_ms: {}, ...(total ? {} : { note }) };
}

/** The timer of a change that goes on (`adjust`), 0 without one. */
let typing = 0;
/** Whether an answer is waited for. */
let looking = false;
/** Pictures that are being read for the query. */
let reading = 0;

/** Say whether the products are about to change: from the first letter, and from the choice of a picture. */
function markChanging() {
  cards.setAttribute("aria-busy", String(looking || typing !== 0 || reading > 0));
}

/** @template T @param {Promise<T>} work of reading a picture @returns {Promise<T>} */
async function whileReading(work) {
  reading += 1;
  markChanging();
  try {
    return await work;
  } finally {
    reading -= 1;
    markChanging();
  }
}

/** @param {boolean} busy */
function setBusy(busy) {
  timers.forEach(clearTimeout);
  looking = busy;
  markChanging();
  const progress = byId("progress", HTMLElement);
  if (!busy) progress.hidden = true;
  timers = busy
    ? [
        setTimeout(() => (progress.hidden = false), 150),
        setTimeout(() => notify("slow", "The server takes long. It is still at work."), 5000),
      ]
    : [];
}

/** @param {Answer} answer @param {number} elapsed milliseconds */
function show(answer, elapsed) {
  const items = answer.recommendations;
  for (const item of items) known.set(item.id, item);
  const fitting = items.findLastIndex((item) => (item.relevance ?? 1) >= catalogue.relevance_cut) + 1;
  notices.replaceChildren();
  if (answer.unknown_ids) notify("", `Not in the catalogue any more, and left out: ${answer.unknown_ids.join(", ")}`);
  const missing = answer.missing_shards ?? [];
  if (missing.length) notify("partial", partOf(missing));
  if (asks() && items.length && !fitting) notify("weak", weakness());
  showItems(items, asks() ? fitting : items.length, answer.note);
  byId("title", HTMLElement).textContent = headline(items.length, fitting);
  document.title = state.words.trim() ? `${state.words.trim()} · clipshelf` : "clipshelf";
  showTimes(items.length, answer.took_ms, elapsed);
  showMore(items.length);
  const best = items.length && asks() ? ` First: ${name(items[0])}` : "";
  const doubt = asks() && items.length && !fitting ? " Nothing fits well." : "";
  const partial = missing.length ? " The answer is partial." : "";
  byId("status", HTMLElement).textContent =
    `${items.length} of ${count(catalogue.products)} products.${partial}${doubt}${best}`;
}

/** @param {number[]} shards @returns {string} That the answer is partial, in words. */
function partOf(shards) {
  const [part, its] = shards.length > 1 ? ["Parts of the catalogue do", "Their"] : ["A part of the catalogue does", "Its"];
  return `${part} not answer now (shard ${shards.join(", ")}). ${its} products are missing here.`;
}

/** Show the button for more products where there may be more. @param {number} shown */
function showMore(shown) {
  const more = byId("more", HTMLButtonElement);
  const focused = document.activeElement === more;
  more.hidden = shown < state.k || state.k >= Math.min(catalogue.products, mostProducts());
  if (focused && more.hidden) byId("results", HTMLElement).focus({ preventScroll: true });
}

/** @param {number} shown @param {number} fitting @returns {string} */
function headline(shown, fitting) {
  if (!shown) return "No product is left";
  if (!asks()) return "Some products to begin with";
  return fitting ? "What fits" : "The nearest";
}

/** @returns {string} That nothing fits, in words. */
function weakness() {
  const dislikesAlone = !state.words.trim() && !photo && [...state.taste.values()].every((role) => role === "disliked");
  if (dislikesAlone)
    return "Dislikes alone say what to avoid, not what fits. Like something, or say what you look for.";
  return `Nothing fits well. These are only the nearest of ${count(catalogue.products)} products.`;
}

/** @param {number} shown @param {Record<string, number>} took @param {number} elapsed */
function showTimes(shown, took, elapsed) {
  const facts = [`${shown} of ${count(catalogue.products)}`];
  if (took.total !== undefined) {
    const stages = [...STAGES]
      .filter(([stage]) => took[stage] >= LEAST_STAGE)
      .map(([stage, label]) => `${label} ${digits(took[stage])}`);
    facts.push(
      `${digits(took.total)} ms${stages.length ? ` (${stages.join(", ")})` : ""}`,
      `round trip ${digits(elapsed)} ms`,
    );
  }
  byId("times", HTMLElement).textContent = facts.join(" · ");
}

/** @param {number} time */
function digits(time) {
  return time.toFixed(time < 10 ? 1 : 0);
}

/** @param {number} number */
function count(number) {
  return number.toLocaleString("en");
}

/**
 * Show a sentence above the products; one of a kind at a time.
 * @param {string} kind
 * @param {string} text
 * @param {() => void} [again]
 */
function notify(kind, text, again) {
  const notice = make(
    "div",
    { class: `notice ${kind}`, role: kind === "fault" ? "alert" : "note" },
    make("p", {}, text),
  );
  if (again) {
    const button = make("button", { type: "button" }, "Try again");
    button.addEventListener("click", again);
    notice.append(button);
  }
  if (kind) notices.querySelectorAll(`.notice.${kind}`).forEach((old) => old.remove());
  notices.append(notice);
}

/** @param {unknown} error */
function showFault(error) {
  notices.replaceChildren();
  const message = error instanceof Error ? error.message : String(error);
  notify("fault", message, () => void (catalogue ? look() : start()));
  cards.querySelectorAll(".waiting").forEach((place) => place.remove());
  byId("times", HTMLElement).textContent = cards.childElementCount ? "The products below are from before." : "\u00a0";
}

let toastTimer = 0;

/** @param {string} text */
function toast(text) {
  const element = byId("toast", HTMLElement);
  element.textContent = text;
  element.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => element.classList.remove("shown"), 4000);
}

// ---------------------------------------------------------------------------------------------------------------------
// The products

/** @type {Map<string, HTMLElement>} The cards that are shown, by id; a card stays one element while it is shown. */
let shown = new Map();

/** @param {Item | null} item @param {string} [id] @returns {string} What a product is called. */
function name(item, id = "") {
  const text = item?.product.text;
  return String((Array.isArray(text) ? text[0] : text) || item?.id || id).trim();
}

/**
 * Show products, the first `fitting` of them as those that fit.
 * @param {Item[]} items
 * @param {number} fitting
 * @param {string} [note] why there are none
 */
function showItems(items, fitting, note) {
  const before = new Map([...shown].map(([id, card]) => [id, card.getBoundingClientRect()]));
  const focus = focusedButton();
  const scale = scaleOf(items);
  shown = new Map(items.map((item) => [item.id, updated(shown.get(item.id) ?? newCard(item), item, scale)]));
  const nodes = [...shown.values()];
  if (fitting > 0 && fitting < nodes.length)
    nodes.splice(fitting, 0, make("li", { class: "part" }, "The nearest of the others, without a clear fit"));
  if (!nodes.length) nodes.push(nothing(note ?? "No product is left"));
  cards.replaceChildren(...nodes);
  restoreFocus(focus);
  if (!still.matches && items.length <= 60) moveFrom(before);
}

/** @param {string} note why there are no products @returns {HTMLElement} */
function nothing(note) {
  const element = make(
    "li",
    { class: "nothing" },
    make("p", {}, `${note.charAt(0).toUpperCase()}${note.slice(1)}.`.replace("..", ".")),
  );
  const [label, act] = state.choices.size
    ? ["Clear the filters", clearFilters]
    : ["Show the nearest all the same", showNearest];
  if (!state.choices.size && !state.fitting) return element;
  const button = make("button", { type: "button" }, label);
  button.addEventListener("click", act);
  element.append(button);
  return element;
}

/** @returns {{button: HTMLElement, position: number, kind: string} | null} The button of a card that has the focus. */
function focusedButton() {
  const button = document.activeElement;
  const card = button?.closest(".product");
  if (!(button instanceof HTMLElement) || !card) return null;
  return { button, position: [...cards.querySelectorAll(".product")].indexOf(card), kind: button.className };
}

/**
 * A moved card loses the focus, and a liked product leaves: give it to the same button, at worst of the next card.
 * @param {ReturnType<typeof focusedButton>} focus
 */
function restoreFocus(focus) {
  if (!focus) return;
  const next = [...cards.querySelectorAll(".product")].at(Math.min(focus.position, shown.size - 1));
  const heir = focus.kind ? next?.querySelector(`.${focus.kind}`) : next?.querySelector("summary");
  const target = focus.button.isConnected
    ? focus.button
    : heir instanceof HTMLElement
      ? heir
      : byId("results", HTMLElement);
  target.focus({ preventScroll: true });
}

/** Let cards glide from where they were. @param {Map<string, DOMRect>} before */
function moveFrom(before) {
  for (const [id, card] of shown) {
    const [old, now] = [before.get(id), card.getBoundingClientRect()];
    const from = old ? { transform: `translate(${old.left - now.left}px, ${old.top - now.top}px)` } : { opacity: 0 };
    if (!old || old.left !== now.left || old.top !== now.top)
      card.animate([from, {}], { duration: 260, easing: "cubic-bezier(.2, .7, .2, 1)" });
  }
}

/** @param {Item} item @returns {HTMLElement} */
function newCard(item) {
  const template = byId("card", HTMLTemplateElement).content.firstElementChild;
  const card = /** @type {HTMLElement} */ (template?.cloneNode(true));
  card.dataset.id = item.id;
  const label = name(item);
  for (const [kind, text] of [
    ["like", "Like"],
    ["dislike", "Dislike"],
    ["similar", "More like this"],
  ]) {
    part(card, `.${kind}`).setAttribute("aria-label", `${text}: ${label}`);
    part(card, `.${kind}`).title = text;
  }
  part(card, ".text").textContent = label;
  part(card, ".text").title = label;
  part(card, ".kind").textContent = plain(item.product.category);
  part(card, ".price").textContent = priceOf(item.product);
  if (item.image_url) void loadPicture(part(card, ".picture"), item.image_url);
  return card;
}

/** @param {Element} card @param {string} selector @returns {HTMLElement} */
function part(card, selector) {
  return /** @type {HTMLElement} */ (card.querySelector(selector));
}

/** @param {Product} product */
function priceOf(product) {
  const { price } = product;
  const cents = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return typeof price === "number" ? price.toLocaleString("en", cents) : plain(price);
}

/** A value of a product in words; a record has none. @param {any} value @returns {string} */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain).filter(Boolean).join(", ");
  return value === null || value === undefined || typeof value === "object" ? "" : String(value);
}

/**
 * Put a picture into a box; what is there stays where the picture cannot be loaded.
 * @param {HTMLElement} box
 * @param {string} url
 */
async function loadPicture(box, url) {
  const image = new Image();
  image.alt = "";
  image.decoding = "async";
  image.loading = "lazy";
  const blank = [...box.childNodes];
  image.addEventListener("error", () => box.replaceChildren(...blank), { once: true });
  image.src = key ? await fetchPicture(url) : url;
  box.replaceChildren(image);
}

/** @type {Map<string, Promise<string>>} */
const fetched = new Map();

/** An <img> sends no key, so that pictures of a server with keys are fetched. @param {string} url */
function fetchPicture(url) {
  if (!fetched.has(url)) {
    const blob = fetch(url, { headers: authorization() }).then((response) => (response.ok ? response.blob() : null));
    fetched.set(
      url,
      blob.then(
        (picture) => (picture ? URL.createObjectURL(picture) : "data:,"),
        () => "data:,",
      ),
    );
  }
  return /** @type {Promise<string>} */ (fetched.get(url));
}

/** @param {HTMLElement} card @param {Item} item @param {Scale} scale @returns {HTMLElement} */
function updated(card, item, scale) {
  const role = state.taste.get(item.id);
  part(card, ".like").setAttribute("aria-pressed", String(role === "liked" || role === "similar"));
  part(card, ".dislike").setAttribute("aria-pressed", String(role === "disliked"));
  const rated = item.relevance !== undefined && item.score !== undefined;
  part(card, ".fit").hidden = part(card, ".why").hidden = !rated;
  if (!rated) return card;
  const relevance = item.relevance ?? 0;
  card.classList.toggle("weak", relevance < catalogue.relevance_cut);
  const match = item.probability === undefined ? "" : `, match ${(100 * item.probability).toFixed(1)}%`;
  part(card, ".fits").textContent = `fits ${percent(relevance)}${match}`;
  part(card, ".gauge i").style.width = `${100 * relevance}%`;
  part(card, ".score").textContent = signed(item.score ?? 0, "");
  part(card, ".parts").replaceChildren(...showReasons(item, scale));
  return card;
}

/** Whole percents, of which 100 means 1, and not 0.996. @param {number} share */
function percent(share) {
  return `${share < 1 ? Math.min(99, Math.round(100 * share)) : 100}%`;
}

/** Two digits, with a minus that is as wide as a plus. @param {number} value @param {string} plus */
function signed(value, plus = "+") {
  const hundredths = Math.round(100 * value);
  return `${hundredths < 0 ? "\u2212" : plus}${(Math.abs(hundredths) / 100).toFixed(2)}`;
}

/**
 * What each signal adds to a score, the largest first, and the sum of the smaller ones.
 * @param {Item} item
 * @returns {Reason[]}
 */
function reasonsOf(item) {
  const parts = item.contributions ?? [];
  const rounded = roundToSum(
    parts.map(({ value }) => value),
    item.score ?? 0,
  );
  /** @type {Map<string, Reason>} */
  const signals = new Map();
  parts.forEach((contribution, i) => {
    const { signal, id, side, value } = contribution;
    const at = JSON.stringify([signal, id]);
    const reason = signals.get(at) ?? { label: signalName(signal, id), value: 0, rounded: 0, sides: [] };
    reason.value += value;
    reason.rounded += rounded[i];
    if (side) reason.sides.push(sideOf(contribution, rounded[i]));
    signals.set(at, reason);
  });
  const sorted = [...signals.values()].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const smaller = sorted.slice(SHOWN_SIGNALS);
  if (smaller.length < 2) return sorted;
  const sum = (/** @type {"value" | "rounded"} */ field) => smaller.reduce((total, reason) => total + reason[field], 0);
  const rest = { label: `${smaller.length} smaller ones`, value: sum("value"), rounded: sum("rounded"), sides: [] };
  return [...sorted.slice(0, SHOWN_SIGNALS), rest];
}

/**
 * What a signal adds through one side, with the shares of several pictures or texts.
 * @param {Part} contribution
 * @param {number} rounded
 */
function sideOf({ side, parts = [] }, rounded) {
  const called = side === "image" ? "picture" : "text";
  if (!parts.length) return `its ${called} ${signed(rounded)}`;
  const shares = roundToSum(
    parts.map(({ value }) => value),
    rounded,
  );
  const listed = parts.map(({ index }, i) => `${index + 1}: ${signed(shares[i])}`).join(", ");
  return `its ${called}s ${signed(rounded)} (${listed})`;
}

/**
 * Such as "words", or "liked" and the name of a product.
 * @param {string} signal
 * @param {string | null} id
 */
function signalName(signal, id) {
  const kind = signal
    .replace(/^words$/, "matching words")
    .replace(/^text\b/, "words")
    .replace(/^image\b/, "picture")
    .replaceAll("_", " ");
  if (id === null) return kind;
  const called = name(known.get(id) ?? null, id).replaceAll(/\s+/g, " ");
  return `${kind} ${shortened(called, NAME_WIDTH)}`;
}

/** @param {string} text @param {number} width characters */
function shortened(text, width) {
  return text.length <= width ? text : `${text.slice(0, width - 1).trimEnd()}…`;
}

/** The range of the running sums of all products, so that bars compare. @param {Item[]} items @returns {Scale} */
function scaleOf(items) {
  const sums = items.flatMap((item) => {
    let sum = 0;
    return reasonsOf(item).map(({ value }) => (sum += value));
  });
  return { least: Math.min(0, ...sums), most: Math.max(0, ...sums) };
}

/**
 * The reasons of a score: a bar for each, which begins where the one before ended, and the sum.
 * @param {Item} item
 * @param {Scale} scale
 */
function showReasons(item, scale) {
  const score = item.score ?? 0;
  let sum = 0;
  const rows = reasonsOf(item).flatMap(({ label, value, rounded, sides }) => {
    const start = sum;
    sum += value;
    const nodes = [
      make("dt", { title: label }, label),
      make("dd", {}, signed(rounded)),
      bar(start, sum, scale, value < 0 ? "minus" : ""),
    ];
    return sides.length > 1 || sides.join().includes("(") ? [...nodes, make("dd", { class: "sides" }, sides.join(", "))] : nodes;
  });
  return [
    ...rows,
    make("dt", { class: "sum" }, "score"),
    make("dd", { class: "sum" }, signed(score, "")),
    bar(0, score, scale, "whole"),
  ];
}

/** @param {number} from @param {number} to @param {Scale} scale @param {string} kind */
function bar(from, to, { least, most }, kind) {
  const range = most - least || 1;
  const fill = make("i", kind ? { class: kind } : {});
  fill.style.left = `${(100 * (Math.min(from, to) - least)) / range}%`;
  fill.style.width = `${(100 * Math.abs(to - from)) / range}%`;
  return make("dd", { class: "bar" }, fill);
}

/**
 * Round to hundredths, so that the rounded values sum to the rounded total.
 * @param {number[]} values
 * @param {number} total
 */
function roundToSum(values, total) {
  const hundredths = values.map((value) => Math.round(100 * value));
  const missing = Math.round(100 * total) - hundredths.reduce((sum, value) => sum + value, 0);
  const step = Math.sign(missing);
  const lost = values
    .map((value, i) => ({ i, gain: step * (100 * value - hundredths[i]) }))
    .sort((a, b) => b.gain - a.gain);
  for (const { i } of lost.slice(0, Math.abs(missing))) hundredths[i] += step;
  return hundredths.map((value) => value / 100);
}

// ---------------------------------------------------------------------------------------------------------------------
// The session

/** Set or clear what a product is to the query. @param {string} id @param {Role} role */
function toggle(id, role) {
  if (state.taste.get(id) === role) state.taste.delete(id);
  else {
    state.taste.delete(id); // so that it comes last
    state.taste.set(id, role);
  }
  commit();
}

/** Start again from a product alone; the filters stay. @param {string} id */
function startFrom(id) {
  state.words = "";
  state.taste = new Map([[id, "similar"]]);
  photo = null;
  state.k = PAGE_OF_PRODUCTS;
  commit();
  const results = byId("results", HTMLElement);
  results.focus({ preventScroll: true });
  if (results.getBoundingClientRect().top < 0) results.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
}

/** @type {Record<Role, string>} */
const ROLES = { liked: "Liked", disliked: "Disliked", similar: "More like" };

/** Show what the query has of products; each chip can be removed. */
function showSession() {
  chips.replaceChildren(...[...state.taste].map(([id, role]) => chip(id, role)));
  byId("forget", HTMLButtonElement).hidden = !state.taste.size;
  byId("session-hint", HTMLElement).hidden = state.taste.size > 0;
}

/** @param {string} id @param {Role} role */
function chip(id, role) {
  const text = make("span", {}, id);
  const picture = make("span", { class: "none", "aria-hidden": "true" });
  const remove = make("button", { type: "button", class: "round" });
  remove.append(icon("close"));
  const element = make(
    "li",
    { class: `chip ${role}` },
    picture,
    make("span", {}, make("b", {}, ROLES[role]), text),
    remove,
  );
  remove.addEventListener("click", () => removeChip(element, id));
  const label = (/** @type {string} */ called) => {
    text.textContent = called;
    remove.setAttribute("aria-label", `Remove: ${ROLES[role].toLowerCase()} ${called}`);
  };
  label(name(known.get(id) ?? null, id));
  void product(id).then((item) => {
    label(item ? name(item) : `${id} (unknown)`);
    if (item?.image_url) void loadPicture(picture, item.image_url);
  });
  return element;
}

/** @param {HTMLElement} element @param {string} id */
function removeChip(element, id) {
  const position = [...chips.children].indexOf(element);
  state.taste.delete(id);
  commit();
  const heirs = [...chips.querySelectorAll("button")];
  (heirs[Math.min(position, heirs.length - 1)] ?? byId("results", HTMLElement)).focus({ preventScroll: true });
}

// ---------------------------------------------------------------------------------------------------------------------
// Filters and weights

/** Show a control for each column and each weight, as the state has it. */
function showControls() {
  const columns = filterable();
  const none = make("p", { class: "soft small" }, "The catalogue has no columns to filter by.");
  const rest = columns.filter((column, i) => i >= SHOWN_FILTERS && !state.choices.has(column.name));
  const filters = columns.filter((column) => !rest.includes(column)).map(filter);
  byId("filters", HTMLElement).replaceChildren(
    ...(columns.length ? filters : [none]),
    ...moreButton(rest, "filters", filter),
  );
  byId("weights", HTMLElement).replaceChildren(
    ...[...WEIGHTS].map(([id, label]) =>
      slider(label, 0, 2, defaultWeight(id), state.weights.get(id), (value) => setWeight(id, value)),
    ),
    slider("Variety", 0, 1, 0, state.diversity, (value) => (state.diversity = value)),
    fittingBox(),
  );
  showChanged();
}

function showNearest() {
  state.fitting = false;
  showControls();
  commit();
  byId("results", HTMLElement).focus({ preventScroll: true });
}

function clearFilters() {
  state.choices.clear();
  showControls();
  commit();
  byId("results", HTMLElement).focus({ preventScroll: true });
}

/**
 * A button that gives its place to what it stands for, and the focus to the first control of it; none for nothing.
 * @template T
 * @param {T[]} rest
 * @param {string} label
 * @param {(entry: T) => HTMLElement} show
 * @returns {HTMLElement[]}
 */
function moreButton(rest, label, show) {
  if (!rest.length) return [];
  const more = make("button", { type: "button", class: "link" }, `${rest.length} more ${label}`.trim());
  more.addEventListener("click", () => {
    const elements = rest.map(show);
    more.replaceWith(...elements);
    elements[0].querySelector("input")?.focus();
  });
  return [more];
}

/** @returns {HTMLElement} Whether products are left out that do not fit. */
function fittingBox() {
  const input = /** @type {HTMLInputElement} */ (make("input", { type: "checkbox", id: "fitting" }));
  input.checked = state.fitting;
  input.addEventListener("change", () => {
    state.fitting = input.checked;
    commit();
  });
  return make("label", { class: "check" }, input, "Leave out what does not fit");
}

/** @param {string} id @param {number} value */
function setWeight(id, value) {
  if (value === defaultWeight(id)) state.weights.delete(id);
  else state.weights.set(id, value);
}

/** Show what has been changed, and the ways back. */
function showChanged() {
  const filters = state.choices.size;
  const weights = state.weights.size + Number(state.diversity > 0) + Number(state.fitting);
  byId("filters-clear", HTMLButtonElement).hidden = !filters;
  byId("weights-reset", HTMLButtonElement).hidden = !weights;
  byId("filter-count", HTMLElement).textContent = filters + weights ? String(filters + weights) : "";
}

/**
 * A slider of one number.
 * @param {string} label
 * @param {number} least
 * @param {number} most
 * @param {number} standard
 * @param {number | undefined} value
 * @param {(value: number) => void} set
 */
function slider(label, least, most, standard, value, set) {
  const id = `slider-${label.toLowerCase()}`;
  const input = /** @type {HTMLInputElement} */ (
    make("input", { type: "range", id, min: String(least), max: String(most), step: "0.05" })
  );
  input.value = String(value ?? standard);
  const output = make("output", { for: id }, Number(input.value).toFixed(2));
  const row = make("div", { class: "slider" }, make("label", { for: id }, label), output, input);
  const mark = () => {
    row.classList.toggle("changed", Number(input.value) !== standard);
    input.style.setProperty("--at", String((Number(input.value) - least) / (most - least)));
  };
  mark();
  input.addEventListener("input", () => {
    output.textContent = Number(input.value).toFixed(2);
    set(Number(input.value));
    mark();
    adjust();
  });
  return row;
}

/** @param {Column} column @returns {HTMLElement} */
function filter(column) {
  if (column.kind === "number") return rangeFilter(column);
  if (column.kind === "date") return dateFilter(column);
  const few = (column.distinct ?? 2) <= MOST_OPTIONS && (column.distinct ?? 2) < Math.max(3, column.products);
  return few ? optionFilter(column) : textFilter(column);
}

/** @param {string} name @returns {string} The name of a column in words. */
function title(name) {
  const text = name.replaceAll(/[_.]+/g, " ").trim() || name;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string} name @param {...Node} children */
function fieldset(name, ...children) {
  return make("fieldset", { class: "filter" }, make("legend", {}, title(name)), ...children);
}

/** @param {string} name @param {Choice} change */
function choose(name, change) {
  const choice = { ...state.choices.get(name), ...change };
  const empty = choice.min === undefined && choice.max === undefined && !choice.is?.length && !choice.has;
  if (empty) state.choices.delete(name);
  else state.choices.set(name, choice);
  adjust();
}

/** @param {Column} column @returns {HTMLElement} Buttons that can be pressed together; any of them may hold. */
function optionFilter(column) {
  const values = column.values ?? [];
  const show = (/** @type {{value: any, products: number}} */ entry) => option(column, entry.value, entry.products);
  const chosen = state.choices.get(column.name)?.is ?? [];
  const folds = values.length > SHOWN_OPTIONS + 1;
  const rest = folds ? values.slice(SHOWN_OPTIONS).filter(({ value }) => !chosen.includes(String(value))) : [];
  const first = values.filter((entry) => !rest.includes(entry));
  return fieldset(column.name, make("div", { class: "options" }, ...first.map(show), ...moreButton(rest, "", show)));
}

/** @param {Column} column @param {any} value @param {number} products @returns {HTMLElement} */
function option(column, value, products) {
  const text = String(value);
  const input = /** @type {HTMLInputElement} */ (make("input", { type: "checkbox" }));
  input.checked = state.choices.get(column.name)?.is?.includes(text) ?? false;
  input.addEventListener("change", () => {
    const others = (state.choices.get(column.name)?.is ?? []).filter((other) => other !== text);
    choose(column.name, { is: input.checked ? [...others, text] : others });
  });
  const label = column.kind === "bool" ? (value ? "yes" : "no") : shortened(text, OPTION_WIDTH);
  const number = make("span", {}, count(products));
  return make("label", { class: "option", title: text }, input, make("bdi", {}, label), number);
}

/** @param {Column} column @returns {HTMLElement} A field for a part of a text, or for an item of a list. */
function textFilter(column) {
  const id = `values-${column.name}`;
  const list = column.kind === "texts";
  const field = /** @type {HTMLInputElement} */ (
    make("input", {
      type: "search",
      list: id,
      placeholder: list ? "is one of the list" : "contains",
      "aria-label": title(column.name),
    })
  );
  field.value = state.choices.get(column.name)?.has ?? "";
  field.addEventListener("input", () => choose(column.name, { has: field.value || undefined }));
  const values = make(
    "datalist",
    { id },
    ...(column.values ?? []).map(({ value }) => make("option", { value: String(value) })),
  );
  return fieldset(column.name, field, values);
}

/** @param {Column} column @returns {HTMLElement} */
function dateFilter(column) {
  const bound = (/** @type {"min" | "max"} */ end, /** @type {string} */ label) => {
    const field = /** @type {HTMLInputElement} */ (
      make("input", {
        type: "date",
        min: String(column.min).slice(0, 10),
        max: String(column.max).slice(0, 10),
        "aria-label": `${title(column.name)} ${label}`,
      })
    );
    field.value = (state.choices.get(column.name)?.[end] ?? "").slice(0, 10);
    field.addEventListener("change", () =>
      choose(column.name, { [end]: field.value ? field.value + (end === "max" ? "T23:59:59" : "") : undefined }),
    );
    return field;
  };
  return fieldset(column.name, make("div", { class: "pair" }, bound("min", "from"), "to", bound("max", "to")));
}

/** @typedef {"min" | "max"} End */
/** @typedef {{toValue: (at: number) => number, toPosition: (value: number) => number}} RangeScale */
/** @typedef {{fields: HTMLInputElement[], thumbs: HTMLInputElement[], chosen: HTMLElement}} RangeControls */

const ENDS = /** @type {const} */ (["min", "max"]);

/**
 * From the way of a slider, 0 to 100, to the values of a column and back; by magnitude where the range is wide.
 * @param {number} least
 * @param {number} most
 * @returns {RangeScale}
 */
function rangeScale(least, most) {
  const span = most - least || 1;
  const [toValue, toShare] =
    least > 0 && most / least > 50
      ? [
          (/** @type {number} */ at) => least * (most / least) ** (at / 100),
          (/** @type {number} */ value) => Math.log(value / least) / Math.log(most / least),
        ]
      : [
          (/** @type {number} */ at) => least + (span * at) / 100,
          (/** @type {number} */ value) => (value - least) / span,
        ];
  return { toValue, toPosition: (value) => 100 * Math.min(1, Math.max(0, toShare(value) || 0)) };
}

/**
 * Two numbers, and two sliders for them.
 * @param {Column} column
 */
function rangeFilter(column) {
  const bounds = { min: Number(column.min), max: Number(column.max) };
  const scale = rangeScale(bounds.min, bounds.max);
  const labels = { min: `${title(column.name)} from`, max: `${title(column.name)} to` };
  const input = (/** @type {Record<string, string>} */ attributes) =>
    /** @type {HTMLInputElement} */ (make("input", attributes));
  const controls = {
    chosen: make("span", { class: "chosen" }),
    fields: ENDS.map((end) =>
      input({ type: "number", step: "any", "aria-label": labels[end], placeholder: readable(bounds[end]) }),
    ),
    thumbs: ENDS.map((end) =>
      input({ type: "range", min: "0", max: "100", step: "0.5", "aria-label": `${labels[end]}, slider` }),
    ),
  };
  const draw = () => drawRange(column, bounds, scale, controls);
  listenToRange(column, scale, controls, draw);
  draw();
  const numbers = make("div", { class: "pair" }, controls.fields[0], "to", controls.fields[1]);
  const range = make("div", { class: "range" }, controls.chosen, ...controls.thumbs);
  return fieldset(column.name, numbers, ...(bounds.max > bounds.min ? [range] : []));
}

/**
 * Show the choice of a range in its controls; the one that is in use stays as it is.
 * @param {Column} column
 * @param {Record<End, number>} bounds
 * @param {RangeScale} scale
 * @param {RangeControls} controls
 */
function drawRange(column, bounds, scale, { fields, thumbs, chosen }) {
  const choice = state.choices.get(column.name) ?? {};
  ENDS.forEach((end, i) => {
    const value = choice[end] === undefined ? bounds[end] : Number(choice[end]);
    if (document.activeElement !== fields[i]) fields[i].value = choice[end] ?? "";
    if (document.activeElement !== thumbs[i]) thumbs[i].value = String(scale.toPosition(value));
    thumbs[i].setAttribute("aria-valuetext", readable(value));
  });
  const [from, to] = thumbs.map((thumb) => Number(thumb.value));
  // A thumb is 20 pixels wide, and its middle goes from 10 pixels to 10 before the end.
  chosen.style.left = `calc(${from}% + ${10 - from / 5}px)`;
  chosen.style.right = `calc(${100 - to}% + ${to / 5 - 10}px)`;
}

/**
 * Take what is typed or slid.
 * @param {Column} column
 * @param {RangeScale} scale
 * @param {RangeControls} controls
 * @param {() => void} draw
 */
function listenToRange(column, scale, { fields, thumbs }, draw) {
  ENDS.forEach((end, i) => {
    fields[i].addEventListener("input", () => {
      choose(column.name, { [end]: usable("number", fields[i].value) ? fields[i].value : undefined });
      draw();
    });
    thumbs[i].addEventListener("input", () => {
      const [own, other] = [Number(thumbs[i].value), Number(thumbs[1 - i].value)];
      const at = end === "min" ? Math.min(own, other) : Math.max(own, other);
      thumbs[i].value = String(at);
      const open = end === "min" ? at <= 0 : at >= 100;
      choose(column.name, { [end]: open ? undefined : readable(scale.toValue(at)) });
      draw();
    });
  });
}

/** @param {number} value @returns {string} A number with three digits or so, as an input takes it. */
function readable(value) {
  return String(Number(value.toPrecision(Math.abs(value) < 1000 ? 3 : 4)));
}

// ---------------------------------------------------------------------------------------------------------------------
// The picture

/** @param {Blob} blob @returns {Promise<HTMLImageElement>} */
async function decoded(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
    return image;
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/**
 * The part of a picture that the crop has, no larger than what is sent, on white.
 * @param {HTMLImageElement} image
 * @param {Crop | null} crop
 * @returns {Promise<Blob | null>}
 */
function shrunk(image, crop) {
  const { left, top, right, bottom } = crop ?? { left: 0, top: 0, right: 100, bottom: 100 };
  const [x, y] = [(left * image.naturalWidth) / 100, (top * image.naturalHeight) / 100];
  const [width, height] = [((right - left) * image.naturalWidth) / 100, ((bottom - top) * image.naturalHeight) / 100];
  const scale = Math.min(1, PICTURE_EDGE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * width));
  canvas.height = Math.max(1, Math.round(scale * height));
  const context = canvas.getContext("2d");
  if (!context) return Promise.resolve(null);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

/**
 * Take a picture for the query. What this browser cannot read is sent as it is; the server reads more formats.
 * @param {Blob} blob
 */
async function takePhoto(blob) {
  const image = await whileReading(decoded(blob)).catch(() => null);
  const sent = (image && (await whileReading(shrunk(image, null)))) ?? blob;
  const ratio = image && image.naturalWidth / image.naturalHeight;
  setPhoto({ original: blob, crop: null, sent, url: URL.createObjectURL(sent), ratio });
}

/** @param {Photo | null} next */
function setPhoto(next) {
  if (next) photos.push(next);
  photo = next;
  commit();
}

function showPhoto() {
  const picture = byId("photo-shown", HTMLImageElement);
  picture.hidden = byId("photo-remove", HTMLButtonElement).hidden = !photo;
  byId("crop", HTMLButtonElement).hidden = !photo?.ratio;
  if (photo && ["choose", "camera"].includes(document.activeElement?.id ?? ""))
    byId("photo-remove", HTMLButtonElement).focus();
  byId("choose", HTMLButtonElement).hidden = Boolean(photo);
  byId("hint", HTMLElement).hidden = Boolean(photo);
  byId("camera", HTMLButtonElement).hidden = Boolean(photo) || !hasCamera;
  if (photo) picture.src = photo.url;
  else picture.removeAttribute("src");
}

const touch = matchMedia("(pointer: coarse)"); // of a device whose file dialog opens the camera
let hasCamera = touch.matches;

/** Find out whether there is a camera; browsers tell on https and on this machine. */
async function findCamera() {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  hasCamera ||= devices.some((device) => device.kind === "videoinput");
  showPhoto();
}

async function openCamera() {
  if (touch.matches) {
    byId("shot", HTMLInputElement).click();
    return;
  }
  const stream = await navigator.mediaDevices.getUserMedia({ video: true }).catch(() => null);
  if (!stream) {
    toast("There is no camera, or the browser keeps it closed.");
    return;
  }
  byId("video", HTMLVideoElement).srcObject = stream;
  const dialog = byId("camera-dialog", HTMLDialogElement);
  dialog.addEventListener("close", () => stream.getTracks().forEach((track) => track.stop()), { once: true });
  dialog.showModal();
}

/** Take what the camera shows. */
async function shoot() {
  const video = byId("video", HTMLVideoElement);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  byId("camera-dialog", HTMLDialogElement).close();
  const blob = await new Promise((/** @type {BlobCallback} */ resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob) await takePhoto(blob);
}

/** @type {Crop} The edges in the dialog. */
let frame = { left: 0, top: 0, right: 100, bottom: 100 };
const LEAST_FRAME = 5; // percent

/**
 * Move edges of the frame by percents, within the picture.
 * @param {string[]} edges
 * @param {number} across
 * @param {number} down
 */
function moveEdges(edges, across, down) {
  if (edges.includes("left")) frame.left = Math.min(frame.right - LEAST_FRAME, Math.max(0, frame.left + across));
  if (edges.includes("right")) frame.right = Math.max(frame.left + LEAST_FRAME, Math.min(100, frame.right + across));
  if (edges.includes("top")) frame.top = Math.min(frame.bottom - LEAST_FRAME, Math.max(0, frame.top + down));
  if (edges.includes("bottom")) frame.bottom = Math.max(frame.top + LEAST_FRAME, Math.min(100, frame.bottom + down));
  drawFrame();
}

/** Move the whole frame. @param {number} across @param {number} down */
function moveFrame(across, down) {
  const x = Math.min(100 - frame.right, Math.max(-frame.left, across));
  const y = Math.min(100 - frame.bottom, Math.max(-frame.top, down));
  frame = { left: frame.left + x, right: frame.right + x, top: frame.top + y, bottom: frame.bottom + y };
  drawFrame();
}

function drawFrame() {
  const { style } = byId("frame", HTMLElement);
  style.left = `${frame.left}%`;
  style.top = `${frame.top}%`;
  style.width = `${frame.right - frame.left}%`;
  style.height = `${frame.bottom - frame.top}%`;
  for (const edge of byId("frame", HTMLElement).querySelectorAll("[role=slider]")) {
    const at = Math.round(frame[/** @type {keyof Crop} */ (edge.getAttribute("data-edge"))]);
    edge.setAttribute("aria-valuenow", String(at));
    edge.setAttribute("aria-valuetext", `${at} percent`);
  }
}

function openCrop() {
  if (!photo?.ratio) return;
  byId("stage", HTMLElement).style.setProperty("--ratio", String(photo.ratio));
  const picture = byId("crop-picture", HTMLImageElement);
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(photo.original);
  frame = photo.crop ? { ...photo.crop } : { left: 10, top: 10, right: 90, bottom: 90 };
  drawFrame();
  byId("crop-dialog", HTMLDialogElement).showModal();
  /** @type {HTMLElement} */ (byId("frame", HTMLElement).firstElementChild).focus();
}

/** @param {Crop | null} crop */
async function useCrop(crop) {
  byId("crop-dialog", HTMLDialogElement).close();
  const before = photo;
  const sent = before && (await whileReading(decoded(before.original).then((image) => shrunk(image, crop))));
  if (sent && before === photo) setPhoto({ ...before, crop, sent, url: URL.createObjectURL(sent) });
}

/** Drag the frame or its edges. @param {PointerEvent} event */
function dragFrame(event) {
  const handle = /** @type {HTMLElement} */ (event.target);
  const box = byId("crop-picture", HTMLElement).getBoundingClientRect();
  const edges = handle.dataset.edge?.split(" ");
  const start = { ...frame };
  event.preventDefault();
  if (handle.tabIndex >= 0) handle.focus();
  handle.setPointerCapture(event.pointerId);
  const move = (/** @type {PointerEvent} */ to) => {
    const [across, down] = [
      (100 * (to.clientX - event.clientX)) / box.width,
      (100 * (to.clientY - event.clientY)) / box.height,
    ];
    frame = { ...start };
    if (edges) moveEdges(edges, across, down);
    else moveFrame(across, down);
  };
  handle.addEventListener("pointermove", move);
  handle.addEventListener("lostpointercapture", () => handle.removeEventListener("pointermove", move), { once: true });
}

/** @param {KeyboardEvent} event */
function nudgeFrame(event) {
  const edge = /** @type {HTMLElement} */ (event.target).dataset.edge;
  const step = event.shiftKey ? 10 : 2;
  const [across, down] = {
    ArrowLeft: [-step, 0],
    ArrowRight: [step, 0],
    ArrowUp: [0, -step],
    ArrowDown: [0, step],
    Home: [-100, -100],
    End: [100, 100],
  }[event.key] ?? [0, 0];
  if (!edge || (!across && !down)) return;
  event.preventDefault();
  moveEdges([edge], across, down);
}

// ---------------------------------------------------------------------------------------------------------------------
// The query as code

/** @param {string} text @returns {string} A word of a POSIX shell. */
function shellWord(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {Record<string, any>} query @returns {string} JSON with a field a line. */
function jsonLines(query) {
  const fields = Object.entries(query).map(([name, value]) => `  ${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  return `{\n${fields.join(",\n")}\n}`;
}

/** @param {any} value @returns {string} A literal of Python. */
function pythonLiteral(value) {
  if (Array.isArray(value)) return `[${value.map(pythonLiteral).join(", ")}]`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "object")
    return `{${Object.entries(value)
      .map(([name, inner]) => `${JSON.stringify(name)}: ${pythonLiteral(inner)}`)
      .join(", ")}}`;
  return JSON.stringify(value);
}

/** @param {string} text @returns {string} A raw string of C++. */
function rawString(text) {
  let mark = "json";
  while (text.includes(`)${mark}"`)) mark += "_";
  return `R"${mark}(${text})${mark}"`;
}

/** @returns {string} */
function curlCode() {
  const url = shellWord(`${location.origin}/v1/recommend`);
  const header = `-H 'Content-Type: application/json'${key ? ' -H "Authorization: Bearer $CLIPSHELF_KEY"' : ""}`;
  const query = jsonLines(toQuery());
  if (!photo) return `curl ${url} \\\n  ${header} \\\n  -d ${shellWord(query)}`;
  const start = `${query.slice(0, -2)},\n  "image": "`;
  const body = `{ printf '%s' ${shellWord(start)}; base64 < ${photoFile()} | tr -d '\\n'; printf '"}'; }`;
  return `${body} |\ncurl ${url} \\\n  ${header} \\\n  --data-binary @-`;
}

/** @returns {string} */
function pythonCode() {
  const entries = Object.entries(toQuery()).map(
    ([name, value]) => `    ${JSON.stringify(name)}: ${pythonLiteral(value)},\n`,
  );
  if (photo) entries.push(`    "image": base64.b64encode(Path("${photoFile()}").read_bytes()).decode(),\n`);
  const imports = [
    ...(photo ? ["import base64"] : []),
    "import json",
    ...(key ? ["import os"] : []),
    "import urllib.request",
    ...(photo ? ["from pathlib import Path"] : []),
  ];
  const secret = key ? ', "Authorization": "Bearer " + os.environ["CLIPSHELF_KEY"]' : "";
  const headers = `{"Content-Type": "application/json"${secret}}`;
  return `${imports.join("\n")}

query = {
${entries.join("")}}
url = ${JSON.stringify(`${location.origin}/v1/recommend`)}
request = urllib.request.Request(url, json.dumps(query).encode(), ${headers})
with urllib.request.urlopen(request) as response:
    answer = json.load(response)
for item in answer["recommendations"]:
    print(f'{item["score"]:6.3f} {item["relevance"]:5.0%}  {item["id"]}')
`;
}

/** @returns {string} */
function cppCode() {
  const read = photo
    ? `    std::ifstream file("${photoFile()}", std::ios::binary);
    const std::vector<char> photo{std::istreambuf_iterator<char>(file), {}};
`
    : "";
  const image = photo ? "\n                           .image(clipshelf::encoded(photo))" : "";
  return `// recommend CATALOGUE [ARTIFACT]
#include <clipshelf.hpp>

#include <cstdio>
#include <exception>
${photo ? "#include <fstream>\n#include <iterator>\n#include <vector>\n" : ""}
int main(int argc, char **argv) try {
    if (argc < 2) return 2;
    clipshelf::Options options;
    if (argc > 2) options.artifact = argv[2];
    const clipshelf::Engine engine(options);
    const clipshelf::Catalogue catalogue(engine, argv[1]);
${read}    const auto query = clipshelf::Query()${image}
                           .json(${rawString(jsonLines(toQuery()))});
    const auto answer = catalogue.recommend(query);
    for (const auto &item : answer.items())
        std::printf("%6.3f %4.0f%%  %s\\n", item.score, 100 * item.relevance, item.id);
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "recommend: %s\\n", error.what());
    return 1;
}
`;
}

/** @returns {string} */
function photoFile() {
  return photo?.sent.type === "image/jpeg" ? "photo.jpg" : "photo";
}

const CODES = new Map([
  ["curl", { code: curlCode, note: "Asks this server, from any POSIX shell." }],
  ["python", { code: pythonCode, note: "Asks this server, with Python alone." }],
  [
    "cpp",
    { code: cppCode, note: "Asks no server: libclipshelf answers in your program, from the folder of the catalogue." },
  ],
]);

/** @param {string} language */
function showCode(language) {
  for (const tab of CODES.keys()) {
    const button = byId(`tab-${tab}`, HTMLButtonElement);
    button.setAttribute("aria-selected", String(tab === language));
    button.tabIndex = tab === language ? 0 : -1;
  }
  const { code, note } = CODES.get(language) ?? { code: curlCode, note: "" };
  const text = byId("code-text", HTMLElement);
  text.textContent = code();
  text.setAttribute("aria-labelledby", `tab-${language}`);
  const secret = key && language !== "cpp" ? " The key is read from the variable CLIPSHELF_KEY." : "";
  byId("code-note", HTMLElement).textContent =
    `${note}${photo ? ` Save ${photoFile()} beside it first.` : ""}${secret}`;
  const save = byId("code-photo", HTMLAnchorElement);
  save.hidden = !photo;
  if (photo) Object.assign(save, { href: photo.url, download: photoFile(), textContent: `Save ${photoFile()}` });
}

function openCode() {
  if (!asks()) {
    toast("Say first what you look for: the code is that of a query.");
    return;
  }
  showCode("curl");
  byId("code-dialog", HTMLDialogElement).showModal();
}

/**
 * Whether a text is in the clipboard now; browsers allow it on https and on this machine.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
async function copy(text) {
  return navigator.clipboard
    ? navigator.clipboard.writeText(text).then(
        () => true,
        () => false,
      )
    : false;
}

async function copyLink() {
  const copied = await copy(location.origin + address());
  const left = photo ? " The picture is not in it: a link cannot hold one." : "";
  toast(
    (copied ? "The link is copied." : "The browser keeps its clipboard closed. The link is in the address bar.") + left,
  );
}

async function copyCode() {
  const text = byId("code-text", HTMLElement);
  const button = byId("code-copy", HTMLButtonElement);
  const copied = await copy(text.textContent ?? "");
  if (!copied) getSelection()?.selectAllChildren(text);
  button.textContent = copied ? "Copied" : "Selected, copy it by the keyboard";
  setTimeout(() => (button.textContent = "Copy"), 2500);
}

// ---------------------------------------------------------------------------------------------------------------------
// Events

/** @returns {string} The address of the state on this server. */
function address() {
  const fragment = toFragment(state);
  return location.pathname + (fragment && `#${fragment}`);
}

/** Take a change as a step of its own: the browser's way back leads to what was before. */
function commit() {
  history.pushState({ photo: photo ? photos.indexOf(photo) : -1 }, "", address());
  showState();
  void look();
}

/** Take a change that goes on, of words or of a slider: it looks after a pause, and is no step of its own. */
function adjust() {
  showChanged();
  clearTimeout(typing);
  typing = setTimeout(() => {
    typing = 0;
    history.replaceState({ photo: photo ? photos.indexOf(photo) : -1 }, "", address());
    void look();
  }, TYPING_PAUSE);
  markChanging();
}

/** Show the state in all controls. */
function showState() {
  clearTimeout(typing);
  typing = 0;
  if (words.value.trim() !== state.words.trim()) words.value = state.words;
  showPhoto();
  showSession();
  showChanged();
}

/** Take the state from the address, when the page opens and on the way back. */
function restore() {
  state = fromFragment(location.hash);
  photo = photos[history.state?.photo ?? -1] ?? null;
  showState();
  showControls();
  void look();
}

/** @param {FileList | null | undefined} files @returns {boolean} Whether there is a picture among them. */
function takeFrom(files) {
  const picture = [...(files ?? [])].find((file) => file.type.startsWith("image/") || !file.type);
  if (picture) void takePhoto(picture);
  return Boolean(picture);
}

function listenToQuery() {
  byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    state.words = words.value;
    commit();
  });
  words.addEventListener("input", () => {
    state.words = words.value;
    adjust();
  });
  words.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("composer", HTMLFormElement).requestSubmit();
  });
  byId("choose", HTMLButtonElement).addEventListener("click", () => byId("file", HTMLInputElement).click());
  byId("camera", HTMLButtonElement).addEventListener("click", () => void openCamera());
  for (const field of [byId("file", HTMLInputElement), byId("shot", HTMLInputElement)]) {
    field.addEventListener("change", () => {
      takeFrom(field.files);
      field.value = "";
    });
  }
  byId("photo-remove", HTMLButtonElement).addEventListener("click", () => {
    setPhoto(null);
    byId("choose", HTMLButtonElement).focus();
  });
  document.addEventListener("paste", (event) => {
    if (takeFrom(event.clipboardData?.files)) event.preventDefault();
  });
}

function listenToDrops() {
  const dropping = byId("dropping", HTMLElement);
  let depth = 0;
  const cover = (/** @type {number} */ change) => {
    depth = Math.max(0, depth + change);
    dropping.hidden = depth === 0;
  };
  const brings = (/** @type {DragEvent} */ event) =>
    event.dataTransfer?.types.includes("Files") || event.dataTransfer?.types.includes("text/uri-list");
  addEventListener("dragenter", (event) => brings(event) && cover(1));
  addEventListener("dragleave", (event) => brings(event) && cover(-1));
  addEventListener("dragover", (event) => brings(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    cover(-depth);
    if (!brings(event)) return;
    event.preventDefault();
    if (!takeFrom(event.dataTransfer?.files))
      toast("That is no picture file. A picture of another page can be copied and pasted.");
  });
}

function listenToProducts() {
  cards.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest(".actions button");
    const id = button?.closest(".product")?.getAttribute("data-id");
    if (!button || typeof id !== "string") return;
    if (button.classList.contains("similar")) startFrom(id);
    else toggle(id, button.classList.contains("like") ? "liked" : "disliked");
  });
  byId("forget", HTMLButtonElement).addEventListener("click", () => {
    state.taste.clear();
    commit();
    words.focus();
  });
  byId("more", HTMLButtonElement).addEventListener("click", () => {
    state.k = Math.min(mostProducts(), state.k + PAGE_OF_PRODUCTS);
    commit();
  });
}

function listenToControls() {
  byId("filters-clear", HTMLButtonElement).addEventListener("click", clearFilters);
  byId("weights-reset", HTMLButtonElement).addEventListener("click", () => {
    state.weights.clear();
    state.diversity = 0;
    state.fitting = false;
    showControls();
    commit();
    byId("weights", HTMLElement).querySelector("input")?.focus();
  });
  wide.addEventListener("change", () => (panel.open = wide.matches));
  panel.open = wide.matches;
  byId("link", HTMLButtonElement).addEventListener("click", () => void copyLink());
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault(); // the fragment of the address holds the state
    byId("results", HTMLElement).focus();
  });
}

function listenToDialogs() {
  byId("code", HTMLButtonElement).addEventListener("click", openCode);
  byId("code-copy", HTMLButtonElement).addEventListener("click", () => void copyCode());
  byId("code-close", HTMLButtonElement).addEventListener("click", () => byId("code-dialog", HTMLDialogElement).close());
  const languages = [...CODES.keys()];
  languages.forEach((language, i) => {
    const tab = byId(`tab-${language}`, HTMLButtonElement);
    tab.addEventListener("click", () => showCode(language));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = languages[(i + step + languages.length) % languages.length];
      showCode(next);
      byId(`tab-${next}`, HTMLButtonElement).focus();
    });
  });
  byId("camera-shoot", HTMLButtonElement).addEventListener("click", () => void shoot());
  byId("camera-cancel", HTMLButtonElement).addEventListener("click", () =>
    byId("camera-dialog", HTMLDialogElement).close(),
  );
  byId("crop", HTMLButtonElement).addEventListener("click", openCrop);
  byId("crop-use", HTMLButtonElement).addEventListener("click", () => void useCrop({ ...frame }));
  byId("crop-whole", HTMLButtonElement).addEventListener("click", () => void useCrop(null));
  byId("crop-cancel", HTMLButtonElement).addEventListener("click", () =>
    byId("crop-dialog", HTMLDialogElement).close(),
  );
  byId("frame", HTMLElement).addEventListener("pointerdown", dragFrame);
  byId("frame", HTMLElement).addEventListener("keydown", nudgeFrame);
}

function showCatalogue() {
  byId("shelf", HTMLElement).textContent = `${count(catalogue.products)} products`;
  words.maxLength = catalogue.limits.text_characters;
}

/** Load the catalogue's facts, then show what the address says. */
async function start() {
  cards.replaceChildren(
    ...Array.from({ length: PAGE_OF_PRODUCTS }, () => make("li", { class: "waiting", "aria-hidden": "true" })),
  );
  setBusy(true);
  try {
    catalogue = await call("/v1/catalogue");
  } catch (error) {
    showFault(error);
    return;
  } finally {
    setBusy(false);
  }
  showCatalogue();
  addEventListener("popstate", restore);
  restore();
}

listenToQuery();
listenToDrops();
listenToProducts();
listenToControls();
listenToDialogs();
void findCamera();
void start();
