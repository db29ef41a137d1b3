// A year of days: a cell is a day, a column is a week.

import { useCells } from "./grid.js";
import { h, useMemo } from "./host.js";
import { Icon, stateText } from "./states.js";
import { count, dayText, monthOf, shiftDay, weekday } from "./time.js";

const NAMES = ["Mon", "", "Wed", "", "Fri", "", "Sun"];
const FULL = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/** @param {import("./contract.js").Day} day */
export function dayTip(day) {
  const lines = [`${dayText(day.day)}: ${stateText(day)}`];
  if (day.hours && day.hours !== 24) lines.push(`a day of ${day.hours} hours`);
  if (day.reason) lines.push(day.reason);
  if (day.rows !== null && day.rows !== undefined) lines.push(`${count(day.rows)} rows`);
  return lines.join("\n");
}

/**
 * @param {{days: import("./contract.js").Day[], chosen: string | null, onOpen: (day: string) => void}} props
 */
export function Year({ days, chosen, onOpen }) {
  const keys = useMemo(() => days.map((day) => day.day), [days]);
  const { handlers, tabIndexOf, tip } = useCells({ keys, first: chosen ?? keys[keys.length - 1], onOpen });
  const rows = useMemo(() => {
    const known = new Map(days.map((day) => [day.day, day]));
    const first = keys[0];
    const start = shiftDay(first, -weekday(first));
    const weeks = Math.floor((Date.parse(keys[keys.length - 1]) - Date.parse(start)) / 604_800_000) + 1;
    /** @type {{week: number, text: string}[]} */
    const months = [];
    for (let week = 0; week < weeks; week += 1) {
      const sunday = shiftDay(start, week * 7 + 6);
      const text = monthOf(sunday) === "Jan" ? `Jan ${sunday.slice(0, 4)}` : monthOf(sunday);
      const last = months[months.length - 1];
      if (last?.text !== text) {
        if (last && week - last.week < 2) months.pop();
        months.push({ week, text });
      }
    }
    return { weeks, months, lines: NAMES.map((_, row) => Array.from({ length: weeks }, (__, week) => known.get(shiftDay(start, week * 7 + row)) ?? null)) };
  }, [days, keys]);
  return h(
    "div",
    { className: "pp-year" },
    h(
      "div",
      { className: "pp-year-grid", role: "grid", "aria-label": `Days from ${keys[0]} to ${keys[keys.length - 1]}, a column is a week`, style: { "--weeks": rows.weeks }, ...handlers },
      h("div", { style: { display: "contents" }, "aria-hidden": true },
        rows.months.map(({ week, text }) => h("span", { key: week, className: "pp-year-month", style: { gridRow: 1, gridColumn: week + 2 } }, text))),
      rows.lines.map((line, row) => h(
        "div",
        { key: row, role: "row", "data-row": row },
        h("span", { className: "pp-year-weekday", role: "rowheader", "aria-label": FULL[row], style: { gridRow: row + 2, gridColumn: 1 } }, NAMES[row]),
        line.map((day, week) => day && h("div", {
          key: day.day,
          role: "gridcell",
          className: `pp-day pp-state pp-${day.state}`,
          style: { gridRow: row + 2, gridColumn: week + 2 },
          tabIndex: tabIndexOf(day.day),
          "data-cell": day.day,
          "data-tip": dayTip(day),
          "data-hours": day.hours && day.hours !== 24 ? day.hours : undefined,
          "aria-label": dayTip(day).replaceAll("\n", ", "),
          "aria-selected": day.day === chosen,
        }, h(Icon, { state: day.state, size: 10 }))),
      )),
    ),
    tip,
  );
}
