// Small parts that several views share.

import { ApiError } from "./api.js";
import { C, h, React, useCallback, useState } from "./host.js";
import { ago, interfaceZone, local, moment, second, spanOfDay } from "./time.js";

/** A fault of this page stays inside of it: Airflow's own page goes on. */
export class Boundary extends React.Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    /** @type {{error: Error | null}} */
    this.state = { error: null };
  }

  /** @param {Error} error */
  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    const { error } = /** @type {{error: Error | null}} */ (this.state);
    if (!error) return /** @type {any} */ (this.props).children;
    return h("div", { className: "pp", role: "alert" },
      h("div", { className: "pp-note pp-bad" },
        h("strong", null, "This page has a fault. "), `${error.message}. The pipelines themselves are not affected; airflow-pipelines status shows the same.`,
        h("div", { style: { marginTop: 8 } }, h(C.Button, { size: "xs", variant: "outline", onClick: () => this.setState({ error: null }) }, "Try again"))));
  }
}

/**
 * A span of time that breaks only between its date and its clock times.
 * @param {{of: {start: string, end: string}, zone: string}} props
 */
export function When({ of, zone }) {
  const text = spanOfDay(of, zone);
  return h("span", null, local(of.start, zone).date, " ", h("span", { className: text.includes(" – ") ? undefined : "pp-number" }, text));
}

/** @param {{children?: any}} props */
export const Quiet = ({ children }) => h("span", { className: "pp-quiet pp-small" }, children);

/**
 * @param {{error: ApiError, at?: string | null}} props `at` is the instant of the last good answer that is still shown
 */
export function Fault({ error, at = null }) {
  const { body, status } = error;
  const last = at ?? body?.last_good_at;
  const ofState = status === 503 && body !== null && typeof body === "object" && "last_good_at" in body; // a 503 has other causes too
  const title = ofState ? "The state store cannot be read" : status === 503 ? "Not possible now" : status === 403 ? "You may not see this" : status === 0 ? "No connection" : "The page cannot be read";
  return h("div", { className: "pp-note pp-bad", role: "alert" },
    h("strong", null, title), body?.conn_id ? [" (connection ", h("code", { key: "c", className: "pp-mono" }, body.conn_id), ")"] : null, ". ",
    h("span", { className: "pp-text" }, error.message), " ",
    h("span", { className: "pp-quiet" }, last ? `Last good answer ${ago(last, new Date().toISOString())}, at ${moment(second(last), "UTC")}.` : ofState ? "There was no good answer since the API server started." : ""));
}

/** @param {{label?: string}} props */
export const Loading = ({ label = "Reading the ledger" }) => h("div", { className: "pp-row pp-quiet", role: "status" }, h(C.Spinner, { size: "sm" }), `${label} …`);

/** @param {string} text */
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // plain http: no clipboard API
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = "0";
  (document.querySelector("dialog[open], [role=dialog]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  return undefined;
}

/** @param {{text: string, children?: any}} props */
export function Copy({ text, children }) {
  const [done, setDone] = useState(false);
  const copy = useCallback(async () => {
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  }, [text]);
  return h(C.Button, { size: "xs", variant: "outline", onClick: copy, flex: "none" }, done ? "Copied" : children, h("span", { className: "pp-hidden", role: "status" }, done ? "Copied" : ""));
}

/** @param {{command: string}} props */
export const Command = ({ command }) =>
  h("div", { className: "pp-command" }, h("code", { className: "pp-mono", tabIndex: 0 }, command), h(Copy, { text: command }, "Copy"));

/**
 * A button that says why it cannot be pressed.
 * @param {{permission?: boolean | string, children?: any, onClick: () => void, [more: string]: any}} props
 */
export function ActionButton({ permission, children, onClick, ...more }) {
  const id = React.useId();
  if (permission === undefined) return null; // the API server does not offer it
  const why = permission === true ? null : permission === false ? "You lack the permission for this." : String(permission);
  // aria-disabled, not disabled: the reason can be reached by the keyboard
  return h("span", { style: { display: "inline-flex" } },
    h(C.Button, {
      size: "xs", variant: "outline", ...more,
      "aria-disabled": why ? true : undefined, "aria-describedby": why ? id : undefined, title: why ?? more.title,
      opacity: why ? 0.5 : 1, cursor: why ? "not-allowed" : "pointer", onClick: why ? undefined : onClick,
    }, children),
    why ? h("span", { id, className: "pp-hidden" }, why) : null);
}

/** @typedef {{key: string, zone: string, label: string}} Zone */

/**
 * @param {string} pipelineZone
 * @returns {Zone[]}
 */
export function zonesOf(pipelineZone) {
  const own = interfaceZone();
  return [
    { key: "pipeline", zone: pipelineZone, label: `${pipelineZone} (pipeline)` },
    { key: "utc", zone: "UTC", label: "UTC" },
    ...(own === "UTC" || own === pipelineZone ? [] : [{ key: "ui", zone: own, label: `${own} (yours)` }]),
  ];
}

/**
 * A row of buttons of which one is pressed.
 * @param {{label: string, options: {key: string, label: string}[], value: string, onChange: (key: string) => void}} props
 */
export const Choice = ({ label, options, value, onChange }) =>
  h("div", { role: "group", "aria-label": label, className: "pp-row", style: { gap: 4 } },
    options.map((option) => h(C.Button, {
      key: option.key, size: "xs", variant: option.key === value ? "solid" : "outline", "aria-pressed": option.key === value, onClick: () => onChange(option.key),
    }, option.label)));

/**
 * A table with its caption for screen readers.
 * @param {{caption: string, head: any[], rows: {key: string, cells: any[], [more: string]: any}[], numeric?: number[]}} props
 */
export const Grid = ({ caption, head, rows, numeric = [] }) =>
  h("div", { className: "pp-table-scroll", tabIndex: 0, role: "region", "aria-label": caption },
    h(C.Table.Root, { size: "sm", variant: "line" },
      h("caption", { className: "pp-hidden" }, caption),
      h(C.Table.Header, null, h(C.Table.Row, null, head.map((text, i) => h(C.Table.ColumnHeader, { key: i, scope: "col", textAlign: numeric.includes(i) ? "end" : undefined, whiteSpace: "nowrap" }, text)))),
      h(C.Table.Body, null, rows.map(({ key, cells, ...more }) => h(C.Table.Row, { key, ...more },
        cells.map((cell, i) => h(C.Table.Cell, { key: i, textAlign: numeric.includes(i) ? "end" : undefined, className: numeric.includes(i) ? "pp-number" : undefined, verticalAlign: "top" }, cell)))))));
