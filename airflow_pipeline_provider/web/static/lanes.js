// Days × windows: a lane is a day, as long as the day is; a cell is a window, as wide as the time that it covers.

import { useCells } from "./grid.js";
import { Fragment, h, useMemo } from "./host.js";
import { Icon, Mark, stateOf, stateText } from "./states.js";
import { clock, count, counted, local, secondsBetween, shortDay, span, spanOfDay } from "./time.js";

/** @typedef {import("./contract.js").Lane} Lane */
/** @typedef {import("./contract.js").Window} Window */
/** @typedef {import("./contract.js").Day} Day */

/** @param {{start: string, end: string}} interval */
export const keyOf = (interval) => `${interval.start}/${interval.end}`;

/**
 * @param {Window} window
 * @param {string} zone
 */
export function windowTip(window, zone) {
  const lines = [`${spanOfDay(window.window, zone)}: ${stateText(window)}`];
  if (window.rows !== null && window.rows !== undefined) lines.push(counted(window.rows, "row"));
  if (window.reason) lines.push(window.reason);
  if (window.unexpected) lines.push(`not as expected: ${window.unexpected}`);
  if (window.windows && window.windows > 1) lines.push(`${window.windows} windows in the same state`);
  if (window.repeated_hour) lines.push("the clock shows this time for the second time");
  if (zone !== "UTC") lines.push(span(window.window, "UTC"));
  return lines.join("\n");
}

/**
 * Row counts of a day: one number where the four agree in each window, else how they differ. Sums alone prove nothing.
 * @param {{day: Day | undefined}} props
 */
export function Rows({ day }) {
  if (!day || day.rows === null || day.rows === undefined) return null;
  const known = [day.source, day.staged, day.target, day.distinct].filter((one) => one !== null && one !== undefined);
  const unequal = known.some((one) => one !== known[0]);
  return h("div", { className: "pp-number" },
    h("div", null, counted(day.rows, "row")),
    day.equal === true ? h("div", { className: "pp-quiet pp-small", title: "source = staged = target = distinct in each window" }, "4 counts equal") : null,
    day.equal === false && !unequal ? h("div", { className: "pp-small", style: { fontWeight: 600, whiteSpace: "normal" } }, "some windows differ, though the sums agree") : null,
    unequal ? h("div", { className: "pp-small", style: { fontWeight: 600, whiteSpace: "normal" } }, `source ${count(day.source ?? 0)} ≠ target ${count(day.target ?? 0)}`) : null);
}

const QUARTER = 900_000;

/**
 * The stretch of a lane in which the clock of its zone shows the same times twice, and where it goes back; or null.
 * @param {Lane} lane
 * @param {string} zone the pipeline's
 */
function repeated(lane, zone) {
  if (lane.hours <= 24) return null;
  const minutes = (/** @type {string} */ text) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));
  const iso = (/** @type {number} */ at) => new Date(at).toISOString().replace(".000", "");
  for (let at = Date.parse(lane.start); at < Date.parse(lane.end) - QUARTER; at += QUARTER) {
    const before = minutes(local(iso(at), zone).clock) + 15;
    const after = minutes(local(iso(at + QUARTER), zone).clock);
    if (after < before) { // also at midnight: the loop ends before the lane's own end
      const back = (before - after) * 60_000;
      return { start: iso(at + QUARTER - back), back: iso(at + QUARTER), end: iso(at + QUARTER + back) };
    }
  }
  return null;
}

/**
 * @param {Lane} lane
 * @param {string} instant
 */
const place = (lane, instant) => `${Math.min(100, Math.max(0, (100 * secondsBetween(lane.start, instant)) / secondsBetween(lane.start, lane.end)))}%`;

/** @param {{lane: Lane, zone: string}} props */
function Ticks({ lane, zone }) {
  const hours = Math.round(secondsBetween(lane.start, lane.end) / 3600);
  const ticks = [];
  for (let hour = 0; hour < hours; hour += hours > 12 ? 3 : 1) {
    if (hour + 2 > hours && hour) break; // no room for its text
    ticks.push(new Date(Date.parse(lane.start) + hour * 3_600_000).toISOString().replace(".000", ""));
  }
  return h("div", { className: "pp-ticks", "aria-hidden": true }, ticks.map((at) => h("span", { key: at, style: { left: place(lane, at) } }, clock(at, zone))));
}

/** @param {{lane: Lane, pipelineZone: string}} props */
function Twice({ lane, pipelineZone }) {
  const twice = repeated(lane, pipelineZone);
  if (!twice) return null;
  const [first, again, end] = [twice.start, twice.back, twice.end].map((at) => local(at, pipelineZone));
  const left = place(lane, twice.start);
  return h(Fragment, null,
    h("div", { className: "pp-twice-text" }, h("span", { style: { left } }, `${first.clock}–${end.date === first.date ? end.clock : "24:00"} comes twice: ${first.zone}, then ${again.zone}`)),
    h("div", { style: { position: "relative", height: 6 }, "aria-hidden": true }, h("div", { className: "pp-twice", style: { left, width: `calc(${place(lane, twice.end)} - ${left})` } })));
}

/**
 * Commits that do not follow the plan: their effective part lies on the lane's time, under the cells.
 * @param {{lane: Lane, zone: string}} props
 */
function OffPlan({ lane, zone }) {
  if (!lane.commits?.length) return null;
  const texts = lane.commits.map((commit) => `${spanOfDay(commit.window, zone)}${commit.rows === null || commit.rows === undefined ? "" : `, ${counted(commit.rows, "row")}`}${commit.effective.length ? "" : ", replaced since"}`);
  return h("div", { className: "pp-off", role: "gridcell", "aria-label": `Committed with other bounds than planned: ${texts.join("; ")}` },
    lane.commits.flatMap((commit, i) => commit.effective.map((piece) => h("span", { key: `${i} ${keyOf(piece)}`, title: `committed: ${texts[i]}`, style: { left: place(lane, piece.start), width: `calc(${place(lane, piece.end)} - ${place(lane, piece.start)} - 1px)` } }))));
}

/**
 * @param {{lanes: Lane[], days: Map<string, Day>, zone: string, pipelineZone: string, chosenDay: string | null, opened: string | null, selected: Set<string>,
 *   onOpen: (key: string) => void, onToggle: (key: string) => void, onDay: (day: string) => void}} props
 */
export function Lanes({ lanes, days, zone, pipelineZone, chosenDay, opened, selected, onOpen, onToggle, onDay }) {
  const keys = useMemo(() => lanes.flatMap((lane) => lane.windows.map((one) => keyOf(one.window))), [lanes]);
  const look = useMemo(() => lanes.flatMap((lane) => lane.windows).find((one) => stateOf(one.state).look), [lanes]);
  const { handlers, tabIndexOf, tip } = useCells({ keys, first: opened ?? (look ? keyOf(look.window) : null), onOpen, onToggle });
  const longest = Math.max(...lanes.map((lane) => secondsBetween(lane.start, lane.end)), 1);
  return h(
    "div",
    { className: "pp-lanes", role: "grid", "aria-label": "Windows of each day. Arrow keys move, Enter opens, Space selects.", "aria-multiselectable": true, ...handlers },
    lanes.map((lane, row) => {
      const day = days.get(lane.day);
      const odd = lane.hours !== 24;
      const twice = repeated(lane, pipelineZone);
      const width = `${(100 * secondsBetween(lane.start, lane.end)) / longest}%`;
      return h(
        "div",
        { key: lane.day, role: "row", className: `pp-lane${lane.day === chosenDay ? " pp-chosen" : ""}`, "data-row": lane.day, "data-day": lane.day },
        h("div", { className: "pp-lane-name", role: "rowheader", style: twice ? { paddingTop: 30 } : undefined },
          h("button", { type: "button", tabIndex: -1, onClick: () => onDay(lane.day), "aria-label": `${lane.day}, ${lane.hours} hours` }, shortDay(lane.day)),
          h("div", { className: "pp-small" }, odd ? h("strong", null, `${lane.hours} hours`) : h("span", { className: "pp-quiet" }, stateText(day ?? { state: "" })))),
        h("div", { className: "pp-track", role: "none", style: { width } },
          h(Twice, { lane, pipelineZone }),
          h("div", { className: "pp-cells", role: "none" }, lane.windows.map((one) => {
            const key = keyOf(one.window);
            const text = windowTip(one, zone);
            return h("div", {
              key, role: "gridcell", className: `pp-cell pp-state pp-${one.state}`, style: { flexGrow: secondsBetween(one.window.start, one.window.end) },
              tabIndex: tabIndexOf(key), "data-cell": key, "data-tip": text, "aria-label": `${lane.day} ${text.replaceAll("\n", ", ")}`,
              "aria-selected": selected.has(key), "aria-current": opened === key ? "true" : undefined,
            }, h("span", { className: "pp-cell-in" }, h(Icon, { state: one.state, size: 14 }), h("span", { className: "pp-cell-time" }, clock(one.window.start, zone))));
          })),
          h(OffPlan, { lane, zone }),
          lane.windows.length <= 12 ? null : row === 0 || odd || lanes[row - 1].hours !== 24 ? h(Ticks, { lane, zone }) : null),
        h("div", { className: "pp-lane-rows", role: "gridcell", style: twice ? { paddingTop: 28 } : undefined }, h(Rows, { day })),
      );
    }),
    tip,
    lanes.some((lane) => lane.commits?.some((commit) => commit.effective.length)) ? h("div", { className: "pp-row pp-small pp-quiet", style: { gap: 6 } }, h("span", { className: "pp-off", style: { width: 22, marginTop: 0 } }, h("span", { style: { left: 0, right: 0 } })), "committed with other bounds than those that are planned now, as after a change of the granularity, or with backlog_granularity") : null,
  );
}

/**
 * The same as a table, for screen readers and for printing.
 * @param {{lanes: Lane[], days: Map<string, Day>, zone: string, onOpen: (key: string) => void, selected: Set<string>, onToggle: (key: string) => void, TableView: any}} props
 */
export function LaneTable({ lanes, days, zone, onOpen, selected, onToggle, TableView }) {
  return h(Fragment, null, lanes.map((lane) => {
    const day = days.get(lane.day);
    const number = (/** @type {number | null | undefined} */ value) => (value === null || value === undefined ? "–" : count(value));
    return h("div", { key: lane.day },
      h("div", { className: "pp-row", style: { margin: "10px 0 4px" } }, h("h3", null, `${shortDay(lane.day)} (${lane.day}), ${lane.hours} hours`), day ? h(Mark, { state: day.state, text: stateText(day) }) : null,
        day ? h("span", { className: "pp-quiet pp-small" }, `source ${number(day.source)} · staged ${number(day.staged)} · target ${number(day.target)} · distinct ${number(day.distinct)}`) : null),
      h(TableView, {
        caption: `Windows of ${lane.day}`,
        head: ["Select", "Window", "UTC", "State", "Rows", "Reason"],
        numeric: [4],
        rows: lane.windows.map((one) => {
          const key = keyOf(one.window);
          return { key, cells: [
            h("input", { type: "checkbox", checked: selected.has(key), onChange: () => onToggle(key), "aria-label": `Select ${spanOfDay(one.window, zone)}` }),
            h("a", { href: "#", onClick: (/** @type {any} */ event) => { event.preventDefault(); onOpen(key); } }, spanOfDay(one.window, zone)),
            h("span", { className: "pp-quiet" }, spanOfDay(one.window, "UTC")), h(Mark, { state: one.state, text: stateText(one) }), number(one.rows), h("span", { className: "pp-text" }, one.reason ?? "")] };
        }),
      }));
  }));
}
