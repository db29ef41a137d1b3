// What a person can change from the page: each dialog says what will happen, then asks the API to do it.

import { pipelinePath, post } from "./api.js";
import { C, Fragment, h, useEffect, useRef, useState } from "./host.js";
import { keyOf } from "./lanes.js";
import { Command, Fault, Loading, Quiet } from "./parts.js";
import { Mark } from "./states.js";
import { count, counted, duration, secondsBetween, span } from "./time.js";

/** @typedef {import("./contract.js").Preview} Preview */
/** @typedef {{start: string, end: string}} Span */

/**
 * @param {{title: string, action: string, danger?: boolean, ready: boolean, working: boolean, error: any, children?: any, onClose: () => void, onConfirm: () => void, size?: string}} props
 */
function Modal({ title, action, danger = false, ready, working, error, children, onClose, onConfirm, size = "lg" }) {
  return h(
    C.Dialog.Root,
    { open: true, size, scrollBehavior: "inside", placement: "center", role: danger ? "alertdialog" : "dialog", onOpenChange: (/** @type {{open: boolean}} */ { open }) => { if (!open) onClose(); } },
    h(C.Portal, null,
      h(C.Dialog.Backdrop, null),
      h(C.Dialog.Positioner, null,
        h(C.Dialog.Content, null,
          h(C.Dialog.Header, null, h(C.Dialog.Title, null, title)),
          h(C.Dialog.Body, null, h("div", { className: "pp", style: { padding: "2px", gap: 14 } }, children, error ? h(Fault, { error }) : null)),
          h(C.Dialog.Footer, null,
            h(C.Button, { size: "sm", variant: "outline", onClick: onClose }, "Cancel"),
            h(C.Button, { size: "sm", colorPalette: danger ? "red" : "blue", disabled: !ready || working, loading: working, onClick: onConfirm }, action)),
          h(C.Dialog.CloseTrigger, { asChild: true }, h(C.CloseButton, { size: "sm", "aria-label": "Close", position: "absolute", top: 2, insetEnd: 2 }))))),
  );
}

/**
 * Send once; the answer's `detail` is what the page then says.
 * @param {string} path
 * @param {(message: string) => void} onDone
 */
function useAction(path, onDone) {
  const [working, setWorking] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const send = async (/** @type {object} */ body) => {
    setWorking(true);
    setError(null);
    try {
      const answer = await post(path, body);
      onDone(answer.detail ?? "Done.");
    } catch (caught) {
      setError(caught);
      setWorking(false);
    }
  };
  return { working, error, send };
}

/**
 * @param {{label: string, value: string, onChange: (value: string) => void, help?: string, [more: string]: any}} props
 */
function Field({ label, value, onChange, help, ...more }) {
  return h(C.Field.Root, null,
    h(C.Field.Label, null, label),
    h(C.Input, { size: "sm", value, onChange: (/** @type {any} */ event) => onChange(event.target.value), ...more }),
    help ? h(C.Field.HelperText, null, help) : null);
}

const WILL = { move: "will be moved", replace: "will be replaced", skip: "stays as it is" };

/**
 * @param {{dagId: string, asked: {windows: Span[] | null, days: string[] | null, all?: boolean}, zone: string, onClose: () => void, onDone: (message: string) => void}} props
 */
export function MoveDialog({ dagId, asked, zone, onClose, onDone }) {
  const base = pipelinePath(dagId);
  const [preview, setPreview] = useState(/** @type {Preview | null} */ (null));
  const [failed, setFailed] = useState(/** @type {any} */ (null));
  const [chosen, setChosen] = useState(/** @type {Set<string>} */ (new Set()));
  const [reason, setReason] = useState("");
  const { working, error, send } = useAction(`${base}/move`, onDone);
  const [whole, setWhole] = useState(false);
  const first = useRef(asked);
  const shown = useRef(/** @type {Map<string, string>} */ (new Map())); // the states in which windows were chosen
  const changed = error?.status === 409; // a window is in another state than the preview showed: look again
  useEffect(() => {
    let current = true;
    post(`${base}/preview`, { all: false, ...first.current }).then(
      (/** @type {Preview} */ answer) => {
        if (!current) return;
        setPreview(answer);
        const before = shown.current;
        shown.current = new Map(answer.windows.map((one) => [keyOf(one.window), one.state]));
        setChosen((kept) => new Set(answer.windows.filter((one) => {
          const key = keyOf(one.window);
          const same = kept.has(key) && (one.chosen || before.get(key) === one.state); // one that is complete now is not replaced
          return one.will !== "skip" && (before.has(key) ? same : one.chosen);
        }).map((one) => keyOf(one.window))));
      },
      (caught) => current && setFailed(caught),
    );
    return () => { current = false; };
  }, [base, changed]);
  const windows = preview?.windows ?? [];
  const picked = windows.filter((one) => chosen.has(keyOf(one.window)));
  const replaced = picked.filter((one) => one.will === "replace" || one.state === "complete" || one.state === "replaced").length;
  const toggle = (/** @type {string} */ key) => setChosen((before) => {
    const after = new Set(before);
    if (!after.delete(key)) after.add(key);
    return after;
  });
  const hours = picked.reduce((sum, { window }) => sum + secondsBetween(window.start, window.end) / 3600, 0);
  const estimate = preview?.seconds_per_hour ? hours * preview.seconds_per_hour : preview?.estimate_seconds;
  const few = windows.filter((one) => one.chosen);
  const asChosen = picked.length === few.length && few.every((one) => chosen.has(keyOf(one.window)));
  const { window: perWindow = 0, day: perDay = 0 } = preview?.followers ?? {};
  const follow = picked.length * perWindow + new Set(picked.map(({ window }) => window.day)).size * perDay;
  const hidden = whole || !few.length ? 0 : windows.length - few.length;
  const listed = hidden ? few : windows;
  return h(
    Modal,
    {
      title: "Move again", size: "xl", working, error, onClose,
      action: picked.length ? `Move ${counted(picked.length, "window")}` : "Nothing is chosen", ready: picked.length > 0,
      onConfirm: () => send({ windows: picked.map(({ window, state }) => ({ start: window.start, end: window.end, state })), reason: reason.trim() || undefined }),
    },
    failed ? h(Fault, { error: failed }) : null,
    preview ? h(Fragment, null,
      h("p", null, windows.some((one) => one.chosen) ? "What is missing, failed, drifted or blocked is chosen. Windows that are complete move only if you choose them." : "Nothing is chosen: each window is complete or held, or cannot be moved here for the reason that it shows."),
      h("div", { className: "pp-table-scroll" }, h(C.Table.Root, { size: "sm" },
        h("caption", { className: "pp-hidden" }, "Windows and what happens to them"),
        h(C.Table.Header, null, h(C.Table.Row, null, ["Move", "Window", "Now", "Rows", "What happens"].map((name) => h(C.Table.ColumnHeader, { key: name, scope: "col" }, name)))),
        h(C.Table.Body, null, listed.map((one) => {
          const key = keyOf(one.window);
          const on = chosen.has(key);
          const stays = one.will === "skip"; // the server refuses it
          const will = stays ? "cannot be moved here" : !on ? WILL.skip : one.state === "complete" || one.state === "replaced" ? WILL.replace : WILL[one.will];
          return h(C.Table.Row, { key },
            h(C.Table.Cell, null, h("input", { type: "checkbox", checked: on, disabled: stays, onChange: () => toggle(key), "aria-label": `Move ${span(one.window, zone)}` })),
            h(C.Table.Cell, { className: "pp-number" }, span(one.window, zone)),
            h(C.Table.Cell, null, h(Mark, { state: one.state })),
            h(C.Table.Cell, { className: "pp-number" }, one.rows === null || one.rows === undefined ? "–" : count(one.rows)),
            h(C.Table.Cell, { className: "pp-text" }, will, one.why ? h(Quiet, null, ` · ${one.why}`) : null));
        })))),
      hidden ? h("div", null, h(C.Button, { size: "xs", variant: "ghost", onClick: () => setWhole(true) }, `Also show the ${counted(hidden, "window")} that ${hidden === 1 ? "stays as it is" : "stay as they are"}`)) : null,
      h("div", { className: "pp-row" },
        preview.left_out ? h("span", null, `${counted(preview.left_out, "window")} more are not listed: move these first.`) : null,
        replaced ? h("span", null, `${counted(replaced, "complete window")} will be replaced.`) : null,
        estimate ? h("span", null, `About ${duration(estimate)}, by the ledger's own durations.`) : h(Quiet, null, "The ledger has no durations yet to estimate from."),
        follow ? h("span", null, `At most ${counted(follow, "downstream run")} ${follow === 1 ? "follows" : "follow"}.`) : null),
      h(Field, { label: "Reason (optional, for the audit log)", value: reason, onChange: setReason, maxLength: 500 }),
      asChosen && picked.length ? h("div", null, h(Quiet, null, "The same in a shell"), h(Command, { command: preview.command })) : null) : failed ? null : h(Loading, { label: "Reading what would happen" }),
  );
}

/**
 * @param {{dagId: string, day: string, onClose: () => void, onDone: (message: string) => void}} props
 */
export function RecheckDialog({ dagId, day, onClose, onDone }) {
  const [reason, setReason] = useState("");
  const { working, error, send } = useAction(`${pipelinePath(dagId)}/recheck`, onDone);
  return h(Modal, { title: `Recheck ${day}`, action: "Recheck", ready: true, working, error, onClose, onConfirm: () => send({ day, reason: reason.trim() || undefined }) },
    h("p", null, "A run of the maintenance DAG counts the source again and compares it with what is committed. It changes no data; windows that differ are shown as drifted."),
    h(Field, { label: "Reason (optional, for the audit log)", value: reason, onChange: setReason, maxLength: 500 }));
}

/**
 * @param {{dagId: string, interval: Span, zone: string, onClose: () => void, onDone: (message: string) => void}} props
 */
export function WaiveDialog({ dagId, interval, zone, onClose, onDone }) {
  const [reason, setReason] = useState("");
  const { start, end } = interval;
  const { working, error, send } = useAction(`${pipelinePath(dagId)}/waive`, onDone);
  return h(Modal, { title: "Waive this window", action: "Waive", danger: true, ready: reason.trim().length > 0, working, error, onClose, onConfirm: () => send({ start, end, reason: reason.trim() }) },
    h("p", null, h("strong", null, span(interval, zone)), " will count as done although it is not complete: no run moves it any more, and the day shows that it was waived. Your name and the reason are recorded in the ledger."),
    h(Field, { label: "Reason", value: reason, onChange: setReason, required: true, maxLength: 500, autoFocus: true, help: "For example: the source lost this hour for good (incident 4711)." }));
}

/**
 * @param {{dagId: string, interval: Span, zone: string, rows: number, onClose: () => void, onDone: (message: string) => void}} props
 */
export function ShrinkDialog({ dagId, interval, zone, rows, onClose, onDone }) {
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const { start, end } = interval;
  const { working, error, send } = useAction(`${pipelinePath(dagId)}/accept-shrink`, onDone);
  const ready = typed !== "" && Number(typed.replaceAll(/[ ,]/g, "")) === rows && reason.trim() !== "";
  return h(Modal, { title: "Accept the shrinkage", action: `Delete ${counted(rows, "row")} from the target`, danger: true, ready, working, error, onClose, onConfirm: () => send({ start, end, rows, reason: reason.trim() }) },
    h("p", null, "The source has fewer rows than the target for ", h("strong", null, span(interval, zone)), ". The window is moved again and ", h("strong", null, `${counted(rows, "row")} that the source no longer has ${rows === 1 ? "goes" : "go"} from the target`), ". If the source only lost them for a while, do not accept."),
    h(Field, { label: `Type the number of rows that go (${rows})`, value: typed, onChange: setTyped, inputMode: "numeric", autoFocus: true }),
    h(Field, { label: "Reason", value: reason, onChange: setReason, required: true, maxLength: 500 }));
}

/**
 * A live lease is released; the next run takes over an expired one by itself.
 * @param {{dagId: string, interval: Span, zone: string, lease: import("./contract.js").Lease | null, onClose: () => void, onDone: (message: string) => void}} props
 */
export function ReleaseDialog({ dagId, interval, zone, lease, onClose, onDone }) {
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const { start, end } = interval;
  const { working, error, send } = useAction(`${pipelinePath(dagId)}/release`, onDone);
  const run = lease?.run_id ?? lease?.holder ?? "";
  const ready = run !== "" && typed.trim() === run && reason.trim() !== "";
  return h(Modal, { title: "Release the lease", action: "Release", danger: true, ready, working, error, onClose, onConfirm: () => send({ start, end, run_id: typed.trim(), reason: reason.trim() }) },
    h("p", null, h("strong", null, span(interval, zone)), lease ? ` is held by ${lease.holder ?? run}. The run may still be working. Its writes are refused once another run takes over; nothing is moved twice, but its work is lost.` : " is not held any more: there is nothing to release."),
    lease ? h(Fragment, null,
      h(Field, { label: `Type the run's id: ${run}`, value: typed, onChange: setTyped, autoFocus: true, autoComplete: "off", spellCheck: false }),
      h(Field, { label: "Reason", value: reason, onChange: setReason, maxLength: 500 })) : null);
}
