// One pipeline: what needs a look, the year, the windows of each day, all gaps.

import { pipelinePath, query, usePolled } from "./api.js";
import { MoveDialog, RecheckDialog, ReleaseDialog, ShrinkDialog, WaiveDialog } from "./dialogs.js";
import { C, Fragment, h, useCallback, useMemo, useRef, useSearchParams, useState } from "./host.js";
import { keyOf, Lanes, LaneTable } from "./lanes.js";
import { ActionButton, Choice, Command, Fault, Grid, Loading, Quiet, When, zonesOf } from "./parts.js";
import { gapState, Icon, Legend, Mark, stateOf, stateText } from "./states.js";
import { Summary } from "./summary.js";
import { count, counted, dayText, duration, isZone, local, moment, second, shiftDay, span } from "./time.js";
import { Facts, WindowDrawer } from "./window.js";
import { Year } from "./year.js";

/** @typedef {import("./contract.js").Pipeline} Pipeline */
/** @typedef {import("./contract.js").Gap} Gap */
/** @typedef {import("./contract.js").Lanes} LanesAnswer */

const SHOWN_DAYS = 7;
const SOON = 180_000; // milliseconds after a change, in which its run shows up in the ledger
const MISSES = { late: "late", empty: "no rows", few: "few rows", many: "many rows" };
const WAITING = new Set(["leased", "running", "not_settled", "ready"]);

/** The search parameters as one object with a setter that keeps the others. */
function useParams() {
  const [params, setParams] = useSearchParams();
  const set = useCallback((/** @type {Record<string, string | null>} */ values) => setParams((/** @type {URLSearchParams} */ before) => {
    const after = new URLSearchParams(before);
    for (const [key, value] of Object.entries(values)) {
      if (value === null) after.delete(key);
      else after.set(key, value);
    }
    return after;
  }, { replace: true }), [setParams]);
  return { params, set };
}

/** @param {string | null} text */
const dayOf = (text) => (text && /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)) ? text : null);

/** @param {string | null} text */
function parseWindow(text) {
  const [start, end] = (text ?? "").split("/");
  return start && end && !Number.isNaN(Date.parse(start)) && !Number.isNaN(Date.parse(end)) ? { start, end } : null;
}

/**
 * The last answer that was not null, so that the page stays while another range is read.
 * @template T
 * @param {T | null} value
 */
function useLast(value) {
  const last = useRef(value);
  if (value !== null) last.current = value;
  return last.current;
}

/**
 * @param {{dagId: string, heading?: any}} props
 */
export function PipelinePage({ dagId, heading = null }) {
  const { params, set } = useParams();
  const [stamp, setStamp] = useState(0);
  const [done, setDone] = useState("");
  const [selected, setSelected] = useState(/** @type {Set<string>} */ (new Set()));
  const [act, setAct] = useState(/** @type {{name: string, [more: string]: any} | null} */ (null));
  const base = pipelinePath(dagId);
  const until = dayOf(params.get("until"));
  const acted = stamp > 0 && Date.now() - stamp < SOON;
  const busy = (/** @type {Pipeline} */ answer) => acted || answer.leases.length > 0;
  const { answer: fresh, error, again } = usePolled(`${base}${query({ until })}`, busy);
  const page = useLast(/** @type {Pipeline | null} */ (fresh));
  const held = acted || Boolean(page?.leases.length);
  const days = page?.days ?? [];
  const lastDay = days[days.length - 1]?.day ?? null;
  const opened = useMemo(() => parseWindow(params.get("window")), [params]);
  const pipelineZone = String(page?.facts.timezone ?? "UTC");
  const chosenDay = dayOf(params.get("day")) ?? (opened && isZone(pipelineZone) ? local(opened.start, pipelineZone).date : lastDay);
  const to = rangeEnd(dayOf(params.get("to")), chosenDay, lastDay);
  const from = to && later(shiftDay(to, 1 - SHOWN_DAYS), days[0]?.day ?? null);
  const lanePath = to && from ? `${base}/windows${query({ from, to })}` : null;
  const { answer: freshLanes, error: laneError, again: againLanes } = usePolled(lanePath, () => held);
  const lanes = useLast(/** @type {LanesAnswer | null} */ (freshLanes));
  const { answer: gaps, error: gapError, again: againGaps } = usePolled(page && days.length ? `${base}/gaps` : null, () => held);
  const byDay = useMemo(() => new Map(days.map((day) => [day.day, day])), [days]);
  const newestFirst = useMemo(() => [...(lanes?.days ?? [])].sort((one, other) => (one.day < other.day ? 1 : -1)), [lanes]);
  const openWindow = useCallback((/** @type {string} */ key) => set({ window: key }), [set]);
  const toggle = useCallback((/** @type {string} */ key) => setSelected((before) => {
    const after = new Set(before);
    if (!after.delete(key)) after.add(key);
    return after;
  }), []);
  if (error?.status === 404) return h("div", { className: "pp" }, h("p", { className: "pp-quiet" }, `${dagId} is not a pipeline of airflow-pipeline-provider, so it has no windows.`));
  if (!page) return h("div", { className: "pp" }, heading, error ? h(Fault, { error }) : h(Loading, null));

  const zones = zonesOf(pipelineZone);
  const zone = (zones.find((one) => one.key === params.get("zone")) ?? zones[0]).zone;
  const may = page.may ?? {};
  const asTable = params.get("view") === "table";
  const chosen = chosenDay ? byDay.get(chosenDay) : undefined;
  const finish = (/** @type {string} */ message) => {
    setAct(null);
    setDone(message);
    setSelected(new Set());
    setStamp(Date.now());
    again();
    againLanes();
    againGaps();
  };
  const shift = (/** @type {number} */ by) => to && set({ to: shiftDay(to, by), day: null });
  const states = [...new Set([...days.map((day) => day.state), ...newestFirst.flatMap((lane) => lane.windows.map((one) => one.state ?? ""))])];
  return h(
    "div",
    { className: "pp", "data-page": "pipeline" },
    heading,
    h("div", { className: "pp-row pp-spread" },
      h("div", { className: "pp-row" }, heading || page.facts.pipeline_id !== dagId ? h("h2", null, String(page.facts.pipeline_id ?? dagId)) : null, h("span", { className: "pp-quiet" }, [page.facts.source, page.facts.target].filter(Boolean).map(nameOf).join(" → "), page.facts.granularity ? ` · windows of ${granularityText(page.facts.granularity)}` : "", page.facts.backlog_granularity ? `, up to ${page.facts.backlog_granularity} in days that lie back` : "")),
      h("div", { className: "pp-row pp-noprint" },
        h(Choice, { label: "Times in", options: zones, value: (zones.find((one) => one.zone === zone) ?? zones[0]).key, onChange: (key) => set({ zone: key === "pipeline" ? null : key }) }))),
    error ? h(Fault, { error, at: page.at }) : null,
    done ? h("div", { className: "pp-note pp-good", role: "status" }, done, " ", h(Quiet, null, "What the ledger says is shown below as soon as it changes.")) : null,
    page.problem ? h("div", { className: "pp-note pp-bad" }, h("strong", null, page.problem.kind === "file" ? "The pipeline's file does not load, so that nothing moves. " : ""), h("span", { className: "pp-text" }, page.problem.message),
      page.problem.file ? h("div", { className: "pp-quiet pp-small" }, `${page.problem.file}${page.problem.line ? `, line ${page.problem.line}` : ""}${page.problem.since ? `, since ${moment(second(page.problem.since), zone)}` : ""}`) : null) : null,
    page.never_ran && days.length ? h("div", { className: "pp-note" }, h("strong", null, "No run has moved a window yet. "), page.facts.paused ? "The DAG is paused: switch it on above, then the scheduler's next run begins with the first window." : "The next run begins with the first window.") : null,
    h("div", { className: error ? "pp-stale" : undefined, style: { display: "contents" } },
      h(Summary, { page, zone }),
      days.length
        ? h(Fragment, null,
          gapError ? h(Fault, { error: gapError, at: gaps?.at }) : null,
          h(Look, { gaps: gaps?.gaps ?? null, more: Math.max(0, (gaps?.total ?? 0) - (gaps?.gaps.length ?? 0)), changed: gaps?.changed_days ?? [], stale: Boolean(gapError), page, zone, may, openWindow, onDay: (day) => set({ day, to: null, ...(byDay.has(day) ? {} : { until: day < days[0].day ? day : null }) }), onMove: (/** @type {Gap} */ gap) => setAct({ name: "move", asked: { windows: [{ start: gap.start, end: gap.end }], days: null } }) }),
          h("section", { "aria-label": "Days" },
            h("div", { className: "pp-row pp-spread" }, h("h2", null, "Days"), h("div", { className: "pp-row pp-noprint", style: { gap: 6 } },
              until ? h(C.Button, { size: "xs", variant: "outline", onClick: () => set({ until: null, day: null, to: null }) }, "Newest") : null,
              days.length >= 365 ? h(C.Button, { size: "xs", variant: "outline", onClick: () => set({ until: shiftDay(days[0].day, -1), day: null, to: null }) }, "A year earlier") : null)),
            h(Year, { days, chosen: chosenDay, onOpen: (day) => set({ day, to: null }) }),
            h(Legend, { states })),
          h("section", { "aria-label": "Windows" },
            h("div", { className: "pp-row pp-spread" },
              h("h2", null, "Windows"),
              h("div", { className: "pp-row pp-noprint", style: { gap: 6 } },
                h(C.Button, { size: "xs", variant: "outline", onClick: () => shift(-SHOWN_DAYS), disabled: !from || from <= days[0].day }, "Earlier"),
                h(C.Button, { size: "xs", variant: "outline", onClick: () => shift(SHOWN_DAYS), disabled: !to || !lastDay || to >= lastDay }, "Later"),
                h(C.Button, { size: "xs", variant: asTable ? "solid" : "outline", "aria-pressed": asTable, onClick: () => set({ view: asTable ? null : "table" }) }, "View as table"))),
            chosen && chosenDay ? h("div", { className: "pp-row", "data-chosen": chosenDay },
              h("strong", null, dayText(chosenDay)), h(Mark, { state: chosen.state, text: stateText(chosen) }),
              chosen.hours && chosen.hours !== 24 ? h("span", null, `${chosen.hours} hours`) : null,
              h("span", { className: "pp-text pp-quiet", style: { flex: "1 1 240px" } }, chosen.reason ?? ""),
              h("span", { className: "pp-row pp-noprint", style: { gap: 6 } },
                h(ActionButton, { permission: may.move, onClick: () => setAct({ name: "move", asked: { windows: null, days: [chosenDay] } }) }, "Move this day again…"),
                h(ActionButton, { permission: may.recheck, onClick: () => setAct({ name: "recheck", day: chosenDay }) }, "Recheck…"))) : null,
            selected.size ? h("div", { className: "pp-note pp-row pp-noprint", role: "status" }, `${selected.size === 1 ? "1 window" : `${count(selected.size)} windows`} selected`,
              h(ActionButton, { permission: may.move, variant: "solid", onClick: () => setAct({ name: "move", asked: { windows: [...selected].map(parseWindow), days: null } }) }, "Move again…"),
              h(C.Button, { size: "xs", variant: "ghost", onClick: () => setSelected(new Set()) }, "Clear")) : null,
            laneError ? h(Fault, { error: laneError, at: lanes?.at }) : null,
            !newestFirst.length ? (laneError ? null : h(Loading, { label: "Reading the windows" }))
              : asTable ? h(LaneTable, { lanes: newestFirst, days: byDay, zone, onOpen: openWindow, selected, onToggle: toggle, TableView: Grid })
                : h(Lanes, { lanes: newestFirst, days: byDay, zone, pipelineZone, chosenDay, opened: opened && keyOf(opened), selected, onOpen: openWindow, onToggle: toggle, onDay: (day) => set({ day }) })),
          h(GapTable, { gaps: gaps?.gaps ?? null, total: gaps?.total ?? gaps?.gaps.length ?? 0, zone, openGap: (gap) => (gap.days && gap.days > 1 ? set({ day: gap.day, to: null }) : openWindow(keyOf(gap))) }))
        : h(NeverRan, { page, zone }),
      h("details", null, h("summary", { className: "pp-quiet" }, "Facts of the pipeline"), h("div", { style: { marginTop: 8 } }, h(Facts, { facts: page.facts }))),
      page.commands?.length ? h("details", null, h("summary", { className: "pp-quiet" }, "Commands for a shell: repair, release, move the state"), h("div", { style: { marginTop: 8, display: "grid", gap: 8 } },
        page.commands.map(({ purpose, command }) => h("div", { key: command }, h(Quiet, null, purpose), h(Command, { command }))))) : null,
      h(Quiet, null, `As of ${moment(second(page.at), zone)}.`)),
    opened ? h(WindowDrawer, { dagId, interval: opened, zone, may, stamp, acted, onClose: () => set({ window: null }), onAct: (name, detail) => setAct(
      name === "move" ? { name, asked: { windows: [{ start: detail.window.start, end: detail.window.end }], days: null } } : { name, detail, day: detail.window.day, interval: { start: detail.window.start, end: detail.window.end } }) }) : null,
    act ? h(Act, { act, dagId, zone, page, onClose: () => setAct(null), onDone: finish }) : null,
  );
}

/** @param {{act: any, dagId: string, zone: string, page: Pipeline, onClose: () => void, onDone: (message: string) => void}} props */
function Act({ act, dagId, zone, page, onClose, onDone }) {
  const more = { dagId, zone, onClose, onDone };
  if (act.name === "move") return h(MoveDialog, { ...more, asked: act.asked });
  if (act.name === "recheck") return h(RecheckDialog, { ...more, day: act.day });
  if (act.name === "waive") return h(WaiveDialog, { ...more, interval: act.interval });
  if (act.name === "accept-shrink") return h(ShrinkDialog, { ...more, interval: act.interval, rows: act.detail.goes ?? (act.detail.counts?.target ?? 0) - (act.detail.counts?.source ?? 0) });
  const lease = page.leases.find((one) => one.window.start < act.interval.end && act.interval.start < one.window.end) ?? null;
  return h(ReleaseDialog, { ...more, interval: act.interval, lease });
}

/** @param {any} value */
const granularityText = (value) => (typeof value === "number" ? duration(value) : String(value));

/** @param {any} value */
const nameOf = (value) => (typeof value === "string" ? value : [value?.type, value?.table ?? value?.index ?? value?.indices ?? value?.query_name].filter(Boolean).join(" "));

/**
 * @param {string} one
 * @param {string | null} other
 */
const later = (one, other) => (other && other > one ? other : one);

/**
 * The last day of the lanes: as asked, else so that the chosen day is among the days that lead up to the last one.
 * @param {string | null} asked
 * @param {string | null} chosen
 * @param {string | null} last
 */
function rangeEnd(asked, chosen, last) {
  if (!last) return null;
  if (asked) return asked > last ? last : asked;
  if (!chosen || chosen > shiftDay(last, -SHOWN_DAYS)) return last;
  const middle = shiftDay(chosen, 3);
  return middle > last ? last : middle;
}

/**
 * `more` gaps were not sent; with `stale` the newest answer is an error, so that nothing is called good.
 * @param {{gaps: Gap[] | null, more: number, changed: import("./contract.js").ChangedDay[], stale: boolean, page: Pipeline, zone: string, may: Record<string, boolean | string>, openWindow: (key: string) => void, onDay: (day: string) => void, onMove: (gap: Gap) => void}} props
 */
function Look({ gaps, more, changed, stale, page, zone, may, openWindow, onDay, onMove }) {
  const [all, setAll] = useState(false);
  const open = (gaps ?? []).filter((gap) => !WAITING.has(gap.reason));
  if (gaps === null) return null;
  const misses = page.unexpected ?? [];
  const total = open.length + changed.length + misses.length;
  const unsent = open.length === gaps.length ? more : 0; // worst first: behind one that waits, all wait
  if (!total && !unsent) {
    if (stale) return null;
    const last = page.days[page.days.length - 1].day;
    return h("div", { className: "pp-note pp-good pp-row" }, h(Icon, { state: "complete", size: 16 }), h("span", null, `Nothing needs a look. Everything that runs plan up to ${last} is complete, waived, running, ready or not yet settled.`));
  }
  const most = all ? total : 5;
  return h("section", { className: "pp-look", "aria-label": "Needs a look" },
    h("h3", null, h(Icon, { state: "missing", size: 16 }), total === 1 && !unsent ? "1 thing needs a look" : `${count(total)} things need a look, worst first${unsent ? `; ${counted(unsent, "more gap")} not listed` : ""}`),
    h("ul", null,
      open.slice(0, most).map((gap) => h("li", { key: keyOf(gap) },
        h("span", null, h(Mark, { state: gapState(gap.reason), text: stateText({ state: gapState(gap.reason), failures: gap.failures }) })),
        h("span", { className: "pp-when" }, h(When, { of: gap, zone }), " ", h(Quiet, null, duration(gap.seconds))),
        h("span", { className: "pp-why", title: gap.detail }, gap.detail || stateOf(gapState(gap.reason)).help),
        h("span", { className: "pp-row pp-noprint", style: { gap: 6, flexWrap: "nowrap" } },
          gap.days && gap.days > 1 ? h(C.Button, { size: "xs", variant: "outline", onClick: () => onDay(gap.day) }, "Show") : h(C.Button, { size: "xs", variant: "outline", onClick: () => openWindow(keyOf(gap)) }, "Open"),
          h(ActionButton, { permission: may.move, onClick: () => onMove(gap) }, "Move…")))),
      changed.slice(0, Math.max(0, most - open.length)).map((day) => h("li", { key: day.day },
        h("span", null, h(Mark, { state: day.state, text: stateText(day) })),
        h("span", { className: "pp-when" }, day.day),
        h("span", { className: "pp-why", title: day.reason }, day.reason ?? ""),
        h("span", { className: "pp-noprint" }, h(C.Button, { size: "xs", variant: "outline", onClick: () => onDay(day.day) }, "Show")))),
      misses.slice(0, Math.max(0, most - open.length - changed.length)).map((miss) => h("li", { key: `${miss.what} ${keyOf(miss)}` },
        h("span", null, h(Mark, { state: "missing", text: MISSES[miss.what] })),
        h("span", { className: "pp-when" }, miss.what === "late" ? miss.day : h(When, { of: miss, zone })),
        h("span", { className: "pp-why", title: miss.sentence }, miss.sentence),
        h("span", { className: "pp-noprint" }, h(C.Button, { size: "xs", variant: "outline", onClick: () => (miss.what === "late" ? onDay(miss.day) : openWindow(keyOf(miss))) }, miss.what === "late" ? "Show" : "Open"))))),
    total > most ? h("div", { style: { padding: "4px 10px 10px" } }, h(C.Button, { size: "xs", variant: "ghost", onClick: () => setAll(true) }, `Show all ${count(total)}`)) : null);
}

/** @param {{gaps: Gap[] | null, total: number, zone: string, openGap: (gap: Gap) => void}} props */
function GapTable({ gaps, total, zone, openGap }) {
  const [most, setMost] = useState(20);
  if (!gaps?.length) return null;
  return h("section", { "aria-label": "Gaps" },
    h("h2", null, `Gaps of all days, worst first (${total > gaps.length ? `the first ${count(gaps.length)} of ` : ""}${count(total)})`),
    h(Grid, {
      caption: "Gaps of all days, worst first", head: ["State", "Time", "Length", "Reason"],
      rows: gaps.slice(0, most).map((gap) => ({ key: keyOf(gap), cells: [
        h(Mark, { state: gapState(gap.reason), text: stateText({ state: gapState(gap.reason), failures: gap.failures }) }),
        h("a", { href: `?${new URLSearchParams({ window: keyOf(gap) })}`, onClick: (/** @type {any} */ event) => { event.preventDefault(); openGap(gap); } }, span(gap, zone)),
        h("span", { className: "pp-number" }, duration(gap.seconds)), h("span", { className: "pp-text" }, gap.detail || stateOf(gapState(gap.reason)).help)] })),
    }),
    gaps.length > most ? h("div", null, h(C.Button, { size: "xs", variant: "ghost", onClick: () => setMost(most + 100) }, "Show more")) : null);
}

/** @param {{page: Pipeline, zone: string}} props */
function NeverRan({ page, zone }) {
  const { next } = page;
  return h("div", { className: "pp-note" }, h("strong", null, "No day is planned yet. "),
    page.facts.start_day ? `The first day is ${page.facts.start_day}. ` : "The first run decides which day is the first. ",
    next?.window ? `The first window is ${span(next.window, zone)}${next.ready_at ? `, ready at ${moment(next.ready_at, zone)}` : ""}.` : "");
}
