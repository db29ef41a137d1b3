// The states of days and windows: word, icon and pattern, so that no state is told by colour alone.

import { h } from "./host.js";

/** @typedef {import("./contract.js").State} State */

/**
 * `paths` are drawn as strokes in a box of 16; `filled` ones are filled. `look` says whether a person should look.
 * @type {Record<State, {word: string, paths: string[], filled?: string[], look: boolean, help: string}>}
 */
export const STATES = {
  failed: { word: "failed", paths: ["M4 4l8 8M12 4l-8 8"], look: true, help: "an attempt failed; a run tries it again" },
  blocked: { word: "blocked", paths: ["M8 1.8a6.2 6.2 0 1 0 .01 0M4.5 8h7"], look: true, help: "too many attempts failed; it moves again only when asked" },
  missing: { word: "missing", paths: ["M8 2.5v7"], filled: ["M8 11.8a1.3 1.3 0 1 0 .01 0"], look: true, help: "neither committed nor waived" },
  drifted: { word: "drifted", paths: ["M3 6h10M3 10h10M10.5 3l-5 10"], look: true, help: "the source has changed since the commit" },
  unverified: { word: "unverified", paths: ["M5.4 6a2.6 2.6 0 1 1 3.8 2.3c-.8.5-1.2.9-1.2 1.9"], filled: ["M8 12.2a1 1 0 1 0 .01 0"], look: true, help: "the target may have changed; the audit did not finish" },
  too_old: { word: "too old", paths: ["M8 5v3.2l2 1.4M2.8 5.2A6 6 0 1 1 2 8M2.2 2.4v3h3"], look: true, help: "missing, and too long ago for any planned run" },
  running: { word: "running", paths: [], filled: ["M5 3l8 5-8 5z"], look: false, help: "a run holds it" },
  ready: { word: "ready", paths: ["M5.5 3.5L10 8l-4.5 4.5"], look: false, help: "the next run moves it; if none begins within the window's own length, it is missing" },
  not_settled: { word: "not settled", paths: ["M4.5 2.5h7M4.5 13.5h7M5.2 2.5c0 3 5.6 8 5.6 11M10.8 2.5c0 3-5.6 8-5.6 11"], look: false, help: "the source may still change it; runs wait" },
  waived: { word: "waived", paths: ["M8 2.2a5.8 5.8 0 1 0 .01 0M12.2 3.8l-8.4 8.4"], look: false, help: "left incomplete on purpose, with a reason" },
  replaced: { word: "replaced", paths: ["M3 8a5 5 0 0 1 8.7-3.4L13 6M13 2.6V6H9.6M13 8a5 5 0 0 1-8.7 3.4L3 10M3 13.4V10h3.4"], look: false, help: "complete; moved more than once" },
  complete: { word: "complete", paths: ["M3 8.4l3.3 3.3L13 4.8"], look: false, help: "source = staged = target = distinct" },
};

/** The states, worst first. */
export const ORDER = /** @type {State[]} */ (Object.keys(STATES));

/** @param {string | null | undefined} state */
export const stateOf = (state) => STATES[/** @type {State} */ (state)] ?? { word: String(state ?? "not planned").replaceAll("_", " "), paths: [], look: false, help: "" };

/** Why time is missing, in the words of `gaps`, as states. @type {Record<string, State>} */
const GAP_STATES = { never_run: "missing", unfinished: "missing", leased: "running" };

/** @param {string} reason */
export const gapState = (reason) => /** @type {State} */ (GAP_STATES[reason] ?? reason);

/**
 * `failed 3 of 5`, `replaced 2 times`, `drifted (shrank)`.
 * @param {{state: string | null, failures?: number, max_attempts?: number, replaced?: number, drift?: string | null}} window
 */
export function stateText({ state, failures, max_attempts: most, replaced, drift }) {
  const { word } = stateOf(state);
  if ((state === "failed" || state === "blocked") && failures) return most ? `${word} ${failures} of ${most}` : `${word} ${failures} times`;
  if (state === "replaced" && replaced) return replaced === 1 ? "replaced once" : `replaced ${replaced} times`;
  if (state === "drifted" && drift) return `${word} (${drift})`;
  return word;
}

/**
 * The icon of a state. It is decoration: the word or the label is always beside it.
 * @param {{state: string | null | undefined, size?: number}} props
 */
export function Icon({ state, size = 14 }) {
  const { paths, filled = [] } = /** @type {{paths: string[], filled?: string[]}} */ (stateOf(state));
  return h(
    "svg",
    { viewBox: "0 0 16 16", width: size, height: size, className: "pp-icon", "aria-hidden": true, focusable: "false" },
    paths.map((d) => h("path", { key: d, d, fill: "none", stroke: "currentColor", strokeWidth: 1.9, strokeLinecap: "round", strokeLinejoin: "round" })),
    filled.map((d) => h("path", { key: d, d, fill: "currentColor", stroke: "none" })),
  );
}

/**
 * Icon and word on the state's colour and pattern.
 * @param {{state: string | null, text?: string}} props
 */
export const Mark = ({ state, text }) =>
  h("span", { className: `pp-mark pp-state pp-${state ?? "none"}` }, h(Icon, { state }), h("span", null, text ?? stateOf(state).word));

/**
 * What the icons and patterns mean; only the states that are on the page.
 * @param {{states: Iterable<string>}} props
 */
export function Legend({ states }) {
  const present = new Set(states);
  const shown = ORDER.filter((state) => present.has(state));
  return h(
    "ul",
    { className: "pp-legend", "aria-label": "What the marks mean" },
    shown.map((state) => h("li", { key: state, title: STATES[state].help },
      h("span", { className: `pp-swatch pp-state pp-${state}` }, h(Icon, { state, size: 11 })),
      h("span", null, STATES[state].word))),
  );
}
