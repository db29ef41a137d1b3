// One window in a drawer: what happened to it, attempt by attempt, newest first.

import { pipelinePath, query, usePolled } from "./api.js";
import { C, Fragment, h, Link } from "./host.js";
import { ActionButton, Command, Copy, Fault, Grid, Loading, Quiet } from "./parts.js";
import { Mark, stateText } from "./states.js";
import { ago, count, duration, moment, second, size, span } from "./time.js";

/** @typedef {import("./contract.js").Attempt} Attempt */
/** @typedef {import("./contract.js").Entry} Entry */
/** @typedef {import("./contract.js").WindowDetail} WindowDetail */

/** @param {any} value @returns {string} */
const text = (value) => (value === null || value === undefined ? "–" : typeof value === "number" ? count(value) : typeof value === "string" ? value : Array.isArray(value) ? value.map(text).join(", ") : typeof value === "object" ? detailText(value) : String(value));

/** @param {Record<string, any> | null | undefined} detail */
const detailText = (detail) => Object.entries(detail ?? {}).filter(([, value]) => value !== null && value !== undefined).map(([key, value]) => `${key.replaceAll("_", " ")} ${text(value)}`).join(", ");

/** Where a phase runs in the DAG. */
const TASKS = new Set(["generate_window", "validate", "extract", "stage", "load", "audit", "drain", "move_window"]);

/** @param {{dagId: string, attempt: Attempt}} props */
function RunLinks({ dagId, attempt }) {
  const run = attempt.run_id ?? attempt.run;
  if (!run) return h(Quiet, null, "not moved by a run");
  if (attempt.run_exists === false) return h("span", { className: "pp-quiet" }, h("span", { className: "pp-mono" }, run), " (the run was deleted)");
  if (!attempt.run_id) return h("span", { className: "pp-mono" }, run); // the command line, for example
  const base = `/dags/${encodeURIComponent(attempt.run_dag_id ?? dagId)}/runs/${encodeURIComponent(attempt.run_id)}`;
  const failed = (attempt.entries ?? []).filter((entry) => entry.kind === "failed").pop()?.detail ?? {};
  const task = failed.task ?? (TASKS.has(failed.phase) ? failed.phase : null); // earlier versions recorded the phase alone
  const mapped = typeof failed.map_index === "number" ? `/mapped/${failed.map_index}` : "";
  const tries = failed.try_number ? `?try_number=${failed.try_number}` : "";
  return h("span", { className: "pp-row", style: { gap: "2px 14px" } },
    h(Link, { to: base, className: "pp-mono" }, run), attempt.run_state ? h(Quiet, null, `run ${attempt.run_state}`) : null,
    task ? h(Link, { to: `${base}/tasks/${encodeURIComponent(task)}${mapped}${tries}` }, `Logs of ${task}`) : null);
}

/** @type {Record<string, string>} */
const ATTEMPT_STATES = { committed: "complete", unfinished: "missing" };

/** @param {any} error */
function errorText(error) {
  if (!error) return null;
  if (typeof error === "string") return error;
  const head = [error.error, error.phase ? `in ${error.phase}` : null].filter(Boolean).join(" ");
  return [head, error.message].filter(Boolean).join(": ");
}

/** @param {{dagId: string, attempt: Attempt, zone: string, at: string, number: number, newest: boolean}} props */
function AttemptCard({ dagId, attempt, zone, at, number, newest }) {
  const entries = attempt.entries ?? [];
  const error = errorText(attempt.error);
  return h("li", { className: "pp-attempt" }, h("details", { open: newest },
    h("summary", null, h("span", { className: "pp-row pp-spread" },
      h("span", { className: "pp-row" }, h("strong", null, `Attempt ${number}`), h(Mark, { state: ATTEMPT_STATES[attempt.state] ?? attempt.state, text: attempt.state }),
        attempt.token === null || attempt.token === undefined ? null : h(Quiet, null, `token ${attempt.token}`),
        attempt.try_number ? h(Quiet, null, `try ${attempt.try_number}`) : null),
      attempt.started ? h("span", { className: "pp-quiet pp-small", title: ago(attempt.started, at) }, `${moment(second(attempt.started), zone)}${attempt.seconds === null || attempt.seconds === undefined ? "" : ` · took ${duration(attempt.seconds)}`}`) : null)),
    h(RunLinks, { dagId, attempt }),
    error ? h("div", { className: "pp-error" }, error) : null,
    entries.length ? h("ol", { "aria-label": "Ledger entries" }, entries.map((entry, i) => h("li", { key: i },
      h("span", { className: "pp-number pp-quiet" }, moment(second(entry.at), zone).slice(11)),
      h("span", null, entry.kind),
      h("span", { className: "pp-text pp-quiet" }, entryText(entry))))) : null,
    h("div", { className: "pp-quiet pp-small pp-mono" }, attempt.attempt)));
}

/** @param {Entry} entry */
function entryText(entry) {
  const parts = [];
  if (entry.rows !== null && entry.rows !== undefined) parts.push(`${count(entry.rows)} rows`);
  if (entry.token !== null && entry.token !== undefined) parts.push(`token ${entry.token}`);
  if (entry.manifest) parts.push(`manifest ${entry.manifest.slice(0, 12)}`);
  const detail = entry.kind === "failed" ? "" : detailText({ ...entry.detail, fields: null });
  return [...parts, detail].filter(Boolean).join(", ");
}

/** @param {{counts: Record<string, number | null>}} props */
function Counts({ counts }) {
  const names = ["source", "staged", "target", "distinct"];
  const first = counts.source ?? counts.target;
  return h("div", { className: "pp-counts" }, names.map((name) => {
    const value = counts[name];
    const odd = value !== null && value !== undefined && value !== first;
    return h("div", { key: name, className: odd ? "pp-unequal" : undefined }, h("b", null, text(value)), h("span", { className: "pp-quiet pp-small" }, odd ? `${name} ≠ source` : value === null || value === undefined ? `${name} unknown` : name));
  }));
}

/** @param {{facts: Record<string, any>}} props */
export const Facts = ({ facts }) => h("dl", { className: "pp-facts" }, Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "").map(([key, value]) =>
  h(Fragment, { key }, h("dt", null, key.replaceAll("_", " ")), h("dd", { className: /sha|manifest|^id|_id$/.test(key) ? "pp-mono" : "pp-text" }, key === "bytes" && typeof value === "number" ? `${size(value)} (${count(value)})` : text(value)))));

/** @param {{title: string, children?: any}} props */
const Part = ({ title, children }) => h("section", null, h("h3", null, title), children);

/** @param {{detail: WindowDetail, dagId: string, zone: string}} props */
function Body({ detail, dagId, zone }) {
  const { attempts } = detail;
  const instant = (/** @type {string | null | undefined} */ at) => (at ? moment(second(at), zone) : "–");
  return h(Fragment, null,
    detail.reason ? h("p", { className: "pp-text" }, detail.reason) : null,
    detail.unexpected?.length ? h(Part, { title: "Not as expected" }, h("ul", null, detail.unexpected.map((one) => h("li", { key: one, className: "pp-text" }, one)))) : null,
    detail.counts && Object.values(detail.counts).some((one) => one !== null) ? h(Part, { title: detail.state === "unverified" ? "Rows at the last commit" : "Rows" }, h(Counts, { counts: detail.counts })) : null,
    h(Part, { title: attempts.length === 1 ? "1 attempt" : `${attempts.length} attempts, newest first` },
      attempts.length ? h("ol", { style: { listStyle: "none", padding: 0, margin: 0, display: "grid", gap: 8 } }, attempts.map((attempt, i) => h(AttemptCard, { key: attempt.attempt ?? i, attempt, dagId, zone, at: detail.at, number: attempts.length - i, newest: i === 0 }))) : h(Quiet, null, "No run has tried this window.")),
    detail.checks?.length ? h(Part, { title: "Checks after the commit" }, h(Grid, {
      caption: "Checks", head: ["When", "Source", "Target", "Verdict"], numeric: [1, 2],
      rows: detail.checks.map((check, i) => ({ key: String(i), cells: [instant(check.at), text(check.source ?? check.detail?.source), text(check.target ?? check.detail?.target), check.verdict ?? check.detail?.verdict ?? "–"] })),
    })) : null,
    detail.waivers?.length ? h(Part, { title: "Waived" }, h(Grid, {
      caption: "Waivers", head: ["When", "By", "Why"],
      rows: detail.waivers.map((one, i) => ({ key: String(i), cells: [instant(one.at), text(one.detail?.by), h("span", { className: "pp-text" }, one.detail?.reason ?? "")] })),
    })) : null,
    detail.manifest ? h(Part, { title: "Manifest" }, h(Facts, { facts: detail.manifest })) : null,
    detail.quarantine ? h(Part, { title: "Quarantine" }, h(Facts, { facts: detail.quarantine })) : null,
    detail.fields ? h(Part, { title: "Fields of the documents" },
      detail.fields.changes.length ? h("ul", null, detail.fields.changes.map((/** @type {string} */ change) => h("li", { key: change, className: "pp-text" }, change))) : null,
      h(Facts, { facts: { ...detail.fields, changes: detail.fields.changes.length ? null : "none" } })) : null,
    detail.by_hand?.length ? h(Part, { title: "Changes by hand" }, h(Grid, {
      caption: "Changes by hand", head: ["When", "What", "By", "Why"],
      rows: detail.by_hand.map((act, i) => ({ key: String(i), cells: [instant(act.at), act.what, act.by, h("span", { className: "pp-text" }, act.why ?? "")] })),
    })) : null,
    h(Part, { title: "The same in a shell" }, h(Command, { command: detail.command })),
    h("div", null, h(Copy, { text: JSON.stringify(detail, null, 2) }, "Copy as JSON")));
}

/**
 * @param {{dagId: string, interval: {start: string, end: string}, zone: string, may: Record<string, boolean | string>, stamp: number, acted: boolean,
 *   onClose: () => void, onAct: (act: string, detail: WindowDetail) => void}} props
 */
export function WindowDrawer({ dagId, interval, zone, may, stamp, acted, onClose, onAct }) {
  const { start, end } = interval;
  const { answer: detail, error } = usePolled(`${pipelinePath(dagId)}/window${query({ start, end, _: stamp || null })}`, (/** @type {WindowDetail} */ answer) => acted || answer.state === "running");
  const shrank = detail?.state === "drifted" && (detail.drift === "shrank" || (detail.counts?.source ?? Infinity) < (detail.counts?.target ?? -Infinity));
  const title = detail?.window ?? interval;
  return h(
    C.Drawer.Root,
    { open: true, size: "lg", placement: "end", onOpenChange: (/** @type {{open: boolean}} */ { open }) => { if (!open) onClose(); } },
    h(C.Portal, null,
      h(C.Drawer.Backdrop, null),
      h(C.Drawer.Positioner, null,
        h(C.Drawer.Content, null,
          h(C.Drawer.Header, { display: "block", pb: 2 },
            h("div", { className: "pp", style: { padding: 0, gap: 6 } },
              h("div", { className: "pp-row" }, detail ? h(Mark, { state: detail.state, text: stateText(detail) }) : null,
                h(C.Drawer.Title, { fontSize: "lg" }, span(title, zone))),
              h(Quiet, null, zone === "UTC" ? null : `${span(title, "UTC")} · `, detail ? h("span", { className: "pp-mono" }, detail.window_id) : null),
              detail ? h("div", { className: "pp-row pp-noprint", style: { gap: 6, marginTop: 6 } },
                h(ActionButton, { permission: may.move, variant: "solid", onClick: () => onAct("move", detail) }, "Move again…"),
                h(ActionButton, { permission: may.recheck, onClick: () => onAct("recheck", detail) }, "Recheck the day…"),
                shrank ? h(ActionButton, { permission: may.accept_shrink, onClick: () => onAct("accept-shrink", detail) }, "Accept the shrinkage…") : null,
                detail.state === "running" ? h(ActionButton, { permission: may.release, onClick: () => onAct("release", detail) }, "Release the lease…") : null,
                h(ActionButton, { permission: may.waive, colorPalette: "red", onClick: () => onAct("waive", detail) }, "Waive…")) : null)),
          h(C.Drawer.Body, { pb: 8 },
            h("div", { className: "pp", style: { padding: 0 } },
              error ? h(Fault, { error, at: detail?.at }) : null,
              detail ? h(Body, { detail, dagId, zone }) : error ? null : h(Loading, null))),
          h(C.Drawer.CloseTrigger, { asChild: true }, h(C.CloseButton, { size: "sm", "aria-label": "Close", position: "absolute", top: 3, insetEnd: 3 }))))),
  );
}
