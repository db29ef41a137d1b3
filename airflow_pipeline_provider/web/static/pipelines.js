// All pipelines, worst first.

import { query, usePolled } from "./api.js";
import { useCells } from "./grid.js";
import { C, Fragment, h, Link, useEffect, useMemo, useNavigate, useSearchParams, useState } from "./host.js";
import { Fault, Loading, Quiet, When } from "./parts.js";
import { Icon, Mark, ORDER, STATES } from "./states.js";
import { behindText, etaText } from "./summary.js";
import { ago, count, moment, second } from "./time.js";
import { dayTip } from "./year.js";

/** @typedef {import("./contract.js").PipelineRow} PipelineRow */
/** @typedef {import("./contract.js").Pipelines} Pipelines */

const PAGE = 50;
const HEAD = [["State", "130px"], ["Pipeline", "16%"], ["Behind", "13%"], ["Last 14 days", "272px"], ["Held", "16%"], ["Next window", "13%"], ["Reason", "auto"]];

/**
 * A DAG that is gone or whose file does not load has no page of its own in Airflow.
 * @param {PipelineRow} row
 * @param {string} [day]
 */
function linkOf(row, day) {
  const dagId = row.dag_id ?? "";
  return row.problem && row.problem.kind !== "state" ? `/plugin/pipelines${query({ pipeline: dagId, day })}` : `/dags/${encodeURIComponent(dagId)}/plugin/windows${query({ day })}`;
}

/** @param {{rows: PipelineRow[], onDay: (row: PipelineRow, day: string) => void, children: (strip: (row: PipelineRow) => any) => any}} props */
function Strips({ rows, onDay, children }) {
  const keys = useMemo(() => rows.flatMap((row) => (row.days ?? []).map((day) => `${row.dag_id} ${day.day}`)), [rows]);
  const find = (/** @type {string} */ key) => rows.find((row) => key.slice(0, -11) === row.dag_id);
  const { handlers, tabIndexOf, tip } = useCells({ keys, first: keys[13] ?? null, onOpen: (key) => { const row = find(key); if (row) onDay(row, key.slice(-10)); } });
  const strip = (/** @type {PipelineRow} */ row) => h("div", { className: "pp-strip", role: "group", "aria-label": `The last ${row.days?.length ?? 0} days of ${row.pipeline_id}`, "data-row": row.dag_id },
    (row.days ?? []).map((day) => {
      const key = `${row.dag_id} ${day.day}`;
      return h("div", { key, role: "button", tabIndex: tabIndexOf(key), className: `pp-pixel pp-state pp-${day.state}`, "data-cell": key, "data-tip": dayTip(day), "aria-label": dayTip(day).replaceAll("\n", ", ") }, h(Icon, { state: day.state, size: 11 }));
    }));
  return h("div", { ...handlers }, children(strip), tip);
}

/** @type {Record<string, string>} */
const PROBLEMS = { file: "does not load", state: "unreadable", gone: "no DAG" };

/** @param {{problem: import("./contract.js").Problem, at: string}} props */
function Trouble({ problem, at }) {
  const where = [
    problem.conn_id ? `connection ${problem.conn_id}` : "",
    problem.file ? `${problem.file}${problem.line ? `, line ${problem.line}` : ""}` : "",
    problem.since ? `${problem.kind === "file" ? "stopped" : "last good answer"} ${ago(problem.since, at)}, at ${moment(second(problem.since), "UTC")}` : "",
  ].filter(Boolean);
  return h(Fragment, null, h("div", { className: "pp-text pp-clamp pp-clamp-more", title: problem.message }, problem.message), h(Quiet, null, where.join(" · ")));
}

/** @param {{row: PipelineRow, at: string, strip: any}} props */
function Row({ row, at, strip }) {
  const { problem } = row;
  const zone = row.timezone ?? "UTC";
  const lease = row.leases?.[0];
  return h(C.Table.Row, { "data-pipeline": row.pipeline_id },
    h(C.Table.Cell, null, problem ? h("div", { style: { marginBottom: 4 } }, h(Mark, { state: "blocked", text: PROBLEMS[problem.kind] ?? problem.kind })) : null, row.state ? h(Mark, { state: row.state }) : null),
    h(C.Table.Cell, null, row.dag_id ? h(Link, { to: linkOf(row), style: { fontWeight: 600 } }, row.pipeline_id) : h("strong", null, row.pipeline_id), row.paused ? h(Quiet, null, " paused") : null,
      row.tags?.length ? h("div", null, h(Quiet, null, row.tags.join(", "))) : null),
    problem && !row.state
      ? h(C.Table.Cell, { colSpan: 5 }, h(Trouble, { problem, at }))
      : h(Fragment, null,
        h(C.Table.Cell, null, h("div", { className: "pp-number" }, behindText(row)), row.behind_seconds ? h(Quiet, null, etaText(row.eta, zone)) : null),
        h(C.Table.Cell, null, strip),
        h(C.Table.Cell, null, lease ? h(Fragment, null, h(When, { of: lease.window, zone }), h("div", { className: "pp-quiet pp-small pp-text" }, `by ${lease.run_id ?? lease.holder ?? "an unknown holder"}`)) : h(Quiet, null, "no run")),
        h(C.Table.Cell, null, row.next?.window ? h(Fragment, null, h("div", null, h(When, { of: row.next.window, zone })), row.next.ready_at ? h(Quiet, null, row.next.ready_at <= at ? "ready now" : `ready ${ago(row.next.ready_at, at)}`) : null) : h(Quiet, null, "none")),
        h(C.Table.Cell, null, problem ? h(Trouble, { problem, at }) : h("div", { className: "pp-text pp-clamp", title: row.reason }, row.reason ?? ""),
          row.unexpected?.length ? h("div", { className: "pp-text pp-small pp-clamp", title: row.unexpected.join("\n") }, h("strong", null, "not as expected: "), row.unexpected[0], row.unexpected.length > 1 ? `, and ${count(row.unexpected.length - 1)} more` : "") : null)));
}

/** All pipelines that the user may see. */
export function PipelinesPage() {
  const navigate = useNavigate();
  const [params, setParams] = useSearchParams();
  const search = params.get("search") ?? "";
  const state = params.get("state") ?? "";
  const tag = params.get("tag") ?? "";
  const offset = Math.max(0, Number(params.get("offset")) || 0);
  const [typed, setTyped] = useState(search);
  const set = (/** @type {Record<string, string | null>} */ values) => setParams((/** @type {URLSearchParams} */ before) => {
    const after = new URLSearchParams(before);
    for (const [key, value] of Object.entries({ offset: null, ...values })) {
      if (value) after.set(key, value);
      else after.delete(key);
    }
    return after;
  }, { replace: true });
  useEffect(() => {
    if (typed === search) return undefined;
    const timer = setTimeout(() => set({ search: typed }), 300);
    return () => clearTimeout(timer);
  }, [typed]); // eslint-disable-line
  const { answer, error } = usePolled(`pipelines${query({ search, state, tag, limit: PAGE, offset: offset || null })}`, (/** @type {Pipelines} */ one) => one.pipelines.some((row) => row.leases?.length));
  const [last, setLast] = useState(/** @type {Pipelines | null} */ (null));
  useEffect(() => { if (answer) setLast(answer); }, [answer]);
  const shown = answer ?? last;
  const tags = [...new Set([...(shown?.tags ?? []), ...(tag ? [tag] : [])])].sort();
  const states = /** @type {[string, string][]} */ ([["problem", "does not load or cannot be read"], ...ORDER.map((one) => [one, STATES[one].word])]);
  const number = (/** @type {string} */ one) => (shown?.states?.[one] ? ` (${count(shown.states[one])})` : "");
  const filtered = Boolean(search || state || tag);
  const rows = shown?.pipelines ?? [];
  return h(
    "div",
    { className: "pp", "data-page": "pipelines", style: { padding: "12px 16px 32px" } },
    h("div", { className: "pp-row pp-spread" },
      h("h2", null, "Pipelines", shown ? h("span", { className: "pp-quiet", style: { fontWeight: 400 } }, ` ${count(shown.total)}, worst first`) : null),
      h("div", { className: "pp-row" },
        h(C.Input, { size: "sm", width: "220px", type: "search", placeholder: "Search", "aria-label": "Search pipelines", value: typed, onChange: (/** @type {any} */ event) => setTyped(event.target.value) }),
        h(Select, { label: "State", value: state, options: states.map(([one, word]) => [one, `${word}${number(one)}`]), onChange: (value) => set({ state: value }) }),
        tags.length ? h(Select, { label: "Tag", value: tag, options: tags.map((one) => [one, one]), onChange: (value) => set({ tag: value }) }) : null)),
    error ? h(Fault, { error, at: shown?.at }) : null,
    !shown ? (error ? null : h(Loading, { label: "Reading the pipelines" }))
      : rows.length
        ? h(Strips, { rows, onDay: (row, day) => navigate(linkOf(row, day)), children: (strip) => h("div", { className: "pp-table-scroll", tabIndex: 0, role: "region", "aria-label": "Pipelines" },
          h(C.Table.Root, { size: "sm", variant: "line", tableLayout: "fixed", minWidth: "1120px", className: "pp-list" },
            h("caption", { className: "pp-hidden" }, "Pipelines, worst first"),
            h(C.Table.Header, null, h(C.Table.Row, null, HEAD.map(([name, width]) => h(C.Table.ColumnHeader, { key: name, scope: "col", whiteSpace: "nowrap", width }, name)))),
            h(C.Table.Body, null, rows.map((row) => h(Row, { key: row.dag_id ?? `file ${row.problem?.file}`, row, at: shown.at, strip: strip(row) }))))) })
        : h("div", { className: "pp-note" }, filtered ? "No pipeline matches." : "There is no pipeline yet that you may see. airflow-pipelines init writes a first file."),
    shown && rows.length ? h(Quiet, null, "Drifted and unverified days are looked for in the last 14 days; the page of a pipeline covers all its days.") : null,
    shown && shown.total > PAGE ? h("div", { className: "pp-row" },
      h(C.Button, { size: "xs", variant: "outline", disabled: offset === 0, onClick: () => set({ offset: String(Math.max(0, offset - PAGE)) }) }, "Previous"),
      h(Quiet, null, `${offset + 1} to ${Math.min(offset + PAGE, shown.total)} of ${count(shown.total)}`),
      h(C.Button, { size: "xs", variant: "outline", disabled: offset + PAGE >= shown.total, onClick: () => set({ offset: String(offset + PAGE) }) }, "Next")) : null,
  );
}

/** @param {{label: string, value: string, options: string[][], onChange: (value: string | null) => void}} props */
const Select = ({ label, value, options, onChange }) =>
  h(C.NativeSelect.Root, { size: "sm", width: "170px" },
    h(C.NativeSelect.Field, { "aria-label": label, value, onChange: (/** @type {any} */ event) => onChange(event.target.value || null) },
      h("option", { value: "" }, `${label}: all`), options.map(([key, text]) => h("option", { key, value: key }, text))),
    h(C.NativeSelect.Indicator, null));
